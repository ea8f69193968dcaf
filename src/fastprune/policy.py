"""Policy: what a prune is asked to select, as plain values.

Stage: select. Pure, no I/O; a policy holds absolute times, so that nothing that follows
it asks a clock. Its evaluation is in `fastprune.selection`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastprune.errors import UsageError
from fastprune.wallclock import parse_time


@dataclass(frozen=True, slots=True)
class Policy:
    """What to select. Printable, comparable, and made of plain values only.

    Attributes:
        patterns: RE2 patterns; any of them must occur in the image URL.
        exclude: RE2 patterns; what any of them matches is kept.
        created_before: `YYYY-MM-DDTHH:MM:SS`: `created` must be strictly earlier. An
            empty or malformed `created` never is.
        pulled_before: The same for the newest pull of the image, see `newest_pulls`.
        count: At most so many images, those pulled longest ago first.
        orphans_only: Select no manifest: only blobs that nothing refers to go.
    """

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    created_before: str | None = None
    pulled_before: str | None = None
    count: int | None = None
    orphans_only: bool = False

    @property
    def selects(self) -> bool:
        """Whether there is any criterion that selects something."""
        criteria = (self.created_before, self.pulled_before, self.count)
        return bool(self.patterns) or any(value is not None for value in criteria)

    @property
    def pattern_sets(self) -> tuple[tuple[str, ...], ...]:
        """What a scan has to match URLs with for this policy."""
        return tuple(patterns for patterns in (self.patterns, self.exclude) if patterns)

    def check(self) -> None:
        """Checks that a prune may follow this policy.

        Raises:
            UsageError: It has no criterion, or one that can't be used.
        """
        if self.orphans_only and self.selects:
            raise UsageError("--orphans-only can't be combined with other criteria")
        if not self.orphans_only and not self.selects:
            raise UsageError(
                "nothing says what to prune: give --pattern, --date, --older-than, "
                "--not-pulled-for or another criterion, or --orphans-only"
            )
        if self.count is not None and self.count < 0:
            raise UsageError(f"--count {self.count}: can't be negative")
        for text in (self.created_before, self.pulled_before):
            if text is not None and parse_time(text) is None:
                raise UsageError(f"not a date and time: {text!r}; write YYYY-MM-DDTHH:MM:SS")
