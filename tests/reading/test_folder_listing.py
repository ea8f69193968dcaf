"""Listing a folder: cached files by name, and all else as foreign."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from tests.support.cachebuilder import CacheBuilder, can_make_devices, digest_of

from fastprune.reading import folders
from fastprune.reading.folders import ListingPart, StatTask, list_folder, open_folder, stat_files
from fastprune.reading.marks import FileSizes

# What systems say of O_NOATIME: not for you, or not here.
NO_SUCH_FLAG = (
    *(errno.EPERM, errno.EACCES, errno.EINVAL, errno.EROFS, errno.EOPNOTSUPP),
    errno.ENOSYS,
)
NAMES = [digest_of(str(number)) for number in range(10)]


def whole(parts: list[ListingPart]) -> tuple[list[str], list[str]]:
    digests = b"".join(part.digests for part in parts)
    names = [digests[at : at + 32].hex() for at in range(0, len(digests), 32)]
    return sorted(names), sorted(name for part in parts for name in part.foreign)


def test_regular_files_named_by_a_digest_are_listed_and_nothing_else(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    for name in NAMES:
        builder.raw("img", name, b"")
    odd = [NAMES[0].upper(), NAMES[0] + ".tmp", NAMES[0][:-1], ".nfs0001", "README", "٠" * 64]
    odd.append(os.fsdecode(b"\xff" * 64))
    foreign = [builder.raw("img", name, b"") for name in odd]
    hazards: list[Callable[[str], str]] = [builder.fifo, builder.socket, builder.directory]
    if can_make_devices(tmp_path):
        hazards.append(builder.device)
    foreign += [make("img") for make in hazards]
    foreign.append(builder.symlink("img", NAMES[0]))
    names, others = whole(list(list_folder(str(tmp_path / "img"))))
    assert names == sorted(NAMES)
    assert others == sorted(path.removeprefix("img/") for path in foreign)


class Entry(NamedTuple):
    """An entry of a folder that lists no kinds, so that each is asked for."""

    name: str
    answers: list[bool]

    def is_file(self, *, follow_symlinks: bool) -> bool:
        assert not follow_symlinks
        return self.answers.pop(0)


def test_where_kinds_are_not_listed_each_name_is_asked_for_once() -> None:
    """A file that is being replaced may be no file now and one a moment later."""
    entries = [Entry(NAMES[0], [True, False]), Entry(NAMES[1], [False, True])]
    part = folders._listing_part(cast("list[os.DirEntry[str]]", entries))
    assert (part.digests.hex(), part.foreign) == (NAMES[0], (NAMES[1],))
    assert part.irregular == [NAMES[1]]


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_a_listing_in_parts_is_whole_and_only_the_last_part_says_so(
    size: int, tmp_path: Path
) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
    (tmp_path / "README").touch()
    parts = list(list_folder(str(tmp_path), part_size=size))
    assert whole(parts) == (sorted(NAMES), ["README"])
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]


def test_an_empty_folder_still_has_a_last_part(tmp_path: Path) -> None:
    assert list(list_folder(str(tmp_path))) == [ListingPart(b"", (), last=True)]


def test_a_folder_that_can_t_be_listed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("missing", "file", "link"):
        with pytest.raises(OSError, match=name):
            list(list_folder(str(tmp_path / name)))


def test_a_listing_leaves_no_descriptor_open_even_if_it_is_abandoned(
    tmp_path: Path,
) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
    before = os.listdir("/proc/self/fd")
    list(list_folder(str(tmp_path), part_size=1))
    abandoned = list_folder(str(tmp_path), part_size=1)
    next(abandoned)
    del abandoned
    assert os.listdir("/proc/self/fd") == before


def test_listing_leaves_the_access_time_alone(tmp_path: Path) -> None:
    (tmp_path / NAMES[0]).touch()
    os.utime(tmp_path, ns=(1, 2))
    list(list_folder(str(tmp_path)))
    assert tmp_path.stat().st_atime_ns == 1


@pytest.mark.parametrize("number", NO_SUCH_FLAG)
def test_a_folder_of_another_owner_is_opened_without_the_flag_for_owners(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if flags & os.O_NOATIME:
            raise OSError(number, os.strerror(number))
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    os.close(open_folder(str(tmp_path)))


def test_sizes_come_in_the_order_asked_for_and_gone_files_have_none(tmp_path: Path) -> None:
    for position, name in enumerate(NAMES[:4]):
        (tmp_path / name).write_bytes(bytes(position + 1))
    asked = [NAMES[3], NAMES[9], NAMES[0]]
    task = StatTask(str(tmp_path), 17, b"".join(map(bytes.fromhex, asked)))
    (answer,) = stat_files(task)
    assert isinstance(answer, FileSizes)
    assert (answer.first, answer.sizes.tolist()) == (17, [4, 0, 1])
