r"""URL patterns: RE2, which is what Go's regexp package means and can't blow up.

Stage: select. Input: patterns and URLs. Output: which sets match. Pure, no I/O.

Source: https://github.com/google/re2/wiki/Syntax; ociregistry compiles its patterns
with Go's regexp, whose syntax is the same but for `\C`, which Go refuses.
"""

from __future__ import annotations

import string
from array import array
from collections.abc import Sequence

import re2

from fastprune.errors import UsageError

# Characters that stand for themselves, and the dot.
_PLAIN = frozenset(string.ascii_letters + string.digits + "/:@_-.")
_MOST_LITERALS = 16


def split_patterns(texts: Sequence[str], option: str) -> tuple[str, ...]:
    """Splits comma-separated patterns and checks each of them.

    Args:
        texts: The values of a repeatable option.
        option: Its name, for the messages.

    Raises:
        UsageError: An element is empty, looks like an option, or is not valid RE2.
    """
    patterns = []
    for text in texts:
        for pattern in text.split(","):
            if not pattern:
                raise UsageError(
                    f"{option} {text!r}: a pattern is empty, and an empty pattern matches "
                    "every image; write '.' if that is what you want"
                )
            if pattern.startswith("--"):
                raise UsageError(
                    f"{option} {text!r}: this looks like an option; write '[-]-...' for a "
                    "pattern that starts with two dashes"
                )
            check_pattern(pattern, option)
            patterns.append(pattern)
    return tuple(patterns)


def check_pattern(pattern: str, option: str) -> None:
    """Checks that RE2 understands a pattern.

    Raises:
        UsageError: It doesn't; the message shows where.
    """
    try:
        if r"\C" in pattern.replace(r"\\", ""):
            raise re2.error(r"invalid escape sequence: \C")
        re2.compile(pattern, _options())
    except UnicodeEncodeError:
        raise UsageError(f"{option} {pattern!r}: not text in UTF-8") from None
    except re2.error as error:
        reason = error.args[0] if error.args else error
        if isinstance(reason, bytes):
            reason = reason.decode("utf-8", "replace")
        raise UsageError(f"{option} {pattern!r}: {reason}{_where(pattern, str(reason))}") from None


class UrlMatcher:
    """Says of many URLs which pattern sets match them.

    A set matches a URL if any of its patterns occurs anywhere in it. Most patterns are
    plain text: their longest literal part is looked for first, in all URLs at once.
    """

    def __init__(self, pattern_sets: Sequence[Sequence[str]]) -> None:
        """Compiles at most 32 sets of valid patterns."""
        self._parts = [
            (1 << number, part)
            for number, patterns in enumerate(pattern_sets)
            for part in _compiled(patterns)
        ]

    def match(self, urls: Sequence[bytes]) -> array[int]:
        """Matches URLs in UTF-8.

        Returns:
            uint32 a URL: bit k is set if pattern set k matches.
        """
        bits = array("I", bytes(4 * len(urls)))
        together = b"\n".join(urls)
        for bit, part in self._parts:
            if part.literals and not any(text in together for text in part.literals):
                continue
            for row, url in enumerate(urls):
                if part.matches(url):
                    bits[row] |= bit
        return bits


def _compiled(patterns: Sequence[str]) -> list[_PatternSet]:
    """Compiles a set of patterns as a whole, or in parts where RE2 finds it too large."""
    try:
        return [_PatternSet(patterns)]
    except re2.error:
        half = len(patterns) // 2
        if not half:
            raise
        return _compiled(patterns[:half]) + _compiled(patterns[half:])


class _PatternSet:
    """Some patterns, compiled together.

    Attributes:
        literals: If not empty, a URL that holds none of these texts can't match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        literals = [_longest_literal(pattern) for pattern in patterns]
        # To look for many texts takes longer than the automaton does.
        few = len(literals) <= _MOST_LITERALS
        self.literals = tuple(literals) if few and all(literals) else ()
        self._search = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._search.Add(pattern)
        # Matches everything. If it is missing in an answer, the automaton of the set ran
        # out of memory, and the patterns are tried one by one, without that limit.
        self._sentinel = self._search.Add("")
        self._search.Compile()
        self._patterns = [re2.compile(pattern, _options()) for pattern in patterns]

    def matches(self, url: bytes) -> bool:
        if self.literals and not any(text in url for text in self.literals):
            return False
        found = self._search.Match(url)
        if found and self._sentinel in found:
            return len(found) > 1
        return any(pattern.search(url) for pattern in self._patterns)


def _longest_literal(pattern: str) -> bytes:
    """The longest text that a match must hold; empty if that is not plain to see."""
    if not _PLAIN.issuperset(pattern):
        return b""
    return max(pattern.split("."), key=len).encode()


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    return options


def _where(pattern: str, reason: str) -> str:
    """Points at the part of the pattern that RE2 names after the colon of its message."""
    fragment = reason.partition(": ")[2]
    at = pattern.find(fragment) if fragment else -1
    if at < 0:
        return ""
    return f"\n  {pattern}\n  {' ' * at}{'^' * max(1, len(fragment))}"
