"""Makes sure that the server of `--server` serves this cache, before anything goes.

Stage: rim. Input: a `Server`, and a `CacheIndex` with what the server's list says. Output: what was
touched, or an error. I/O: asks the server, and looks at files.

What is listed must have its file, and most of what the server can load must be listed. Then one
manifest is asked for, and its file must change: the server writes it again. Another server with
the same images, say a replica with a cache of its own, agrees with the files, but does not write
here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fastprune.errors import WrongServerError
from fastprune.executors.threads import in_thread
from fastprune.index.arrays import marked
from fastprune.index.cache_index import CacheIndex
from fastprune.index.known_urls import moved_tags
from fastprune.index.refcounts import Mask, needing
from fastprune.model import DIGEST_PREFIX, file_names
from fastprune.server.asked import Server
from fastprune.server.unlisted import never_listed
from fastprune.text.escaping import printable
from fastprune.text.quantities import format_count

Entry = tuple[str, str]
"""The image URL and the digest (`sha256:…`) of an entry of the server's list."""

_MOST_SHOWN = 20
# More than so many are looked up in the whole list, which costs the server less.
_MOST_ASKED = 100
# An entry without a file may be one that is pulled or removed at this moment.
_LOOKS = 2
# Other clients may pull the same manifest at the same moment: so it has to be seen twice.
_WRITES_SEEN = 2
# Seconds between two requests. The clock of a file system ticks every few milliseconds, that of an
# old one every second.
_PAUSES = (0.02, 0.02, 1.1, 1.1)
# So many segments of a repository have a path at the server.
_MOST_SEGMENTS = 4


@dataclass(frozen=True, slots=True)
class Touched:
    """The manifest that the server was asked for, so that its `pulled` is the present now.

    Its `path` is relative to the cache. Its `row` is None if it had no file before.
    """

    url: str
    path: str
    row: int | None


async def make_sure(
    server: Server, index: CacheIndex, *, going: Mask | None = None, healing: bool = False
) -> Touched | None:
    """Makes sure that a server serves a cache. It is asked for one manifest, which sets `pulled`.

    The index has `known`. A manifest that is not `going`, bool (n,), is asked for if the server
    knows any. With `healing`, entries of the list may lack their files, as these are to be healed.

    Returns:
        What was asked for; None if the server lists nothing, so that it can't remove anything.

    Raises:
        WrongServerError: It does not, as far as can be known; the message says what differs.
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    lost = await agree(server, index, healing=healing)
    return await _prove(server, index, lost, going)


async def agree(server: Server, index: CacheIndex, *, healing: bool = False) -> tuple[Entry, ...]:
    """Makes sure that the server's list and the files of a cache agree. Changes nothing.

    The index has `known`. With `healing`, entries may lack their files. Returns these.

    Raises:
        WrongServerError: They don't agree; the message says what differs.
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    lost = await lost_entries(server, index)
    if lost and not healing:
        raise _lost_files(index, lost)
    check_loaded(index)
    return lost


async def lost_entries(server: Server, index: CacheIndex) -> tuple[Entry, ...]:
    """The entries of the server's list that have no file in the cache.

    Those that seem to lack one are looked at once more, and asked for once more: they may have
    been pulled or removed since the scan.

    Raises:
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    assert index.known is not None
    lost = index.known.strangers
    for _ in range(_LOOKS):
        lost = await in_thread(_without_file, index, lost)
        if not lost:
            break
        listed = await listed_entries(server, [url for url, _ in lost])
        lost = tuple(entry for entry in lost if entry in listed)
    return await in_thread(_without_file, index, lost)


async def listed_entries(server: Server, urls: Sequence[str]) -> frozenset[Entry]:
    """What the server lists now for some image URLs.

    Raises:
        ServerError: The server gives no answer, or one that is not as it should be.
    """
    listing = await server.listing(None if len(urls) > _MOST_ASKED else urls)
    names = file_names(listing.digests.tobytes())
    return frozenset(
        (url, DIGEST_PREFIX + name) for url, name in zip(listing.urls, names, strict=True)
    )


def path_of(index: CacheIndex, entry: Entry) -> str:
    """The file of an entry of the server's list, relative to the cache."""
    url, digest = entry
    return f"{index.layout.manifest_folder_of(url)}/{digest.removeprefix(DIGEST_PREFIX)}"


