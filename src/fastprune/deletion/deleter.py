"""The only module that deletes or moves in a cache.

Stage: apply. Input: open folders and batches of names. Output: what became of each
file. I/O: unlink, rename, link, mkdir, rmdir, stat and fsync, relative to
descriptors of the folders.

All functions block; those that work on a batch are called on threads. The order in which
files go is decided by `pruning`, `repairing` and `trashing`.

A name is always 64 hex digits made from raw bytes of a directory listing, relative to a
folder's descriptor: nothing that a manifest says can become a path.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import IntEnum
from typing import NamedTuple, Protocol

from fastprune.deletion.checks import Check
from fastprune.errors import TrashError
from fastprune.layouts.layout import Layout
from fastprune.reading.folders import status_of
from fastprune.reading.trash_folders import STEPS, open_root, open_step, opened_cache, opened_run
from fastprune.whole_files import sync, sync_if_offered

_TRASH_MODE = 0o755
_CHECKING = threading.Lock()
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""The errors where hard links can't be made at all, by this user, or to this file."""


class Outcome(IntEnum):
    """What became of one file."""

    REMOVED = 0
    GONE = 1
    CHANGED = 2
    FAILED = 3


class Batch(NamedTuple):
    """Some files of one folder that are to go.

    Attributes:
        names: Their names.
        sizes: Bytes of each, as far as they are known from the scan.
        checks: Whether each is still what it was, asked right before it goes; None for files
            that are known by their names alone, as blobs are.
    """

    names: list[str]
    sizes: list[int]
    checks: Sequence[Check] | None = None


class BatchResult(NamedTuple):
    """What became of a batch, file by file.

    Attributes:
        outcomes: Values of `Outcome`.
        freed: Bytes of each file that was removed, else 0.
        errors: The errno of each failed file, by position; 0 if no call of the system failed.
        said: Of those, why they failed.
    """

    outcomes: bytearray
    freed: list[int]
    errors: dict[int, int]
    said: dict[int, str] | None = None

    def message(self, position: int) -> str:
        """Why a file failed, in words."""
        return (self.said or {}).get(position) or os.strerror(self.errors[position])

    def where(self, *outcomes: Outcome) -> list[int]:
        """Positions of the files with some outcomes."""
        return [at for at, outcome in enumerate(self.outcomes) if outcome in outcomes]


def all_of(
    count: int, outcome: Outcome, *, freed: Sequence[int] = (), number: int = 0, said: str = ""
) -> BatchResult:
    """The same outcome for so many files.

    Args:
        count: How many.
        outcome: What became of each.
        freed: Bytes of each, if they were removed.
        number: The errno, if they failed.
        said: Why they failed, if the errno does not tell.
    """
    failed = range(count if outcome == Outcome.FAILED else 0)
    return BatchResult(
        bytearray([outcome]) * count,
        list(freed) or [0] * count,
        dict.fromkeys(failed, number),
        dict.fromkeys(failed, said),
    )


class Deleter(Protocol):
    """Removes batches of files, in one way or another, of `batch_size` names at most."""

    batch_size: int

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """Removes a batch from an open folder; called on several threads at once."""

    def settle(self, folder: int) -> None:
        """Makes what was removed from an open folder durable.

        Raises:
            NotDurableError: The file system does not offer it.
            OSError: It failed.
        """


