"""The audit log as a journal: the lines that it writes, and the lines that it can't write."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from fastprune import JournalEntry, JournalError, UsageError
from fastprune.audit.audit_log import AuditLog

NOW = datetime(2026, 11, 23, 14, 5, 1, 250_000, tzinfo=UTC)
RUN = "20261123T140501Z-3fa9c1"
IMAGE = JournalEntry("image", "img/" + "ab" * 32, "r/a:1", "selected", 12, "removed", None)
BLOB = JournalEntry("blob", "blobs/" + "cd" * 32, None, "orphan", 0, "failed", "I/O error")

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_blocking")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def log(path: Path, descriptor: int) -> AuditLog:
    return audit_log(descriptor, str(path))


@pytest.fixture
def full() -> Iterator[int]:
    """A device on which there is never any room."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


def audit_log(descriptor: int, path: str = "log") -> AuditLog:
    return AuditLog(path, descriptor, run=RUN, action="delete", now=lambda: NOW)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(path).splitlines()]


async def test_every_line_has_run_and_time_and_says_what_it_is(log: AuditLog, path: Path) -> None:
    await log.start({"image_path": "/cache"})
    await log.note([IMAGE, BLOB])
    await log.settle()
    await log.end({"exit_code": 3})
    shared = {"run": RUN, "time": "2026-11-23T14:05:01.250Z"}
    image = {
        "kind": "image",
        "name": IMAGE.path,
        "url": "r/a:1",
        "reason": "selected",
        "bytes": 12,
        "outcome": "removed",
        "error": None,
    }
    blob = {
        "kind": "blob",
        "name": BLOB.path,
        "reason": "orphan",
        "bytes": 0,
        "outcome": "failed",
        "error": "I/O error",
    }
    assert lines(path) == [
        {**shared, "event": "start", "format": 1, "image_path": "/cache", "action": "delete"},
        {**shared, "event": "file", "action": "delete", **image},
        {**shared, "event": "file", "action": "delete", **blob},
        {**shared, "event": "end", "exit_code": 3},
    ]


@pytest.mark.parametrize("before", ["", '{"a":1}\n', '{"a":'])
async def test_it_appends_after_what_was_there_and_after_a_line_that_was_cut_off(
    before: str, log: AuditLog, path: Path, descriptor: int
) -> None:
    os.write(descriptor, before.encode())
    await log.start({})
    *earlier, start = text_of(path).splitlines()
    assert earlier == before.splitlines()
    assert json.loads(start)["event"] == "start"


async def test_text_from_a_cache_can_not_act_on_a_terminal_or_end_a_line(
    log: AuditLog, path: Path
) -> None:
    url = 'r/\x1b[2J\n{"event":"end"}\x9b\u202e\u2028:1'
    await log.start({})
    await log.note([IMAGE._replace(url=url)])
    text = text_of(path)
    assert len(text.splitlines()) == 2
    assert text.replace("\n", "").isprintable()
    assert lines(path)[1]["url"] == url


async def test_batches_that_come_at_once_do_not_mix(log: AuditLog, path: Path) -> None:
    await log.start({})
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(log.note, [BLOB._replace(size=number)] * 50)
    written = [line["bytes"] for line in lines(path)[1:]]
    assert sorted(written) == sorted(list(range(20)) * 50)
    assert [written[at] for at in range(0, 1000, 50)] == list(dict.fromkeys(written))


async def test_a_first_line_that_can_t_be_written_refuses_the_run(full: int) -> None:
    with pytest.raises(UsageError, match="No space left on device; nothing was deleted"):
        await audit_log(full).start({})


async def test_lines_that_could_not_be_written_are_written_in_the_end(
    log: AuditLog, path: Path, descriptor: int, full: int
) -> None:
    await log.start({})
    room = os.dup(descriptor)
    os.dup2(full, descriptor)
    for entries in ([IMAGE], [BLOB, BLOB]):
        with pytest.raises(JournalError, match=r"log can't be written: No space left on device"):
            await log.note(entries)
    assert len(lines(path)) == 1
    os.dup2(room, descriptor)
    os.close(room)
    await log.end({"exit_code": 3})
    assert [line.get("kind", line["event"]) for line in lines(path)] == [
        *("start", "image", "blob", "blob", "end"),
    ]


async def test_a_line_that_was_written_in_part_is_continued() -> None:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    log = audit_log(writing)
    await log.start({})
    with pytest.raises(JournalError):
        await log.note([BLOB] * 1000)
    first = os.read(reading, 1 << 20)
    assert first[-1:] != b"\n"
    with pytest.raises(JournalError):
        await log.note([IMAGE])
    text = first + os.read(reading, 1 << 20)
    while not text.endswith(b'"exit_code":3}\n'):
        with contextlib.suppress(JournalError):
            await log.end({"exit_code": 3})
        text += os.read(reading, 1 << 20)
    kinds = [json.loads(line).get("kind") for line in text.splitlines()]
    assert (kinds.count("blob"), kinds.count("image")) == (1000, 1)
    os.close(reading)
    os.close(writing)


async def test_lines_that_are_missing_in_the_end_are_counted(
    log: AuditLog, path: Path, descriptor: int, full: int
) -> None:
    await log.start({})
    os.dup2(full, descriptor)
    with pytest.raises(JournalError):
        await log.note([IMAGE, BLOB])
    with pytest.raises(JournalError, match="lines that are missing in it: 3") as failure:
        await log.end({})
    assert failure.value.exit_code == 3
    assert len(lines(path)) == 1


async def test_a_reader_that_went_away_is_a_failure_and_no_signal() -> None:
    reading, writing = os.pipe()
    log = audit_log(writing)
    await log.start({})
    os.close(reading)
    with pytest.raises(JournalError, match=os.strerror(errno.EPIPE)):
        await log.note([IMAGE])
    os.close(writing)


async def test_what_is_no_file_need_not_be_durable() -> None:
    reading, writing = os.pipe()
    await audit_log(writing).settle()
    os.close(reading)
    os.close(writing)


async def test_a_file_that_can_t_be_made_durable_is_a_failure(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(JournalError, match=os.strerror(errno.EIO)):
        await log.settle()
