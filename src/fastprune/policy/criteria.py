"""Criteria as people write them, and the `Policy` that they come to.

Stage: rim. Input: texts and numbers, as options or a policy file give them. Output: `Policy`.
I/O: reads the lists of --keep-from, and asks the file system for --min-free-space
(`fastprune.policy.criteria_io`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, TypeVar

from fastprune.errors import UsageError
from fastprune.model import parse_time
from fastprune.policy.policy import Policy
from fastprune.text.quantities import parse_duration, parse_size

if TYPE_CHECKING:
    from fastprune.layouts.layout import Layout
    from fastprune.policy.criteria_io import Inputs

T = TypeVar("T")

_EARLIEST = "0001-01-01T00:00:00"
_HOUR = timedelta(hours=1)
# A place that moves across the date line may put its clock back by a day.
_HOURS_PUT_BACK_AT_MOST = 25

_ZONES_WITHOUT_DATA = ("UTC", "Etc/UTC")

NameOfOption = Callable[[str], str]
"""What to call an option in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What to select and keep, by options of the same names; None means not given.

    The command line describes each (`fastprune.cli.plan_options.SelectionOptions`).
    """

    pattern: list[str] | None = None
    exclude: list[str] | None = None
    date: str | None = None
    older_than: str | None = None
    pulled_before: str | None = None
    not_pulled_for: str | None = None
    dangling: bool = False
    broken: bool = False
    keep_last: int | None = None
    keep_within: str | None = None
    keep_from: list[str] | None = None
    max_size: str | None = None
    min_free_space: str | None = None
    free: str | None = None
    zone: str | None = None
    count: int | None = None


def to_policy(
    criteria: Criteria,
    now: datetime,
    *,
    root: str,
    layout: Layout,
    orphans_only: bool = False,
    named: NameOfOption = str,
    inputs: Inputs | None = None,
) -> Policy:
    """Checks the criteria and makes the policy.

    The current time has a zone. The file system of the blobs at `root` is asked for
    --min-free-space. Messages call each option as it is `named`: itself, or where a file says it.

    Raises:
        UsageError: A value can't be used; the message names its option.
        NoCacheError: There is no cache, and --min-free-space was given.
    """
    zone = parse_zone(criteria.zone)

    def given(text: str | None, option: str, parse: Callable[[str, str], T]) -> T | None:
        return None if text is None else parse(text, named(option))

    def ago(text: str, option: str) -> str:
        return cutoff_ago(parse_duration(text, option), now, zone)

    def to_free() -> int | None:
        free, space = given(criteria.free, "--free", parse_size), criteria.min_free_space
        if space is None:
            return free
        from fastprune.policy.criteria_io import space_to_free

        return max(free or 0, space_to_free(space, named("--min-free-space"), root, layout))

    created = (
        given(criteria.date, "--date", parse_cutoff),
        given(criteria.older_than, "--older-than", ago),
    )
    pulled = (
        given(criteria.pulled_before, "--pulled-before", parse_cutoff),
        given(criteria.not_pulled_for, "--not-pulled-for", ago),
    )
    policy = Policy(
        patterns=_patterns(criteria.pattern, named("--pattern")),
        exclude=_patterns(criteria.exclude, named("--exclude")),
        # Fixed-width text sorts like time: both criteria hold before the earlier one.
        created_before=min(filter(None, created), default=None),
        pulled_before=min(filter(None, pulled), default=None),
        count=criteria.count,
        orphans_only=orphans_only,
        dangling=criteria.dangling,
        broken=criteria.broken,
        keep_last=criteria.keep_last,
        keep_since=given(criteria.keep_within, "--keep-within", ago),
        keep_references=_references(criteria.keep_from, named("--keep-from"), inputs),
        max_bytes=given(criteria.max_size, "--max-size", parse_size),
        free_bytes=to_free(),
    )
    policy.check_values()
    return policy


def _references(paths: list[str] | None, option: str, inputs: Inputs | None) -> tuple[str, ...]:
    if not paths:
        return ()
    from fastprune.policy.criteria_io import read_references

    return read_references(paths, option, inputs)


def _patterns(texts: list[str] | None, option: str) -> tuple[str, ...]:
    if not texts:
        return ()
    from fastprune.patterns import split_patterns

    return split_patterns(texts, option)


def parse_cutoff(text: str, option: str) -> str:
    """Parses a date and time, or a date alone, to `YYYY-MM-DDTHH:MM:SS`.

    Raises:
        UsageError: It is neither.
    """
    for whole in (text, f"{text}T00:00:00"):
        if parse_time(whole) is not None:
            return whole
    raise UsageError(
        f"{option}: not a date and time: {text!r}; write YYYY-MM-DDTHH:MM:SS or YYYY-MM-DD"
    )


def cutoff_ago(seconds: float, now: datetime, zone: tzinfo | None) -> str:
    """The time so many seconds ago, `YYYY-MM-DDTHH:MM:SS` on the server's clock.

    When a clock is put back, an hour comes twice, and a time in it can mean two moments. Such a
    time counts as the later one. So a time before the cutoff is old enough in either case. Without
    a zone, it is that of this machine.
    """
    try:
        # On the time line, not on the clock: a day with a clock change is 23 or 25 h.
        moment = now.astimezone(UTC).replace(microsecond=0) - timedelta(seconds=seconds)
        # isoformat, because %Y does not pad years before 1000.
        return _earliest_clock_from(moment.replace(microsecond=0), zone).isoformat()
    except OverflowError:
        return _EARLIEST


def _earliest_clock_from(moment: datetime, zone: tzinfo | None) -> datetime:
    """The earliest time that a clock shows at a moment or later.

    It is the time at the moment itself, unless the clock is put back afterwards.
    """
    earliest = _on_the_clock(moment, zone)
    for _ in range(_HOURS_PUT_BACK_AT_MOST):
        later = moment + _HOUR
        if _offset(later, zone) < _offset(moment, zone):
            earliest = min(earliest, _on_the_clock(_put_back_after(moment, zone), zone))
        moment = later
    return earliest


def _put_back_after(moment: datetime, zone: tzinfo | None) -> datetime:
    """The first second after a clock is put back; this must be within the next hour."""
    before = _offset(moment, zone)
    seconds = [moment + timedelta(seconds=number) for number in range(3_601)]
    return seconds[bisect_left(seconds, x=True, key=lambda one: _offset(one, zone) < before)]


def _on_the_clock(moment: datetime, zone: tzinfo | None) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _offset(moment: datetime, zone: tzinfo | None) -> timedelta:
    return _on_the_clock(moment, zone) - moment.replace(tzinfo=None)


def parse_zone(name: str | None, option: str = "--zone") -> tzinfo | None:
    """The time zone of an option; None, this machine's, if it was not given.

    Raises:
        UsageError: There is no zone of that name, or no time zone data at all.
    """
    if name is None:
        return None
    from zoneinfo import ZoneInfo, available_timezones

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        if name in _ZONES_WITHOUT_DATA:
            return UTC
        if not available_timezones():
            raise UsageError(
                f"{option} {name}: this system has no time zone data; install its package tzdata, "
                "or tzdata from PyPI beside fastprune"
            ) from None
        raise UsageError(
            f"{option}: unknown time zone: {name!r}; write one of the IANA names, as Europe/Berlin"
        ) from None
