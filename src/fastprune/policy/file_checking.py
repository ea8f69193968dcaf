"""Entries to settings: which keys there are, where each belongs, and which type it has.

Stage: rim. Input: `Entry`s. Output: `PolicyText`. Pure, no I/O.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import Enum
from functools import partial
from typing import Any

from fastprune.errors import UsageError
from fastprune.policy.file_entries import Entry, PolicyText, Setting, Settings

POLICY, RULES = "policy", "rules"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> list[str] | None:
    values = value if isinstance(value, list) else [value]
    return values if values and all(map(_text, values)) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Any, least: int) -> int | None:
    return value if type(value) is int and value >= least else None


def _percent(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= 100 else None


class Kind(Enum):
    """What a value may be: in words, and a function that gives None for any other value."""

    TEXT = ('must be a text, as "30d"', _text)
    TEXTS = ('must be a text or a list of texts, as ["a", "b"]', _texts)
    COUNT = ("must be a whole number, 0 or more", partial(_number, least=0))
    POSITIVE = ("must be a whole number, 1 or more", partial(_number, least=1))
    PERCENT = ("must be a number from 0 to 100", _percent)
    FLAG = ("must be true or false", _flag)


KEEP_KEYS = {
    "exclude": Kind.TEXTS,
    "keep-last": Kind.POSITIVE,
    "keep-within": Kind.TEXT,
    "keep-from": Kind.TEXTS,
}
"""Keys that keep: in a rule, images that its patterns match; in `[policy]`, any image."""

RULE_KEYS = {
    "pattern": Kind.TEXTS,
    "date": Kind.TEXT,
    "older-than": Kind.TEXT,
    "pulled-before": Kind.TEXT,
    "not-pulled-for": Kind.TEXT,
    "dangling": Kind.FLAG,
    "broken": Kind.FLAG,
    "count": Kind.COUNT,
    **KEEP_KEYS,
}
POLICY_KEYS = {
    **KEEP_KEYS,
    "max-size": Kind.TEXT,
    "min-free-space": Kind.TEXT,
    "free": Kind.TEXT,
    "zone": Kind.TEXT,
    "grace": Kind.TEXT,
    "max-delete-count": Kind.COUNT,
    "max-delete-size": Kind.TEXT,
    "max-delete-percent": Kind.PERCENT,
}
SYNONYMS = {"created-before": "date", "prune-before": "date"}
"""Other names of the same option."""

_ONLY_OPTIONS = ("allow-remove-all", "allow-broken", "skip-corrupt", "force", "dry-run", "trash")


def check(document: Entry, source: str) -> PolicyText:
    """Checks a document.

    Raises:
        UsageError: Something is wrong; the message has a line for each thing.
    """
    checker = _Checker(source)
    tables = checker.table(document, "", (POLICY, RULES))
    whole = checker.settings(tables.get(POLICY), POLICY, POLICY_KEYS)
    rules: dict[str, tuple[str, Settings]] = {}
    named = tables.get(RULES)
    for name, entry in checker.table(named, RULES, None).items() if named else ():
        place = f"{RULES}.{name}"
        rules[name] = checker.where(entry, place), checker.settings(entry, place, RULE_KEYS)
    checker.finish()
    return PolicyText(whole, rules)


class _Checker:
    """Collects all mistakes, so that one message can name them."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._wrong: list[str] = []

    def where(self, entry: Entry, path: str) -> str:
        """File, line if known, and key."""
        line = "" if entry.line is None else f", line {entry.line}"
        return f"{self._source}{line}: {path}" if path else f"{self._source}{line}"

    def table(self, entry: Entry, path: str, known: Iterable[str] | None) -> dict[str, Entry]:
        """The entries of a table without unknown keys; known=None accepts every key."""
        if not isinstance(entry.value, dict):
            self._say(entry, path, "must be a table of keys and values")
            return {}
        if known is None:
            return entry.value
        for key, inner in entry.value.items():
            if key not in known:
                self._say(inner, _joined(path, key), _unknown(key, path, known))
        return {key: inner for key, inner in entry.value.items() if key in known}

    def settings(self, entry: Entry | None, path: str, kinds: dict[str, Kind]) -> Settings:
        """The settings of a table."""
        if entry is None:
            return {}
        found: Settings = {}
        synonyms = [name for name, option in SYNONYMS.items() if option in kinds]
        for key, inner in self.table(entry, path, (*kinds, *synonyms)).items():
            option = SYNONYMS.get(key, key)
            must_be, checked = kinds[option].value
            value = checked(inner.value)
            if option in found:
                self._say(inner, _joined(path, key), f"says the same as {option!r}: give one")
            elif value is None:
                self._say(inner, _joined(path, key), must_be)
            else:
                found[option] = Setting(value, self.where(inner, _joined(path, key)))
        return found

    def finish(self) -> None:
        """Raises for all that is wrong."""
        if self._wrong:
            raise UsageError("\n".join(self._wrong))

    def _say(self, entry: Entry, path: str, what: str) -> None:
        self._wrong.append(f"{self.where(entry, path)}: {what}")


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unknown(key: str, path: str, known: Iterable[str]) -> str:
    """The message about a key that does not belong in its place."""
    if path.startswith(RULES) and key in POLICY_KEYS:
        return f"belongs in [{POLICY}], as it holds for the whole cache"
    if path == POLICY and (key in RULE_KEYS or key in SYNONYMS):
        return f"belongs in a rule, as [{RULES}.NAME]"
    if not path and (key in RULE_KEYS or key in POLICY_KEYS):
        tables = [f"[{POLICY}]"] * (key in POLICY_KEYS) + [f"[{RULES}.NAME]"] * (key in RULE_KEYS)
        return f"belongs in {' or '.join(tables)}"
    if key in _ONLY_OPTIONS:
        return f"only works as an option: --{key}"
    near = difflib.get_close_matches(key.lower().replace("_", "-"), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    return f"unknown key; {hint}"
