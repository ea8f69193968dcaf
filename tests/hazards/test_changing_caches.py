"""A cache that changes while it is read, and between the scan and the deletion."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import run
from tests.hazards.steps import carry_out_now, listing_again, plan_for, scan_now
from tests.property.decoding import decoded
from tests.support.cachebuilder import TIME, CacheBuilder, Corruption, files, snapshot
from tests.support.oracle import Cache, load
from tests.support.scanning import scanned

from fastprune.deletion.deleter import Unlinker
from fastprune.deletion.phases import Phases, RunContext
from fastprune.deletion.pruning import _Run
from fastprune.index.refcounts import count_references
from fastprune.progress import NoProgress
from fastprune.reading.blob_contents import mark_of
from fastprune.scanning.memory import StateFolder

REWRITES_PER_SECOND = 200


@contextmanager
def rewriting(paths: list[Path]) -> Iterator[None]:
    """Rewrites files as the server does with every pull: truncates them, then writes once."""
    contents = {path: path.read_bytes() for path in paths}
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.wait(1 / REWRITES_PER_SECOND):
            for path, content in contents.items():
                descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
                os.write(descriptor, content)
                os.close(descriptor)

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_files_that_are_rewritten_in_place_are_never_taken_for_corrupt(
    builder: CacheBuilder,
) -> None:
    names = [builder.image(f"a:{number}") for number in range(20)]
    urls = sorted(f"a:{number}" for number in range(20))
    with rewriting([builder.root / "img" / name for name in names]):
        for jobs in ("1", "2"):
            listed = run("list", "--format", "url", "--jobs", jobs, cache=builder.root)
            assert (listed.code, listed.err) == (0, "")
            assert listed.out.splitlines() == urls
            options = ("--pattern", "a", "--allow-remove-all", "--jobs", jobs)
            planned = run("prune", "-n", *options, cache=builder.root)
            assert (planned.code, planned.err) == (0, "")
            assert planned.out.splitlines()[1:21] == urls


@pytest.mark.parametrize("share", [0, 0.5], ids=["empty", "cut off"])
def test_what_is_found_half_written_is_read_again(share: float, builder: CacheBuilder) -> None:
    path = builder.root / "img" / builder.image("a:1")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    class Writer(NoProgress):
        """Writes the rest of the file after it was read for the first time."""

        def advance(self, count: int, size: int = 0) -> None:
            path.write_bytes(content)

    index = scan_now(builder.root, Writer())
    assert index.faults == ()
    assert index.url(0) == "a:1"


def pull(path: Path) -> None:
    """Does what the server does when the manifest is pulled again."""
    path.write_bytes(path.read_bytes().replace(TIME.encode(), b"2025-01-01T00:00:00"))


def retag(path: Path) -> None:
    """Does what the server does when the same manifest is pulled by another tag."""
    path.write_bytes(path.read_bytes().replace(b'"a:', b'"b:'))


def replace(path: Path) -> None:
    """Puts another file in its place, under the same name."""
    path.rename(path.with_suffix(".aside"))
    path.write_bytes(path.with_suffix(".aside").read_bytes().replace(b'"a:', b'"c:'))
    path.with_suffix(".aside").unlink()


def cut(path: Path) -> None:
    """Leaves what is there while the server writes; if it is killed then, the file stays so."""
    os.truncate(path, path.stat().st_size // 2)


def retag_unseen(path: Path) -> None:
    """The same in place, and sets the time of the last write back: only ctime tells."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(path.read_bytes().replace(b'"a:', b'"b:'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert mark_of(path.stat()) == mark_of(status)


def replace_unseen(path: Path) -> None:
    """Puts another file of the same size and times in its place."""
    aside = path.parent.parent / "aside"
    shutil.copy2(path, aside)
    retag_unseen(aside)
    aside.rename(path)


