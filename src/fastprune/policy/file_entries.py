"""The file of a policy: TOML or YAML, checked key by key.

Stage: rim. Input: bytes. Output: values and where they stand. Pure, no I/O.

docs/policy-files.md describes every key. What the values mean, as times and bytes, is found
out as for the options of the same names (`fastprune.policy.file_loading`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of the file.

    Attributes:
        value: A text, a number, true or false, a list of such, or for a table its entries by
            key.
        line: The line, from 1, on which its key stands; None if the parser does not tell.
    """

    value: Any
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that has the right type.

    Attributes:
        value: A text, texts, a number, or true.
        where: File, line if known, and key, for messages.
    """

    value: Any
    where: str


Settings = dict[str, Setting]
"""By the name of the option of the same meaning, without dashes."""


@dataclass(frozen=True, slots=True)
class PolicyText:
    """What a file says.

    Attributes:
        whole: What holds for all rules.
        rules: The settings of each rule by its name, in the order of the file.
        places: The same for each rule.
    """

    whole: Settings
    rules: dict[str, Settings]
    places: dict[str, str]
