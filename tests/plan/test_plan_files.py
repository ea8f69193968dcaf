"""Plan files: what they hold, and what is refused with the number of the line."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.support.scanning import scanned

import fastprune
from fastprune import FastpruneError, PlanFileError, Policy, PrunePlan, UsageError, make_plan
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.plan.decoding import PlanDecoder
from fastprune.plan.encoding import encode
from fastprune.plan.identity import identify
from fastprune.plan.prune_plan import Reason

Json = dict[str, Any]


def plan_of(root: Path, policy: Policy, *, allow_broken: bool = False) -> PrunePlan:
    index = scanned(root)
    return make_plan(index, policy, allow_broken=allow_broken)


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    """A list with one of its children, an image that shares a layer, and an orphan."""
    builder = CacheBuilder(tmp_path / "cache")
    shared = builder.blob(10)
    child = builder.image("r/a@sha256:" + "12" * 32, layers=[shared, builder.blob(20)])
    builder.index("r/a:1", children=[child, "dd" * 32])
    builder.image("r/b:latest", layers=[shared])
    builder.blob(5)
    return builder


@pytest.fixture
def plan(builder: CacheBuilder) -> PrunePlan:
    """The plan to prune all of it."""
    return plan_of(builder.root, Policy(patterns=("r/",)))


@pytest.fixture
def lines(plan: PrunePlan, builder: CacheBuilder) -> list[Json]:
    """The lines of that plan without the last one."""
    return documents(plan, builder.root)[:-1]


def documents(plan: PrunePlan, root: Path) -> list[Json]:
    content = b"".join(encode(plan, identify(str(root)), made_by="1.2"))
    return [json.loads(line) for line in content.splitlines()]


def written(lines: list[Json]) -> bytes:
    """A file of such lines with the right checksum, as if somebody had made it with care."""
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return (
        content + b'{"record":"end","sha256":"%s"}\n' % hashlib.sha256(content).hexdigest().encode()
    )


def decoded(content: bytes) -> fastprune.SavedPlan:
    decoder = PlanDecoder(DEFAULT_LAYOUT)
    decoder.feed(content)
    return decoder.finish()


def test_the_lines_say_what_goes_and_why(builder: CacheBuilder) -> None:
    plan = plan_of(builder.root, Policy(patterns=("r/a:1",)))
    header, child, one, *blobs, end = documents(plan, builder.root)
    if child["kind"] == "list":
        child, one = one, child
    status = builder.root.stat()
    assert header["cache"]["inode"] == status.st_ino
    assert header["cache"]["path"] == str(builder.root.resolve())
    assert (header["record"], header["version"], header["fastprune"]) == ("plan", 2, "1.2")
    assert header["policy"]["patterns"] == ["r/a:1"]
    assert header["totals"] == {
        "manifests": 2,
        "lists": 1,
        "images": 1,
        "blobs": 3,
        "bytes": plan.bytes_freed,
        "protected": 0,
        "spared_blobs": 0,
        "kept": 0,
    }
    assert (one["url"], one["kind"], one["type"], one["reason"], one["taken_by"]) == (
        *("r/a:1", "list", 0, "selected"),
        None,
    )
    assert (child["kind"], child["reason"], child["taken_by"]) == (
        *("image", "child-of-selected-list"),
        one["path"],
    )
    assert child["bytes"] == (builder.root / child["path"]).stat().st_size
    assert sorted(blob["reason"] for blob in blobs) == sorted(
        [Reason.ORPHAN.text, Reason.LAST_REFERENCE.text, Reason.LAST_REFERENCE.text]
    )
    assert sorted(blob["bytes"] for blob in blobs)[:2] == [5, 20]
    assert end["record"] == "end"


def test_a_plan_names_the_lists_that_it_may_break(builder: CacheBuilder) -> None:
    plan = plan_of(builder.root, Policy(patterns=("r/a@",)), allow_broken=True)
    (child,) = (line for line in documents(plan, builder.root) if line["record"] == "manifest")
    (one,) = (path for path in (builder.root / "img").iterdir() if b'"r/a:1"' in path.read_bytes())
    assert child["breaks"] == [f"img/{one.name}"]


def test_what_is_unchanged_is_read_back(lines: list[Json]) -> None:
    saved = decoded(written(lines))
    assert len(saved.manifests.folders) == 3
    assert len(saved.blobs) == sum(line["record"] == "blob" for line in lines)
    assert saved.header.policy == Policy(patterns=("r/",))
    # In pieces of any size.
    decoder = PlanDecoder(DEFAULT_LAYOUT)
    for byte in written(lines):
        decoder.feed(bytes([byte]))
    assert decoder.finish().blobs.tolist() == saved.blobs.tolist()


def test_a_plan_of_the_first_version_is_read(lines: list[Json]) -> None:
    lines[0]["version"] = 1
    for name in ("dangling", "broken", "keep_last", "keep_since", "keep_references"):
        del lines[0]["policy"][name]
    for name in ("max_bytes", "free_bytes", "rules"):
        del lines[0]["policy"][name]
    for line in lines:
        line.pop("rule", None)
    assert decoded(written(lines)).header.policy == Policy(patterns=("r/",))


def change(number: int, **fields: Any) -> Callable[[list[Json]], None]:
    """Changes fields of a line; a field that is set to `...` is removed."""

    def apply(lines: list[Json]) -> None:
        lines[number].update(fields)
        for name in [name for name, value in fields.items() if value is ...]:
            del lines[number][name]

    return apply


def change_policy(**fields: Any) -> Callable[[list[Json]], None]:
    return lambda lines: change(0, **fields)([lines[0]["policy"]])


EMPTY = asdict(Policy())


def repeat(number: int) -> Callable[[list[Json]], None]:
    return lambda lines: lines.insert(number, lines[number])


HEADER, MANIFEST, BLOB = 0, 1, -1
NAME = "ab" * 32
WRONG: dict[str, tuple[int, Callable[[list[Json]], None]]] = {
    "no plan": (HEADER, change(HEADER, record="report")),
    "a newer version": (HEADER, change(HEADER, version=3)),
    "no version": (HEADER, change(HEADER, version=...)),
    "a true version": (HEADER, change(HEADER, version=True)),
    "an unknown field": (HEADER, change(HEADER, more=1)),
    "an odd policy": (HEADER, change(HEADER, policy={"patterns": 1})),
    "an empty policy": (
        HEADER,
        change(
            HEADER,
            policy={
                "patterns": [],
                "exclude": [],
                "created_before": None,
                "pulled_before": None,
                "count": None,
                "orphans_only": False,
            },
        ),
    ),
    "a negative grace": (HEADER, change(HEADER, grace=-1)),
    "a huge grace": (HEADER, change(HEADER, grace=1e300)),
    "an odd cache": (HEADER, change(HEADER, cache={"path": "/"})),
    "a huge inode": (
        HEADER,
        change(HEADER, cache={"path": "/", "inode": 10**30, "file_system": ""}),
    ),
    "a total that is no number": (HEADER, change(HEADER, totals={"blobs": "1"})),
    "a second header": (1, repeat(HEADER)),
    "a path that leads out": (MANIFEST, change(MANIFEST, path=f"../img/{NAME}")),
    "an absolute path": (MANIFEST, change(MANIFEST, path=f"/img/{NAME}")),
    "a path of a blob": (MANIFEST, change(MANIFEST, path=f"blobs/{NAME}")),
    "a short name": (MANIFEST, change(MANIFEST, path="img/ab")),
    "a name in upper case": (MANIFEST, change(MANIFEST, path=f"img/{NAME.upper()}")),
    "a name with a line end": (MANIFEST, change(MANIFEST, path=f"img/{NAME}\n")),
    "an unknown type": (MANIFEST, change(MANIFEST, type=4)),
    "a type that is no number": (MANIFEST, change(MANIFEST, type="1")),
    "a kind that does not fit": (MANIFEST, change(MANIFEST, kind="blob")),
    "a negative size": (MANIFEST, change(MANIFEST, bytes=-1)),
    "a url that is none": (MANIFEST, change(MANIFEST, url=["r/a:1"])),
    "an odd owner": (MANIFEST, change(MANIFEST, taken_by="../..")),
    "odd broken lists": (MANIFEST, change(MANIFEST, breaks=[1])),
    "a broken list that leads out": (MANIFEST, change(MANIFEST, breaks=["img/.."])),
    "odd references": (MANIFEST, change(MANIFEST, references="sha256:" + NAME)),
    "a missing field": (MANIFEST, change(MANIFEST, pulled=...)),
    "a rule that there is not": (MANIFEST, change(MANIFEST, rule="x")),
    "no rule": (MANIFEST, change(MANIFEST, rule=...)),
    "odd rules": (HEADER, change_policy(rules=1)),
    "a rule without a policy": (HEADER, change_policy(rules=[{"name": "x"}])),
    "a rule that selects nothing": (HEADER, change_policy(rules=[{"name": "x", "policy": EMPTY}])),
    "no rules": (HEADER, change_policy(rules=...)),
    "the same manifest twice": (2, repeat(MANIFEST)),
    "an unknown record": (MANIFEST, change(MANIFEST, record="folder")),
    "a digest with a path": (BLOB, change(BLOB, digest="sha256:../" + NAME[3:])),
    "a digest without its algorithm": (BLOB, change(BLOB, digest=NAME)),
    "a digest of another algorithm": (BLOB, change(BLOB, digest="sha512:" + NAME)),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_plan_with_a_wrong_line_is_refused_with_its_number(case: str, lines: list[Json]) -> None:
    number, spoil = WRONG[case]
    expected = number + 1 if number >= 0 else len(lines)
    spoil(lines)
    with pytest.raises(PlanFileError, match=f"^line {expected}: "):
        decoded(written(lines))


def test_blobs_twice_or_manifests_after_blobs_are_refused(lines: list[Json]) -> None:
    with pytest.raises(PlanFileError, match=f"^line {len(lines) + 1}: "):
        decoded(written([*lines, lines[-1]]))
    last = max(number for number, line in enumerate(lines) if line["record"] == "manifest")
    moved = [*lines[:last], *lines[last + 1 :], lines[last]]
    with pytest.raises(PlanFileError, match=f"^line {len(lines)}: .* before the blobs"):
        decoded(written(moved))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 1),
        (b"\n", 1),
        (b"[]\n", 1),
        (b"not JSON\n", 1),
        (b"\xff\xfe\n", 1),
        (b'{"record":"end","sha256":""}\n', 1),
        (b"[" * 100_000 + b"\n", 1),
        (b'{"record":"plan"', 1),
    ],
)
def test_what_is_no_plan_is_refused(content: bytes, line: int) -> None:
    with pytest.raises(PlanFileError, match=f"^line {line}: "):
        decoded(content)


def test_a_plan_ends_with_its_last_line(lines: list[Json]) -> None:
    content = written(lines)
    for cut in (content[:-1], content[: content.rindex(b"{")], content[: content.index(b"\n") + 1]):
        with pytest.raises(PlanFileError, match="not whole"):
            decoded(cut)
    with pytest.raises(PlanFileError, match=f"^line {len(lines) + 2}: there is more"):
        decoded(content + b"{}\n")
    with pytest.raises(PlanFileError, match="not whole"):
        decoded(content + b"{}")


def test_a_line_without_end_takes_no_more_memory_than_it_may() -> None:
    decoder = PlanDecoder(DEFAULT_LAYOUT, most_line_bytes=1000)
    decoder.feed(b" " * 1000)
    with pytest.raises(PlanFileError, match="too long"):
        decoder.feed(b" ")


# On disk.


@pytest.mark.anyio
async def test_a_plan_is_saved_and_loaded_on_the_event_loop(
    plan: PrunePlan, builder: CacheBuilder, tmp_path: Path, no_blocking: None
) -> None:
    before = snapshot(builder.root)
    await fastprune.save_plan(plan, tmp_path / "plan", grace=60)
    saved = await fastprune.load_plan(tmp_path / "plan")
    assert saved.header.grace == 60
    assert saved.header.fastprune == fastprune.__version__
    again = fastprune.replan(saved, plan.index)
    assert (again.removed == plan.removed).all()
    assert again.blobs.tolist() == plan.blobs.tolist()
    assert snapshot(builder.root) == before
    assert set(os.listdir(tmp_path)) == {"cache", "plan"}


@pytest.mark.anyio
async def test_a_plan_that_can_not_be_written_leaves_what_was_there(
    plan: PrunePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan").write_bytes(b"an older plan")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FastpruneError, match="plan can't be written: No space left"):
        await fastprune.save_plan(plan, tmp_path / "plan")
    assert (tmp_path / "plan").read_bytes() == b"an older plan"
    assert set(os.listdir(tmp_path)) == {"cache", "plan"}


@pytest.mark.anyio
async def test_a_plan_that_is_no_longer_wanted_leaves_what_was_there(
    plan: PrunePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan").write_bytes(b"an older plan")
    scope = anyio.CancelScope()

    def cancelling(*_: object, **__: object) -> Iterator[bytes]:
        yield b"{}\n"
        anyio.from_thread.run_sync(scope.cancel)
        yield b"{}\n"

    monkeypatch.setattr("fastprune.plan.files.encode", cancelling)
    with scope:
        await fastprune.save_plan(plan, tmp_path / "plan")
    assert scope.cancelled_caught
    assert (tmp_path / "plan").read_bytes() == b"an older plan"
    assert set(os.listdir(tmp_path)) == {"cache", "plan"}


@pytest.mark.anyio
async def test_a_plan_takes_the_place_of_an_older_one_also_behind_a_link(
    plan: PrunePlan, tmp_path: Path
) -> None:
    (tmp_path / "old").write_bytes(b"an older plan")
    (tmp_path / "link").symlink_to("old")
    await fastprune.save_plan(plan, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    await fastprune.load_plan(tmp_path / "old")
    # The usual mode of a new file: others may read it, if the umask allows it.
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o666 & ~umask


@pytest.mark.anyio
@pytest.mark.parametrize("place", ["img/plan", "blobs/plan", "lts/below/plan", "link/plan"])
async def test_a_plan_is_never_written_into_a_folder_of_the_cache(
    place: str, plan: PrunePlan, builder: CacheBuilder
) -> None:
    (builder.root / "lts" / "below").mkdir()
    (builder.root / "link").symlink_to("blobs")
    before = snapshot(builder.root)
    with pytest.raises(UsageError, match="is in the cache's folder"):
        await fastprune.save_plan(plan, builder.root / place)
    assert snapshot(builder.root) == before


@pytest.mark.anyio
@pytest.mark.parametrize("hazard", ["folder", "fifo", "no folder", "socket"])
async def test_a_plan_takes_the_place_of_no_other_kind_of_file(
    hazard: str, plan: PrunePlan, tmp_path: Path
) -> None:
    path = tmp_path / "place"
    if hazard == "folder":
        path.mkdir()
    elif hazard == "fifo":
        os.mkfifo(path)
    elif hazard == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path = path / "plan"
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="place"):
        await fastprune.save_plan(plan, path)
    assert snapshot(tmp_path) == before


@pytest.mark.anyio
async def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match="no-such-plan can't be read: No such file"):
        await fastprune.load_plan(tmp_path / "no-such-plan")
    with pytest.raises(PlanFileError, match="can't be read"):
        await fastprune.load_plan(tmp_path)
    (tmp_path / "plan").write_bytes(b"{}\n")
    with pytest.raises(PlanFileError, match=r"plan: line 1: this is no plan"):
        await fastprune.load_plan(tmp_path / "plan")
