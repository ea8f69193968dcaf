"""Plans on disk: written whole or not at all, and read again.

Stage: rim, beside plan. Input: a `PrunePlan`, or the path of a file. Output: a file, or a
`SavedPlan`. I/O: through aiofiles, on the event loop; never in a folder of the cache.
"""

from __future__ import annotations

import os
import secrets

import aiofiles
import anyio.to_thread

import fastprune
from fastprune.errors import FastpruneError, PlanFileError
from fastprune.identity import identify
from fastprune.plan import PrunePlan
from fastprune.planfile import SavedPlan
from fastprune.planfile.decoding import PlanDecoder
from fastprune.planfile.encoding import encode
from fastprune.wholefile import checked_target

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
    target = await anyio.to_thread.run_sync(checked_target, os.fspath(path), root)
    cache = await anyio.to_thread.run_sync(identify, root)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
    try:
        try:
            async with aiofiles.open(temporary, "xb") as file:
                for block in encode(plan, cache, made_by=fastprune.__version__, grace=grace):
                    await file.write(block)
                await file.flush()
                await anyio.to_thread.run_sync(os.fsync, file.fileno())
            await anyio.to_thread.run_sync(os.replace, temporary, target)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_remove, temporary)
            raise
        await anyio.to_thread.run_sync(_sync_folder, folder)
    except OSError as error:
        raise FastpruneError(f"{target} can't be written: {error.strerror}") from error


async def load_plan(path: str | os.PathLike[str] | int) -> SavedPlan:
    """Reads a plan that `save_plan` wrote.

    Args:
        path: The file, or the descriptor of an open one, which stays open; 0 is stdin.

    Raises:
        PlanFileError: It can't be read, is not whole, was altered, or is of a newer format;
            the message names the line.
    """
    if isinstance(path, int):
        name = "stdin" if path == 0 else f"descriptor {path}"
    else:
        name = os.fspath(path)
    decoder = PlanDecoder()
    try:
        async with aiofiles.open(path, "rb", closefd=not isinstance(path, int)) as file:
            while piece := await file.read(_PIECE):
                decoder.feed(piece)
        return decoder.finish()
    except OSError as error:
        raise PlanFileError(f"{name} can't be read: {error.strerror}") from None
    except PlanFileError as error:
        raise PlanFileError(f"{name}: {error}") from None


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
