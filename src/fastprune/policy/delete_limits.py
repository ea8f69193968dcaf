"""How much one prune may remove: a guard against mistakes in a policy.

Stage: plan. Input: a `PrunePlan`. Output: the limits that it goes beyond. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any, Protocol

from fastprune.errors import DeleteLimitError, Exceeded, UsageError
from fastprune.text.quantities import format_bytes, format_count


class Removal(Protocol):
    """The part of a plan that the limits look at; a `PrunePlan` has it."""

    @property
    def manifests(self) -> Sized:
        """The manifests that go."""

    @property
    def blobs(self) -> Sized:
        """The blobs that go."""

    @property
    def index(self) -> Sized:
        """All manifests of the cache that can be read."""

    @property
    def bytes_removed(self) -> int:
        """Bytes of the files that go."""

    @property
    def bytes_linked(self) -> int:
        """Bytes of those that have other hard links, and free nothing."""


COUNT = "max-delete-count"
SIZE = "max-delete-size"
PERCENT = "max-delete-percent"
REMOVE_ALL = "allow-remove-all"


@dataclass(frozen=True, slots=True)
class DeleteLimits:
    """The most that a plan may remove. A plan beyond any limit is refused as a whole.

    Attributes:
        count: Manifests, lists and images alike; None for no limit.
        size: Bytes that come free, of manifests and blobs; None for no limit.
        percent: Of all manifests in the cache that can be read, 0 to 100; None for no limit.
        allow_remove_all: Whether a plan may leave no manifest at all.
    """

    count: int | None = None
    size: int | None = None
    percent: float | None = None
    allow_remove_all: bool = False

    def check(self) -> None:
        """Checks that the limits can be used.

        Raises:
            UsageError: One of them can't.
        """
        for name, value in ((COUNT, self.count), (SIZE, self.size)):
            if value is not None and value < 0:
                raise UsageError(f"--{name} {value}: can't be negative")
        if self.percent is not None and not 0 <= self.percent <= 100:
            raise UsageError(f"--{PERCENT} {self.percent}: must be from 0 to 100")

    def or_stricter(self, other: DeleteLimits) -> DeleteLimits:
        """The stricter of two limits of each kind."""

        def least(*values: float | None) -> Any:
            return min((value for value in values if value is not None), default=None)

        return DeleteLimits(
            count=least(self.count, other.count),
            size=least(self.size, other.size),
            percent=least(self.percent, other.percent),
            allow_remove_all=self.allow_remove_all,
        )

    def exceeded_by(self, plan: Removal) -> tuple[Exceeded, ...]:
        """The limits that a plan goes beyond."""
        return tuple(self._exceeded(plan))

    def enforce(self, plan: Removal) -> None:
        """Makes sure that a plan keeps within the limits.

        Raises:
            DeleteLimitError: A limit is exceeded; the message has the numbers.
        """
        if exceeded := self.exceeded_by(plan):
            raise DeleteLimitError(exceeded)

    def _exceeded(self, plan: Removal) -> Iterator[Exceeded]:
        manifests, total = len(plan.manifests), len(plan.index)
        going = f"{format_count(manifests, 'manifest')} would go"
        if self.count is not None and manifests > self.count:
            yield Exceeded(COUNT, self.count, manifests, f"{going}, {COUNT} allows {self.count:,}")
        # Files with other hard links go as well, though they free nothing.
        size = plan.bytes_removed
        if self.size is not None and size > self.size:
            would = "go" if plan.bytes_linked else "come free"
            yield Exceeded(
                SIZE,
                self.size,
                size,
                f"{_size(size)} would {would}, {SIZE} allows {_size(self.size)}",
            )
        if self.percent is not None and 100 * manifests > self.percent * total:
            percent = 100 * manifests / total
            yield Exceeded(
                PERCENT,
                self.percent,
                percent,
                f"{manifests:,} of {format_count(total, 'manifest')} ({percent:.4g} %) would go, "
                f"{PERCENT} allows {self.percent:g} %",
            )
        if not self.allow_remove_all and manifests == total and (manifests or len(plan.blobs)):
            # Without manifests every blob is an orphan. The folder may just not be mounted.
            text = f"{format_count(total, 'manifest')} of {total:,} would go, none would be left"
            none = f"there is no manifest, and {format_count(len(plan.blobs), 'blob')} would go"
            yield Exceeded(REMOVE_ALL, max(0, total - 1), manifests, text if total else none)


def _size(count: int) -> str:
    return f"{count} bytes ({format_bytes(count)})"
