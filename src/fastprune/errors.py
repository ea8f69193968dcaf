"""The tree of errors: each class carries its exit code and says what to do.

Stage: all. Input: what went wrong. Output: exceptions. No I/O.

The exit-code table of the documentation is generated from this module
(`EXIT_CODES`), and the command line maps an error to its exit status through
`FastpruneError.exit_code` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

EXIT_CODES: dict[int, str] = {
    0: "done (nothing to do included)",
    1: "error",
    2: "usage: the command line or the configuration file is wrong; nothing was deleted",
    3: "partial: some deletions failed, or a limit stopped the run cleanly; verify: damage",
    4: "refused as unsafe: unreadable manifests, a plan beyond the delete limits or for another "
    "cache, or manifests that appeared during the prune",
    10: "no cache at that path",
    11: "locked by another fastprune, or can't be locked, or a server runs on the cache, or that "
    "can't be ruled out, or the server of --server serves another cache",
    129: "stopped by SIGHUP between two batches; the report was written",
    130: "stopped by SIGINT between two batches; the report was written",
    143: "stopped by SIGTERM between two batches; the report was written",
}


class FastpruneError(Exception):
    """Base of every error that fastprune raises on purpose.

    Attributes:
        exit_code: The process exit status that the command line uses for it.
        hint: What the user can do about it; empty if the message says it all.
    """

    exit_code: ClassVar[int] = 1
    hint: str = ""


class UsageError(FastpruneError):
    """An option, argument or configuration value that can't be used."""

    exit_code = 2


class PlanFileError(UsageError):
    """A plan file that can't be read, was altered, or is of a newer format."""

    hint = "nothing was deleted; make a new plan with 'fastprune plan'"


class OtherCacheError(FastpruneError):
    """A saved plan that was made for another cache."""

    exit_code = 4
    hint = "nothing was deleted; make a plan for this cache with 'fastprune plan'"


class NoCacheError(FastpruneError):
    """There is no ociregistry cache at the given path."""

    exit_code = 10
    hint = "give the folder that holds img/, lts/ and blobs/ with --image-path"


class CacheReadError(FastpruneError):
    """A part of the cache can't be read, so the scan is not whole and was discarded."""

    hint = "nothing was deleted"


class LockedError(FastpruneError):
    """Another process holds the lock on the cache."""

    exit_code = 11
    hint = "wait for it to end, or give --lock-wait"


