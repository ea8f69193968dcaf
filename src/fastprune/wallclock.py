"""One wall-clock time as ociregistry writes it, strictly parsed.

Stage: rim. Input: text. Output: seconds. Pure, no I/O, and no numpy; many times at once
are `fastprune.times`' work.
"""

from __future__ import annotations

import calendar
import re

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)", re.ASCII)


def parse_time(text: str) -> int | None:
    """Parses `YYYY-MM-DDTHH:MM:SS`.

    Returns:
        Seconds from 1970-01-01T00:00:00 on the same clock; None if it is written in any
        other way, or no real date and time of day.
    """
    match = _TIME.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    if year < 1 or not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        return None
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))