def _without_file(index: CacheIndex, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(
        entry
        for entry in entries
        if not os.path.lexists(os.path.join(index.root, path_of(index, entry)))
    )


def _lost_files(index: CacheIndex, lost: Sequence[Entry]) -> WrongServerError:
    count = format_count(len(lost), "manifest that has", "manifests that have")
    files = "file" if len(lost) == 1 else "files"
    error = WrongServerError(
        f"the server lists {count} no {files} in {index.root}:\n" + "\n".join(_shown(lost))
    )
    error.hint = (
        "nothing was deleted; if another cache is its own, correct --server or --image-path; if "
        "files were removed behind its back, run 'fastprune verify --server URL --repair'"
    )
    return error


def _shown(entries: Sequence[Entry]) -> Iterator[str]:
    for url, digest in entries[:_MOST_SHOWN]:
        yield f"  {printable(url)} {digest}"
    if len(entries) > _MOST_SHOWN:
        yield f"  and {len(entries) - _MOST_SHOWN:,} more"


def check_loaded(index: CacheIndex) -> None:
    """Makes sure that the server knows most of the manifests that it can have loaded.

    That are the manifests whose blobs are all there. Some need not be listed: of those that share
    an image URL it lists one, and what `load` has written since it started it does not know.

    Raises:
        WrongServerError: It knows less than half of them.
    """
    assert index.known is not None
    is_missing = marked(index.missing_blobs, len(index.blob_digests))
    rows = np.flatnonzero(~needing(index, is_missing)) if index.has_edges else np.arange(len(index))
    listable = [not never_listed(url) for url in index.urls(rows)]
    rows = rows[np.array(listable, dtype=bool)]
    knows = index.known.loaded(len(index))
    knows[moved_tags(index)] = True
    known = int(knows[rows].sum())
    if known * 2 >= len(rows):
        return
    whole = format_count(len(rows), "whole manifest")
    error = WrongServerError(
        f"the server knows {known:,} of the {whole} in {index.root}: it serves another cache, or "
        "has not loaded this one"
    )
    error.hint += "; if it is the right one, restart it, so that it loads what is there"
    raise error


async def _prove(
    server: Server, index: CacheIndex, lost: Sequence[Entry], going: Mask | None
) -> Touched | None:
    """Asks for a manifest and looks whether the server writes its file, twice."""
    import anyio

    touched = _to_touch(index, lost, going)
    if touched is None:
        if lost or (index.known is not None and len(index.known)):
            raise WrongServerError(
                "the server lists only manifests that can't be asked for, so whether it serves "
                f"{index.root} can't be known"
            )
        return None
    path = os.path.join(index.root, touched.path)
    seen = 0
    for pause in (0, *_PAUSES):
        await anyio.sleep(pause)
        before = await in_thread(_state, path)
        await server.head(touched.url)
        after = await in_thread(_state, path)
        seen += after is not None and after != before
        if seen == _WRITES_SEEN:
            return touched
    raise WrongServerError(
        f"the server answered for {printable(touched.url)}, but its file did not change: {path}"
    )


def _to_touch(index: CacheIndex, lost: Sequence[Entry], going: Mask | None) -> Touched | None:
    """The best manifest to ask for: the one that was pulled last.

    One that stays is better than one that goes; another tag better than `latest`, which some
    servers pull anew each time; and a URL that the file shows better than another, which the
    server would write there. If no entry has a file, one without is asked for: the server writes
    its file as well.
    """
    known = index.known
    assert known is not None
    entries = [at for at, url in enumerate(known.urls) if _can_be_asked_for(url)]
    layout, usual = index.layout, index.layout.manifest_folders[0]

    def worth(at: int) -> tuple[bool, bool, bool, bool, int]:
        row, url = int(known.rows[at]), known.urls[at]
        stays = going is None or not going[row]
        is_usual = layout.manifest_folder_of(url) == usual
        return stays, is_usual, bool(known.own[at]), "@" not in url, int(index.pulled[row])

    if entries:
        best = max(entries, key=worth)
        row = int(known.rows[best])
        return Touched(known.urls[best], index.path(row), row)
    for entry in lost:
        if _can_be_asked_for(entry[0]):
            return Touched(entry[0], path_of(index, entry), None)
    return None


def _can_be_asked_for(url: str) -> bool:
    """Whether the server has a path for the manifest of an image URL."""
    repository = url.partition("/")[2].partition("@")[0]
    segments = repository.split("/")
    return len(segments) <= _MOST_SEGMENTS and "." not in segments[0]


def _state(path: str) -> tuple[int, ...] | None:
    """What changes when a file is written; None if it is not there.

    The file is opened, as a client of NFS asks its server then.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
