"""What earlier live runs have set aside: what is needed again is put back, the rest is deleted.

Stage: apply. Input: the trash of a cache, and what its manifests need now. Output: what was put
back and what came free. I/O: lists and reads live runs; what changes, changes by
`fastprune.deletion.deleter`.

A live run that came to its end holds blobs that nothing refers to, and manifests that the server
did not know. One that was killed holds as well what was set aside for a request. Such a blob may
still be in the cache, as the same file: then the server may yet be at work on that request, and
the second name stays for an hour. It takes no space.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import compress
from typing import NamedTuple

import numpy as np

from fastprune.deletion.aside import Aside, opened_aside
from fastprune.deletion.checks import content_of
from fastprune.deletion.deleter import Outcome, remove_run
from fastprune.deletion.looking import Look, split_digests
from fastprune.deletion.phases import Phases
from fastprune.deletion.trashing import delete_for_good
from fastprune.errors import ManifestError
from fastprune.executors.threads import in_thread
from fastprune.index.cache_index import CacheIndex
from fastprune.index.digests import as_digests
from fastprune.layouts.layout import Layout
from fastprune.model import ManifestKind, file_names
from fastprune.reading.folders import list_folder, status_of
from fastprune.reading.shards import pack_digests
from fastprune.server.asked import Server
from fastprune.trash.model import FileGroup, RunContents
from fastprune.trash.run_ids import is_live, run_time
from fastprune.trash.tree import list_trash, trash_path

_STILL_AT_WORK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Tidied:
    """What became of earlier live runs.

    Attributes:
        put_back: How many files were put back.
        files: How many were deleted for good.
        size: Bytes of these.
        failed: What could not be put back, and why.
    """

    put_back: int = 0
    files: int = 0
    size: int = 0
    failed: tuple[str, ...] = ()


class _Manifest(NamedTuple):
    """A manifest in a run: its URL, and the blobs that it needs, 32 raw bytes each."""

    url: str
    needs: bytes


async def tidy(
    index: CacheIndex, look: Look, server: Server, phases: Phases, own_run: str, now: datetime
) -> Tidied:
    """Empties the live runs of the trash, but for `own_run`.

    `look` has just listed the manifests of the cache. The server is asked which manifests and
    blobs it has in memory.

    Raises:
        ServerError: The server does not say; nothing was changed.
        OSError: A folder can't be opened or listed.
        TrashError: Something on the way to a run is no folder.
    """
    found = await in_thread(live_runs, index.root, index.layout)
    runs = [run for run in found if run != own_run]
    if not runs:
        return Tidied()
    counted = {digest.tobytes() for digest in (await server.counted_blobs()).digests}
    put_back, failed = 0, list[str]()
    for run in runs:
        with ExitStack() as opened:
            aside = await in_thread(opened.enter_context, opened_aside(index, run))
            held = await in_thread(_names_in, index, run)
            manifests = await in_thread(_read, index, aside, held)
            listed = await _listed(server, manifests)
            back, not_back = await in_thread(_put_back, index, aside, held, listed, look, counted)
            put_back += back
            failed += not_back
            if not not_back:
                left = await in_thread(_to_delete, index, aside, run, now)
                await delete_for_good(phases, index.root, left)
        await in_thread(remove_run, index.root, run, index.layout)
    return Tidied(put_back, phases.count(Outcome.REMOVED), phases.freed, tuple(failed))


def live_runs(root: str, layout: Layout) -> list[str]:
    """The ids of the live runs in the trash of a cache, oldest first. Blocking.

    Raises:
        TrashError: The trash can't be listed.
    """
    return [run for run in list_trash(root, layout).runs if is_live(run)]


def _names_in(index: CacheIndex, run: str) -> dict[str, list[str]]:
    """The names of the files of a run, by folder."""
    return {
        folder: file_names(
            b"".join(part.digests for part in list_folder(trash_path(index.root, run, folder)))
        )
        for folder in index.layout.folders
        if os.path.lexists(trash_path(index.root, run, folder))
    }


def _read(index: CacheIndex, aside: Aside, held: Mapping[str, list[str]]) -> dict[str, _Manifest]:
    """The manifests of a run that lie in the folder of their URL and can be understood, by path."""
    read: dict[str, _Manifest] = {}
    for folder in index.layout.manifest_folders:
        for name in held.get(folder, ()):
            content = content_of(aside.trash[folder], name)
            try:
                record = index.layout.parse(content or b"")
                is_list = ManifestKind(record.kind).is_list
                needs = b"" if is_list else pack_digests([record.digests])
            except ManifestError:
                continue
            if index.layout.manifest_folder_of(record.url) == folder:
                read[f"{folder}/{name}"] = _Manifest(record.url, needs)
    return read


async def _listed(server: Server, manifests: Mapping[str, _Manifest]) -> dict[str, _Manifest]:
    """Those of some manifests that the server lists as such files: it has pulled them since."""
    names = (await server.listing(sorted({one.url for one in manifests.values()}))).names
    return {
        path: one for path, one in manifests.items() if names.get(one.url) == path.partition("/")[2]
    }


def _put_back(
    index: CacheIndex,
    aside: Aside,
    held: Mapping[str, list[str]],
    listed: Mapping[str, _Manifest],
    look: Look,
    counted: set[bytes],
) -> tuple[int, list[str]]:
    """Puts back what is needed and missing, blobs first.

    Returns:
        How many files, and what could not be put back and why.
    """
    blob_folder = index.layout.blob_folder
    blobs = held.get(blob_folder, [])
    needed = look.needed_by_name(as_digests(bytes.fromhex("".join(blobs))))
    wanted = {digest for one in listed.values() for digest in split_digests(one.needs)} | counted
    wanted_names = {digest.hex() for digest in wanted}
    steps = {
        blob_folder: [
            name
            for name, is_needed in zip(blobs, needed.tolist(), strict=True)
            if is_needed or look.unknown or name in wanted_names
        ]
    }
    for folder in index.layout.manifest_folders:
        steps[folder] = [name for name in held.get(folder, ()) if f"{folder}/{name}" in listed]
    back = 0
    for folder, names in steps.items():
        going_back = list(compress(names, aside.missing(names, folder)))
        if failed := aside.put_back(going_back, folder):
            return back, failed
        aside.discard(going_back, folder)
        back += len(going_back)
    return back, []


def _to_delete(index: CacheIndex, aside: Aside, run: str, now: datetime) -> RunContents:
    """What of a run is to be deleted for good: not what is still in the cache as the same file."""
    began = run_time(run)
    recent = began is not None and now - began < _STILL_AT_WORK
    groups = []
    held = _names_in(index, run)
    for folder in (index.layout.blob_folder, *index.layout.manifest_folders):
        kind = "blob" if folder == index.layout.blob_folder else "unreadable"
        names, sizes = [], []
        for name in held.get(folder, ()):
            status = os.stat(name, dir_fd=aside.trash[folder], follow_symlinks=False)
            opened = aside.cache.get(folder) if recent else None
            there = None if opened is None else status_of(name, within=opened)
            if there is None or not os.path.samestat(there, status):
                names.append(name)
                # What has another name frees nothing.
                sizes.append(status.st_size if status.st_nlink == 1 else 0)
        if names:
            digests = as_digests(bytes.fromhex("".join(names)))
            groups.append(FileGroup(kind, folder, digests, np.array(sizes, dtype=np.int64)))
    return RunContents(run, index.layout, tuple(groups), as_digests(b""), ())
