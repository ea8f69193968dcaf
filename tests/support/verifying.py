"""Runs `verify --content` with a folder for state, and counts which blobs it reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.support.clock import wait_for_the_clock
from tests.support.verify_oracle import Found, found_in

from fastprune import Findings
from fastprune.executors.inline import InlineExecutor
from fastprune.index import verified_blobs
from fastprune.model import file_names
from fastprune.reading.blob_contents import HashTask, hash_files
from fastprune.reading.identities import NOTHING_IS_RACY, identity_of
from fastprune.reading.marks import BLOB_IDENTITY
from fastprune.scanning.content_since import LAST, Since
from fastprune.scanning.memory import StateFolder
from fastprune.scanning.scanner import ScanOptions
from fastprune.text.escaping import document_lines
from fastprune.verification.report import as_document
from fastprune.verification.verifier import VerifyOptions, verify_cache

T = TypeVar("T")
R = TypeVar("R")


class InterruptedHereError(Exception):
    """Stands for whatever ends a run in the middle."""


class Reading(InlineExecutor):
    """Works in this process, and keeps the names of the blobs that it reads, in order."""

    def __init__(self, most: int | None = None) -> None:
        """Reads nothing yet.

        Args:
            most: After so many pieces of blobs it is interrupted; None for never.
        """
        self.read: list[str] = []
        self._left = most

    def map_unordered(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T], *, ahead: int = 1
    ) -> Iterator[R]:
        """See `Executor.map_unordered`."""
        for item in items:
            if isinstance(item, HashTask):
                assert function == hash_files
                assert ahead == 0
                if self._left == 0:
                    raise InterruptedHereError
                self._left = None if self._left is None else self._left - 1
                self.read += file_names(item.digests)
            yield from function(item)


class Verifying:
    """A cache and a folder for state.

    Attributes:
        root: The cache.
        folder: The folder for state, beside it.
        last: The findings of the last run that ended by itself.
    """

    def __init__(self, root: Path) -> None:
        """Runs nothing yet."""
        self.root, self.folder = root, root.parent / "state"
        self.last: Findings

    @property
    def file(self) -> Path:
        """The file that says what was verified; there must be just one."""
        (file,) = self.folder.glob("*.verified")
        return file

    def run(self, since: Since = LAST, *, most: int | None = None, **options: Any) -> set[str]:
        """Verifies; gives the names of the blobs that were read.

        Args:
            since: See `VerifyOptions.content_since`.
            most: After so many pieces of blobs it is interrupted; None for never.
            options: More attributes of `VerifyOptions`.
        """
        wait_for_the_clock(self.root)
        reading = Reading(most)
        scan = ScanOptions(state=StateFolder(str(self.folder)))
        how = VerifyOptions(scan=scan, content=True, content_since=since, **options)
        try:
            self.last = verify_cache(str(self.root), lambda _: reading, how)
        except InterruptedHereError:
            assert most is not None
        else:
            assert self.last.content.blobs == len(reading.read)
        assert len(set(reading.read)) == len(reading.read)
        return set(reading.read)

    def whole(self) -> Findings:
        """The findings of a run that remembers nothing."""
        how = VerifyOptions(content=True)
        return verify_cache(str(self.root), lambda _: InlineExecutor(), how)

    def forge(self, name: str) -> None:
        """Lets the state say that a blob was sound as it is now."""
        content = self.file.read_bytes()
        found = verified_blobs.decoded(memoryview(content))
        columns = {one: found.column(one).copy() for one in verified_blobs.COLUMNS}
        row = file_names(columns["digests"].tobytes()).index(name)
        status = (self.root / "blobs" / name).stat()
        identity = identity_of(status, NOTHING_IS_RACY, BLOB_IDENTITY)
        columns["identities"][row] = bytearray(identity)
        rows = range(len(columns["digests"]))
        self.file.write_bytes(
            b"".join(verified_blobs.encoded(found.header, list(rows), **columns))  # type: ignore[arg-type]
        )


def findings_of(findings: Findings) -> Found:
    """What was found, as the oracle says it."""
    return found_in(json.loads("\n".join(document_lines(as_document(findings, summary=False)))))
