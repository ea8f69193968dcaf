"""The file of a policy: TOML or YAML, checked key by key.

Stage: rim. Input: bytes. Output: values and where they stand. Pure, no I/O.

docs/policy-files.md describes every key. `fastprune.policy.file_loading` turns the values into
times and bytes, as it is done for the options of the same names.
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
"""Settings by the name of their option, without dashes."""


@dataclass(frozen=True, slots=True)
class PolicyText:
    """What a file says.

    Attributes:
        whole: What holds for all rules.
        rules: Of each rule by its name, in the order of the file: where it stands, for messages,
            and its settings.
    """

    whole: Settings
    rules: dict[str, tuple[str, Settings]]
