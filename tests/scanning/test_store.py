"""The files of remembered scans: who may have written them, and how they come and go."""

from __future__ import annotations

import errno
import logging
import os
import resource
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import without_privileges
from tests.support.remembered import Remembering, warnings_of

from fastprune.errors import NotBelievedError
from fastprune.scanning import store
from fastprune.scanning.store import KEPT_SECONDS, PieceTask, damaged, mapped_file

ALL = 7
DAY = 24 * 60 * 60
NAME = "00123456789abcde-77.scan"
OTHER = 12345

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_folder_and_file_are_for_their_owner(umask: int, cache: Remembering) -> None:
    before = os.umask(umask)
    try:
        cache.scan()
    finally:
        os.umask(before)
    if umask == 0o777:
        # Then even the owner may not enter what is made.
        cache.folder.chmod(0o700)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    if umask != 0o777 or os.geteuid() == 0:
        assert stat.S_IMODE(cache.file.stat().st_mode) == 0o600


def given_away(path: Path) -> None:
    os.chown(path, OTHER, -1)


def of_mode(mode: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode)


def linked(path: Path) -> None:
    path.rename(path.parent.parent / "aside")
    path.symlink_to(path.parent.parent / "aside")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(given_away, "it belongs to another user", marks=needs_root),
        (of_mode(0o620), "others may write to it"),
        (of_mode(0o602), "others may write to it"),
        (of_mode(0o666), "others may write to it"),
        (fifo, "it is damaged"),
        (folder_instead, "it is damaged"),
        (emptied, "it is damaged"),
    ],
)
def test_a_file_that_others_may_have_made_is_not_believed(
    change: Callable[[Path], None],
    message: str,
    cache: Remembering,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.read_by_scan()
    file = cache.file
    change(file)
    with warnings_of(caplog) as warnings:
        assert cache.read_by_scan() == ALL
    assert warnings == [f"{file} is not used, and everything is read: {message}"]
    if change is not folder_instead:
        # It was replaced, with the right owner and mode.
        assert cache.read_by_scan() == 0
        assert stat.S_IMODE(file.lstat().st_mode) == 0o600


def test_a_symbolic_link_is_not_followed(cache: Remembering) -> None:
    cache.read_by_scan()
    file = cache.file
    linked(file)
    aside = file.parent.parent / "aside"
    before = aside.read_bytes()
    assert cache.read_by_scan() == ALL
    assert aside.read_bytes() == before
    assert not file.is_symlink()
    assert cache.read_by_scan() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(given_away, "its folder belongs to another user", marks=needs_root),
        (of_mode(0o720), "others may write its folder"),
        (of_mode(0o702), "others may write its folder"),
        (of_mode(0o1777), "others may write its folder"),
    ],
)
def test_a_folder_that_others_may_write_is_not_used(
    change: Callable[[Path], None],
    message: str,
    cache: Remembering,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.read_by_scan()
    before = cache.file.stat().st_mtime_ns
    change(cache.folder)
    with warnings_of(caplog) as warnings:
        assert cache.read_by_scan() == ALL
        assert cache.read_by_scan() == ALL
    assert [line.rpartition(": ")[2] for line in warnings] == [message] * 2
    # Nothing is written where it would not be believed.
    assert cache.file.stat().st_mtime_ns == before


@needs_root
def test_what_root_has_written_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / NAME).write_bytes(b"x")
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert mapped_file(str(tmp_path / NAME)).content[:] == b"x"
    os.chown(tmp_path / NAME, OTHER, -1)
    assert mapped_file(str(tmp_path / NAME)).content[:] == b"x"
    os.chown(tmp_path / NAME, OTHER + 1, -1)
    with pytest.raises(NotBelievedError, match="it belongs to another user"):
        mapped_file(str(tmp_path / NAME))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / NAME).touch(0o600)
    for name in (NAME, "none", "none/none"):
        with pytest.raises((NotBelievedError, OSError)):
            mapped_file(str(tmp_path / name))
    tmp_path.chmod(0o777)
    with pytest.raises(NotBelievedError):
        mapped_file(str(tmp_path / NAME))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_missing_is_made(cache: Remembering) -> None:
    cache.folder = cache.folder / "one" / "two"
    assert cache.read_by_scan() == ALL
    assert cache.read_by_scan() == 0


def a_file(folder: Path) -> None:
    folder.write_bytes(b"precious")


def a_dangling_link(folder: Path) -> None:
    folder.symlink_to("nowhere/at/all")


@pytest.mark.parametrize("hindrance", [a_file, a_dangling_link])
def test_a_folder_that_can_not_be_made_costs_a_debug_message(
    hindrance: Callable[[Path], None], cache: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    hindrance(cache.folder)
    caplog.set_level(logging.DEBUG, "fastprune")
    assert cache.read_by_scan() == ALL
    said = [record for record in caplog.records if "can't be written" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.DEBUG]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "replace", "fchmod"])
