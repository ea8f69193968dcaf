"""The steps that `bench_scale.py` measures: what follows a scan, with the check of each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from array_answers import CUTOFF, EVER, KEEP_LAST, KEPT_SINCE, Answer
from array_pieces import PATTERNS
from arrays import spread
from fastprune.explanation.explaining import explain
from fastprune.explanation.lookup import find_manifest
from fastprune.index.refcounts import expand, protect
from fastprune.plan.encoding import encode
from fastprune.plan.prune_plan import freed, make_plan
from fastprune.plan.saved_plan import CacheIdentity
from fastprune.policy.policy import Policy
from fastprune.report.listing import Format, SortKey, render, sorted_rows
from fastprune.report.prune_rendering import as_document, text_lines
from fastprune.report.prune_report import planned_report
from fastprune.selection.rules.ages import newest_pulls
from fastprune.selection.rules.sizing import oldest_first
from fastprune.selection.selecting import select, selected_names
from fastprune.text.escaping import document_lines
from fastprune.usage import report as usage_report
from fastprune.usage.ages import AGES
from fastprune.usage.rows import By
from fastprune.usage.surveying import survey_of
from fastprune.usage.table import table_lines
from measure import MeasureError

SHARES = (0.9, 0.5, 0.1)  # of the bytes of the cache
REPORTED = "--pattern"  # the plan that is reported
RULES = (
    *("--pattern", "--older-than", "--not-pulled-for", "--dangling", "--broken"),
    *("--keep-last", "--keep-within", "--keep-from"),
)


class Facts(NamedTuple):
    """What the generator knows of a cache.

    Attributes:
        counts: The cache in figures.
        answers: What a prune by each rule removes.
        references: The URLs of the images in use.
    """

    counts: dict[str, Any]
    answers: dict[str, Answer]
    references: tuple[str, ...]


class Step(NamedTuple):
    """A step.

    Attributes:
        name: Its name in the table.
        work: What is measured: gets the index, and what `prepare` gave.
        check: Looks at what came of it; raises `MeasureError` if it is wrong.
        prepare: What must be there before; it is not measured.
    """

    name: str
    work: Callable[[Any, Any], Any]
    check: Callable[[Any, Facts, Any], None]
    prepare: Callable[[Any, Facts], Any]


def policy_of(rule: str, facts: Facts) -> Policy:
    """The policy that `array_answers.py` has the answer for."""
    policies = {
        "--pattern": Policy(patterns=PATTERNS),
        "--older-than": Policy(created_before=CUTOFF),
        "--not-pulled-for": Policy(pulled_before=CUTOFF),
        "--dangling": Policy(dangling=True),
        "--broken": Policy(broken=True),
        "--keep-last": Policy(keep_last=KEEP_LAST),
        "--keep-within": Policy(created_before=CUTOFF, keep_since=KEPT_SINCE),
        "--keep-from": Policy(created_before=CUTOFF, keep_references=facts.references),
    }
    return policies[rule]


def half(facts: Facts) -> int:
    """Half of the bytes of a cache."""
    return int(facts.counts["bytes"]) // 2


def all_together(facts: Facts) -> Policy:
    """All rules that can select something together."""
    return Policy(
        created_before=EVER,
        pulled_before=EVER,
        keep_last=KEEP_LAST,
        keep_since=EVER,
        keep_references=facts.references,
        max_bytes=half(facts),
        count=facts.counts["manifests"],
    )


# Selection.


def check_selection(index: Any, facts: Facts, selection: Any, *, rule: str) -> None:
    """Compares what goes in the end with the answer."""
    removed, _ = protect(index, expand(index, selection.selected, selection.kept)[0])
    blobs = freed(index, removed)
    size = int(index.file_sizes[removed].sum(dtype=np.int64)) + int(index.blob_sizes[blobs].sum())
    _compare(facts, rule, Answer(int(removed.sum()), len(blobs), size))


def check_plan(index: Any, facts: Facts, made: Any, *, rule: str) -> None:
    """Compares a plan with the answer."""
    del index
    _compare(facts, rule, Answer(len(made.manifests), len(made.blobs), made.bytes_removed))


def _compare(facts: Facts, rule: str, found: Answer) -> None:
    if found != facts.answers[rule]:
        raise MeasureError(f"{rule} removes {found}, not {facts.answers[rule]}")


def check_count(index: Any, facts: Facts, selection: Any) -> None:
    """Checks that so many images were chosen."""
    del facts
    if int(selection.selected.sum()) != len(index) // 10:
        raise MeasureError(f"--count selects {int(selection.selected.sum())}")


def check_together(index: Any, facts: Facts, selection: Any) -> None:
    """Checks that nothing is selected that a rule keeps."""
    del index
    if bool((selection.selected & selection.kept).any()):
        raise MeasureError("something is selected and kept")
    if len(facts.references) > int(selection.kept.sum()):
        raise MeasureError("images in use are not kept")


def check_target(index: Any, facts: Facts, selection: Any, *, share: float) -> None:
    """Checks with plain arrays that a size target is met, and not without the last image."""
    target = int(facts.counts["bytes"] * share)

    def left(selected: Any) -> int:
        removed, _ = protect(index, expand(index, selected, selection.kept)[0])
        return bytes_of(index, ~removed)

    if (most := left(selection.selected)) > target:
        raise MeasureError(f"{most} bytes are left, which is more than {target}")
    fewer = selection.selected.copy()
    fewer[oldest_first(index, selection.selected, newest_pulls(index))[-1]] = False
    if left(fewer) <= target:
        raise MeasureError("the last image goes in vain")


def bytes_of(index: Any, stays: Any) -> int:
    """Bytes of some manifests and of the blobs that they refer to, each once."""
    needed = np.zeros(len(index.blob_digests), dtype=bool)
    images = np.flatnonzero(stays & ~index.is_list)
    for first in range(0, len(images), 1 << 16):
        some = images[first : first + (1 << 16)]
        needed[index.blob_ids[spread(index.blob_starts[some], index.blob_counts[some])]] = True
    blobs = np.flatnonzero(needed[: index.blobs_present])
    size = int(index.file_sizes[stays].sum(dtype=np.int64))
    return size + int(index.blob_sizes[blobs].sum())


# Reports.


def drained(lines: Iterable[str], word: str = "") -> int:
    """Takes lines one after the other: how many there are, or how often they say a word."""
    return sum(line.count(word) if word else 1 for line in lines)


def plan_of_a_registry(index: Any, facts: Facts) -> Any:
    """A plan that removes about a fifth of the cache."""
    return make_plan(index, policy_of(REPORTED, facts))


def text_of(index: Any, made: Any, *, summary: bool) -> int:
    """Writes a report as text."""
    del index
    return drained(text_lines(planned_report(made), summary=summary))


def json_of(index: Any, made: Any) -> int:
    """Writes a report as JSON with all items."""
    del index
    return drained(document_lines(as_document(planned_report(made), summary=False)), '"reason": ')


def saved(index: Any, made: Any) -> int:
    """Writes a plan as `plan --output` does."""
    del index
    identity = CacheIdentity("/cache", 1, "0" * 16)
    return sum(block.count(b"\n") for block in encode(made, identity, made_by="0"))


def check_lines(index: Any, facts: Facts, found: Any, *, least: int, of_plan: bool = True) -> None:
    """Checks that there is a line, or an item, for each manifest and blob."""
    del index
    answer = facts.answers[REPORTED]
    wanted = least + (answer.manifests + answer.blobs if of_plan else facts.counts["manifests"])
    if not wanted <= found <= wanted + 100:
        raise MeasureError(f"{found} lines, not {wanted} or a few more")


def listed(index: Any, form: str, *, key: str = "url") -> int:
    """Writes the list of all manifests, as `list` does."""
    rows = sorted_rows(index, selected_names(index, Policy()), SortKey(key), reverse=key != "url")
    return drained(render(index, rows, Format(form)), '"path":' if form == "json" else "")


def used(index: Any, by: str, form: str) -> Any:
    """Writes where the space goes, as `du` does; gives the bytes of all rows."""
    survey = survey_of(index, Policy(), index.blob_sizes[: index.blobs_present])
    usage = survey.usage(By(by))
    order = usage_report.sorted_groups(usage, usage_report.UsageSort.unique, reverse=True)
    rows = usage_report.usage_rows(usage, order, 25 if form == "text" else None)
    ages, cutoffs = survey.ages(), {days: 1_790_000_000 - days * 86_400 for days in AGES}
    if form == "text":
        drained(table_lines(usage, list(rows), ages, cutoffs, width=120))
    else:
        drained(usage_report.json_lines(usage, rows, ages, cutoffs))
    return usage.total


def check_total(index: Any, facts: Facts, total: Any) -> None:
    """Checks that the rows add up to all bytes."""
    del index
    if total != facts.counts["bytes"]:
        raise MeasureError(f"du adds up to {total} bytes, not {facts.counts['bytes']}")


def explained(index: Any, reference: str) -> Any:
    """Finds an image and explains it, as `explain` does."""
    row = find_manifest(index, reference)
    return index.url(row), len(explain(index, row).unit)


def check_explained(index: Any, facts: Facts, found: Any) -> None:
    """Checks that the image was found."""
    del index
    if found[0] != facts.references[-1]:
        raise MeasureError(f"explain found {found[0]}")


def _nothing(index: Any, facts: Facts) -> None:
    del index, facts


def _rule(rule: str) -> Step:
    return Step(
        f"select {rule}",
        select,
        partial(check_selection, rule=rule),
        lambda index, facts: policy_of(rule, facts),
    )


def _target(share: float) -> Step:
    return Step(
        f"select --max-size, {share:.0%} of the bytes",
        select,
        partial(check_target, share=share),
        lambda index, facts: Policy(max_bytes=int(facts.counts["bytes"] * share)),
    )


def _plan(rule: str) -> Step:
    return Step(
        f"plan {rule}",
        make_plan,
        partial(check_plan, rule=rule),
        lambda index, facts: policy_of(rule, facts),
    )


def _du(by: str, form: str) -> Step:
    return Step(
        f"du --by {by}, {form}",
        lambda index, _: used(index, by, form),
        check_total,
        _nothing,
    )


def _list(form: str, key: str = "url") -> Step:
    options = "" if key == "url" else f" --sort -{key}"
    return Step(
        f"list{options}, {form}",
        lambda index, _: listed(index, form, key=key),
        partial(check_lines, least=0, of_plan=False),
        _nothing,
    )


def _report(name: str, work: Callable[[Any, Any], Any], least: int) -> Step:
    return Step(name, work, partial(check_lines, least=least), plan_of_a_registry)


STEPS = (
    *map(_rule, RULES),
    Step(
        "select --count",
        select,
        check_count,
        lambda index, facts: Policy(count=len(index) // 10),
    ),
    *map(_target, SHARES),
    Step(
        "select, all rules together",
        select,
        check_together,
        lambda index, facts: all_together(facts),
    ),
    *map(_plan, ("--pattern", "--older-than")),
    Step(
        "report, summary",
        partial(text_of, summary=True),
        lambda index, facts, found: None,
        plan_of_a_registry,
    ),
    _report("report, text", partial(text_of, summary=False), 2),
    _report("report, JSON", json_of, 0),
    _report("saved plan", saved, 2),
    _list("text"),
    _du("repository", "text"),
    Step(
        "explain",
        explained,
        check_explained,
        lambda index, facts: facts.references[-1],
    ),
)