class Unlinker:
    """Deletes."""

    batch_size = 256

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`. What changed since the scan is left alone."""

        def unlink(name: str) -> bool:
            # Nothing is asked about a blob here: one more call for each costs more than the
            # unlinking. `guard.drift.replaced_blobs` has asked about all at once. If a link
            # has taken the place of a blob since, the link goes, and not what it leads to.
            # A folder stays.
            os.unlink(name, dir_fd=folder)
            return True

        return _one_by_one(folder, batch, unlink)

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`."""
        sync(folder)


def look_at(folder: int, batch: Batch) -> BatchResult:
    """Asks the checks of a batch, and leaves its files alone.

    What is still as it was has `Outcome.REMOVED`, as if it had gone.
    """
    return _one_by_one(folder, batch, lambda name: True)


def _one_by_one(folder: int, batch: Batch, take: Callable[[str], bool]) -> BatchResult:
    """Takes files away that are still what they were, and notes what became of each.

    `take` takes one away, by its name; it gives False for one that is not what it was, after all.
    """
    names, checks = batch.names, batch.checks
    outcomes = bytearray(len(names))
    freed = [0] * len(names)
    errors: dict[int, int] = {}

    def attempt(act: Callable[[int], bool], positions: Sequence[int]) -> list[int]:
        """Does something with files; gives those it succeeds with, and notes the others."""
        succeeded = []
        for position in positions:
            try:
                if act(position):
                    succeeded.append(position)
                else:
                    outcomes[position] = Outcome.CHANGED
            except MemoryError:
                # What was done to the others must be told all the same.
                outcomes[position] = Outcome.FAILED
                errors[position] = errno.ENOMEM
            except OSError as error:
                if error.errno == errno.ENOENT and _is_gone(names[position], folder):
                    outcomes[position] = Outcome.GONE
                    continue
                outcomes[position] = Outcome.FAILED
                errors[position] = error.errno or errno.EIO
        return succeeded

    going: Sequence[int] = range(len(names))
    if checks is not None:
        # A check is many short calls, and a thread waits for its turn after each. One thread
        # at a time checks a batch in half the time that all of them together would take.
        with _CHECKING:
            going = attempt(lambda at: checks[at](folder, names[at]), going)
    for position in attempt(lambda at: take(names[at]), going):
        outcomes[position] = Outcome.REMOVED
        freed[position] = batch.sizes[position]
    return BatchResult(outcomes, freed, errors)


def _is_gone(name: str, folder: int) -> bool:
    """Whether a file that was not found is really not there.

    A file that is gone counts as removed, and what only it needed goes next. So the system is
    asked once more: a move fails the same way if the trash is gone, and a file server may be wrong.
    """
    try:
        return status_of(name, within=folder) is None
    except OSError:
        return False


class Mover:
    """Moves into the trash, by renaming; made by `moving_to_trash`."""

    batch_size = 256

    def __init__(self, folders: Iterable[tuple[int, int]]) -> None:
        """Moves nothing yet. Of each pair of open folders, the second gets files of the first."""
        self._trash = {_identity(folder): trash for folder, trash in folders}

    def remove(self, folder: int, batch: Batch) -> BatchResult:
        """See `Deleter.remove`. What changed since the scan is left alone."""
        try:
            trash = self._trash[_identity(folder)]
        except OSError as error:
            return all_of(len(batch.names), Outcome.FAILED, number=error.errno or errno.EIO)
        except KeyError:
            # Another folder has its name since the run began.
            return all_of(len(batch.names), Outcome.FAILED, number=errno.ESTALE)
        unchecked = batch.checks is None

        def move(name: str) -> bool:
            # Unlike unlinking, renaming works on folders as well.
            if unchecked and not stat.S_ISREG(_status(name, folder).st_mode):
                return False
            os.rename(name, name, src_dir_fd=folder, dst_dir_fd=trash)
            return True

        return _one_by_one(folder, batch, move)

    def settle(self, folder: int) -> None:
        """See `Deleter.settle`.

        First the trash, then the folder: so after a power cut the files are in at least one
        of the two, even where a rename is not atomic.
        """
        trash = self._trash.get(_identity(folder))
        sync(*(one for one in (trash, folder) if one is not None))


def _identity(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino


def _status(name: str, folder: int) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


@contextmanager
def moving_to_trash(root: str, run: str, layout: Layout) -> Iterator[Mover]:
    """Makes the folders of a new run in the trash, durably; removes those that stay empty.

    The caller has locked the cache.

    Raises:
        TrashError: It can't be done; nothing was moved.
    """
    with ExitStack() as opened:
        opened.callback(remove_run, root, run, layout)
        try:
            _make_run(root, run, layout)
            trash = opened.enter_context(opened_run(root, run, layout))
            cache = opened.enter_context(opened_cache(root, layout))
            for name, folder in cache.items():
                if name not in trash:
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
                _check_renaming(name, folder, trash[name], run)
        except OSError as error:
            raise TrashError(
                f"the trash can't be made in {root}: {error.strerror}; nothing was moved"
            ) from error
        yield Mover((folder, trash[name]) for name, folder in cache.items())


def _make_run(root: str, run: str, layout: Layout) -> None:
    with ExitStack() as opened:
        at = open_root(root, opened)
        for step in STEPS:
            with suppress(FileExistsError):
                os.mkdir(step, _TRASH_MODE, dir_fd=at)
            sync_if_offered(at)
            at = open_step(step, at, opened)
        os.mkdir(run, _TRASH_MODE, dir_fd=at)
        sync_if_offered(at)
        at = open_step(run, at, opened)
        for name in layout.folders:
            os.mkdir(name, _TRASH_MODE, dir_fd=at)
        sync_if_offered(at)


def _check_renaming(name: str, folder: int, trash: int, absent: str) -> None:
    """Makes sure that files can be renamed from one folder to another.

    It tries that with a file that is not there. The system says so only after it has compared
    the file systems, and where they are mounted.
    """
    try:
        if os.fstat(folder).st_dev != os.fstat(trash).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        os.rename(absent, absent, src_dir_fd=folder, dst_dir_fd=trash)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise TrashError(
            f"{name}/ and {os.path.join(*STEPS)} are not on the same file system, "
            "so files can't be moved there; nothing was moved"
        ) from None


def remove_run(root: str, run: str, layout: Layout) -> None:
    """Removes the folders of a run that are empty, and those of the trash if they are."""
    # The first folder goes last: without it, a run does not look like one.
    remove_empty(root, (*STEPS, run), layout.folders)


def remove_empty(root: str, steps: Iterable[str] = STEPS, within: Iterable[str] = ()) -> None:
    """Removes folders that are empty, as a crash may leave them: by default, those of the trash.

    It begins with the innermost, and ends at the first that is not empty or can't be removed.

    Args:
        root: Path of the cache.
        steps: A path: folders, each in the one before, the first one in the cache.
        within: The folders in the last of these, which go before it.
    """
    way: list[tuple[int, str]] = []
    with ExitStack() as opened, suppress(OSError):
        at = open_root(root, opened)
        with suppress(FileNotFoundError, TrashError):
            for step in steps:
                inner = open_step(step, at, opened)
                way.append((at, step))
                at = inner
            way += [(at, name) for name in within]
        for parent, name in reversed(way):
            with suppress(FileNotFoundError):
                os.rmdir(name, dir_fd=parent)


class Restorer(Unlinker):
    """Puts files of the trash back into the cache, never over what is there.

    What was put back can then be removed from the trash.
    """

    def put_back(self, trash: int, folder: int, batch: Batch) -> BatchResult:
        """Gives files their names in the cache again; called on several threads at once.

        Those in the trash stay until `remove`, so that a crash in between loses nothing. What has
        another file of its name in the cache gets `Outcome.CHANGED`.
        """
        return _one_by_one(trash, batch, lambda name: _link_back(name, trash, folder))


def set_aside(folder: int, trash: int, batch: Batch) -> BatchResult:
    """Gives files of the cache a second name in the trash, so that they outlive the first.

    What has a second name now has `Outcome.REMOVED`, although it is still in the cache. What is no
    regular file has `Outcome.CHANGED`.
    """
    return _one_by_one(folder, batch, lambda name: _link(name, folder, trash))


def _link(name: str, source: int, target: int) -> bool:
    """Makes a second name for a regular file in a folder; False if that has another file."""
    status = _status(name, source)
    if not stat.S_ISREG(status.st_mode):
        return False
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        # It may be the same file: an earlier run ended before it removed the other name.
        return os.path.samestat(_status(name, target), status)
    return True


def _link_back(name: str, trash: int, folder: int) -> bool:
    """Makes a name in the cache for a file of the trash; False if it has another file."""
    try:
        return _link(name, trash, folder)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        # Without hard links it must be looked for first. The lock keeps every other fastprune
        # away. If a server writes the file in between, it is the same blob or manifest.
        if status_of(name, within=folder) is not None:
            return False
        os.rename(name, name, src_dir_fd=trash, dst_dir_fd=folder)
    return True
