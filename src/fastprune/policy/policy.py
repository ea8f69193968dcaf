"""Policy: what a prune is asked to select and to keep, as plain values.

Stage: select. Pure, no I/O; a policy holds absolute times and bytes, so that nothing that
follows it asks a clock or a file system. Its evaluation is in `fastprune.selection.selecting`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastprune.errors import UsageError
from fastprune.model import DIGEST_PREFIX, LARGEST_INT64, parse_time

SIZE_TARGET = "size-target"
"""Stands for the name of a rule if a size target selected an image, not a rule."""

NO_NAME = -1
"""Stands for no position in `Policy.rule_names`."""

MOST_PATTERN_SETS = 32
"""How many sets of patterns a scan can match at once."""

_RULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Policy:
    """What to select and what to keep. Printable, comparable, and made of plain values only.

    Attributes:
        patterns: RE2 patterns; any of them must occur in the image URL.
        exclude: RE2 patterns; what any of them matches is kept.
        created_before: `YYYY-MM-DDTHH:MM:SS`: `created` must be strictly earlier. An
            empty or malformed `created` never is.
        pulled_before: The same for the newest pull of the image, see `newest_pulls`.
        count: The most images to select, those pulled longest ago first.
        orphans_only: Select no manifest: only blobs that nothing refers to go.
        dangling: Only untagged images that no list refers to.
        broken: Only images with missing blobs, and lists that lead to nothing else.
        keep_last: Keep so many of the newest tags of each repository, of those that the
            patterns match. If nothing else says what to select, all other tags are selected.
        keep_since: `YYYY-MM-DDTHH:MM:SS`: keep what was pulled or created then or later, and
            what has no time at all.
        keep_references: Keep the images that these mean, as `parse_references` gives them.
        max_bytes: Select images, those pulled longest ago first, until the manifests and
            blobs that stay have no more bytes than this.
        free_bytes: The same, until so many bytes come free. With both, both must be met.
        rules: Rules, each of which selects by itself; see `fastprune.selection.selecting`. The
            policy then has no criteria of its own. What it keeps holds for all rules, and a
            size target selects more images after them.
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
    rules: tuple[Rule, ...] = ()

    @property
    def has_size_target(self) -> bool:
        """Whether it goes on until so many bytes are free or left."""
        return self.max_bytes is not None or self.free_bytes is not None

    @property
    def narrows(self) -> bool:
        """Whether any criterion but `keep_last` and `count` says what to select."""
        return bool(self._narrowing() or self.rules)

    @property
    def selects(self) -> bool:
        """Whether there is any criterion that selects something."""
        return self.narrows or self.count is not None or self.keep_last is not None

    @property
    def criteria(self) -> tuple[str, ...]:
        """The names of the criteria that are given; what is selected meets all of them."""
        by_tags = self.keep_last is not None and not self.narrows
        last = {"not-among-last": by_tags, "count": self.count is not None}
        return (*self._narrowing(), *(name for name, is_given in last.items() if is_given))

    def _narrowing(self) -> list[str]:
        given = {
            "pattern": bool(self.patterns),
            "created-before": self.created_before is not None,
            "pulled-before": self.pulled_before is not None,
            "dangling": self.dangling,
            "broken": self.broken,
            "max-size": self.max_bytes is not None,
            "free": self.free_bytes is not None,
        }
        return [name for name, is_given in given.items() if is_given]

    @property
    def pattern_sets(self) -> tuple[tuple[str, ...], ...]:
        """The pattern sets that a scan is to match, `MOST_PATTERN_SETS` at most."""
        sets = [patterns for patterns in (self.patterns, self.exclude) if patterns]
        for rule in self.rules:
            sets += rule.policy.pattern_sets
        return tuple(dict.fromkeys(sets))[:MOST_PATTERN_SETS]

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The names of all that may select an image: each rule, and the size target if any."""
        names = [rule.name for rule in self.rules]
        return (*names, SIZE_TARGET) if self.rules and self.has_size_target else tuple(names)

    @property
    def needs_edges(self) -> bool:
        """Whether the policy needs an index with the references of manifests."""
        given = (self.pulled_before, self.keep_since, self.count, self.keep_last)
        return (
            any(value is not None for value in given)
            or any(DIGEST_PREFIX in reference for reference in self.keep_references)
            or self.dangling
            or self.broken
            or self.has_size_target
            # A rule that keeps a list keeps its children, too.
            or bool(self.rules)
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
        self._check_rules()
        self.check_values()

    def check_values(self) -> None:
        """Checks each value by itself. A policy for a listing need not select anything.

        Raises:
            UsageError: One can't be used.
        """
        self._check_numbers()
        for text in (self.created_before, self.pulled_before, self.keep_since):
            if text is not None and parse_time(text) is None:
                raise UsageError(f"not a date and time: {text!r}; write YYYY-MM-DDTHH:MM:SS")
        if not self.keep_references:
            return
        from fastprune.text.references import parse_reference

        for text in self.keep_references:
            # A short name would match nothing, and so keep nothing.
            if text not in parse_reference(text):
                raise UsageError(
                    f"not a reference in full: {text!r}; parse_references completes it"
                )

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

    def _check_rules(self) -> None:
        if self.rules and self != Policy(
            rules=self.rules,
            exclude=self.exclude,
            keep_last=self.keep_last,
            keep_since=self.keep_since,
            keep_references=self.keep_references,
            max_bytes=self.max_bytes,
            free_bytes=self.free_bytes,
        ):
            raise UsageError("a policy of rules has no criteria of its own but size targets")
        names = [rule.name for rule in self.rules]
        for rule in self.rules:
            rule.check()
            if names.count(rule.name) > 1:
                raise UsageError(f"there are several rules called {rule.name!r}")

    def _check_numbers(self) -> None:
        for option, number, least in (
            ("--count", self.count, 0),
            ("--keep-last", self.keep_last, 1),
            ("--max-size", self.max_bytes, 0),
            ("--free", self.free_bytes, 0),
        ):
            if number is not None and number < least:
                wrong = "must be at least 1" if least else "can't be negative"
                raise UsageError(f"{option} {number}: {wrong}")
            # A plan is a JSON file, and its readers may hold integers in 64 bits.
            if number is not None and number > LARGEST_INT64:
                raise UsageError(f"{option} {number}: too large a number")


@dataclass(frozen=True, slots=True)
class Rule:
    """One of several rules of a policy.

    Attributes:
        name: For reports: letters, digits, `.`, `_` and `-`, at most 64.
        policy: What it selects and keeps among the images that its patterns match.
    """

    name: str
    policy: Policy

    def check(self) -> None:
        """Checks that the rule can be one of several.

        Raises:
            UsageError: It can't.
        """
        if not _RULE_NAME.fullmatch(self.name) or self.name == SIZE_TARGET:
            raise UsageError(
                f"not the name of a rule: {self.name!r}; write up to 64 letters, digits, "
                f"'.', '_' and '-', but not {SIZE_TARGET!r}"
            )
        if self.policy.rules or self.policy.has_size_target or self.policy.orphans_only:
            raise UsageError(
                f"rule {self.name!r}: rules, size targets and orphans are for the whole policy"
            )
        try:
            self.policy.check()
        except UsageError as error:
            raise UsageError(f"rule {self.name!r}: {error}") from None
