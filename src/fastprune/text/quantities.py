"""Durations and sizes as people write them, both ways.

Stage: rim. Input and output: text and numbers. Pure, no I/O.

Our own parsers, as mistakes must be refused: durationpy reads `-5m` and `1h 30m`, pytimeparse
neither `1y` nor `100ms`, and humanfriendly `5M` as five minutes and `10` as ten bytes.
"""

from __future__ import annotations

import re

from fastprune.errors import UsageError

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3_600,
    "d": 86_400,
    "w": 7 * 86_400,
    "y": 365 * 86_400,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kKMGTP])(i)?)?B", re.ASCII)
_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?)%", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|[smhdwy])", re.ASCII)


def parse_duration(text: str, option: str) -> float:
    """Parses a duration to seconds: a number and a unit, or a sum of such, as `36h` or `1d12h`.

    Units are s, m, h, d, w (7 d) and y (365 d); ociregistry's ns, us and ms as well. The message
    names the option that gave it.

    Raises:
        UsageError: It is negative, has no unit, overflows, or is something else.
    """
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(
            f"{option}: not a duration: {text!r}; write a number and a unit (s, m, h, d, w, y), "
            "as in 90m, 30d or 1d12h"
        )
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > 10_000 * _SECONDS["y"]:
        raise UsageError(f"{option}: too long a duration: {text!r}")
    return seconds


def parse_size(text: str, option: str) -> int:
    """Parses a size to bytes: a number and a unit, as `500GB` (10^9) or `1.5TiB` (2^40).

    The unit is B, or k, M, G, T, P with or without i, and B.

    Raises:
        UsageError: It is negative, has no unit, overflows, or is something else.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise UsageError(
            f"{option}: not a size: {text!r}; write a number and a unit (B, kB, MB, GB, TB, "
            "KiB, MiB, GiB, TiB), as in 500GB or 1.5TiB"
        )
    number, prefix, binary = match.groups()
    base = 1024 if binary else 1000
    size = float(number) * base ** (" KMGTP".index(prefix.upper()) if prefix else 0)
    if size > 2**62:
        raise UsageError(f"{option}: too large a size: {text!r}")
    return int(size)


def parse_percentage(text: str, option: str) -> float:
    """Parses a percentage, as `5%` or `0.1%`, to a share of more than 0 and at most 1.

    Raises:
        UsageError: It is out of this range, has no sign, or is something else.
    """
    match = _PERCENTAGE.fullmatch(text)
    share = float(match[1]) / 100 if match else 0
    if not 0 < share <= 1:
        raise UsageError(
            f"{option}: not a percentage: {text!r}; write more than 0% and at most 100%, as in 5%"
        )
    return share


def format_bytes(count: int) -> str:
    """Bytes for people, in decimal units: `12.3 MB`."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if abs(size) < 999.95:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def bytes_cell(count: int) -> str:
    """`format_bytes` for a column that is aligned on the right: units lie below each other."""
    number, unit = format_bytes(count).split()
    return f"{number} {unit:>2}"


def format_count(count: int, singular: str, plural: str = "") -> str:
    """A number and its noun: `1 blob`, `12,345 blobs`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def plain_count(count: int, singular: str) -> str:
    """`format_count` without commas: `12345 blobs`."""
    return format_count(count, singular).replace(",", "")


def format_ordinal(number: int) -> str:
    """An ordinal number: `1st`, `2nd`, `11th`."""
    last = 0 if number // 10 % 10 == 1 else number % 10
    return f"{number:,}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def format_seconds(seconds: float) -> str:
    """A span of time for people: `0.42 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