@pytest.fixture(params=[False, True], ids=["nothing remembered", "remembered"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> StateFolder | None:
    """Where scans are remembered, if they are; then the last look knows the identities of files."""
    return StateFolder(str(tmp_path / "state")) if request.param else None


@pytest.mark.parametrize(
    "change",
    [pull, retag, retag_unseen, replace, replace_unseen, cut],
    ids=lambda change: change.__name__,
)
def test_a_manifest_that_changed_since_the_scan_stays_with_all_it_needs(
    change: Callable[[Path], None], state: StateFolder | None, builder: CacheBuilder
) -> None:
    layer = builder.blob(10)
    child = builder.image("a@sha256:" + "12" * 32, layers=[layer])
    listed = builder.index("a:1", children=[child])
    pulled = builder.image("a:2")
    builder.image("a:3")
    plan = plan_for(builder.root, "a:", state=state)
    before = load(builder.root)
    for name in (listed, pulled):
        change(builder.root / "img" / name)
    changed = snapshot(builder.root / "img")
    report = carry_out_now(plan)
    assert set(snapshot(builder.root / "img")) == {".", listed, child, pulled}
    assert snapshot(builder.root / "img")[listed] == changed[listed]
    needed = {f"blobs/{digest}" for name in (child, pulled) for digest in blobs_of(before, name)}
    assert files(builder.root) >= needed
    assert report.changed == tuple(sorted((f"img/{listed}", f"img/{pulled}")))
    assert report.exit_code == 3


@pytest.mark.parametrize("again", [False, True], ids=["first scan", "second scan"])
def test_a_manifest_of_another_identity_that_says_the_same_goes(
    again: bool, builder: CacheBuilder, tmp_path: Path
) -> None:
    state = StateFolder(str(tmp_path / "state"))
    linked, rewritten, copied = (builder.image(f"a:{number}") for number in range(3))
    builder.image("a:3")
    if again:
        scan_now(builder.root, state=state)
    plan = plan_for(builder.root, "a", state=state)
    folder = builder.root / "img"
    os.link(folder / linked, tmp_path / "another-name")
    (folder / rewritten).write_bytes((folder / rewritten).read_bytes())
    shutil.copy2(folder / copied, tmp_path / "copy")
    (tmp_path / "copy").rename(folder / copied)
    report = carry_out_now(plan)
    assert files(builder.root) == set()
    assert (report.changed, len(report.images), report.exit_code) == ((), 4, 0)


def blobs_of(cache: Cache, name: str) -> tuple[str, ...]:
    return cache.manifests[f"img/{name}"].blobs


def test_a_manifest_that_appears_after_the_scan_keeps_every_blob(builder: CacheBuilder) -> None:
    layer = builder.blob(10)
    builder.image("a:1", layers=[layer])
    plan = plan_for(builder.root, "a")
    blobs = {path for path in files(builder.root) if path.startswith("blobs/")}
    new = builder.image("b:1", layers=[layer])
    report = carry_out_now(plan)
    assert report.appeared == (f"img/{new}",)
    assert report.exit_code == 4
    assert files(builder.root) >= blobs | {f"img/{new}"}


def test_a_name_that_is_listed_twice_is_one_manifest(builder: CacheBuilder) -> None:
    # POSIX leaves it open what a folder gives that changes while it is listed.
    child = builder.image("a@sha256:" + "12" * 32, layers=[builder.blob(10)])
    listed = builder.index("b:1", children=[child])
    builder.image("a:2", layers=[builder.blob(20)])
    once = scan_now(builder.root)
    with listing_again(3):
        plan = plan_for(builder.root, "a")
        carry_out_now(plan)
    assert len(plan.index) == 3
    # What is listed twice is the same cache as what is listed once.
    assert count_references(plan.index).tolist() == count_references(once).tolist()
    assert decoded(plan.index) == decoded(once)
    assert plan.images.tolist() == [row for row in range(3) if plan.index.url(row) == "a:2"]
    assert set(snapshot(builder.root / "img")) == {".", listed, child}


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 1_000])
@pytest.mark.parametrize("edges", [True, False])
def test_a_folder_that_lists_all_twice_gives_the_same_index(
    edges: bool, chunk: int, builder: CacheBuilder
) -> None:
    shared = builder.blob(10)
    child = builder.image("a@sha256:" + "12" * 32, layers=[shared, shared])
    builder.index("b:1", children=[child], created="yesterday")
    builder.image("a:2", layers=[shared, builder.blob(20)], pulled="x" * 19)
    builder.image("a:latest", layers=[shared], created="")
    builder.corrupt(Corruption.ARRAY)
    builder.symlink("img", "missing")
    builder.symlink("blobs", "missing")
    builder.raw("img", "README", b"")
    options: dict[str, Any] = {"edges": edges, "chunk": chunk, "pattern_sets": (("a",), ("b",))}
    once = scanned(builder.root, **options)
    with listing_again():
        twice = scanned(builder.root, **options)
    assert decoded(twice) == decoded(once)
    assert count_references(twice).tolist() == count_references(once).tolist()
    assert (twice.faults, twice.foreign) == (once.faults, once.foreign)
    assert len(set(twice.faults)) == len(twice.faults) == 2


