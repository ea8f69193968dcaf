"""What must hold for every manifest file, whatever is in it.

A file is read as a scan reads it. The result is a fault with a reason, or a row that says
exactly what a slow and independent reading of the same bytes says (`tests.support.oracle`).
A doubtful file never counts as one without references.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
from tests.support import oracle

from fastprune.deletion.checks import still_says
from fastprune.errors import CutOffError, ManifestError
from fastprune.index.builder import IndexBuilder
from fastprune.index.cache_index import CacheIndex
from fastprune.index.digests import DigestTable, as_digests
from fastprune.index.merging import merge_shards
from fastprune.index.records import kept_records
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import ManifestRecord
from fastprune.reading.chunks import ReadTask, read_chunk
from fastprune.reading.shards import ABSENT, ShardIndex, UrlForm, check_record
from fastprune.scanning.scanner import MAX_MANIFEST_BYTES

NAME = bytes(range(1, 33))
# JSON that Python's own json can't read: the oracle can't judge it.
_BEYOND_THE_ORACLE = ("nested too deeply", "not JSON: Exceeds the limit")
_PATTERNS = (("a",), (r"^[^@]*:\w+$", "sha256"))


class Checker:
    """Checks manifests, in a cache that holds one file."""

    def __init__(self, root: Path) -> None:
        """Makes the folder of the file.

        Args:
            root: An empty folder, in memory if possible.
        """
        self._root = root
        self._folder = root / "img"
        self._folder.mkdir()
        self._file = self._folder / NAME.hex()
        self._descriptor = os.open(self._folder, os.O_RDONLY)

    def close(self) -> None:
        """Closes the folder."""
        os.close(self._descriptor)

    def check(self, content: bytes) -> bool:
        """Checks one manifest.

        Args:
            content: Of the file.

        Returns:
            Whether it was understood.

        Raises:
            AssertionError: The result is wrong.
            Exception: The program raised something that it must not raise.
        """
        record, retry = _parsed(content)
        _check_upstream(content, record)
        self._file.write_bytes(content)
        (shard,) = read_chunk(
            ReadTask(
                str(self._folder), 0, NAME, MAX_MANIFEST_BYTES, True, _PATTERNS, DEFAULT_LAYOUT
            )
        )
        index = self._index(shard)
        if record is None:
            (fault,) = shard.faults
            assert (fault.row, fault.retry, fault.vanished) == (0, retry, False)
            assert fault.reason.strip()
            assert (shard.kinds[0], len(index)) == (ABSENT, 0)
            assert (shard.digests, len(shard.sizes)) == (b"", 0)
            return False
        assert shard.faults == ()
        self._check_row(content, record, shard)
        self._check_that_it_can_be_removed(index)
        return True

    def _check_row(self, content: bytes, record: ManifestRecord, shard: ShardIndex) -> None:
        """The row, the record and the oracle say the same."""
        try:
            manifest = oracle.parse("img/" + NAME.hex(), content)
        except Exception as error:
            if str(error).startswith(_BEYOND_THE_ORACLE):
                return
            raise AssertionError(f"understood, but: {error}") from error
        digests = manifest.children if manifest.is_list else manifest.blobs
        assert shard.digests == bytes.fromhex("".join(digests))
        assert list(shard.digest_counts) == [len(digests)]
        assert len(shard.sizes) == (0 if manifest.is_list else len(digests))
        assert manifest.is_list or digests, "an image without references"
        assert list(shard.declared) == [sum(shard.sizes)]
        assert (shard.kinds[0] in (0, 2)) == manifest.is_list
        own_digest = shard.url_forms[0] == UrlForm.OWN_DIGEST
        end = f"@sha256:{NAME.hex()}" if own_digest else ""
        assert shard.url_bytes.decode() + end == record.url == manifest.url
        assert (shard.url_forms[0] != UrlForm.TAG) == oracle.is_digest_url(manifest.url)
        assert list(shard.file_sizes) == [manifest.size]
        assert record.created == (manifest.created or "")
        assert record.pulled == (manifest.pulled or "")

    def _index(self, shard: ShardIndex) -> CacheIndex:
        builder = IndexBuilder(
            str(self._root), 0.0, [NAME, b""], _PATTERNS, layout=DEFAULT_LAYOUT, edges=True
        )
        # One of the blobs is there, the others are missing.
        builder.set_blobs(DigestTable.from_unsorted(as_digests(shard.digests[:32])))
        builder.add(merge_shards([shard]), builder.rows_of(0, slice(0, 1)))
        return builder.finish([], [], 0)

    def _check_that_it_can_be_removed(self, index: CacheIndex) -> None:
        """Read again, unchanged, it says what it said; else it could never be pruned."""
        (record,) = kept_records(index, np.array([0]))
        assert still_says(DEFAULT_LAYOUT, record, self._descriptor, NAME.hex())


def _check_upstream(content: bytes, record: ManifestRecord | None) -> None:
    """What `verify` looks at besides: nothing is raised, and the record is the same."""
    DEFAULT_LAYOUT.digests_in(content)
    try:
        again, upstream = DEFAULT_LAYOUT.parse_with_upstream(content)
    except ManifestError:
        assert record is None
        return
    assert record is None or again == record
    named = b"" if upstream is None else sha256(upstream).digest()
    reason = DEFAULT_LAYOUT.disagreement(again, upstream, named)
    assert not reason.startswith("its bytes have")


def _parsed(content: bytes) -> tuple[ManifestRecord | None, bool]:
    """The record, or None and whether reading again may help. Other errors are not caught."""
    try:
        record = DEFAULT_LAYOUT.parse(content)
        check_record(record)
    except ManifestError as error:
        return None, isinstance(error, CutOffError)
    return record, False
