"""How a `PruneReport` is shown, as text and as JSON.

Stage: report. Input: a `PruneReport`. Output: lines, or a document. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastprune.errors import Exceeded
from fastprune.index.arrays import pieces
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.text_order import in_text_order
from fastprune.model import DIGEST_PREFIX, ManifestKind
from fastprune.plan.prune_plan import LeftOut, PrunePlan
from fastprune.report.asked_rendering import asked_document, asked_lines
from fastprune.report.prune_report import PruneReport
from fastprune.selection.evaluating import Keep
from fastprune.text.escaping import printable
from fastprune.text.quantities import format_bytes, format_seconds, plain_count
from fastprune.text.style import Paint, Style, plain

JSON_VERSION = 1

# What no option of that name keeps.
_IN_WORDS = {Keep.OTHER_TAG.text: "tag that only the server knows"}


def text_lines(report: PruneReport, *, summary: bool, paint: Paint = plain) -> Iterator[str]:
    """The report as lines of text; the summary leaves out the line of each manifest and blob."""
    if not summary:
        mark = " (dry run)" if report.dry_run else ""
        index = report.plan.index
        yield paint(Style.HEADING, f"Prune manifests{mark}:")

        def shown(rows: Rows) -> list[str]:
            return list(map(printable, index.urls(rows)))

        for piece in pieces(in_text_order(report.manifests, shown)):
            yield from shown(piece)
        yield paint(Style.HEADING, f"Prune blobs{mark}:")
        # Ids are in the order of the digests.
        yield from index.blob_names(report.blobs)
        if report.plan.left_out:
            yield paint(Style.HEADING, "Left out of the saved plan:")
            yield from sorted(map(_left_line, report.plan.left_out))
    yield from _totals(report, paint)


def _left_line(left: LeftOut) -> str:
    cause = f" ({printable(left.needed_by)})" if left.needed_by else ""
    return f"{printable(left.url or left.path)}: {left.reason}{cause}"


def _totals(report: PruneReport, paint: Paint) -> Iterator[str]:
    manifests = len(report.lists) + len(report.images)
    verb = "moved to the trash" if report.trash else "freed"
    done = f"would be {verb}" if report.dry_run else verb
    yield (
        f"Manifests: {manifests} ({plain_count(len(report.lists), 'list')}, "
        f"{plain_count(len(report.images), 'image')})"
    )
    yield f"Blobs: {len(report.blobs)}"
    yield from _size_totals(report, done)
    yield from asked_lines(report, paint)
    if report.trash_run:
        yield f"Trash: run {report.trash_run}; 'fastprune trash empty' frees the bytes"
    if by_rule := removed_by_rule(report):
        yield f"By rule: {_counted(by_rule)}"
    yield from _kept_totals(report)
    yield from _server_totals(report.plan.index)
    if report.plan.left_out:
        yield paint(Style.WARNING, f"Left out of the saved plan: {len(report.plan.left_out)}")
    if gone := report.already_gone + report.plan.gone:
        yield f"Already gone: {gone}"
    if report.changed:
        yield paint(Style.WARNING, f"Changed since the scan, left alone: {len(report.changed)}")
    if report.failures:
        yield paint(Style.ERROR, f"Failed: {len(report.failures)}")
    yield from (paint(Style.WARNING, line) for line in report.guard_lines)
    if report.stopped:
        stopped = f"Stopped: {report.stopped}; files left to remove: {report.left}"
        yield paint(Style.WARNING, stopped)
    yield from (paint(Style.WARNING, line) for line in report.overridden_lines)
    yield from (paint(Style.ERROR, f"Would be refused: {one.text}") for one in report.exceeded)
    yield f"Time: {format_seconds(sum(report.seconds.values()))}"
    if report.estimate is not None:
        yield from report.estimate.lines


def _size_totals(report: PruneReport, done: str) -> Iterator[str]:
    linked = report.bytes_linked
    # A run in the trash also holds the files that will free nothing.
    size = report.bytes_freed + (linked if report.trash else 0)
    yield f"Bytes {done}: {size} ({format_bytes(size)})"
    if linked:
        yield (
            "Bytes of files with other hard links, which free nothing: "
            f"{linked} ({format_bytes(linked)})"
        )


def _kept_totals(report: PruneReport) -> Iterator[str]:
    yield f"Kept by protection: {len(report.plan.protected)}"
    if rules := _kept_by_rule(report.plan):
        named = {_IN_WORDS.get(rule, rule): count for rule, count in rules.items()}
        yield f"Kept by rules: {sum(rules.values())} ({_counted(named)})"
    if len(report.plan.spared_blobs):
        yield f"Blobs spared as too young: {len(report.plan.spared_blobs)}"
    if short := report.shortfall:
        yield f"Size target: missed by {short} ({format_bytes(short)})"


def _server_totals(index: CacheIndex) -> Iterator[str]:
    if index.known is not None:
        known = index.known.counts(len(index))
        yield (
            f"Server: {known['entries']} entries, {known['only_tags']} of them tags that no file "
            f"shows, {known['without_file']} without a file; manifests that it does not know: "
            f"{known['not_loaded']}"
        )


def _counted(rules: dict[str, int]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in rules.items())


def removed_by_rule(report: PruneReport) -> dict[str, int] | None:
    """How many manifests went by each rule; None if the policy has no rules."""
    if report.plan.by_rule is None:
        return None
    numbers = report.plan.by_rule[report.manifests]
    names = enumerate(report.plan.policy.rule_names)
    return {name: int((numbers == number).sum()) for number, name in names}


def _kept_by_rule(plan: PrunePlan) -> dict[str, int]:
    """How many manifests that meet every criterion each rule keeps."""
    if plan.selection is None:
        return {}
    rules = plan.selection.kept_by[plan.met_but_kept]
    return {rule.text: count for rule in Keep if (count := int((rules == rule).sum()))}


def as_document(report: PruneReport, *, summary: bool) -> dict[str, Any]:
    """The report as a JSON document, described in docs/json.md, for `text.document_lines`.

    Its lists of items are iterators, as they can be long; the summary leaves them out.
    """
    index, target = report.plan.index, report.plan.target
    document: dict[str, Any] = {
        "version": JSON_VERSION,
        "command": "prune",
        "image_path": index.root,
        "dry_run": report.dry_run,
        "totals": {
            "manifests": len(report.lists) + len(report.images),
            "lists": len(report.lists),
            "images": len(report.images),
            "blobs": len(report.blobs),
            "bytes": report.bytes_freed,
            "bytes_linked": report.bytes_linked,
            "protected": len(report.plan.protected),
            "already_gone": report.already_gone + report.plan.gone,
            "changed": len(report.changed),
            "failed": len(report.failures),
            "left": report.left,
            "spared_blobs": len(report.plan.spared_blobs),
            "kept": len(report.plan.met_but_kept),
        },
        "criteria": list(report.plan.policy.criteria),
        "by_rule": removed_by_rule(report),
        "kept_by": _kept_by_rule(report.plan),
        "size_target": target and {"need": target.need, "short": report.shortfall},
        "cache": {
            "manifests": len(index),
            "blobs": index.blobs_present,
            "missing_blobs": len(index.missing_blobs),
            "corrupt": len(index.faults),
            "foreign": len(index.foreign),
        },
        "trash": report.trash,
        "trash_run": report.trash_run or None,
        **report.common_document,
        "seconds": {name: round(seconds, 6) for name, seconds in report.seconds.items()},
        "estimate": None if report.estimate is None else report.estimate.document,
        "changed": list(report.changed),
        "appeared": list(report.appeared),
        "exceeded": exceeded_items(report.exceeded),
        "corrupt": index.fault_items,
    }
    if index.known is not None:
        document["server"] = index.known.counts(len(index))
    if report.asked is not None:
        document["asked"] = asked_document(report.asked)
    if report.plan.left_out is not None:
        document["left_out"] = [left._asdict() for left in report.plan.left_out]
    if not summary:
        document["manifests"] = _manifest_items(report)
        document["blobs"] = _blob_items(report)
        document["protected"] = _protected_items(report)
        document["kept"] = _kept_items(report.plan)
    return document


def exceeded_items(exceeded: tuple[Exceeded, ...]) -> list[dict[str, Any]]:
    """Delete limits that a plan goes beyond, for a JSON document."""
    return [{"limit": one.limit, "most": one.most, "planned": one.planned} for one in exceeded]


def _by_url(index: CacheIndex, rows: Rows) -> Iterator[tuple[Rows, list[str]]]:
    """Some manifests by their URLs, and then by their paths: pieces of rows, with the URLs."""
    # Rows are in the order of their paths.
    for piece in pieces(in_text_order(rows, index.urls)):
        yield piece, index.urls(piece)


def _manifest_items(report: PruneReport) -> Iterator[dict[str, Any]]:
    index, plan = report.plan.index, report.plan
    for rows, urls in _by_url(index, report.manifests):
        for row, url, rule in zip(rows.tolist(), urls, plan.rules_of(rows), strict=True):
            yield {
                "url": url,
                "path": index.path(row),
                "kind": ManifestKind(int(index.kinds[row])).label,
                "bytes": int(index.file_sizes[row]),
                "reason": plan.manifest_reason(row).text,
                "rule": rule,
            }


def _blob_items(report: PruneReport) -> Iterator[dict[str, Any]]:
    for name, size, reason in report.plan.blob_items(report.blobs, report.blob_bytes):
        yield {"digest": DIGEST_PREFIX + name, "bytes": size, "reason": reason.text}


def _protected_items(report: PruneReport) -> Iterator[dict[str, Any]]:
    index, plan = report.plan.index, report.plan
    for rows, urls in _by_url(index, plan.protected):
        for row, url, keeper in zip(rows.tolist(), urls, plan.kept_by[rows].tolist(), strict=True):
            yield {
                "url": url,
                "path": index.path(row),
                "kept_by": index.url(keeper),
                "kept_by_path": index.path(keeper),
            }


def _kept_items(plan: PrunePlan) -> Iterator[dict[str, Any]]:
    if plan.selection is None:
        return
    for rows, urls in _by_url(plan.index, plan.met_but_kept):
        rules = plan.selection.kept_by[rows].tolist()
        for row, url, rule in zip(rows.tolist(), urls, rules, strict=True):
            yield {
                "url": url,
                "path": plan.index.path(row),
                "kept_by": Keep(rule).text,
                "rule": plan.keeper_of(row),
            }
