r"""URL patterns: RE2, the syntax of Go's regexp package, in linear time for any pattern.

Stage: select. Input: patterns and URLs. Output: which sets match. Pure, no I/O.

Source: https://github.com/google/re2/wiki/Syntax; ociregistry compiles its patterns
with Go's regexp, whose syntax is the same but for `\C`, which Go refuses.
"""

from __future__ import annotations

import re
import string
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import re2

from fastprune.errors import UsageError

# Characters that stand for themselves, and the dot.
_PLAIN = frozenset(string.ascii_letters + string.digits + "/:@_-.")
_MOST_LITERALS = 16
# A text that may lie in `@sha256:` and hex digits, or begin before that and end in it.
_MAY_BE_AT_THE_END = re.compile(rb"@|\A[0-9a-fsh:]*\Z").search

# Patterns that match everything on purpose.
_EVERYTHING = frozenset({".*", "^.*", ".*$", "^.*$"})
# Texts that hold nothing of a URL: a pattern that matches one of them matches every URL.
_NAMELESS = ("", "_")

# A character, one with its backslash, or a class by name.
_MARK = re.compile(r"\\.|\[:\^?[a-z]+:\]|.", re.DOTALL)
_CLOSING = {"(": ")", "[": "]", "{": "}", "\\Q": "\\E"}


def split_patterns(texts: Sequence[str], option: str) -> tuple[str, ...]:
    r"""Splits comma-separated patterns and checks each of them; `option` is for the messages.

    A comma after a backslash does not separate: `\,` is a comma of the pattern.

    Raises:
        UsageError: An element is empty, looks like an option, is not valid RE2, or matches
            every image by accident; or there is a comma inside brackets.
    """
    patterns = []
    for text in texts:
        for pattern in _pieces(text, option):
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
            _check_that_it_names_something(pattern, option)
            patterns.append(pattern)
    return tuple(patterns)


def _pieces(text: str, option: str) -> Iterator[str]:
    r"""Cuts a text at its commas, but for those after a backslash.

    `x{1,2}` would become `x{1` and `2}`, which RE2 takes for plain text: no error, and no match.
    """
    piece, before, opened = "", "", _Opened()
    for mark in _MARK.findall(text):
        if mark == ",":
            if opened.bracket:
                one_word = " " not in option
                apart = f"{option} A {option} B" if one_word else "each by itself in a list"
                raise UsageError(
                    f"{option} {text!r}: the comma after {piece!r} separates two patterns, but "
                    f"{opened.bracket} is still open there; write '\\,' for a comma of the "
                    f"pattern, or {apart} for two patterns"
                )
            yield piece
            piece, before = "", ""
            continue
        opened.take(mark, before)
        before = mark
        piece += "," if mark == "\\," else mark
    yield piece


