"""Compares what a page or a picture shows with what the program prints."""

from __future__ import annotations

import re

_ANYTHING = (
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{6}\b"), "<run>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<now>"),
    (re.compile(r"\([^()]* ago\)"), "(<age>)"),
    (re.compile(r"^(Time: ).*"), r"\1<seconds>"),
    (re.compile(r"^(Estimated time of the real run: )about [^(]*"), r"\1<seconds> "),
)


def assert_shows(shown: list[str], printed: list[str], where: str) -> None:
    """Checks that a page shows the printed lines, except for values that differ in every run."""
    expected = [f"{_plain(line)}\n" for line in shown]
    pattern = "".join(
        r"(?:.*\n)*?" if line == "...\n" else re.escape(line).replace(r"\.\.\.", ".*")
        for line in expected
    )
    text = "".join(f"{_plain(line)}\n" for line in printed)
    assert re.fullmatch(pattern, text), f"{where}\nshown:\n{''.join(expected)}printed:\n{text}"


def _plain(line: str) -> str:
    for pattern, kind in _ANYTHING:
        line = pattern.sub(kind, line)
    return line.rstrip()
