"""A file of a remembered scan that is damaged anywhere is not used, and everything is read.

A file that another program cuts off while it is mapped would end the process: that is not tested.
Nothing of fastprune cuts one off: a new one takes the place of the old one, which stays whole for
whoever has mapped it.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator

import pytest
from tests.property.decoding import decoded
from tests.support.cachebuilder import CacheBuilder
from tests.support.remembered import Remembering, warnings_of
from tests.support.scanning import scanned

from fastprune.errors import NotBelievedError
from fastprune.executors.inline import InlineExecutor
from fastprune.index import column_files, remembered
from fastprune.index.remembered import RememberedScan
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.scanning.memory import ScanMemory, StateFolder
from fastprune.scanning.scanner import MAX_MANIFEST_BYTES

ALL = 7
Damage = Callable[[bytes, int], bytes]


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def inverted(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


def zeroed(content: bytes, at: int) -> bytes:
    return content[:at] + b"\0" + content[at + 1 :]


def zeroed_from(content: bytes, at: int) -> bytes:
    """What a crash of the machine leaves of a file that was not on disk yet."""
    return content[:at] + bytes(len(content) - at)


def sector_zeroed(content: bytes, at: int) -> bytes:
    return (content[:at] + bytes(512) + content[at + 512 :])[: len(content)]


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


def left_out(content: bytes, at: int) -> bytes:
    return content[:at] + content[at + 1 :]


def put_in(content: bytes, at: int) -> bytes:
    return content[:at] + b"\0" + content[at:]


def doubled(content: bytes, at: int) -> bytes:
    return content + content[at:]


DAMAGES = (
    *(flipped, inverted, zeroed, zeroed_from, sector_zeroed),
    *(cut, left_out, put_in, doubled),
)


@pytest.fixture(params=[column_files.PIECE_BYTES, 64], ids=["one piece a column", "many pieces"])
def known(
    request: pytest.FixtureRequest, cache: Remembering, monkeypatch: pytest.MonkeyPatch
) -> Remembering:
    """A cache that was scanned."""
    monkeypatch.setattr(column_files, "PIECE_BYTES", request.param)
    cache.read_by_scan()
    return cache


def recalled(known: Remembering) -> bool:
    """Whether a scan would use what lies there."""
    scan_memory = ScanMemory(
        str(known.root),
        DEFAULT_LAYOUT,
        StateFolder(str(known.folder)),
        scanned_at=time.time(),
        max_manifest_bytes=MAX_MANIFEST_BYTES,
    )
    scan_memory.recall(lambda _: InlineExecutor())
    return scan_memory.recalled is not None


def sound_scan(content: bytes) -> RememberedScan | None:
    """The scan in a file, if it passes the checks that its pieces go through."""
    try:
        scan = remembered.decoded(memoryview(content))
    except NotBelievedError:
        return None
    for start, size, checksum in scan.pieces:
        piece = content[start : start + size]
        if len(piece) != size or zlib.crc32(piece) != checksum:
            return None
    return scan


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damage_at_any_byte_is_found(damage: Damage, known: Remembering) -> None:
    sound = known.file.read_bytes()
    before = sound_scan(sound)
    assert before is not None
    damaged = 0
    for at in range(len(sound)):
        content = damage(sound, at)
        damaged += content != sound
        after = sound_scan(content) if content != sound else None
        if after is None:
            continue
        # More bytes between the columns and the footer: nothing that is used is another.
        assert damage in (put_in, doubled), at
        assert after.header == before.header
        for name in remembered.COLUMNS:
            assert after.raw(name) == before.raw(name)
    assert damaged > len(sound) // 4


@pytest.mark.parametrize("damage", DAMAGES[:-2], ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_not_used(
    damage: Damage, known: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    file, damaged = known.file, 0
    sound = file.read_bytes()
    with warnings_of(caplog) as warnings:
        for at in sorted({*range(0, len(sound), len(sound) // 20), *places(sound)}):
            content = damage(sound, at)
            if content != sound:
                damaged += 1
                file.write_bytes(content)
                assert not recalled(known), at
    assert len(warnings) == damaged > 10
    assert {line.rpartition(": ")[2] for line in warnings} <= {
        "it is damaged",
        "it is of another version",
    }
    file.write_bytes(sound)
    assert recalled(known)


def places(content: bytes) -> Iterator[int]:
    """One in each part of the file: magic, version, each column and its padding, footer, end."""
    yield from (0, 14, 15)
    scan = remembered.decoded(memoryview(content))
    for name in remembered.COLUMNS:
        start, size = scan.place(name)
        yield from {start, start + size // 2, start + max(size - 1, 0), start + size}
    footer = content.rindex(b'{"columns"')
    yield from (footer, footer + 40, len(content) - 17, len(content) - 16, len(content) - 8)
    yield from (len(content) - 5, len(content) - 4, len(content) - 1)


@pytest.mark.parametrize("damage", [flipped, cut], ids=lambda damage: damage.__name__)
def test_the_index_is_that_of_a_full_scan(
    damage: Damage, known: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    file = known.file
    sound, whole = file.read_bytes(), decoded(scanned(known.root))
    for at in sorted(set(places(sound))):
        file.write_bytes(damage(sound, at))
        with warnings_of(caplog) as warnings:
            index, read = known.scan()
        assert (read, len(warnings)) == (ALL, 1), at
        assert warnings[0].startswith(f"{file} is not used, and everything is read: it is "), at
        assert decoded(index) == whole, at
        # It was written anew.
        assert known.scan()[1] == 0


def test_parts_that_changed_places_are_not_used(known: Remembering) -> None:
    """Each part is sound in itself."""
    file, chance = known.file, random.Random(1)
    sound = file.read_bytes()
    footer = sound.rindex(b'{"columns"')
    for _ in range(50):
        first, second = sorted(chance.sample(range(16, footer - 8, 8), 2))
        changed = bytearray(sound)
        changed[first : first + 8], changed[second : second + 8] = (
            sound[second : second + 8],
            sound[first : first + 8],
        )
        if changed != sound:
            assert sound_scan(bytes(changed)) is None


@pytest.mark.parametrize("size", [1, 14, 15, 16, 17, 31, 32, 33, 4096, 70_000])
@pytest.mark.parametrize("byte", [0, 255, ord("x")])
def test_any_other_file_is_not_used(size: int, byte: int, known: Remembering) -> None:
    magic = known.file.read_bytes()[:16]
    for content in (bytes([byte]) * size, magic + bytes([byte]) * size):
        known.file.write_bytes(content)
        assert not recalled(known)


@pytest.mark.parametrize(
    "footer", [b"{}", b"[]", b"1", b'{"columns":{}}', b'{"columns":[],"made_by":""}', b"{", b""]
)
def test_a_footer_that_says_something_else_is_refused(footer: bytes) -> None:
    """Its checksum is right, so another program wrote it."""
    end = struct.pack("<QI4s", len(footer), zlib.crc32(footer), b"scan")
    with pytest.raises(NotBelievedError):
        remembered.decoded(memoryview(b"fastprune scan\n1" + footer + end))


def test_a_file_stays_whole_for_who_has_mapped_it(
    cache: Remembering, builder: CacheBuilder
) -> None:
    cache.read_by_scan()
    with cache.file.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        before = mapped[:]
        builder.image("new:1")
        cache.read_by_scan()
        cache.read_by_scan(rescan=True)
        assert os.fstat(file.fileno()).st_nlink == 0
        assert mapped[:] == before
