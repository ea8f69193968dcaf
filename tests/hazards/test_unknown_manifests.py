"""Manifests that can't be read: they may be sound, so no option takes them for absent."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.program import run, without_privileges
from tests.hazards.steps import carry_out_now, plan_for, scan_now
from tests.hazards.test_corrupt_manifests import reasons_told
from tests.support.cachebuilder import CacheBuilder, Corruption, files, snapshot

from fastprune import UnreadableManifestsError
from fastprune.reading.reader import PASSING

NAMES = ("EACCES", "EPERM", "ENOSYS", "EIO", "EBADMSG", "EUCLEAN", "ENODEV", "ENOMEDIUM")
# Not every system has all of them.
NUMBERS = (*(getattr(errno, name) for name in NAMES if hasattr(errno, name)), *sorted(PASSING))

Refuse = Callable[[str], OSError | None]


pytestmark = pytest.mark.usefixtures("read_again_at_once")


def when_opened(monkeypatch: pytest.MonkeyPatch, refuse: Refuse) -> None:
    """Lets the system refuse to open some files.

    Args:
        monkeypatch: Of the test.
        refuse: Gives the error for a name, if any.
    """
    real = os.open

    def answer(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if error := refuse(os.path.basename(name)):
            raise error
        return real(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", answer)


def error_of(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])
def test_what_the_system_refuses_is_never_skipped(
    number: int, builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.image("a:1")
    name = builder.image("b:1")
    when_opened(monkeypatch, lambda opened: error_of(number) if opened == name else None)
    for skip in (False, True):
        with pytest.raises(UnreadableManifestsError) as caught:
            plan_for(builder.root, "a", skip_corrupt=skip)
        error = caught.value
        assert error.faults == (
            (f"img/{name}", f"{errno.errorcode[number]}: {os.strerror(number)}"),
        )
        assert error.unknown == {f"img/{name}"}
        assert "skip-corrupt" not in error.hint
        assert "repair" not in error.hint


@pytest.mark.parametrize("number", sorted(PASSING), ids=lambda number: errno.errorcode[number])
def test_what_passes_is_waited_for(
    number: int, builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease of another program, a shortage of descriptors, a file server in confusion."""
    name = builder.image("b:1")
    tries: list[str] = []

    def refuse(opened: str) -> OSError | None:
        if opened != name:
            return None
        tries.append(opened)
        return error_of(number) if len(tries) <= 4 else None

    when_opened(monkeypatch, refuse)
    index = scan_now(builder.root)
    assert (index.faults, index.unknown, len(index)) == ((), frozenset(), 1)
    assert len(tries) > 4


def test_an_error_of_the_disk_is_no_content_that_is_broken(
    builder: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = builder.image("b:1")
    tries: list[str] = []

    def refuse(opened: str) -> OSError | None:
        if opened == name:
            tries.append(opened)
            return error_of(errno.EIO)
        return None

    when_opened(monkeypatch, refuse)
    assert scan_now(builder.root).unknown == {f"img/{name}"}
    # A disk may take half a minute for each answer.
    assert len(tries) == 2


@pytest.mark.parametrize("skip", [(), ("--skip-corrupt",)], ids=["as it is", "skip corrupt"])
def test_a_sound_image_that_may_not_be_read_keeps_its_blobs(
    skip: tuple[str, ...], tmp_path: Path
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    secret = builder.root / "img" / builder.image("b:1", layers=[builder.blob(10)])
    builder.image("a:1", layers=[builder.blob(20)])
    before = files(builder.root)
    command = ("prune", "--pattern", "a", *skip, "--format", "json")
    secret.chmod(0)
    try:
        result = run(*command, cache=builder.root, prefix=without_privileges())
    finally:
        secret.chmod(0o644)
    reason = f"EACCES: {os.strerror(errno.EACCES)}"
    item = {"path": f"img/{secret.name}", "reason": reason, "unknown": True}
    document = json.loads(result.out)
    assert (result.code, document["corrupt"]) == (4, [item])
    assert "1 manifest file can't be read, so it is unknown" in document["error"]
    assert "let fastprune read them" in document["hint"]
    assert "--skip-corrupt" not in result.err
    assert files(builder.root) == before


@pytest.mark.parametrize("command", ["list", "du"])
def test_what_only_reads_names_them_as_unknown(command: str, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    broken = builder.corrupt(Corruption.ARRAY)
    link = builder.symlink("img", tmp_path / "missing")
    document = json.loads(run(command, "--format", "json", cache=builder.root).out)
    found = {item["path"]: item.get("unknown", False) for item in document["corrupt"]}
    assert found == {broken: False, link: True}


def test_of_both_kinds_each_is_helped_in_its_own_way(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    broken = builder.corrupt(Corruption.ARRAY)
    link = builder.symlink("img", tmp_path / "missing")
    before = snapshot(builder.root)
    result = run("prune", "--pattern", "a", cache=builder.root)
    assert (result.code, reasons_told(result)) == (4, {broken, link})
    assert "1 of them may be sound" in result.err
    assert "move the files with broken content aside with 'fastprune verify --repair'" in result.err
    skipping = run("prune", "--pattern", "a", "--skip-corrupt", cache=builder.root)
    assert (skipping.code, reasons_told(skipping)) == (4, {link})
    assert "repair" not in skipping.err
    assert snapshot(builder.root) == before


def test_a_plan_that_skipped_broken_content_does_not_skip_what_can_not_be_read(
    tmp_path: Path,
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", layers=[builder.blob(10)])
    builder.image("b:1")
    path = builder.root / builder.corrupt(Corruption.ARRAY)
    plan = tmp_path / "plan"
    options = ("--pattern", "a", "--skip-corrupt", "-o", plan)
    assert run("plan", *options, cache=builder.root).code == 0
    # By now it is whole, perhaps, and another user's.
    path.unlink()
    path.symlink_to(tmp_path / "missing")
    before = snapshot(builder.root)
    result = run("apply", plan, cache=builder.root)
    assert (result.code, reasons_told(result)) == (4, {f"img/{path.name}"})
    assert "make a new plan" not in result.err
    assert snapshot(builder.root) == before
    path.unlink()
    path.write_text("[]")
    assert run("apply", plan, cache=builder.root).code == 0


@pytest.mark.parametrize("hazard", ["fifo", "socket", "directory", "symlink"])
def test_what_is_no_regular_file_and_appears_meanwhile_keeps_every_blob(
    hazard: str, builder: CacheBuilder
) -> None:
    builder.image("a:1", layers=[builder.blob(10)])
    plan = plan_for(builder.root, "a")
    target = ["missing"] if hazard == "symlink" else []
    path = getattr(builder, hazard)("lts", *target)
    report = carry_out_now(plan)
    assert (report.appeared, report.exit_code) == ((path,), 4)
    assert len(report.blobs) == 0


def test_a_trash_with_links_is_put_back_without_them(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.image("b:1")
    before = files(builder.root)
    assert run("prune", "--pattern", "a", "--trash", cache=builder.root).code == 0
    (run_folder,) = (builder.root / ".fastprune" / "trash").iterdir()
    link = run_folder / "img" / ("12" * 32)
    link.symlink_to(tmp_path / "missing")
    result = run("trash", "restore", run_folder.name, cache=builder.root)
    assert "Traceback" not in result.err
    assert before <= files(builder.root)
    assert link.is_symlink()
