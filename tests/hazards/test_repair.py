"""A repair of a cache that changes or that can't be read completely; a repair that is cut off."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from tests.cli.program import finish, run, started, wait_until
from tests.hazards.steps import Failing
from tests.hazards.trashing import RUN, in_trash
from tests.support.cachebuilder import (
    FOLDERS,
    CacheBuilder,
    Corruption,
    Descriptor,
    digest_of,
    files,
    snapshot,
)

from fastprune import Findings, RepairReport, VerifyOptions
from fastprune.deletion.deleter import Batch, BatchResult, Deleter, moving_to_trash
from fastprune.deletion.pace import Limits
from fastprune.deletion.phases import RunContext
from fastprune.deletion.repairing import carry_out
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.executors.processes import ProcessExecutor
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.reading.blob_contents import hash_files, mark_files
from fastprune.scanning.scanner import ScanOptions
from fastprune.verification.repair_plan import plan_repair
from fastprune.verification.verifier import verify_cache

BLOBS = 1_500

T = TypeVar("T")
R = TypeVar("R")

pytestmark = pytest.mark.usefixtures("read_again_at_once")


class Before(InlineExecutor):
    """Does something before each piece of one kind of work."""

    def __init__(self, work: Callable[..., object], do: Callable[[], object]) -> None:
        self._work, self._do = work, do

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """See `Executor.map_unordered`."""
        for item in items:
            if function == self._work:
                self._do()
            yield from function(item)


def verify(
    root: Path,
    *,
    content: bool = True,
    limit: int | None = None,
    executor: Executor | None = None,
) -> Findings:
    scan = ScanOptions() if limit is None else ScanOptions(max_manifest_bytes=limit)
    options = VerifyOptions(scan=scan, content=content)
    return verify_cache(str(root), lambda _: executor or InlineExecutor(), options)


def repair(
    root: Path,
    findings: Findings | None = None,
    wrap: Callable[[Deleter], Deleter] = lambda mover: mover,
    limits: Limits | None = None,
) -> RepairReport:
    plan = plan_repair(findings or verify(root))

    async def work() -> RepairReport:
        with moving_to_trash(str(root), RUN, DEFAULT_LAYOUT) as mover:
            return await carry_out(plan, wrap(mover), RunContext(limits or Limits(concurrency=1)))

    return anyio.run(work)


def alter(path: Path) -> bytes:
    """Changes only the content of a file; returns the old content."""
    content = path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in content))
    return content


def test_a_bad_blob_is_moved_whatever_time_it_has(builder: CacheBuilder) -> None:
    far, long_ago = builder.blob(100), builder.blob(200)
    image = builder.image("a:1", layers=[far, long_ago])
    # In nanoseconds, the first does not fit into 64 bits with a sign.
    for blob, seconds in ((far, 12 * 10**9), (long_ago, -1)):
        alter(builder.root / "blobs" / blob)
        os.utime(builder.root / "blobs" / blob, (seconds, seconds))
    report = repair(builder.root)
    assert (report.changed, report.exit_code) == ((), 0)
    assert not files(builder.root) & {f"blobs/{far}", f"blobs/{long_ago}", f"img/{image}"}


def test_a_blob_that_was_mended_since_is_left_alone_with_what_needs_it(
    builder: CacheBuilder,
) -> None:
    blob = builder.blob(100)
    image = builder.image("a:1", layers=[blob])
    path = builder.root / "blobs" / blob
    content = alter(path)
    findings = verify(builder.root)
    path.write_bytes(content)
    there = files(builder.root)
    report = repair(builder.root, findings)
    assert (report.exit_code, report.changed, report.staying) == (3, (f"blobs/{blob}",), 1)
    assert files(builder.root) == there
    assert f"img/{image}" in there
    assert verify(builder.root).is_clean


@pytest.mark.parametrize("damage", [b"", b"garbage", b'{"type":9}'])
def test_a_manifest_that_was_written_anew_since_is_left_alone(
    damage: bytes, builder: CacheBuilder
) -> None:
    path = builder.root / "img" / builder.image("a:1")
    content = path.read_bytes()
    path.write_bytes(damage)
    findings = verify(builder.root)
    assert len(findings.unreadable) == 1
    path.write_bytes(content)
    report = repair(builder.root, findings)
    assert (report.exit_code, report.changed) == (3, (f"img/{path.name}",))
    assert verify(builder.root).is_clean


def test_a_bad_blob_that_is_a_link_by_now_is_not_moved(
    builder: CacheBuilder, tmp_path: Path
) -> None:
    path = builder.root / "blobs" / builder.blob(100)
    alter(path)
    findings = verify(builder.root)
    path.unlink()
    path.symlink_to(tmp_path)
    assert repair(builder.root, findings).changed == (f"blobs/{path.name}",)
    assert path.is_symlink()


def test_an_image_stays_if_its_bad_blob_can_not_be_moved(builder: CacheBuilder) -> None:
    stuck, other = builder.blob(100), builder.blob(101)
    builder.image("a:1", layers=[stuck])
    both = builder.image("a:2", layers=[stuck, other])
    for name in (stuck, other):
        alter(builder.root / "blobs" / name)

    class Stuck(Failing):
        def __init__(self, mover: Deleter) -> None:
            super().__init__([stuck], errno.EPERM)
            self._mover = mover

        def remove_one(self, folder: int, one: Batch) -> BatchResult:
            if one.names[0] in self._names:
                return super().remove_one(folder, one)
            return self._mover.remove(folder, one)

        def settle(self, folder: int) -> None:
            self._mover.settle(folder)

    report = repair(builder.root, wrap=Stuck)
    assert [failure.path for failure in report.failures] == [f"blobs/{stuck}"]
    assert (report.exit_code, report.staying) == (3, 1)
    assert in_trash(builder.root) == {f"blobs/{other}", f"img/{both}"}
    assert len(verify(builder.root).altered) == 1
    assert repair_again(builder.root).exit_code == 0
    assert verify(builder.root).is_clean


def repair_again(root: Path) -> RepairReport:
    plan = plan_repair(verify(root))

    async def work() -> RepairReport:
        with moving_to_trash(str(root), "20261125T000000Z-000000", DEFAULT_LAYOUT) as mover:
            return await carry_out(plan, mover)

    return anyio.run(work)


def test_what_we_may_not_read_is_no_damage_that_is_moved(
    builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = builder.blob(100)
    image, corrupt = builder.image("a:1", layers=[blob]), builder.corrupt(Corruption.EMPTY)
    secret = builder.image("a:2")
    opened = os.open

    def refuse(name: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if name in (blob, secret):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(name, flags, *more, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        findings = verify(builder.root)
    assert [one.path for one in findings.unreadable] == sorted([f"img/{secret}", corrupt])
    assert (findings.exit_code, len(findings.refused)) == (3, 1)
    report = repair(builder.root, findings)
    assert report.plan.left == tuple(sorted([f"blobs/{blob}", f"img/{secret}"]))
    assert report.exit_code == 3
    assert in_trash(builder.root) == {corrupt}
    assert f"img/{image}" in files(builder.root)


@pytest.mark.parametrize("at", ["open", "read"])
def test_what_the_disk_can_not_read_any_more_is_moved(
    at: str, builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = builder.blob(100)
    image = builder.image("a:1", layers=[blob])
    opened, read = os.open, os.read
    bad: set[int] = set()

    def note(name: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if name == blob and at == "open":
            raise OSError(errno.EIO, "Input/output error")
        descriptor = opened(name, flags, *more, dir_fd=dir_fd)
        bad.discard(descriptor)
        if name == blob:
            bad.add(descriptor)
        return descriptor

    def fail(descriptor: int, count: int) -> bytes:
        if descriptor in bad:
            raise OSError(errno.EIO, "Input/output error")
        return read(descriptor, count)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", note)
        patch.setattr(os, "read", fail)
        findings = verify(builder.root)
    assert findings.odd.reasons == ("EIO: Input/output error",)
    assert len(findings.unreadable_blobs) == 1
    assert repair(builder.root, findings).exit_code == 0
    assert in_trash(builder.root) == {f"blobs/{blob}", f"img/{image}"}


def test_a_good_blob_stays_whatever_a_manifest_says_of_it(builder: CacheBuilder) -> None:
    """A manifest with a wrong size would have it again after a new pull."""
    blob = builder.blob(100)
    builder.image("a:1", layers=[Descriptor(blob, 99)])
    for content in (False, True):
        findings = verify(builder.root, content=content)
        assert (findings.is_clean, len(findings.misdeclared)) == (True, 1)
        assert plan_repair(findings).is_empty


def test_a_stop_between_two_batches_leaves_the_rest_for_the_next_repair(
    builder: CacheBuilder,
) -> None:
    for size in range(1, 5):
        alter(builder.root / "blobs" / builder.blob(100 * size))
    builder.corrupt(Corruption.EMPTY)
    moved: list[str] = []

    class OneAtATime:
        batch_size = 1

        def __init__(self, mover: Deleter) -> None:
            self.settle = mover.settle
            self._mover = mover

        def remove(self, folder: int, batch: Batch) -> BatchResult:
            moved.extend(batch.names)
            return self._mover.remove(folder, batch)

    limits = Limits(1, lambda: "SIGINT" if len(moved) == 2 else "")
    report = repair(builder.root, wrap=OneAtATime, limits=limits)
    assert (report.stopped, report.exit_code) == ("SIGINT", 3)
    assert (report.count("blob"), report.left) == (2, 3)
    assert repair_again(builder.root).exit_code == 0
    assert verify(builder.root).is_clean


def test_a_killed_repair_loses_nothing_and_the_next_one_does_the_rest(
    builder: CacheBuilder,
) -> None:
    root = builder.root
    blobs = [builder.blob(size) for size in range(40, 40 + BLOBS)]
    image = builder.image("a:1", layers=blobs)
    sound = builder.image("kept:1", layers=[builder.blob(7)])
    for name in blobs:
        os.truncate(root / "blobs" / name, 20)
    there = files(root)
    trash = root / ".fastprune" / "trash"
    with started("verify", "--repair", "--yes", "--force", cache=root) as process:
        wait_until(lambda: any(trash.glob("*/blobs/*")))
        process.send_signal(signal.SIGKILL)
        finish(process)
    moved = {path.relative_to(path.parents[1]).as_posix() for path in trash.glob("*/*/*")}
    assert files(root) | moved == there
    assert not files(root) & moved
    again = run("verify", "--repair", "--summary", "--format", "json", "--force", cache=root)
    assert again.code == 0
    left = files(root)
    assert f"img/{image}" not in left
    assert not left & {f"blobs/{name}" for name in blobs}
    assert f"img/{sound}" in left
    assert run("verify", "--content", cache=root).code == 0


def test_manifests_that_a_server_rewrites_are_read_again(builder: CacheBuilder) -> None:
    """Empty during the whole scan, and whole when it is looked at a second time."""
    path = builder.root / "img" / builder.image("a:1")
    content = path.read_bytes()
    path.write_bytes(b"")
    write_first = Before(mark_files, lambda: path.write_bytes(content))
    findings = verify(builder.root, executor=write_first)
    assert findings.is_clean
    assert findings.index.faults


def test_what_a_prune_removes_meanwhile_is_not_called_damaged(builder: CacheBuilder) -> None:
    gone = builder.image("a:1", layers=[builder.blob(10)])
    builder.image("a:2", layers=["ab" * 32])
    removed = builder.blob(30)

    def remove() -> None:
        for path in (f"img/{gone}", f"blobs/{removed}"):
            (builder.root / path).unlink(missing_ok=True)
        (builder.root / "blobs" / ("ab" * 32)).write_bytes(b"pulled")

    for name in [path for path in files(builder.root) if path.startswith("blobs/")]:
        if name != f"blobs/{removed}":
            alter(builder.root / name)
    findings = verify(builder.root, executor=Before(hash_files, remove))
    assert (findings.missing.tolist(), findings.broken.tolist()) == ([], [])
    assert f"blobs/{removed}" not in {
        f"blobs/{findings.index.blob_digests[blob].tobytes().hex()}" for blob in findings.orphans
    }
    assert [findings.index.path(row) for row in findings.spoilt.tolist()] == [
        path for path in sorted(files(builder.root)) if path.startswith("img/")
    ]


def test_workers_find_the_same(builder: CacheBuilder) -> None:
    blobs = [builder.blob(size) for size in range(50, 90)]
    for number, blob in enumerate(blobs):
        builder.image(f"a:{number}", layers=[blob])
        if number % 3 == 0:
            alter(builder.root / "blobs" / blob)
        if number % 7 == 0:
            os.truncate(builder.root / "blobs" / blob, 3)
    here = verify(builder.root)
    executor = ProcessExecutor(2)
    try:
        there = verify_cache(str(builder.root), lambda _: executor, VerifyOptions(content=True))
    finally:
        executor.close()
    for name in ("resized", "altered", "spoilt", "marks", "orphans"):
        assert getattr(here, name).tolist() == getattr(there, name).tolist()
    assert here.odd.marks == there.odd.marks
    assert (here.content.blobs, here.content.size) == (there.content.blobs, there.content.size)


def test_a_manifest_of_nested_sizes_is_no_reason_to_fail(builder: CacheBuilder) -> None:
    """Python can't compare deeply nested values, even if both are equal, as here."""
    path = builder.root / "img" / builder.image("a:1", layers=[builder.blob(9)])
    holder = json.loads(path.read_bytes())
    nested: object = 1
    for _ in range(900):
        nested = [nested]
    part = holder["v2.docker.manifest"]
    part["config"]["size"] = nested
    upstream = json.dumps(part).encode()
    holder["bytes"] = base64.b64encode(upstream).decode()
    name = digest_of(upstream)
    path.unlink()
    (path.parent / name).write_text(json.dumps(holder))
    (fault,) = verify(builder.root).unreadable
    assert fault.path == f"img/{name}"


