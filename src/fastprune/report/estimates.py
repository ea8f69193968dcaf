"""How long a run will take: the estimate that a dry run and tune show, and its basis.

Stage: report. Input: numbers. Output: `RunEstimate`, a line, a document. Pure, no I/O.

Reading takes as long as it took in the dry run. Removing takes time for each file, at the rate
that `fastprune tune --save` measured on this machine or else at an assumed one. It takes more
time for the bytes, as a file system has to free the blocks of large files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastprune.text.quantities import format_seconds

ASSUMED_FILES_PER_SECOND = 10_000
"""Slower than local disks with ext4 or XFS; about as fast as a cold or busy disk."""

BYTES_PER_SECOND = 10_000_000_000
"""Bytes of large files. ext4 frees the blocks of a cold one at three times this rate."""


class Basis(StrEnum):
    """Where the rate of an estimate comes from."""

    MEASURED = "measured"
    ASSUMED = "assumed"
    PACE = "pace"


_BASES = {
    Basis.MEASURED: "{} measured",
    Basis.ASSUMED: "{} assumed: see tune",
    Basis.PACE: "{} asked for",
}


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """How long a run will take.

    Attributes:
        scan_seconds: Reading the cache and working out what goes.
        size: Bytes that come free; 0 if files are only moved.
        most_seconds: When --max-duration stops the run; None for never.
    """

    scan_seconds: float
    files: int
    size: int
    files_per_second: float
    basis: Basis
    most_seconds: float | None = None

    @property
    def delete_seconds(self) -> float:
        """Removing the files."""
        return self.files / self.files_per_second + self.size / BYTES_PER_SECOND

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.scan_seconds + self.delete_seconds

    @property
    def lines(self) -> list[str]:
        """The estimate as lines of text; none if nothing goes."""
        if not self.files:
            return []
        basis = _BASES[self.basis].format(f"{self.files_per_second:,.0f} files/s")
        lines = [f"Estimated time of the real run: about {_roughly(self.seconds)} ({basis})"]
        if self.most_seconds is not None and self.seconds > self.most_seconds:
            lines.append(f"--max-duration stops it after {format_seconds(self.most_seconds)}")
        return lines

    @property
    def document(self) -> dict[str, Any]:
        """The estimate as a part of a JSON document."""
        return {
            "seconds": round(self.seconds, 3),
            "scan_seconds": round(self.scan_seconds, 3),
            "delete_seconds": round(self.delete_seconds, 3),
            "files": self.files,
            "files_per_second": round(self.files_per_second, 1),
            "bytes_per_second": BYTES_PER_SECOND,
            "basis": self.basis.value,
        }


def _roughly(seconds: float) -> str:
    """A span of time, rounded as an estimate should be."""
    if seconds < 1.5:
        return "1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{minutes / 60:.1f} h"


def estimate(
    files: int,
    size: int,
    *,
    scan_seconds: float,
    operations: int = 1,
    measured: float | None = None,
    pace: float | None = None,
    most_seconds: float | None = None,
) -> RunEstimate:
    """Estimates a run.

    Args:
        files: Files that go.
        size: Bytes that come free.
        scan_seconds: How long the dry run took.
        operations: What is done to each file, counted in deletions.
        measured: Files a second that tune measured on this machine, if it did.
        pace: The most files a second, as --max-deletes-per-second limits them.
        most_seconds: When --max-duration stops the run.
    """
    rate, basis = float(ASSUMED_FILES_PER_SECOND), Basis.ASSUMED
    if measured is not None:
        rate, basis = measured, Basis.MEASURED
    rate /= operations
    if pace is not None and pace < rate:
        rate, basis = pace, Basis.PACE
    return RunEstimate(scan_seconds, files, size, rate, basis, most_seconds)