class CantLockError(FastpruneError):
    """The file system can't lock, so whether another fastprune is at work can't be known.

    Attributes:
        reason: The message of the system.
    """

    exit_code = 11
    hint = (
        "nothing was deleted; make sure that no other fastprune works on this cache, and give "
        "--no-lock"
    )

    def __init__(self, root: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{root} can't be locked: {reason}")


class ServerRunningError(FastpruneError):
    """A server seems to run on the cache, or that can't be ruled out."""

    exit_code = 11
    hint = (
        "stop the server first: it keeps its own picture of the cache in memory; or prune while it "
        "runs, with --server; "
        "if it does not serve this cache after all, give --force"
    )


class ServerError(FastpruneError):
    """The server of `--server` gives no answer, or one that is not as it should be."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Says which request it was and what came; the hint, what the user can do about it."""
        self.hint = hint
        super().__init__(message)


class WrongServerError(FastpruneError):
    """The server of `--server` serves another cache; the message says what differs."""

    exit_code = 11
    hint = (
        "nothing was deleted; give the address of the server that serves this cache with "
        "--server, or the folder of its cache with --image-path"
    )


class NoMemoryError(FastpruneError):
    """Memory ran out."""

    hint = "use fewer workers with --jobs, or raise the limit on memory"


class DurationError(FastpruneError):
    """The time that was given ran out before anything was removed."""

    exit_code = 3
    hint = "nothing was deleted; give it more time with --max-duration"


class TrashError(FastpruneError):
    """The trash of a cache can't be used."""


class JournalError(FastpruneError):
    """The audit log can't be written, so nothing more may be removed."""

    exit_code = 3


class WorkerError(FastpruneError):
    """A scan worker died or failed, so the scan is not whole and was discarded."""

    hint = "nothing was deleted; if memory ran out, use fewer workers with --jobs"


class ClusterError(WorkerError):
    """A Dask cluster can't be used or was lost, so the scan is not whole and was discarded."""

    hint = (
        "nothing was deleted; all workers need the same versions of fastprune and Python, and the "
        "cache at the same path"
    )


class ManifestError(FastpruneError, ValueError):
    """The content of one manifest file can't be understood; the message is the reason."""


class CutOffError(ManifestError):
    """The content is empty or no whole JSON document: the server may be writing it."""


class NotBelievedError(Exception):
    """A remembered scan can't be used; the message says why. Everything is read instead."""


_SKIP = "give --skip-corrupt, which takes broken content for absent"


def _move_aside(what: str, or_else: str = _SKIP) -> str:
    return f"move {what} aside with 'fastprune verify --repair', or {or_else}"


class UnreadableManifestsError(FastpruneError):
    """Manifests with unknown references: a prune would not be safe.

    Files with broken content can be moved aside or skipped. Files that could not be read, or are
    no regular files, may be sound: the hint never offers to move or skip them.

    Attributes:
        faults: Pairs of path (relative to the cache) and reason.
        unknown: The paths of those that could not be read.
    """

    exit_code = 4
    hint = f"nothing was deleted; {_move_aside('what is broken')}"

    def __init__(
        self,
        faults: Sequence[tuple[str, str]],
        unknown: Collection[str] = (),
        *,
        or_else: str = _SKIP,
    ) -> None:
        """Names the files.

        Args:
            faults: See above.
            unknown: Paths of files that could not be read; paths that are not in `faults` do
                not count.
            or_else: What helps against broken content besides a repair.
        """
        self.faults = tuple(faults)
        self.unknown = frozenset(path for path, _ in self.faults if path in unknown)
        files, they_need = ("file", "it needs") if len(self.faults) == 1 else ("files", "they need")
        all_unknown = len(self.unknown) == len(self.faults)
        what = "read" if all_unknown else "read or understood"
        super().__init__(
            f"{len(self.faults)} manifest {files} can't be {what}, "
            f"so it is unknown which blobs {they_need}"
        )
        if not self.unknown:
            self.hint = f"nothing was deleted; {_move_aside('what is broken', or_else)}"
            return
        they, them = ("it", "it") if len(self.unknown) == 1 else ("they", "them")
        some = they if all_unknown else f"{len(self.unknown)} of them"
        self.hint = (
            f"nothing was deleted; {some} may be sound: let fastprune read {them}, and move away "
            "those that are no regular files"
        )
        if not all_unknown:
            self.hint += f"; {_move_aside('the files with broken content', or_else)}"

    @property
    def items(self) -> list[dict[str, Any]]:
        """The files as JSON documents name them."""
        return fault_items(self.faults, self.unknown)


def fault_items(
    faults: Iterable[tuple[str, str]], unknown: Collection[str]
) -> list[dict[str, Any]]:
    """Unreadable manifests as JSON documents name them; see `UnreadableManifestsError`."""
    return [
        {"path": path, "reason": reason} | ({"unknown": True} if path in unknown else {})
        for path, reason in faults
    ]


class Exceeded(NamedTuple):
    """A limit that a plan goes beyond.

    Attributes:
        limit: Its name: that of the option, without dashes.
        most: What it allows: manifests, bytes or percent.
        planned: What the plan would remove, in the same unit.
        text: Both, in words.
    """

    limit: str
    most: float
    planned: float
    text: str


class DeleteLimitError(FastpruneError):
    """A plan that would remove more than it may.

    Attributes:
        exceeded: The limits that it goes beyond.
    """

    exit_code = 4
    hint = "nothing was deleted; narrow the selection or raise the limit"

    def __init__(self, exceeded: Sequence[Exceeded]) -> None:
        self.exceeded = tuple(exceeded)
        if any(one.limit == "allow-remove-all" for one in self.exceeded):
            self.hint += "; if the cache is to be emptied, give --allow-remove-all"
        super().__init__(
            "the plan goes beyond the delete limits: "
            + "; ".join(one.text for one in self.exceeded)
        )
