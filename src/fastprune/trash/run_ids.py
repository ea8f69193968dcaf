"""Run ids: the name of one prune in the trash and in an audit log.

Stage: all. Input: a time and some random digits. Output: text. Pure, no I/O.

A run id is the time in UTC and six hex digits, as in `20261123T140501Z-3fa9c1`: run ids
sort by time, two prunes of the same second differ, and no metadata is needed to say when
a run was. The id of a live run, a prune with `--server`, ends with `-live`: the next prune with
`--server` empties live runs, and never another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from fastprune.errors import UsageError

RUN_ID_RANDOM_BYTES = 3
"""How many bytes of a run id are random."""

_LIVE = "-live"
_RUN_ID = re.compile(rf"(\d{{8}}T\d{{6}}Z)-[0-9a-f]{{6}}({_LIVE})?", re.ASCII)
_TIME = "%Y%m%dT%H%M%SZ"


def make_run_id(now: datetime, random: bytes) -> str:
    """Makes the id of a run.

    Args:
        now: When it begins, with a time zone.
        random: `RUN_ID_RANDOM_BYTES` random bytes.
    """
    return f"{now.astimezone(UTC).strftime(_TIME)}-{random.hex()}"


def live_run_id(run: str) -> str:
    """The id of a run as that of a live run."""
    return run if run.endswith(_LIVE) else run + _LIVE


def is_live(run: str) -> bool:
    """Whether a run id is that of a live run."""
    return run_time(run) is not None and run.endswith(_LIVE)


def run_time(text: str) -> datetime | None:
    """When a run was, in UTC; None for a text that is no run id."""
    match = _RUN_ID.fullmatch(text)
    if not match:
        return None
    try:
        return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def find_run(runs: Iterable[str], prefix: str) -> str:
    """The one run whose id begins with a prefix.

    Raises:
        UsageError: No run begins so, or several do; the message names them.
    """
    known = sorted(runs)
    if prefix in known:
        return prefix
    found = [run for run in known if run.startswith(prefix)] if prefix else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{prefix!r} is the beginning of several runs: {', '.join(found)}")
    listed = f"the runs in it are: {', '.join(known)}" if known else "it is empty"
    raise UsageError(f"no run {prefix!r} in the trash; {listed}")


def choose_runs(
    runs: Iterable[str],
    prefixes: Iterable[str] | None = None,
    *,
    older_than: timedelta | None = None,
    now: datetime,
) -> list[str]:
    """The runs that are meant, of some that come oldest first; see `fastprune.api.list_trash`.

    Raises:
        UsageError: See `find_run`.
    """
    chosen = list(runs)
    if prefixes is not None:
        chosen = sorted({find_run(chosen, prefix) for prefix in prefixes})
    if older_than is not None:
        chosen = [run for run in chosen if (at := run_time(run)) and now - at > older_than]
    return chosen
