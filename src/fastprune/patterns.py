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
        self._sets = [_PatternSet(patterns) for patterns in pattern_sets]

    def match(self, urls: Sequence[bytes]) -> array[int]:
        """Matches URLs in UTF-8.

        Returns:
            uint32 a URL: bit k is set if pattern set k matches.
        """
        bits = array("I", bytes(4 * len(urls)))
        together = b"\n".join(urls)
        for number, patterns in enumerate(self._sets):
            if patterns.literals and not any(text in together for text in patterns.literals):
                continue
            for row, url in enumerate(urls):
                if patterns.matches(url):
                    bits[row] |= 1 << number
        return bits


class _PatternSet:
    """The patterns of one set, compiled together.

    Attributes:
        literals: If not empty, a URL that holds none of these texts can't match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        literals = [_longest_literal(pattern) for pattern in patterns]
        self.literals = tuple(literals) if all(literals) else ()
        self._search = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._search.Add(pattern)
        # Matches everything. If it is missing in an answer, the automaton of the set ran
        # out of memory, and the patterns are tried one by one, without that limit.
        self._sentinel = self._search.Add("")
        self._usable = self._search.Compile()
        self._patterns = [re2.compile(pattern, _options()) for pattern in patterns]

    def matches(self, url: bytes) -> bool:
        if self.literals and not any(text in url for text in self.literals):
            return False
        found = self._search.Match(url) if self._usable is not False else None
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