class _Opened:
    r"""The brackets that are open in the part of a pattern that was read; `\Q` counts as one."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._first_of_class = False

    @property
    def bracket(self) -> str:
        """The innermost that is open; empty if none is."""
        return self._open[-1] if self._open else ""

    def take(self, mark: str, before: str) -> None:
        """Reads the next mark that `_MARK` found, and knows the one before."""
        first, self._first_of_class = self._first_of_class, False
        if self.bracket == "\\Q":
            closes = mark == "\\E"
        elif self.bracket == "[":
            # A closing bracket at the beginning of a class is a member of the class.
            closes = mark == "]" and not first
            self._first_of_class = first and mark == "^" and before == "["
        elif mark in _CLOSING:
            closes = False
            self._open.append(mark)
            self._first_of_class = mark == "["
        else:
            closes = mark == _CLOSING.get(self.bracket)
        if closes:
            self._open.pop()


def _check_that_it_names_something(pattern: str, option: str) -> None:
    """Refuses a pattern that matches every image or the empty text, unless that is on purpose."""
    if pattern in _EVERYTHING:
        return
    compiled = re2.compile(pattern, _options())
    found = map(compiled.search, _NAMELESS)
    if any(match.start() == match.end() for match in found if match):
        raise UsageError(
            f"{option} {pattern!r}: this matches the empty text, and so every image; write '.' "
            "to mean every image, or take out the part that may be empty, such as the last '|' "
            "of 'foo|'"
        )


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
        """Matches URLs in UTF-8; gives uint32 for each: bit k is set if pattern set k matches."""
        together = b"\n".join(urls)
        ends = list(accumulate(len(url) + 1 for url in urls))
        return self._match(together, ends, urls.__getitem__, lambda literals: True)

    def match_pooled(
        self, pool: bytes, lengths: Sequence[int], whole: Callable[[int], bytes]
    ) -> array[int]:
        """Matches URLs that lie end to end, some without `@sha256:` and the digits at their ends.

        Most patterns have a text that is in few of them, and not in a digest. Then only those few
        are put together: `whole` gives one at a position. The pool is UTF-8; lengths are in bytes.
        """

        def are_in_pool(literals: Sequence[bytes]) -> bool:
            return not any(map(_MAY_BE_AT_THE_END, literals))

        return self._match(pool, list(accumulate(lengths)), whole, are_in_pool)

    def _match(
        self,
        together: bytes,
        ends: Sequence[int],
        whole: Callable[[int], bytes],
        can_search: Callable[[Sequence[bytes]], bool],
    ) -> array[int]:
        bits = array("I", bytes(4 * len(ends)))
        for bit, part in self._parts:
            search = part.literals and can_search(part.literals)
            rows = _holding(part.literals, together, ends) if search else range(len(ends))
            for row in rows:
                if part.matches(whole(row)):
                    bits[row] |= bit
        return bits


def _holding(literals: Sequence[bytes], together: bytes, ends: Sequence[int]) -> set[int]:
    """Which pieces of a text, with these ends, hold any of some others, or the beginning of one."""
    rows = set()
    for text in literals:
        at = together.find(text)
        while at >= 0:
            row = bisect_right(ends, at)
            rows.add(row)
            at = together.find(text, ends[row])
    return rows


class _Part(NamedTuple):
    """Some patterns of a set, compiled together.

    Attributes:
        literals: If not empty, a URL that holds none of these texts can't match.
        matches: Whether any of them matches a URL: a true value if so.
    """

    literals: tuple[bytes, ...]
    matches: Callable[[bytes], object]


def _compiled(patterns: Sequence[str]) -> list[_Part]:
    """Compiles a set of patterns as a whole, or in parts where RE2 finds it too large."""
    if not patterns:
        return []
    try:
        return [_together(patterns)]
    except re2.error:
        half = len(patterns) // 2
        if not half:
            # RE2 compiles it by itself, but finds it too large for a set.
            return [_Part((), re2.compile(patterns[0], _options()).search)]
        return _compiled(patterns[:half]) + _compiled(patterns[half:])


def _together(patterns: Sequence[str]) -> _Part:
    literals = tuple(map(_longest_literal, patterns))
    # Searching for many texts takes longer than the automaton.
    few = len(literals) <= _MOST_LITERALS
    search = re2.Set.SearchSet(_options())
    for pattern in patterns:
        search.Add(pattern)
    # This pattern matches everything. If it is missing in an answer, the automaton of the
    # set ran out of memory: the patterns are then tried one by one, without that limit.
    sentinel = search.Add("")
    search.Compile()
    alone = [re2.compile(pattern, _options()) for pattern in patterns]

    def matches(url: bytes) -> bool:
        found = search.Match(url)
        if found and sentinel in found:
            return len(found) > 1
        return any(pattern.search(url) for pattern in alone)

    return _Part(literals if few and all(literals) else (), matches)


def _longest_literal(pattern: str) -> bytes:
    """The longest text that every match must hold; empty if it is not easy to find."""
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
