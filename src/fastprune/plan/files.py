"""Plans on disk: written whole or not at all, and read again.

Stage: rim, beside plan. Input: a `PrunePlan`, or the path of a file. Output: a file, or a
`SavedPlan`. I/O: through aiofiles, on the event loop; never in a folder of the cache.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import aiofiles
import anyio
from aiofiles.threadpool.binary import AsyncBufferedIOBase, AsyncBufferedReader

from fastprune.errors import FastpruneError, PlanFileError
from fastprune.executors.threads import OneThread, in_thread
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.plan.decoding import PlanDecoder
from fastprune.plan.encoding import encode
from fastprune.plan.identity import identify
from fastprune.plan.prune_plan import PrunePlan
from fastprune.plan.saved_plan import SavedPlan
from fastprune.version import __version__
from fastprune.whole_files import checked_target, sync_if_offered

AsyncFile = TypeVar("AsyncFile", AsyncBufferedIOBase, AsyncBufferedReader)

_PIECE = 1 << 20


async def save_plan(plan: PrunePlan, path: str | os.PathLike[str], *, grace: float = 0) -> None:
    """Writes a plan to a file, for `load_plan`.

    The file is there whole, and on disk, or as it was before.

    Args:
        plan: The plan, as `make_plan` gave it.
        path: Where to; not in a folder that the cache keeps its files in.
        grace: Blobs younger than so many seconds were spared, and will be.

    Raises:
        UsageError: The path can't be used.
        FastpruneError: The file can't be written.
    """
    root = plan.index.root
    target = await in_thread(checked_target, os.fspath(path), root, plan.index.layout)
    cache = await in_thread(identify, root)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
    try:
        try:
            async with _closing(aiofiles.open(temporary, "xb", executor=OneThread())) as file:
                for block in encode(plan, cache, made_by=__version__, grace=grace):
                    await file.write(block)
                await file.flush()
                await in_thread(sync_if_offered, file.fileno())
            await in_thread(os.replace, temporary, target)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await in_thread(_remove, temporary)
            raise
        await in_thread(_sync_folder, folder)
    except OSError as error:
        raise FastpruneError(f"{target} can't be written: {error.strerror}") from error


async def load_plan(
    path: str | os.PathLike[str] | int, *, layout: Layout = DEFAULT_LAYOUT
) -> SavedPlan:
    """Reads a plan that `save_plan` wrote.

    Args:
        path: The file, or the descriptor of an open one, which stays open; 0 is stdin.
        layout: What kind of cache it is for.

    Raises:
        PlanFileError: It can't be read, is not whole, was altered, or is of a newer format;
            the message names the line.
    """
    if isinstance(path, int):
        name = "stdin" if path == 0 else f"descriptor {path}"
    else:
        name = os.fspath(path)
    decoder = PlanDecoder(layout)
    try:
        opening = aiofiles.open(path, "rb", closefd=not isinstance(path, int), executor=OneThread())
        async with _closing(opening) as file:
            while piece := await file.read(_PIECE):
                decoder.feed(piece)
        return decoder.finish()
    except OSError as error:
        raise PlanFileError(f"{name} can't be read: {error.strerror}") from None
    except PlanFileError as error:
        raise PlanFileError(f"{name}: {error}") from None


@asynccontextmanager
async def _closing(opening: Awaitable[AsyncFile]) -> AsyncIterator[AsyncFile]:
    """Opens a file, and closes it on its own thread: aiofiles would start another one."""
    file = await opening
    try:
        yield file
    finally:
        with anyio.CancelScope(shield=True):
            await file.close()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_if_offered(descriptor)
    finally:
        os.close(descriptor)
