"""The text in manifests may come from anybody: it becomes no path and no control character."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache as remembered
from pathlib import Path

import pytest
from tests.cli.program import Result, run
from tests.hazards.steps import carry_out_now, plan_for
from tests.support.cachebuilder import CacheBuilder, digest_of, files
from tests.support.documents import Descriptor, Json, encode, holder_json, image_document
from tests.support.oracle import load

PATHS = (
    "../../victim",
    "../victim",
    "victim",
    "..",
    "",
    "/",
    "img/../../victim",
    "blobs/" + "ab" * 32,
    "%2e%2e/victim",
    "victim\0",
)


def holder(url: str, digest: str, layer: str) -> Json:
    document = image_document("oci", Descriptor("cd" * 32, 2), [Descriptor(layer, 3)])
    return holder_json(document, digest, url, "", "")


@pytest.fixture
def victims(tmp_path: Path) -> list[Path]:
    """Files outside the cache that hostile paths lead to, relative ones and absolute ones."""
    folders = [tmp_path / folder for folder in (".", "cache", "cache/img", "cache/blobs")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / "victim").write_bytes(b"precious")
    return [folder / "victim" for folder in folders]


@pytest.mark.parametrize("key", ["digest", "imageUrl"])
def test_a_path_in_a_manifest_deletes_nothing_but_the_manifest(
    key: str, victims: list[Path]
) -> None:
    builder = CacheBuilder(victims[1].parent)
    texts = (*PATHS, *map(str, victims))
    for text in texts:
        manifest = holder(f"a:{text}", digest_of(text), "ab" * 32) | {key: text}
        builder.raw("img", digest_of(text), encode(manifest))
    report = carry_out_now(plan_for(builder.root, ".*"))
    assert len(report.images) == len(texts)
    assert files(builder.root) == {"img/victim", "blobs/victim"}
    assert [victim.read_bytes() for victim in victims] == [b"precious"] * len(victims)


def test_a_manifest_that_claims_the_digest_of_another_one_goes_alone(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    kept = builder.image("kept:1", layers=[builder.blob(10)])
    liar = digest_of("a liar")
    builder.raw("img", liar, encode(holder("a:1", kept, "ab" * 32)))
    before = load(tmp_path)
    carry_out_now(plan_for(tmp_path, "a:1"))
    assert files(tmp_path) == before.paths - {f"img/{liar}"}


@pytest.mark.parametrize(
    "layer",
    [
        "../../victim",
        # As long as a digest is.
        "../../victim".rjust(64, "/"),
        "/" * 64,
        ("../" * 22)[:64],
        "A" * 64,
        "\0" * 64,
        "ab" * 31 + "a\n",
        "sha256:" + "ab" * 32,
        "\N{ARABIC-INDIC DIGIT ONE}" * 64,
    ],
)
@pytest.mark.parametrize("kind", ["layer", "child"])
def test_a_path_in_place_of_a_digest_makes_a_manifest_corrupt(
    layer: str, kind: str, victims: list[Path]
) -> None:
    builder = CacheBuilder(victims[1].parent)
    if kind == "layer":
        name = builder.image("a:1", layers=[Descriptor(layer, 1)])
    else:
        name = builder.index("a:1", children=[Descriptor(layer, 1)])
    report = carry_out_now(plan_for(builder.root, "a", skip_corrupt=True))
    assert [path for path, _ in report.plan.index.faults] == [f"img/{name}"]
    assert files(builder.root) == {f"img/{name}", "img/victim", "blobs/victim"}
    assert [victim.read_bytes() for victim in victims] == [b"precious"] * len(victims)


# Control characters: the C0 and C1 sets and DEL, what turns the direction of writing, what
# ends a line in some programs, and what nobody sees.
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
SNEAKY = "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202d\u202e\u2066\u2069\ufeff\u00ad"
EVIL = f"evil\x1b[2J\x1b]0;owned\x07{CONTROLS}{SNEAKY}"
RAW = re.compile(f"[{re.escape((CONTROLS + SNEAKY).replace(chr(10), ''))}]")
FORGERY = "\nfastprune: error: forged"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with such text in every place that can hold text."""
    builder = CacheBuilder(tmp_path_factory.mktemp("evil") / "cache")
    child = builder.image(f"{EVIL}@sha256:" + "12" * 32, created=EVIL, pulled=EVIL + "2")
    # The list stays and protects its child: messages name both.
    builder.index(f"host/{EVIL}:{EVIL}{FORGERY}", children=[child], created=EVIL, pulled="")
    builder.image(f"{EVIL}{FORGERY}:latest")
    builder.image("plain:1", layers=[Descriptor(EVIL, 1)])
    builder.raw("img", f"{EVIL.replace('/', '').replace(chr(0), '')}"[:80] + FORGERY, b"")
    return builder.root


LIST_FORMATS = ("text", "url", "csv", "json", "jsonl", "table")
RUNS = {form: ("list", "--format", form) for form in LIST_FORMATS} | {
    "prune": ("prune", "--skip-corrupt"),
    "prune, json": ("prune", "--skip-corrupt", "--format", "json"),
    "refusal": ("prune",),
    "refusal, json": ("prune", "--format", "json"),
}


Show = Callable[[str], Result]


@pytest.fixture(scope="module")
def show(evil: Path) -> Show:
    """Runs each command once, with all messages there are, however many tests look at it."""

    @remembered
    def shown(name: str) -> Result:
        command, *options = RUNS[name]
        if command == "prune":
            options += ["--dry-run", "--pattern", "@sha256,latest"]
        return run(command, *options, "--log-level", "debug", cache=evil)

    return shown


@pytest.mark.parametrize("name", RUNS)
def test_no_control_character_is_ever_printed_raw(name: str, show: Show) -> None:
    result = show(name)
    assert result.code == (4 if name.startswith("refusal") else 0)
    assert RAW.search(result.out) is None
    assert RAW.search(result.err) is None
    assert "evil" in result.out + result.err


@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_forged(name: str, show: Show) -> None:
    lines = show(name).out.split("\n") + show(name).err.split("\n")
    assert not [line for line in lines if line.startswith(FORGERY.strip())]


@pytest.mark.parametrize("form", LIST_FORMATS)
def test_every_manifest_is_one_line_or_item(form: str, evil: Path, show: Show) -> None:
    urls = sorted(manifest.url for manifest in load(evil).manifests.values())
    out = show(form).out
    lines = out.split("\n")[:-1]
    if form == "json":
        # The value itself is what the file says, to the letter.
        assert [item["url"] for item in json.loads(out)["manifests"]] == urls
    elif form == "jsonl":
        assert [json.loads(line)["url"] for line in lines] == urls
    elif form == "csv":
        assert len(list(csv.reader(io.StringIO(out)))) == len(lines) == 1 + len(urls)
    elif form == "text":
        assert [len(line.split(" ")) for line in lines] == [6] * len(urls)
    else:
        assert len(lines) == (form == "table") + len(urls)


def test_the_command_of_whoever_holds_the_lock_is_not_printed_raw(tmp_path: Path) -> None:
    root = CacheBuilder(tmp_path / "cache").root
    hold = (
        "import fcntl, os, sys; lock = os.open(sys.argv[1], os.O_RDONLY);"
        "fcntl.flock(lock, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    evil = EVIL.replace("\0", "") + FORGERY
    with subprocess.Popen(
        [sys.executable, "-c", hold, root, evil], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        result = run("prune", "--pattern", "a", cache=root)
        holder.communicate()
    assert result.code == 11
    assert f"process {holder.pid} " in result.err
    assert RAW.search(result.err) is None
    assert "\nfastprune: error: forged" not in result.err
