"""`fastprune prune`."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fastprune.cli.app import command
from fastprune.cli.config import prune_settings
from fastprune.cli.options import GlobalOptions, SelectionOptions
from fastprune.cli.running import Interruption, run_async
from fastprune.cli.selection import overridden, to_policy
from fastprune.cli.session import (
    Session,
    log,
    open_session,
    parse_number_or_auto,
    write,
    write_json,
)
from fastprune.cli.warnings import warn_of_servers
from fastprune.errors import UnreadableManifestsError, UsageError
from fastprune.policy import Policy
from fastprune.quantities import format_bytes, format_count, parse_duration

if TYPE_CHECKING:
    from fastprune.plan import PrunePlan
    from fastprune.report import PruneReport

_MOST_NAMED = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """How a prune is carried out."""

    dry_run: Annotated[
        bool | None,
        typer.Option(
            "--dry-run/--no-dry-run",
            "-n",
            help="Show exactly what would be removed and change nothing at all.",
            show_default=False,
        ),
    ] = None
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Do not ask. Without a terminal nothing is ever asked."),
    ] = False
    orphans_only: Annotated[
        bool,
        typer.Option("--orphans-only", help="Remove only blobs that nothing refers to."),
    ] = False
    allow_broken: Annotated[
        bool,
        typer.Option(
            "--allow-broken", help="Remove selected images although a list that stays needs them."
        ),
    ] = False
    skip_corrupt: Annotated[
        bool,
        typer.Option(
            "--skip-corrupt",
            help="Treat manifests that can't be read as absent, instead of refusing.",
        ),
    ] = False
    force: Annotated[
        bool, typer.Option("--force", help="Prune although a server seems to run on this cache.")
    ] = False
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="DUR", help="Spare blobs younger than this. Default: 0."),
    ] = None
    max_duration: Annotated[
        str | None,
        typer.Option(
            "--max-duration",
            metavar="DUR",
            help="Stop cleanly after this time, with exit code 3, and say what is left.",
        ),
    ] = None
    max_deletes_per_second: Annotated[
        float | None,
        typer.Option("--max-deletes-per-second", metavar="N", help="Delete no faster than this."),
    ] = None
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", metavar="N|auto", help="Threads that delete. Default: auto, 16."
        ),
    ] = None
    lock_wait: Annotated[
        str | None,
        typer.Option(
            "--lock-wait", metavar="DUR", help="Wait so long for another fastprune to end."
        ),
    ] = None
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="text or json.")] = "text"
    summary: Annotated[
        bool, typer.Option("--summary", help="Leave out the line of each manifest and blob.")
    ] = False


@command("prune", SelectionOptions, PruneOptions)
def prune_manifests(
    options: GlobalOptions, selection: SelectionOptions, pruning: PruneOptions
) -> int:
    """Remove selected manifests and the blobs that nothing needs any more.

    A selected list takes its cached images along. What a list that stays still refers to
    is kept. Blobs that nothing referred to before go as well. At least one criterion is
    needed, or --orphans-only; those of the config file's pruneConfig count.
    """
    session = open_session(options)
    settings = prune_settings(session.config)
    if pruning.orphans_only:
        settings = dataclasses.replace(
            settings, pattern=None, date=None, older_than=None, not_pulled_for=None, count=None
        )
    dry_run = bool(settings.dry_run if pruning.dry_run is None else pruning.dry_run)
    policy = to_policy(
        overridden(selection, settings), datetime.now(UTC), orphans_only=pruning.orphans_only
    )
    policy.check()
    if pruning.form not in ("text", "json"):
        raise UsageError(f"--format: {pruning.form!r} is neither text nor json")
    try:
        outcome = _prune(session, policy, dataclasses.replace(pruning, dry_run=dry_run))
    except UnreadableManifestsError as error:
        if pruning.form == "json":
            write_json(_refusal(session, error))
        raise
    if outcome is None:
        print("fastprune: nothing was removed", file=sys.stderr)
        return 1
    report, interruption = outcome
    _say_problems(report)
    if dry_run:
        warn_of_servers(session.image_path)
    _print(report, pruning)
    return interruption.exit_code or report.exit_code


def _prune(
    session: Session, policy: Policy, pruning: PruneOptions
) -> tuple[PruneReport, Interruption] | None:
    concurrency = parse_number_or_auto(pruning.concurrency, "--concurrency")
    wait = _seconds(pruning.lock_wait, "--lock-wait")
    grace = _seconds(pruning.grace, "--grace")
    longest = _seconds(pruning.max_duration, "--max-duration")
    pace = pruning.max_deletes_per_second
    if pace is not None and not 0 < pace < math.inf:
        raise UsageError(f"--max-deletes-per-second {pace}: must be more than 0")
    executor = session.open_executor()
    try:
        # From here on the workers are there, and heavy imports may come.
        from fastprune.api import prune
        from fastprune.deleter import DEFAULT_CONCURRENCY, Limits
        from fastprune.scanner import MAX_MANIFEST_BYTES, ScanOptions

        async def work(interruption: Interruption) -> PruneReport | None:
            return await prune(
                session.image_path,
                policy,
                dry_run=bool(pruning.dry_run),
                allow_broken=pruning.allow_broken,
                skip_corrupt=pruning.skip_corrupt,
                options=ScanOptions(
                    max_manifest_bytes=session.max_manifest_bytes or MAX_MANIFEST_BYTES
                ),
                executor=executor,
                limits=Limits(concurrency or DEFAULT_CONCURRENCY, interruption.reason, pace),
                lock_wait=wait or 0,
                grace=grace or 0,
                max_seconds=longest,
                force=pruning.force,
                confirm=_confirmation(pruning, interruption),
                progress=session.progress(),
            )

        report, interruption = run_async(work)
    finally:
        executor.close()
    return None if report is None else (report, interruption)


def _seconds(text: str | None, option: str) -> float | None:
    return parse_duration(text, option) if text is not None else None


def _confirmation(
    pruning: PruneOptions, interruption: Interruption
) -> Callable[[PrunePlan], Awaitable[bool]]:
    """Asks on a terminal; from its yes on, a signal lets the running batches finish."""
    asks = not pruning.yes and sys.stdin.isatty() and sys.stderr.isatty()

    async def confirm(plan: PrunePlan) -> bool:
        if asks and not await _ask(plan):
            return False
        interruption.graceful = True
        return True

    return confirm


async def _ask(plan: PrunePlan) -> bool:
    import anyio.to_thread

    manifests = len(plan.lists) + len(plan.images)
    question = (
        f"Remove {format_count(manifests, 'manifest')} and "
        f"{format_count(len(plan.blobs), 'blob')} ({format_bytes(plan.bytes_freed)}) "
        f"from {plan.index.root}? [y/N] "
    )
    print(question, end="", file=sys.stderr, flush=True)
    # Abandoned if a signal comes: nobody can interrupt a thread that waits for input.
    answer = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    return answer.strip().lower() in ("y", "yes")


def _say_problems(report: PruneReport) -> None:
    from fastprune.cli.warnings import warn_about

    warn_about(report.plan.index)
    for row in report.plan.protected.tolist():
        index = report.plan.index
        keeper = index.url(int(report.plan.kept_by[row]))
        log.info("%s stays: %s refers to it", index.url(row), keeper)
    for path in report.appeared[:_MOST_NAMED]:
        log.error("%s appeared during the prune: a server is at work, no blob was removed", path)
    for path in report.changed:
        log.warning("%s changed since the scan and was left alone", path)
    for failure in report.failures:
        log.error("%s can't be removed: %s", failure.path, failure.message)
    if report.stopped:
        log.warning(
            "stopped by %s; %s left to remove", report.stopped, format_count(report.left, "file")
        )


def _print(report: PruneReport, pruning: PruneOptions) -> None:
    from fastprune.report import as_document, text_lines

    if pruning.form == "json":
        write_json(as_document(report, summary=pruning.summary))
    else:
        write(text_lines(report, summary=pruning.summary))


def _refusal(session: Session, error: UnreadableManifestsError) -> dict[str, object]:
    return {
        "version": 1,
        "command": "prune",
        "image_path": session.image_path,
        "error": str(error),
        "exit_code": error.exit_code,
        "corrupt": [{"path": path, "reason": reason} for path, reason in error.faults],
    }
