"""Checks and parses the values of options that several commands have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastprune.errors import UsageError
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.text.quantities import parse_duration, parse_size

if TYPE_CHECKING:
    from fastprune.cli.plan_options import DeleteLimitOptions

_MOST_THREADS = 1024


def check_form(form: str) -> None:
    """Refuses a value of --format that is neither text nor json."""
    if form not in ("text", "json"):
        raise UsageError(f"--format: {form!r} is neither text nor json")


def check_choice(value: str, option: str, allowed: tuple[str, ...]) -> None:
    """Refuses a value of an option that is none of the allowed words."""
    if value not in allowed:
        raise UsageError(f"{option}: {value!r} is none of {', '.join(allowed)}")


def seconds_of(text: str | None, option: str) -> float | None:
    """The seconds of an option's duration; None if it was not given."""
    return parse_duration(text, option) if text is not None else None


def parse_number_or_auto(text: str | None, option: str) -> int | None:
    """Parses `N|auto`, with a number from 1 to 1024; None for auto."""
    if text is None or text == "auto":
        return None
    if re.fullmatch("[0-9]{1,4}", text) and 1 <= int(text) <= _MOST_THREADS:
        return int(text)
    raise UsageError(f"{option}: neither 'auto' nor a number from 1 to 1024: {text!r}")


def delete_limits_of(options: DeleteLimitOptions) -> DeleteLimits:
    """The delete limits that the options give."""
    size = options.max_delete_size
    limits = DeleteLimits(
        count=options.max_delete_count,
        size=None if size is None else parse_size(size, "--max-delete-size"),
        percent=options.max_delete_percent,
        allow_remove_all=options.allow_remove_all,
    )
    limits.check()
    return limits
