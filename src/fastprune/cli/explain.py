"""`fastprune explain`: a reference to a manifest, a plan, lines."""

from __future__ import annotations

import dataclasses
from calendar import timegm
from datetime import UTC, datetime

from fastprune.cli.app import command
from fastprune.cli.cluster_options import ClusterOptions
from fastprune.cli.headings import OUTPUT
from fastprune.cli.options import GlobalOptions, argument, format_option, option
from fastprune.cli.plan_options import PlanningOptions, SelectionOptions
from fastprune.cli.server_options import ServerOptions, scan_options_of, server_of
from fastprune.cli.state_folder import StateOptions
from fastprune.policy.criteria import parse_zone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """Which image to explain, and how."""

    reference: str = argument(
        "REF", "An image URL, a tag or a digest, whole or enough of its beginning or end."
    )
    limit: int = option(
        "--limit N", OUTPUT, "How many names of each kind to show.", default=5, min=0
    )
    form: str = format_option()


@command(
    "explain",
    examples=(
        "fastprune explain calico/typha:v3.27.0",
        "fastprune explain calico/typha:v3.27.0 --keep-last 3",
    ),
)
def explain_image(
    options: GlobalOptions,
    selection: SelectionOptions,
    planning: PlanningOptions,
    wanted: ExplainOptions,
    running: ServerOptions,
    state: StateOptions,
    cluster: ClusterOptions,
) -> int:
    """Say why an image would go or stay, and what holds its blobs.

    Reads only. With the selection options of prune it says what that prune would do to the
    image, and why.
    """
    from fastprune.cli.cache_warnings import warn_about, warn_of_servers
    from fastprune.cli.option_values import check_form
    from fastprune.cli.request import request_of, says_what_to_prune
    from fastprune.cli.session import open_session, write, write_json
    from fastprune.cli.terminal import terminal_width

    session = open_session(options, state, cluster)
    check_form(wanted.form)
    server, request = server_of(running), None
    if says_what_to_prune(session, selection, planning):
        request = request_of(session, selection, planning, server=server)
    policy, zone = (request.policy, request.zone) if request else (None, selection.zone)
    clock = datetime.now(UTC).astimezone(parse_zone(zone))
    scan = scan_options_of(session, server)
    patterns = policy.pattern_sets if policy else ()
    index = session.scan(dataclasses.replace(scan, pattern_sets=patterns))
    # numpy was imported while the workers read, so these imports are cheap now.
    from fastprune.deletion.cache_reader import explain_image
    from fastprune.explanation.report import as_document, text_lines
    from fastprune.pipeline import PlanOptions

    warn_about(index)
    warn_of_servers(session.image_path, server)
    plan_options = request.options if request else PlanOptions(session.scan_options)
    explanation = explain_image(index, wanted.reference, policy, plan_options)
    if wanted.form == "json":
        write_json(as_document(explanation, most=wanted.limit))
    else:
        write(
            text_lines(
                explanation,
                now=timegm(clock.timetuple()),
                most=wanted.limit,
                width=terminal_width(),
                paint=session.paint,
            )
        )
    return 0
