"""`fastprune explain`: a reference to a manifest, a plan, lines."""

from __future__ import annotations

import os
from calendar import timegm
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, TextOrJson
from fastprune.cli.plan_options import PlanningOptions, SelectionOptions
from fastprune.errors import FastpruneError, ManifestError, UsageError
from fastprune.policy.criteria import parse_zone
from fastprune.text.escaping import printable

if TYPE_CHECKING:
    from fastprune.cli.session import Session
    from fastprune.index.cache_index import CacheIndex


@command(
    "explain",
    SelectionOptions,
    PlanningOptions,
    examples=(
        "fastprune explain calico/typha:v3.27.0",
        "fastprune explain calico/typha:v3.27.0 --keep-last 3",
    ),
)
def explain_image(
    options: GlobalOptions,
    selection: SelectionOptions,
    planning: PlanningOptions,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="An image URL, a tag or a digest, whole or enough of its beginning or end.",
        ),
    ],
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help="Names of each sort to show.",
            rich_help_panel=OUTPUT,
        ),
    ] = 5,
    form: TextOrJson = "text",
) -> int:
    """Say why an image would go or stay, and what holds its blobs.

    Reads only. With the selection options of prune it says what that prune would do to the
    image, and why.
    """
    return explain(options, selection, planning, reference=reference, limit=limit, form=form)


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
    from fastprune.cli.cache_warnings import warn_about, warn_of_servers
    from fastprune.cli.option_values import check_form
    from fastprune.cli.request import asks, request_of
    from fastprune.cli.session import open_session, write, write_json
    from fastprune.cli.terminal import terminal_width

    session = open_session(options)
    check_form(form)
    asked = asks(session, selection, planning)
    request = request_of(session, selection, planning) if asked else None
    policy, zone = (request.policy, request.zone) if request else (None, selection.zone)
    clock = datetime.now(UTC).astimezone(parse_zone(zone))
    index = session.scan(pattern_sets=policy.pattern_sets if policy else ())
    # numpy is there by now: it was imported while the workers read.
    from fastprune.explanation.explaining import explain as explain_row
    from fastprune.explanation.report import as_document, text_lines
    from fastprune.pipeline import asked_for_links
    from fastprune.plan.prune_plan import make_plan

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
    # What would go is known by now, and so which few files are worth a question.
    linked = asked_for_links(index, explanation.unit, explanation.own.ids)
    if linked.has_links:
        explanation = explain_row(linked, row, plan, named_children=named)
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
    from fastprune.explanation.lookup import find_manifests, near_matches

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
    from fastprune.layouts import ociregistry
    from fastprune.reading.folders import opened_folder
    from fastprune.reading.reader import FileReader
    from fastprune.reading.shards import pack_digests

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