@pytest.mark.parametrize("hazard", ["fifo", "socket", "symlink", "directory"])
def test_what_is_no_file_is_never_opened_nor_moved(
    hazard: str, builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.image("a:1", layers=[builder.blob(9)])
    target = ["../outside"] if hazard == "symlink" else []
    foreign = [getattr(builder, hazard)(folder, *target) for folder in FOLDERS]
    opened: list[str] = []
    real = os.open

    def note(name: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        opened.append(os.path.basename(name))
        return real(name, flags, *more, dir_fd=dir_fd)

    before = snapshot(builder.root)
    monkeypatch.setattr(os, "open", note)
    findings = verify(builder.root)
    assert not {os.path.basename(path) for path in foreign} & set(opened)
    assert findings.foreign == tuple(sorted(foreign))
    # In the folders of manifests, the server may read manifests through them.
    assert sorted(one.path for one in findings.unreadable) == sorted(foreign[:2])
    assert (findings.damaged_manifests, findings.damaged_blobs) == (2, 0)
    assert plan_repair(findings).is_empty
    assert plan_repair(findings).left == tuple(sorted(foreign[:2]))
    assert snapshot(builder.root) == before


@pytest.mark.parametrize("hazard", ["fifo", "symlink", "directory"])
def test_a_blob_that_is_no_file_any_more_when_it_is_read_stays(
    hazard: str, builder: CacheBuilder
) -> None:
    name = builder.blob(9)
    builder.image("a:1", layers=[name])

    def replace() -> None:
        (builder.root / "blobs" / name).unlink()
        target = ["../outside"] if hazard == "symlink" else []
        getattr(builder, hazard)("blobs", *target, name=name)

    findings = verify(builder.root, executor=Before(hash_files, replace))
    assert (len(findings.refused), findings.exit_code) == (1, 3)
    report = repair(builder.root, findings)
    assert (report.plan.left, report.exit_code) == ((f"blobs/{name}",), 3)
    assert f"blobs/{name}" in files(builder.root)
