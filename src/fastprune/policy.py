"""Policy: what a prune is asked to select and to keep, as plain values.

Stage: select. Pure, no I/O; a policy holds absolute times and bytes, so that nothing that
follows it asks a clock or a file system. Its evaluation is in `fastprune.selection`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastprune.errors import UsageError
from fastprune.wallclock import parse_time


@dataclass(frozen=True, slots=True)
class Policy:
    """What to select and what to keep. Printable, comparable, and made of plain values only.

    Attributes:
        patterns: RE2 patterns; any of them must occur in the image URL.
        exclude: RE2 patterns; what any of them matches is kept.
        created_before: `YYYY-MM-DDTHH:MM:SS`: `created` must be strictly earlier. An
            empty or malformed `created` never is.
        pulled_before: The same for the newest pull of the image, see `newest_pulls`.
        count: At most so many images, those pulled longest ago first.
        orphans_only: Select no manifest: only blobs that nothing refers to go.
        dangling: Only untagged images that no list refers to.
        broken: Only images with missing blobs, and lists that lead to nothing else.
        keep_last: Keep so many of the newest tags of each repository. If nothing else says
            what to select, all other tags are selected.
        keep_since: `YYYY-MM-DDTHH:MM:SS`: keep what was pulled or created then or later, and
            what has no time at all.
        keep_references: Keep the images that these mean, as `parse_references` gives them.
        max_bytes: Select images, those pulled longest ago first, until the manifests and
            blobs that stay have no more bytes than this.
        free_bytes: The same, until so many bytes come free. With both, more goes.
    """

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    created_before: str | None = None
    pulled_before: str | None = None
    count: int | None = None
    orphans_only: bool = False
    dangling: bool = False
    broken: bool = False
    keep_last: int | None = None
    keep_since: str | None = None
    keep_references: tuple[str, ...] = ()
    max_bytes: int | None = None
    free_bytes: int | None = None

    @property
    def has_size_target(self) -> bool:
        """Whether it goes on until so many bytes are free or left."""
        return self.max_bytes is not None or self.free_bytes is not None

    @property
    def narrows(self) -> bool:
        """Whether any criterion says which manifests are meant, apart from `keep_last`."""
        times = (self.created_before, self.pulled_before)
        return (
            bool(self.patterns)
            or any(time is not None for time in times)
            or self.dangling
            or self.broken
            or self.has_size_target
        )

    @property
    def selects(self) -> bool:
        """Whether there is any criterion that selects something."""
        return self.narrows or self.count is not None or self.keep_last is not None

    @property
    def criteria(self) -> tuple[str, ...]:
        """By what the selected are selected: names of criteria, all of which they meet."""
        given = {
            "pattern": bool(self.patterns),
            "created-before": self.created_before is not None,
            "pulled-before": self.pulled_before is not None,
            "dangling": self.dangling,
            "broken": self.broken,
            "not-among-last": self.keep_last is not None and not self.narrows,
            "max-size": self.max_bytes is not None,
            "free": self.free_bytes is not None,
            "count": self.count is not None,
        }
        return tuple(name for name, is_given in given.items() if is_given)

    @property
    def pattern_sets(self) -> tuple[tuple[str, ...], ...]:
        """What a scan has to match URLs with for this policy."""
        return tuple(patterns for patterns in (self.patterns, self.exclude) if patterns)

    @property
    def needs_edges(self) -> bool:
        """Whether only an index with the references of manifests can tell what it selects."""
        times = (self.pulled_before, self.keep_since)
        numbers = (self.count, self.keep_last)
        return (
            any(value is not None for value in (*times, *numbers))
            or self.dangling
            or self.broken
            or self.has_size_target
        )

    def check(self) -> None:
        """Checks that a prune may follow this policy.

        Raises:
            UsageError: It has no criterion, or one that can't be used.
        """
        if self.orphans_only and self.selects:
            raise UsageError("--orphans-only can't be combined with other criteria")
        if not self.orphans_only and not self.selects:
            raise UsageError(self._nothing_selected())
        self.check_values()

    def check_values(self) -> None:
        """Checks each value by itself: a policy that selects nothing will do for a listing.

        Raises:
            UsageError: One can't be used.
        """
        self._check_numbers()
        for text in (self.created_before, self.pulled_before, self.keep_since):
            if text is not None and parse_time(text) is None:
                raise UsageError(f"not a date and time: {text!r}; write YYYY-MM-DDTHH:MM:SS")

    def _nothing_selected(self) -> str:
        if self.exclude or self.keep_since is not None or self.keep_references:
            return (
                "--exclude, --keep-within and --keep-from only say what to keep: give a "
                "criterion as well, such as --older-than or --max-size, or --pattern '.' for "
                "everything else"
            )
        return (
            "nothing says what to prune: give --pattern, --date, --older-than, "
            "--not-pulled-for or another criterion, or --orphans-only"
        )

    def _check_numbers(self) -> None:
        if self.count is not None and self.count < 0:
            raise UsageError(f"--count {self.count}: can't be negative")
        if self.keep_last is not None and self.keep_last < 1:
            raise UsageError(f"--keep-last {self.keep_last}: must be at least 1")
        for option, size in (("--max-size", self.max_bytes), ("--free", self.free_bytes)):
            if size is not None and size < 0:
                raise UsageError(f"{option} {size}: can't be negative")
