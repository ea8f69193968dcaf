"""Files that are there whole, on file systems that do not offer everything."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import pytest

from fastprune.whole_files import NotDurableError, lies_in, sync, sync_if_offered, write_whole


def refusing(numbers: dict[int, int], synced: list[int], descriptor: int) -> None:
    if number := numbers.get(descriptor):
        raise OSError(number, os.strerror(number))
    synced.append(descriptor)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_is_not_offered_for_one_is_done_for_the_others(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", partial(refusing, {7: number}, synced))
    with pytest.raises(NotDurableError):
        sync(7, 8)
    sync_if_offered(7, 9)
    assert synced == [8, 9]


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_an_error_is_raised_whatever_else_is_not_offered(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    numbers = {7: errno.EINVAL, 8: number}
    monkeypatch.setattr(os, "fsync", partial(refusing, numbers, synced))
    for make in (sync, sync_if_offered):
        with pytest.raises(OSError, match=os.strerror(number)) as raised:
            make(7, 8, 9)
        assert not isinstance(raised.value, NotDurableError)
        assert raised.value.errno == number
    assert synced == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_is_written_where_there_are_no_permissions_and_no_fsync(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(error: int, *_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fchmod", partial(refuse, number))
    monkeypatch.setattr(os, "fsync", partial(refuse, errno.EINVAL))
    path = tmp_path / "file"
    write_whole(str(path), [b"con", b"tent"], mode=0o644)
    assert path.read_bytes() == b"content"


def test_a_file_whose_permissions_can_t_be_set_for_another_reason_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EIO, "no mode")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(OSError, match="no mode"):
        write_whole(str(tmp_path / "file"), [b"content"], mode=0o600)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("cache", True),
        ("cache/deep/er", True),
        ("link", True),
        ("link/not/there", True),
        ("other/../cache/x", True),
        ("out", False),
        ("other", False),
        ("cache-beside", False),
        (".", False),
    ],
)
def test_a_path_lies_in_a_folder_by_whatever_links(
    path: str, expected: bool, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("cache")
    (tmp_path / "cache" / "out").symlink_to("../other")
    (tmp_path / "out").symlink_to("cache/out")
    assert lies_in(str(tmp_path / path), str(tmp_path / "cache")) is expected