def test_a_file_that_can_not_be_written_leaves_the_old_one(
    call: str,
    number: int,
    cache: Remembering,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.read_by_scan()
    before = cache.file.read_bytes()

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    real = os.open

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        return refused() if flags & os.O_CREAT else real(path, flags, *rest, **named)

    def pieces(*_: Any) -> Iterator[bytes]:
        yield b"the beginning"
        refused()

    caplog.set_level(logging.DEBUG, "fastprune")
    with monkeypatch.context() as patch:
        if call == "write":
            patch.setattr("fastprune.scanning.memory.encoded", pieces)
        else:
            patch.setattr(os, call, opened if call == "open" else refused)
        assert cache.read_by_scan(rescan=True) == ALL
    assert cache.file.read_bytes() == before
    assert os.listdir(cache.folder) == [cache.file.name]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert os.strerror(number) in caplog.text
    assert cache.read_by_scan() == 0


def test_a_file_that_outgrows_a_limit_leaves_the_old_one(cache: Remembering) -> None:
    """The kernel ends the write in the middle, as it does on a full disk."""
    cache.read_by_scan()
    before = cache.file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        cache.scan(rescan=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.file.read_bytes() == before
    assert os.listdir(cache.folder) == [cache.file.name]


def test_who_may_not_write_there_still_uses_what_is_there(cache: Remembering) -> None:
    """Without the rights of root, the real permissions of a folder count."""
    cache.read_by_scan()
    cache.folder.chmod(0o500)
    script = (
        "import sys; from tests.support.remembered import Remembering; from pathlib import Path;"
        "from tests.support.clock import nothing_is_racy\n"
        "with nothing_is_racy(): print([Remembering(Path(sys.argv[1])).scan(rescan=bool(again))[1]"
        " for again in (0, 1, 0)])"
    )
    done = subprocess.run(
        [*without_privileges(), sys.executable, "-c", script, cache.root],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    cache.folder.chmod(0o700)
    assert (done.stdout, done.stderr) == (f"[0, {ALL}, 0]\n", "")


def aged(folder: Path, name: str, days: float) -> Path:
    path = folder / name
    path.write_bytes(b"x")
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def test_old_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    left = f".{NAME}-0123456789abcdef"
    assert KEPT_SECONDS == 90 * DAY
    go = [
        aged(tmp_path, NAME.replace("77", "1"), 90.1),
        aged(tmp_path, NAME.replace("77", "2"), 1000),
        aged(tmp_path, left, 1.1),
    ]
    stay = [
        aged(tmp_path, NAME.replace("77", "3"), 89.9),
        aged(tmp_path, left.replace("f", "e"), 0.9),
        # A user may have named a folder with other files.
        *(
            aged(tmp_path, name, 1000)
            for name in (
                *("document.scan", ".scan", "brain.scan-0123456789abcdef", "notes.txt"),
                *(f"{NAME}-old", f"my{NAME}", f"{NAME}.bak", f".{NAME}", NAME.upper()),
            )
        ),
    ]
    (tmp_path / NAME.replace("77", "4")).mkdir()
    os.utime(tmp_path / NAME.replace("77", "4"), (1, 1))
    victim = aged(tmp_path.parent, "victim", 1000)
    (tmp_path / NAME.replace("77", "5")).symlink_to(victim)
    store.store(str(tmp_path / NAME), [b"a", b"b"])
    assert (tmp_path / NAME).read_bytes() == b"ab"
    assert [path for path in go if path.exists()] == []
    assert [path for path in stay if not path.exists()] == []
    assert victim.exists()


def test_a_file_that_another_scan_removes_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    olds = [aged(tmp_path, NAME.replace("77", str(number)), 100) for number in range(3)]
    real = os.unlink

    def unlink(path: str) -> None:
        real(path)
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        store.store(str(tmp_path / NAME), [b"new"])
    assert [path for path in olds if path.exists()] == []


def test_a_used_file_is_kept(cache: Remembering, tmp_path: Path) -> None:
    cache.read_by_scan()
    os.utime(cache.file, (1, 1))
    assert cache.read_by_scan() == 0
    store.store(str(cache.folder / NAME), [b"of another cache"])
    assert cache.read_by_scan() == 0


def test_what_a_kill_left_of_a_file_is_not_read(cache: Remembering) -> None:
    cache.read_by_scan()
    file = cache.file
    file.rename(file.with_name(f".{file.name}-0123456789abcdef"))
    assert cache.read_by_scan() == ALL


@pytest.mark.parametrize(
    ("content", "inode", "answer"),
    [
        (b"content", 0, False),
        (b"contend", 0, True),
        (b"conten", 0, True),
        (b"contents", 0, False),
        (b"content", 1, True),
    ],
    ids=["the same", "other bytes", "cut off", "longer", "another file"],
)
def test_a_piece_is_checked(content: bytes, inode: int, answer: bool, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    task = PieceTask(str(path), path.stat().st_ino + inode, 0, 7, zlib.crc32(b"content"))
    assert list(damaged(task)) == [answer]
    path.unlink()
    assert list(damaged(task)) == [True]
