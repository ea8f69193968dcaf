"""`verify`: it names what is damaged, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.golden import check_golden
from tests.cli.inside import run_inside
from tests.cli.program import Result, on_terminal, run
from tests.cli.test_trash import serving
from tests.hazards.trashing import entries, in_trash
from tests.support.cachebuilder import CacheBuilder, digest_of, snapshot
from tests.support.documents import Descriptor, Json
from tests.support.locking import locked
from tests.support.oracle import load
from tests.support.realcaches import REAL_CACHES, RealCache, unpack
from tests.support.verify_oracle import Found, found_in

from fastprune import Findings, VerifyOptions
from fastprune.executors.inline import InlineExecutor
from fastprune.report.run_report import Failure
from fastprune.verification.repair_plan import plan_repair
from fastprune.verification.repair_report import RepairReport, text_lines
from fastprune.verification.verifier import verify_cache

NOTHING = Found(*[frozenset()] * 9)

pytestmark = pytest.mark.usefixtures("read_again_at_once")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


@pytest.fixture
def damaged(cache: Path) -> tuple[Path, Found]:
    """A cache with each kind of damage once."""
    largest = sorted(path for path in (cache / "blobs").iterdir() if path.stat().st_size > 3000)
    short, missing, altered = largest[:3]
    os.truncate(short, 1000)
    missing.unlink()
    content = altered.read_bytes()
    altered.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    orphan = cache / "blobs" / digest_of(b"orphan")
    orphan.write_bytes(b"orphan")
    (cache / "blobs" / "README").write_bytes(b"foreign")
    images = [path for path in sorted((cache / "img").iterdir()) if b'"layers":[' in read(path)]
    needing = [path for path in images if missing.name.encode() in read(path)]
    (broken,) = [path for path in images if b"curl:8.5.0" in read(path)]
    broken.write_bytes(read(broken)[:-10])

    def named(*paths: Path) -> frozenset[str]:
        return frozenset(path.relative_to(cache).as_posix() for path in paths)

    return cache, NOTHING._replace(
        unreadable=named(broken),
        broken=frozenset((f"img/{path.name}", f"blobs/{missing.name}") for path in needing),
        resized=named(short),
        altered=named(altered),
        orphans=named(orphan),
        dangling=None,
        foreign=frozenset({"blobs/README"}),
    )


def verify(*args: str, cache: Path) -> Result:
    # Workers would take longer to start than such a cache to read.
    return run_inside("verify", *args, "--jobs", "1", cache=cache)


def verified(root: Path) -> Findings:
    return verify_cache(str(root), lambda _: InlineExecutor(), VerifyOptions())


def read(path: Path) -> bytes:
    return path.read_bytes()


def document(result: Result) -> Json:
    found: Json = json.loads(result.out)
    assert (found["version"], found["command"]) == (1, "verify")
    return found


@pytest.mark.parametrize("name", REAL_CACHES)
def test_a_real_cache_is_clean(name: RealCache, tmp_path: Path) -> None:
    root = unpack(name, tmp_path)
    before = snapshot(root)
    text = run_inside("verify", cache=root)
    assert (text.code, text.err) == (0, "")
    check_golden(f"verify-{name}.txt", text.out)
    result = verify("--content", "--strict", "--format", "json", cache=root)
    found = document(result)
    assert (result.code, result.err, found["clean"]) == (0, "", True)
    assert found_in(found) == NOTHING
    blobs = list((root / "blobs").iterdir())
    assert found["content"]["blobs"] == len(blobs)
    assert found["content"]["bytes"] == sum(blob.stat().st_size for blob in blobs)
    assert snapshot(root) == before


def test_each_damage_is_named_and_nothing_else(damaged: tuple[Path, Found]) -> None:
    root, expected = damaged
    before = snapshot(root)
    whole = verify("--content", "--format", "json", cache=root)
    assert (whole.code, whole.err) == (3, "")
    assert found_in(document(whole)) == expected
    assert document(whole)["clean"] is False
    quick = verify("--format", "json", cache=root)
    assert quick.code == 3
    # What is altered has the size that it should have.
    assert found_in(document(quick)) == expected._replace(altered=frozenset())
    text = verify("--content", cache=root)
    assert (text.code, text.err) == (3, "")
    check_golden("verify-damaged.txt", without_rate(text.out))
    assert snapshot(root) == before


def without_rate(text: str) -> str:
    return "".join(
        f"{line.rpartition(',')[0]}, <rate>\n" if line.startswith("Content read: ") else f"{line}\n"
        for line in text.splitlines()
    )


def test_notes_change_the_exit_code_only_when_asked_to(cache: Path) -> None:
    (cache / "blobs" / digest_of(b"orphan")).write_bytes(b"orphan")
    (cache / "img" / "README").write_bytes(b"foreign")
    result = verify(cache=cache)
    assert (result.code, result.err) == (0, "")
    assert "Damage: none\nNotes: 1 orphan (6 B), 1 foreign file or folder\n" in result.out
    assert verify("--strict", "--summary", cache=cache).code == 3


def test_a_summary_has_no_line_for_each(damaged: tuple[Path, Found]) -> None:
    root, expected = damaged
    result = verify("--content", "--summary", "--format", "json", cache=root)
    found = document(result)
    totals = {
        key: len(value) if value is not None else None for key, value in found_items(expected)
    }
    assert {key: found["totals"][key] for key in totals} == totals
    assert "broken" not in found


def found_items(expected: Found) -> list[tuple[str, frozenset[object] | None]]:
    whole = expected._asdict()
    del whole["broken"]
    return list(whole.items())


def test_a_sample_is_the_same_for_the_same_seed(cache: Path) -> None:
    args = ("--content", "--sample", "10%", "--summary")
    first = verify(*args, "--seed", "5", cache=cache)
    assert first.code == 0
    assert "Content read: 10 blobs, " in first.out
    assert "(sample 10%, seed 5)" in first.out
    found = document(verify(*args, "--format", "json", cache=cache))
    content = found["content"]
    assert (content["blobs"], content["sample"]) == (10, 0.1)
    again = document(verify(*args, "--seed", str(content["seed"]), "--format", "json", cache=cache))
    assert again["content"]["bytes"] == content["bytes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sample", "5%"], "--content"),
        (["--content", "--sample", "5"], "--sample: not a percentage: '5'"),
        (["--content", "--sample", "0%"], "more than 0%"),
        (["--content", "--sample", "101%"], "at most 100%"),
        (["--content", "--seed", "5"], "--sample"),
        (["--content", "--sample", "5%", "--seed", str(2**64)], "at most"),
        (["--format", "xml"], "--format"),
        (["--dry-run"], "--dry-run has an effect only with --repair"),
        (["--yes"], "--repair"),
        (["--force"], "--repair"),
        (["--lock-wait", "1s"], "--lock-wait has an effect only with --repair"),
        (["--audit-log", "x"], "--repair"),
        (["--repair", "--lock-wait", "1"], "--lock-wait: not a duration"),
    ],
)
def test_usage_errors(options: list[str], message: str, tmp_path: Path) -> None:
    CacheBuilder(tmp_path)
    result = verify(*options, cache=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_no_cache_is_exit_code_10(tmp_path: Path) -> None:
    assert verify(cache=tmp_path / "nothing").code == 10


def test_a_cache_without_its_blobs_is_broken_altogether(cache: Path) -> None:
    images = [one for one in load(cache).manifests.values() if not one.is_list]
    shutil.rmtree(cache / "blobs")
    result = verify("--content", "--format", "json", cache=cache)
    assert (result.code, result.err) == (3, "")
    needed = frozenset((one.path, f"blobs/{blob}") for one in images for blob in one.blobs)
    assert found_in(document(result)) == NOTHING._replace(broken=needed)


def test_a_dry_run_shows_what_a_repair_moves(damaged: tuple[Path, Found], tmp_path: Path) -> None:
    root, expected = damaged
    before = entries(root)
    args = ("--content", "--repair", "--format", "json")
    shown = verify(*args, "--dry-run", cache=root)
    assert (shown.code, shown.err) == (3, "")
    assert entries(root) == before
    log = tmp_path / "audit.jsonl"
    done = verify(*args, "--force", "--audit-log", str(log), cache=root)
    assert (done.code, done.err) == (0, "")
    planned, repaired = document(shown)["repair"], document(done)["repair"]
    assert (planned["dry_run"], repaired["dry_run"]) == (True, False)
    assert planned["moved"] == repaired["moved"]
    assert planned["totals"] == repaired["totals"]
    moved = {item["path"]: item for item in repaired["moved"]}
    assert in_trash(root, repaired["trash_run"]) == set(moved)
    assert {path for path, item in moved.items() if item["reason"] == "missing-blob"} == {
        path for path, _ in expected.broken
    }
    start, *lines, end = map(json.loads, log.read_text().splitlines())
    assert start["planned"]["bytes"] == end["totals"]["bytes"] == repaired["totals"]["bytes"]
    assert {(line["name"], line["kind"], line["reason"], line["outcome"]) for line in lines} == {
        (path, item["kind"], item["reason"], "removed") for path, item in moved.items()
    }
    table = run_inside("trash", "list", cache=root).out.splitlines()
    assert table[0].split() == ["RUN", "MOVED", "LISTS", "IMAGES", "UNREADABLE", "BLOBS", "SIZE"]
    assert table[1].split()[2:6] == ["0", "3", "1", "2"]
    again = verify("--content", "--summary", cache=root)
    assert (again.code, again.err) == (0, "")
    assert "Damage: none\n" in again.out
    assert run("prune", "--orphans-only", "--dry-run", cache=root).code == 0


def test_text_of_a_repair(damaged: tuple[Path, Found]) -> None:
    root, _ = damaged
    shown = verify("--repair", "--dry-run", cache=root)
    check_golden("verify-repair.txt", without_rate(shown.out))
    nothing = verify("--repair", "--force", cache=unpack("loaded", root.parent))
    assert (nothing.code, nothing.err) == (0, "")
    assert "Moved to the trash: 0 manifests, 0 blobs (0 B)\n" in nothing.out


def test_a_running_server_and_a_lock_refuse_a_repair(cache: Path) -> None:
    before = snapshot(cache)
    with serving(cache):
        refused = verify("--repair", cache=cache)
        assert refused.code == 11
        assert "a server seems to run" in refused.err
        checked = verify("--summary", cache=cache)
        assert checked.code == 0
        assert "a server seems to run" in checked.err
    with locked(cache):
        assert verify("--repair", "--force", cache=cache).code == 11
        assert verify("--repair", "--dry-run", cache=cache).code == 0
    assert snapshot(cache) == before


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_it_asks_once_on_a_terminal(answer: str, code: int, damaged: tuple[Path, Found]) -> None:
    root, _ = damaged
    before = entries(root)
    with on_terminal("verify", "--repair", "--force", "--summary", cache=root) as terminal:
        terminal.wait_for("Move 3 manifests and 1 blob (")
        terminal.type(answer)
        assert terminal.wait() == code
    assert (entries(root) == before) == (code == 1)


@pytest.mark.parametrize(
    ("count", "noun"), [(1, "1 descriptor that lies"), (3, "3 descriptors that lie")]
)
def test_descriptors_that_lie_are_counted_with_their_noun(
    count: int, noun: str, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path)
    layers = [Descriptor(builder.blob(10 + number), 5) for number in range(count)]
    builder.image("a:1", layers=layers)
    result = verify(cache=tmp_path)
    assert result.code == 0
    assert f"Notes: {noun}\n" in result.out
    assert result.out.count("; a descriptor says 5 bytes; needed by a:1\n") == count


@pytest.mark.parametrize(
    ("images", "more"), [(1, ""), (2, " and 1 more image"), (4, " and 3 more images")]
)
def test_who_needs_a_bad_blob_is_counted_with_its_noun(
    images: int, more: str, tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path)
    blob = builder.blob(100)
    for number in range(images):
        builder.image(f"a:{number}", layers=[blob])
    os.truncate(tmp_path / "blobs" / blob, 10)
    result = verify(cache=tmp_path)
    assert re.search(rf"(?m): 10 bytes, not 100; needed by a:[0-9]{more}$", result.out)


@pytest.mark.parametrize("count", [1, 2])
def test_the_rest_of_a_repair_is_counted_with_its_noun(count: int, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    builder.image("a:1", layers=[builder.blob(10)])
    report = RepairReport(
        plan=replace(plan_repair(verified(tmp_path)), left=("blobs/x",) * count),
        dry_run=False,
        moved=(),
        changed=("img/x",) * count,
        failures=(Failure("img/x", 5, "Input/output error"),) * count,
        already_gone=count,
        staying=count,
    )
    said = [line.partition(": ")[2] for line in text_lines(report, summary=True)][1:-1]
    file, manifest = (("file", "manifest"), ("files", "manifests"))[count - 1]
    assert said == [f"{count} {noun}" for noun in (file, file, manifest, file, file)]
