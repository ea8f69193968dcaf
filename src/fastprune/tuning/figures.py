"""The figures that were measured, and what follows from them.

Stage: tune. Input: seconds. Output: rates, recommendations, estimates. Pure, no I/O and no
clock: the seconds are passed in.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastprune.report.estimates import Basis, RunEstimate

TOLERANCE = 0.05
"""A setting at most this much slower than the best counts as equally fast; the smallest wins."""

NOISY = 0.25
"""A larger spread than this means that something else was using the machine."""

CONCURRENCY_SETTINGS = (1, 4, 8, 16, 32)
"""The settings of --concurrency that are tried."""

FILE_BYTES = 4096
"""Size of the files that are deleted, as most configs and manifests have it."""

_JOB_SETTINGS = (1, 2, 4, 8)
_WAITING_SETTINGS = (*_JOB_SETTINGS, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Measurement:
    """How fast one setting was.

    Attributes:
        setting: The number of jobs, or the concurrency.
        count: Manifests or files in each round.
        seconds: How long each round took, at least one.
    """

    setting: int
    count: int
    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Manifests or files per second, in the median round."""
        return self.count / median(self.seconds)

    @property
    def spread(self) -> float | None:
        """How far the rounds lie apart: half their range, as a part of the median."""
        if len(self.seconds) == 1:
            return None
        return (max(self.seconds) - min(self.seconds)) / 2 / median(self.seconds)


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """How fast manifests are read.

    Attributes:
        sample: Manifests that each round read, at most.
        too_small: Whether the cache has too few manifests to tell settings apart.
        measurements: By number of jobs, ascending.
        waits: Whether workers wait for the file system, so that more of them than processors
            were tried, until more were no faster.
    """

    sample: int
    too_small: bool
    measurements: tuple[Measurement, ...]
    waits: bool = False


@dataclass(frozen=True, slots=True)
class DeleteFigures:
    """How fast files are deleted.

    Attributes:
        wanted: Files that were to be deleted with each setting, in all rounds.
        measurements: By concurrency, ascending.
    """

    wanted: int
    measurements: tuple[Measurement, ...]

    @property
    def files(self) -> int:
        """Files that were deleted with each setting, in all rounds."""
        first = self.measurements[0]
        return first.count * len(first.seconds)

    @property
    def too_few(self) -> bool:
        """Whether there was no time or no room for about as many as were wanted."""
        return self.files < self.wanted * 0.9


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The settings to use; None means auto."""

    jobs: int | None
    concurrency: int


class Mount(NamedTuple):
    """A mounted file system.

    Attributes:
        point: The folder at which it is mounted.
        options: How it is mounted, with commas between.
    """

    point: str
    kind: str
    options: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, as far as it explains figures.

    Attributes:
        auto_jobs: What `--jobs auto` means for the cache.
        mount: The file system of the cache.
    """

    cpus: int
    auto_jobs: int
    system: str
    python: str
    mount: Mount


@dataclass(frozen=True, slots=True)
class TuneReport:
    """All that was found out.

    Attributes:
        machine: What it was measured on.
        seconds: How long the measuring took.
    """

    image_path: str
    machine: Machine
    manifests: int
    blobs: int
    scan: ScanFigures
    deletion: DeleteFigures
    seconds: float

    @property
    def recommendation(self) -> Recommendation:
        """The settings to use, as far as the figures tell."""
        return Recommendation(
            jobs=None if self.scan.too_small else smallest_good(self.scan.measurements),
            concurrency=smallest_good(self.deletion.measurements),
        )

    @property
    def deletes_per_second(self) -> float:
        """How fast files went at the concurrency that is recommended."""
        advised = self.recommendation.concurrency
        rates = (one.rate for one in self.deletion.measurements if one.setting == advised)
        return next(rates)

    @property
    def is_noisy(self) -> bool:
        """Whether the rounds of some setting differ too much to trust the figures."""
        measurements = (*self.scan.measurements, *self.deletion.measurements)
        return any((measurement.spread or 0) > NOISY for measurement in measurements)

    @property
    def estimate(self) -> RunEstimate:
        """How long a prune of everything takes at the best rates, as if all files were small."""
        return RunEstimate(
            scan_seconds=self.manifests / best_rate(self.scan.measurements),
            files=self.manifests + self.blobs,
            size=0,
            files_per_second=best_rate(self.deletion.measurements),
            basis=Basis.MEASURED,
        )


def median(values: Sequence[float]) -> float:
    """The median of at least one number of seconds, which is never quite zero."""
    # A coarse clock may not have moved at all.
    return max(statistics.median(values), 1e-9)


def best_rate(measurements: Sequence[Measurement]) -> float:
    """The rate of the fastest setting, per second."""
    return max(measurement.rate for measurement in measurements)


def smallest_good(measurements: Sequence[Measurement]) -> int:
    """The smallest setting that is as fast as the best, within `TOLERANCE`."""
    enough = best_rate(measurements) * (1 - TOLERANCE)
    return min(one.setting for one in measurements if one.rate >= enough)


def job_settings(auto: int, wanted: int | None = None) -> tuple[int, ...]:
    """The numbers of scan workers to try, ascending.

    Up to twice as many as `--jobs auto` means here are tried, and the wanted setting, of any size.
    """
    settings = {auto, *(jobs for jobs in _JOB_SETTINGS if jobs <= 2 * auto)}
    return tuple(sorted(settings if wanted is None else settings | {wanted}))


def waiting_settings(auto: int, wanted: int | None = None, *, most: int) -> tuple[int, ...]:
    """The numbers of scan workers to try where they wait for the file system, ascending.

    Besides one worker and the wanted setting, none is above `most`.
    """
    settings = {1, *(jobs for jobs in (*_WAITING_SETTINGS, auto) if jobs <= most)}
    return tuple(sorted(settings if wanted is None else settings | {wanted}))


def is_faster(rate: float, others: Sequence[Measurement]) -> bool:
    """Whether a rate is better than all others, by more than `TOLERANCE`."""
    return not others or rate > best_rate(others) * (1 + TOLERANCE)


def rounds_that_fit(round_seconds: float, seconds: float, *, least: int, most: int) -> int:
    """How often a round can be repeated.

    Args:
        round_seconds: How long one takes.
        seconds: How long all may take.
        least: The fewest rounds, even if there is no time.
        most: The most rounds, even if there is more time.
    """
    return max(least, min(most, int(seconds / max(round_seconds, 1e-9))))


def in_turn(settings: Sequence[int], round_number: int) -> list[int]:
    """The settings in the order of one round: each round begins with another one."""
    first = round_number % len(settings)
    return [*settings[first:], *settings[:first]]


def evenly(total: int, most: int) -> list[int]:
    """Positions in a list of `total`: all, or `most` of them at equal distances."""
    count = min(total, most)
    return [at * total // count for at in range(count)]
