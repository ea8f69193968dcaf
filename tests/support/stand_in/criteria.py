"""Which manifests a list or a prune is about: patterns and ages.

Stage: pure.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import re2

from .holders import Holder
from .memory import Matches

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


class BadCriteriaError(ValueError):
    """The server answers 400."""


def any_of(expressions: str) -> Matches:
    """Manifests whose URL one of the expressions between the commas is found in.

    An empty text, and an empty part, is found in every URL.

    Raises:
        BadCriteriaError: One of them is no expression.
    """
    options = re2.Options()
    options.max_mem = 1 << 30
    options.log_errors = False
    together = re2.Set.SearchSet(options)
    try:
        for one in expressions.split(","):
            together.Add(one)
    except re2.error as error:
        raise BadCriteriaError(str(error)) from error
    together.Compile()
    return lambda holder: bool(together.Match(holder.url))


def older_than(field: str, duration: str, now: datetime) -> Matches:
    """Manifests that were created or pulled before so long.

    Args:
        field: `created` or `accessed`.
        duration: As Go writes durations; or days, `30d`.
        now: The time of the server, to be compared with what was its wall clock.

    Raises:
        BadCriteriaError: That is no duration.
    """
    cutoff = now - _duration(duration)

    def matches(holder: Holder) -> bool:
        text = holder.created if field == "created" else holder.pulled
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S") < cutoff
        except ValueError:
            return False

    return matches


def _duration(text: str) -> timedelta:
    if len(text) < 2:
        raise BadCriteriaError("no duration")
    digits = text.removeprefix("-")
    if digits.endswith("d") and digits[:-1].isdecimal():
        return timedelta(days=int(digits[:-1]))
    parts = _PART.findall(digits)
    if "".join(number + unit for number, unit in parts) != digits:
        raise BadCriteriaError(f"no duration: {text}")
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
