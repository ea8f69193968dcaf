"""Plans on disk: written whole or not at all, and read again.

Stage: rim, beside plan. Input: a `PrunePlan`, or the path of a file. Output: a file, or a
`SavedPlan`. I/O: on threads, beside the event loop; never in a folder of the cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from fastprune.errors import FastpruneError, PlanFileError
from fastprune.executors.threads import check_cancelled, in_thread
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import Layout
from fastprune.plan.decoding import PlanDecoder
from fastprune.plan.encoding import encode
from fastprune.plan.identity import identify
from fastprune.plan.prune_plan import PrunePlan
from fastprune.plan.saved_plan import SavedPlan
from fastprune.version import __version__
from fastprune.whole_files import checked_target, write_whole

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
    await in_thread(_save, plan, os.fspath(path), grace)


def _save(plan: PrunePlan, path: str, grace: float) -> None:
    root = plan.index.root
    target = checked_target(path, root, plan.index.layout)
    blocks = encode(plan, identify(root), made_by=__version__, grace=grace)
    try:
        write_whole(target, _while_wanted(blocks))
    except OSError as error:
        raise FastpruneError(f"{target} can't be written: {error.strerror}") from error


def _while_wanted(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in blocks:
        check_cancelled()
        yield block


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
    return await in_thread(_load, path, layout)


def _load(path: str | os.PathLike[str] | int, layout: Layout) -> SavedPlan:
    if isinstance(path, int):
        name = "stdin" if path == 0 else f"descriptor {path}"
    else:
        name = os.fspath(path)
    decoder = PlanDecoder(layout)
    try:
        with open(path, "rb", closefd=not isinstance(path, int)) as file:
            while piece := file.read(_PIECE):
                check_cancelled()
                decoder.feed(piece)
        return decoder.finish()
    except OSError as error:
        raise PlanFileError(f"{name} can't be read: {error.strerror}") from None
    except PlanFileError as error:
        raise PlanFileError(f"{name}: {error}") from None