def test_the_blobs_of_what_is_listed_twice_go_in_the_same_run(builder: CacheBuilder) -> None:
    builder.image("a:1", layers=[builder.blob(10)])
    kept = builder.image("b:1", layers=[builder.blob(20)])
    with listing_again():
        plan = plan_for(builder.root, "a")
    assert len(plan.blobs) == 2
    freed = sum(path.stat().st_size for path in (builder.root / "img").iterdir())
    freed -= (builder.root / "img" / kept).stat().st_size
    assert plan.bytes_freed == freed + int(plan.blob_bytes.sum())
    with listing_again():
        carry_out_now(plan)
    assert len(files(builder.root)) == 3


def test_a_thread_that_looked_too_early_does_not_clear_what_another_has_seen(
    builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.image("a:1", layers=[builder.blob(10)])
    phases = Phases(RunContext(), batch_size=Unlinker.batch_size)
    begun = _Run(plan_for(builder.root, "a"), Unlinker(), phases)
    listed, seen, answers = threading.Event(), threading.Event(), dict[str, bool]()

    def look() -> None:
        answers[threading.current_thread().name] = begun.nothing_appeared()

    early, late = (threading.Thread(target=look, name=name) for name in ("early", "late"))

    def listing(*_: object) -> tuple[str, ...]:
        if threading.current_thread() is late:
            return ("img/new",)
        listed.set()
        seen.wait(10)
        return ()

    @contextmanager
    def slowly(_: str) -> Iterator[None]:
        yield
        if threading.current_thread() is late:
            seen.set()
            early.join(10)

    monkeypatch.setattr("fastprune.deletion.pruning.new_manifests", listing)
    monkeypatch.setattr(phases.crew, "stopping", slowly)
    early.start()
    assert listed.wait(10)
    late.start()
    late.join(10)
    assert answers["late"] is False
    assert begun.appeared == ("img/new",)


@pytest.mark.parametrize("hazard", ["fifo", "directory", "symlink", "socket"])
def test_what_took_the_place_of_a_file_since_the_scan_stays(
    hazard: str, state: StateFolder | None, builder: CacheBuilder, tmp_path: Path
) -> None:
    layer = builder.blob(10)
    image = builder.image("a:1", layers=[layer])
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    plan = plan_for(builder.root, "a", state=state)
    for folder, name in (("img", image), ("blobs", layer)):
        (builder.root / folder / name).unlink()
        if hazard == "symlink":
            builder.symlink(folder, victim, name)
        else:
            getattr(builder, hazard)(folder, name)
    report = carry_out_now(plan)
    assert report.changed == (f"img/{image}",)
    assert files(builder.root) >= {f"img/{image}", f"blobs/{layer}"}
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("folder", ["img", "blobs"])
def test_a_folder_that_became_a_symbolic_link_since_the_scan_is_not_entered(
    folder: str, builder: CacheBuilder, tmp_path: Path
) -> None:
    builder.image("a:1", layers=[builder.blob(10)])
    plan = plan_for(builder.root, "a")
    elsewhere = tmp_path / "elsewhere"
    (builder.root / folder).rename(elsewhere)
    (builder.root / folder).symlink_to(elsewhere)
    before = snapshot(elsewhere)
    report = carry_out_now(plan)
    assert snapshot(elsewhere) == before
    assert f"{os.strerror(errno.ENOTDIR)}" in report.stopped
    assert report.exit_code == 3


def test_a_manifest_that_vanishes_during_the_scan_is_no_fault(builder: CacheBuilder) -> None:
    stays, goes = builder.image("a:1"), builder.image("a:2")

    class Remover(NoProgress):
        """Removes a file that is listed already, but not yet read."""

        def start(self, step: str, total: int | None, unit: str) -> None:
            (builder.root / "img" / goes).unlink()

    index = scan_now(builder.root, Remover())
    assert index.faults == ()
    assert index.vanished == 1
    assert [index.path(row) for row in range(len(index))] == [f"img/{stays}"]
