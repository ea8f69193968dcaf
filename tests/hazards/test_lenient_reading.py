"""Old forms of manifests that the server still takes: neither refused nor moved.

Files that look similar, but may have unknown references, are still refused.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.support.cachebuilder import CacheBuilder, digest_of, files, snapshot
from tests.support.documents import PART_NAMES, Document, Json, encode, holder_json
from tests.support.oracle import expected, load
from tests.support.verify_oracle import expected_findings, found_in

CONFIG, LAYER = b"config", b"layer"
IMAGE_KINDS, LIST_KINDS = (1, 3), (0, 2)
OTHER_DIGEST = "sha512:" + "ab" * 64


def descriptor(content: bytes) -> Json:
    return {"mediaType": "m", "digest": f"sha256:{digest_of(content)}", "size": len(content)}


def image(**more: object) -> Json:
    whole = {"schemaVersion": 2, "config": descriptor(CONFIG), "layers": [descriptor(LAYER)]}
    return whole | more


def without_layers() -> Json:
    return {"schemaVersion": 2, "config": descriptor(CONFIG)}


class OddCache:
    """A cache with one odd manifest `odd:1`, the blobs it needs, and a usual image `usual:1`."""

    def __init__(self, root: Path) -> None:
        self.builder, self.root = CacheBuilder(root), root
        self.blobs = {f"blobs/{self.builder.blob(content)}" for content in (CONFIG, LAYER)}
        self.builder.image("usual:1", layers=[self.builder.blob(10)])

    def put(
        self,
        kind: int,
        part: Json,
        upstream: bytes | Json,
        *,
        renamed: tuple[str, str] = ("", ""),
    ) -> str:
        if not isinstance(upstream, bytes):
            upstream = json.dumps(upstream).encode()
        document = Document(kind, upstream, part)
        holder = encode(holder_json(document, document.digest, "odd:1", "", ""))
        old, new = (name.encode() for name in renamed)
        content = holder.replace(old, new) if old else holder
        return self.builder.raw("img", document.digest, content)

    def prune(self, pattern: str, *options: str) -> int:
        arguments = ("prune", "--pattern", pattern, "--allow-remove-all", *options)
        return run_inside(*arguments, "--jobs", "1", cache=self.root).code

    def is_pruned_as_expected(self, pattern: str) -> bool:
        outcome = expected(load(self.root), patterns=[pattern])
        assert self.prune(pattern) == 0
        return files(self.root) == outcome.left and not outcome.refused

    def is_clean(self) -> bool:
        before = snapshot(self.root)
        checked = run_inside(
            "verify", "--content", "--format", "json", "--jobs", "1", cache=self.root
        )
        found = found_in(json.loads(checked.out))
        assert found == expected_findings(self.root, content=True)
        repaired = run_inside("verify", "--repair", "--force", "--jobs", "1", cache=self.root)
        assert repaired.code == 0
        return checked.code == 0 and snapshot(self.root) == before


@pytest.fixture
def cache(tmp_path: Path) -> OddCache:
    return OddCache(tmp_path / "cache")


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("said", ["null in both", "null and absent", "absent in both"])
def test_an_image_without_layers_is_empty(said: str, kind: int, cache: OddCache) -> None:
    absent, null = without_layers(), image(layers=None)
    part, upstream = {
        "null in both": (null, null),
        "null and absent": (null, absent),
        "absent in both": (absent, absent),
    }[said]
    path = cache.put(kind, part, upstream)
    (cache.root / "blobs" / digest_of(LAYER)).unlink()
    assert cache.is_clean()
    assert cache.is_pruned_as_expected("usual")
    assert files(cache.root) == {path, f"blobs/{digest_of(CONFIG)}"}
    assert cache.is_pruned_as_expected("odd")
    assert not files(cache.root)


@pytest.mark.parametrize("kind", LIST_KINDS)
@pytest.mark.parametrize("part", [{"manifests": None}, {}])
def test_a_list_without_manifests_is_empty(part: Json, kind: int, cache: OddCache) -> None:
    document = {"schemaVersion": 2, "mediaType": "m"} | part
    path = cache.put(kind, document, document)
    assert cache.prune("usual", "--dry-run") == 0
    assert cache.is_pruned_as_expected("usual")
    assert path in files(cache.root)


@pytest.mark.parametrize("kind", [*IMAGE_KINDS, *LIST_KINDS])
def test_a_part_that_was_never_filled_is_refused(kind: int, cache: OddCache) -> None:
    empty: Json = {"schemaVersion": 0, "config": {}, "layers": None, "manifests": None}
    cache.put(kind, empty, image())
    before = snapshot(cache.root)
    assert cache.prune("usual") == 4
    assert snapshot(cache.root) == before


@pytest.mark.parametrize(
    ("kind", "part", "upstream"),
    [
        pytest.param(3, image(layers=None), image(), id="the document has layers"),
        pytest.param(1, image(layers=None), b"", id="no document"),
        pytest.param(1, image(layers=None), b"x", id="no JSON"),
        pytest.param(2, {"schemaVersion": 2, "manifests": None}, image(), id="an image"),
        pytest.param(
            0,
            {"schemaVersion": 2, "manifests": None},
            {"schemaVersion": 2, "manifests": [descriptor(b"child")]},
            id="the document has manifests",
        ),
        pytest.param(3, image(layers=[None]), image(layers=[None]), id="a layer is null"),
        pytest.param(3, image(config=None), image(config=None), id="config is null"),
        pytest.param(
            3, image() | {"Layers": []}, image() | {"Layers": []}, id="layers in two letter cases"
        ),
        pytest.param(
            1, image(layers=[{"digest": OTHER_DIGEST}]), image(), id="a layer of another algorithm"
        ),
    ],
)
def test_what_may_have_other_references_is_refused(
    kind: int, part: Json, upstream: bytes | Json, cache: OddCache
) -> None:
    cache.put(kind, part, upstream)
    before = snapshot(cache.root)
    assert cache.prune("usual") == 4
    assert snapshot(cache.root) == before
    assert not cache.is_clean()


@pytest.mark.parametrize(
    "renamed",
    [
        ('"v2.docker.manifest"', '"v2.docker.Manifest"'),
        ('"imageUrl"', '"ImageURL"'),
        ('"layers":[', '"LAYERS":['),
        ('"digest":"sha256:', '"Digest":"sha256:'),
        ('"type"', '"TYPE"'),
    ],
)
def test_names_in_other_letter_case_are_the_same(renamed: tuple[str, str], cache: OddCache) -> None:
    path = cache.put(1, image(), image(), renamed=renamed)
    assert cache.is_clean()
    assert cache.is_pruned_as_expected("usual")
    assert files(cache.root) == {path} | cache.blobs
    assert cache.is_pruned_as_expected("odd")
    assert not files(cache.root)


def test_a_list_as_an_earlier_version_wrote_it_protects_its_children(cache: OddCache) -> None:
    (child,) = (one.digest for one in load(cache.root).manifests.values())
    named = {"mediaType": "m", "digest": f"sha256:{child}", "size": 1}
    document = {"schemaVersion": 2, "mediaType": "m", "manifests": [named]}
    names = (f'"{PART_NAMES[0]}"', '"v2.docker.ManifestList"')
    cache.put(0, document, document, renamed=names)
    before = files(cache.root)
    assert cache.prune("usual") == 0
    assert files(cache.root) == before - cache.blobs


@pytest.mark.parametrize(
    "digest",
    [OTHER_DIGEST, "sha384:" + "ab" * 48, "blake3:" + "ab" * 32, "sha256+b64u:LCa0a2j_xo_5m0U"],
)
def test_a_child_of_another_algorithm_is_no_reason_to_refuse(digest: str, cache: OddCache) -> None:
    (child,) = (one.digest for one in load(cache.root).manifests.values())
    children = [{"digest": digest, "size": 1}, {"digest": f"sha256:{child}", "size": 1}]
    document = {"schemaVersion": 2, "manifests": children}
    path = cache.put(2, document, document)
    assert cache.prune("usual") == 0
    assert {path, f"img/{child}"} <= files(cache.root)
    assert cache.is_clean()


@pytest.mark.parametrize(
    "digest",
    [OTHER_DIGEST[:-1], OTHER_DIGEST.upper(), "x:../../victim", "sha256:" + "AB" * 32, ""],
)
def test_a_malformed_child_is_refused(digest: str, cache: OddCache) -> None:
    document = {"schemaVersion": 2, "manifests": [{"digest": digest, "size": 1}]}
    cache.put(2, document, document)
    assert cache.prune("usual") == 4


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(rb'"annotations":{"a":"\ud800"}', id="half a surrogate pair"),
        pytest.param(b'"annotations":{"a":"caf\xe9"}', id="Latin-1"),
        pytest.param(b'"annotations":{"\xff\xfe":"a"}', id="invalid UTF-8 in a name"),
        pytest.param(b'"x":1e999', id="1e999"),
        pytest.param(b'"x":' + b"9" * 5_000, id="many digits"),
        pytest.param(b'"x":' + b"[" * 5_000 + b"]" * 5_000, id="5,000 levels"),
        pytest.param(b'"annotations":{"a":"1","a":"2"}', id="an annotation twice"),
    ],
)
def test_what_the_server_serves_is_sound(extra: bytes, cache: OddCache) -> None:
    cache.put(3, image(), json.dumps(image()).encode()[:-1] + b"," + extra + b"}")
    assert_clean_in_any_depth(cache)
    assert cache.is_pruned_as_expected("usual")


def assert_clean_in_any_depth(cache: OddCache) -> None:
    """Not checked by the oracle: Python's own json reads only 1,000 levels."""
    before = snapshot(cache.root)
    for options in (("--content",), ("--repair", "--force")):
        assert run_inside("verify", *options, "--jobs", "1", cache=cache.root).code == 0
    assert snapshot(cache.root) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size": 5', b'"size": null'),
        (b'"layers"', b'"LAYERS"'),
        (b'"digest"', b'"Digest"'),
        (b'"config"', b'"con\\u0066ig"'),
    ],
)
def test_a_document_with_odd_members_is_sound(old: bytes, new: bytes, cache: OddCache) -> None:
    part = image()
    upstream = json.dumps(part).encode()
    assert old in upstream
    if b"null" in new:
        # As the server fills it: null assigns nothing, and the size stays 0.
        part["layers"][0]["size"] = 0
    cache.put(3, part, upstream.replace(old, new))
    # A size of 0 for a blob of 5 bytes is a note, not damage.
    assert cache.is_clean()


@pytest.mark.parametrize(
    "extra", [b'"x":NaN', b'"x":Infinity', b'"x":01', b'"x":"\x01"', b'"Layers":[]', b'"x":1,']
)
def test_what_the_server_would_not_take_is_not_sound(extra: bytes, cache: OddCache) -> None:
    cache.put(3, image(), json.dumps(image()).encode()[:-1] + b"," + extra + b"}")
    assert not cache.is_clean()
    assert "usual:1" in {one.url for one in load(cache.root).manifests.values()}


@pytest.mark.parametrize("odd", [b"caf\xe9", rb"\ud800"])
def test_a_manifest_file_with_such_a_string_is_read(odd: bytes, cache: OddCache) -> None:
    part = image(annotations={"a": "ODD"})
    path = cache.root / cache.put(3, part, image(annotations={"a": "ODD"}))
    path.write_bytes(path.read_bytes().replace(b"ODD", odd))
    assert cache.is_clean()
    assert cache.is_pruned_as_expected("usual")
    assert path.exists()
