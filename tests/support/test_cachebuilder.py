"""The builder of caches, against the files of a real server and alone."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.cachebuilder import (
    CacheBuilder,
    Descriptor,
    Platform,
    can_make_devices,
    files,
    folder_of,
    snapshot,
)
from tests.support.documents import Media, encode
from tests.support.oracle import (
    Cache,
    load,
)
from tests.support.realcaches import REAL_CACHES, RealCache, unpack

HEX = "12" * 32


# The builder against the files of a real server.


@pytest.mark.parametrize("name", REAL_CACHES)
def test_every_real_manifest_is_rebuilt_byte_for_byte(name: RealCache, tmp_path: Path) -> None:
    real = unpack(name, tmp_path)
    builder = CacheBuilder(tmp_path / "built")
    for path in sorted((*real.glob("img/*"), *real.glob("lts/*"))):
        digest = _rebuild(builder, json.loads(path.read_bytes()))
        # The same name in the same folder means that folder rule and upstream bytes are right.
        rebuilt = builder.root / path.parent.name / digest
        assert digest == path.name
        assert rebuilt.read_bytes() == path.read_bytes()
        assert rebuilt.stat().st_mode == path.stat().st_mode
    manifests = {path for path in files(real) if not path.startswith("blobs/")}
    assert files(builder.root) == manifests


@pytest.mark.parametrize("name", REAL_CACHES)
def test_every_real_blob_is_rebuilt(name: RealCache, tmp_path: Path) -> None:
    real = unpack(name, tmp_path)
    builder = CacheBuilder(tmp_path / "built")
    for path in real.glob("blobs/*"):
        digest = builder.blob(path.read_bytes())
        assert digest == path.name
        assert (builder.root / "blobs" / digest).stat().st_mode == path.stat().st_mode


def _rebuild(builder: CacheBuilder, holder: dict[str, Any]) -> str:
    """Builds a manifest from what a real one says, without its own bytes."""
    kind: int = holder["type"]
    media: Media = "docker" if kind < 2 else "oci"
    url, created, pulled = holder["imageUrl"], holder["created"], holder["pulled"]
    if kind in (0, 2):
        part = holder[("v2.docker.manifestList", "", "v1.oci.index")[kind]]
        children = [_descriptor(child) for child in part["manifests"]]
        return builder.index(url, children=children, created=created, pulled=pulled, media=media)
    part = holder[("", "v2.docker.manifest", "", "v1.oci.manifest")[kind]]
    return builder.image(
        url,
        layers=[_descriptor(layer) for layer in part["layers"]],
        config=_descriptor(part["config"]),
        annotations=part.get("annotations"),
        created=created,
        pulled=pulled,
        media=media,
    )


def _descriptor(found: dict[str, Any]) -> Descriptor:
    platform = Platform(**found["platform"]) if "platform" in found else None
    return Descriptor(found["digest"].removeprefix("sha256:"), found["size"], platform)


# The builder alone.


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("docker.io/library/nginx:1.25", "img"),
        ("docker.io/library/nginx:latest", "lts"),
        ("docker.io/library/nginx:LATEST", "lts"),
        ("docker.io/library/nginx", "lts"),
        ("host:5000/x/y", "lts"),
        ("host:5000/x:1", "img"),
        (f"docker.io/library/nginx@sha256:{HEX}", "img"),
    ],
)
def test_the_folder_follows_from_the_tag(url: str, folder: str) -> None:
    assert folder_of(url) == folder


def test_sizes_in_descriptors_are_those_of_what_was_built(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    layer = builder.blob(123)
    image = builder.image("r/a:1", layers=[layer], media="oci")
    index = builder.index("r/b:1", children=[image], media="oci")
    holder = json.loads((tmp_path / "img" / index).read_bytes())
    child = holder["v1.oci.index"]["manifests"][0]
    holder = json.loads((tmp_path / "img" / image).read_bytes())
    assert holder["v1.oci.manifest"]["layers"][0]["size"] == 123
    assert child["digest"] == f"sha256:{image}"
    assert child["size"] > 300
    assert child["platform"] == {"architecture": "amd64", "os": "linux"}


def test_a_docker_descriptor_leaves_out_a_size_of_zero(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    empty = builder.blob(0)
    docker = builder.image("r/a:1", layers=[empty])
    oci = builder.image("r/b:1", layers=[empty], media="oci")
    parts = [json.loads((tmp_path / "img" / name).read_bytes()) for name in (docker, oci)]
    assert "size" not in parts[0]["v2.docker.manifest"]["layers"][0]
    assert parts[1]["v1.oci.manifest"]["layers"][0]["size"] == 0
    assert load(tmp_path).corrupt == {}


def test_json_is_escaped_as_go_escapes_it() -> None:
    assert encode({"a": "<é>&\u2028"}) == b'{"a":"\\u003c\xc3\xa9\\u003e\\u0026\\u2028"}'


def test_hazards_are_what_they_say(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    made = {
        builder.fifo("img"): "fifo",
        builder.socket("lts"): "socket",
        builder.symlink("blobs", "/nowhere"): "symlink",
        builder.directory("img"): "directory",
    }
    if can_make_devices(tmp_path):
        made[builder.device("blobs")] = "device"
    found = snapshot(tmp_path)
    assert {path: found[path].kind for path in made} == made
    assert files(tmp_path) == set(made)
    cache = load(tmp_path)
    assert cache == Cache(
        corrupt=cache.corrupt, foreign=frozenset(made), unknown=frozenset(cache.corrupt)
    )
    assert cache.unknown == {path for path in made if not path.startswith("blobs/")}


def test_a_snapshot_sees_every_change(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    path = tmp_path / "blobs" / builder.blob(b"abc")
    link = tmp_path / builder.symlink("img", "one")

    def retarget() -> None:
        link.unlink()
        link.symlink_to("two")

    def come_and_go() -> None:
        (tmp_path / "lts" / "x").touch()
        (tmp_path / "lts" / "x").unlink()

    changes: list[Callable[[], object]] = [
        lambda: path.write_bytes(b"abd"),
        lambda: path.chmod(0o600),
        lambda: os.utime(path, ns=(0, 0)),
        lambda: path.rename(path.with_name("moved")),
        retarget,
        come_and_go,
    ]
    # The clock of a file system is coarse: without this a folder's mtime may not move.
    os.utime(tmp_path / "lts", ns=(0, 0))
    before = snapshot(tmp_path)
    assert snapshot(tmp_path) == before
    for change in changes:
        change()
        after = snapshot(tmp_path)
        assert after != before
        before = after
    assert snapshot(tmp_path)[f"img/{link.name}"].content == "two"


def test_modes_are_those_of_a_server(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("r/a:1")
    modes = {path: stat.S_IMODE((tmp_path / path).stat().st_mode) for path in files(tmp_path)}
    assert sorted(modes.values()) == [0o644, 0o755]
