"""What `fastprune explain` does: a reference to a manifest, a plan, lines."""

from __future__ import annotations

import os
from calendar import timegm
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastprune.cli.asking import asks, request_of
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.prune_options import PlanningOptions
from fastprune.cli.session import Session, open_session, write, write_json
from fastprune.cli.terminal import terminal_width
from fastprune.cli.values import check_form
from fastprune.cli.warnings import warn_about, warn_of_servers
from fastprune.criteria import parse_zone
from fastprune.errors import FastpruneError, ManifestError, UsageError
from fastprune.layouts import ociregistry
from fastprune.reader import FileReader
from fastprune.shards import pack_digests
from fastprune.tasks import opened_folder
from fastprune.text import printable

if TYPE_CHECKING:
    from fastprune.index import CacheIndex

_MOST_CANDIDATES = 20
_MOST_NEAR = 5


def explain(
    options: GlobalOptions,
    selection: SelectionOptions,
    planning: PlanningOptions,
    *,
    reference: str,
    limit: int,
    form: str,
) -> int:
    """Explains one image, and gives the exit code.

    Raises:
        FastpruneError: It can't be done, or there is no such image, or there are several.
    """
    session = open_session(options)
    check_form(form)
    asked = asks(session, selection, planning)
    request = request_of(session, selection, planning) if asked else None
    policy, zone = (request.policy, request.zone) if request else (None, selection.zone)
    clock = datetime.now(UTC).astimezone(parse_zone(zone))
    index = session.scan(pattern_sets=policy.pattern_sets if policy else ())
    # numpy is there by now: it was imported while the workers read.
    from fastprune.explanation import explain as explain_row
    from fastprune.explanation_report import as_document, text_lines
    from fastprune.plan import make_plan

    warn_about(index)
    warn_of_servers(session.image_path)
    row = _only(index, reference)
    plan = None
    if policy is not None:
        plan = make_plan(
            index,
            policy,
            allow_broken=planning.allow_broken,
            skip_corrupt=planning.skip_corrupt,
        )
    named = _named_children(session, index, row)
    explanation = explain_row(index, row, plan, named_children=named)
    if form == "json":
        write_json(as_document(explanation, most=limit))
    else:
        width = terminal_width()
        lines = text_lines(
            explanation,
            now=timegm(clock.timetuple()),
            most=limit,
            width=width,
            paint=session.paint,
        )
        write(lines)
    return 0


def _only(index: CacheIndex, reference: str) -> int:
    """The row that a reference means.

    Raises:
        UsageError: There are several.
        FastpruneError: There is none.
    """
    from fastprune.lookup import find_manifests, near_matches

    rows = find_manifests(index, reference).tolist()
    if len(rows) == 1:
        return int(rows[0])
    if rows:
        some = [
            f"  {index.path(row)} {printable(index.url(row))}" for row in rows[:_MOST_CANDIDATES]
        ]
        more = [f"  and {len(rows) - len(some)} more"] if len(rows) > len(some) else []
        raise UsageError(
            "\n".join([f"{reference!r} may mean any of these; write more of it:", *some, *more])
        )
    near = near_matches(index, reference, _MOST_NEAR)
    hint = ["; there are:", *(f"  {printable(url)}" for url in near)] if near else [""]
    raise FastpruneError(f"no image is called {reference!r}" + "\n".join(hint))


def _named_children(session: Session, index: CacheIndex, row: int) -> bytes | None:
    """The raw digests that a list names, cached or not; None if it can't be read any more."""
    if not index.is_list[row]:
        return b""
    name = index.digests[row].tobytes().hex()
    reader = FileReader(session.max_manifest_bytes)
    try:
        with opened_folder(os.path.join(index.root, index.folder(row))) as folder:
            for _, content in reader.read_carefully(folder, [name], [0], []):
                return pack_digests([ociregistry.parse(content).digests])
    except (OSError, ManifestError):
        return None
    return None
