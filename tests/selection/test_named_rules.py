"""Several named rules on a cache of a few images: which selects, which keeps, which is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.scanning import scanned

import fastprune
from fastprune import Policy, PrunePlan, Rule, UsageError, make_plan, replan
from fastprune.audit.audit_log import plan_facts
from fastprune.deletion.deleter import Batch, BatchResult
from fastprune.deletion.journal import file_entries, manifest_facts
from fastprune.explanation.explaining import explain
from fastprune.explanation.report import as_document as explained
from fastprune.explanation.report import text_lines as explanation_lines
from fastprune.index.cache_index import CacheIndex
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.plan.decoding import PlanDecoder
from fastprune.plan.encoding import encode
from fastprune.plan.identity import identify
from fastprune.policy.policy import MOST_PATTERN_SETS
from fastprune.report.prune_rendering import as_document, text_lines
from fastprune.report.prune_report import planned_report

CI = Rule("ci", Policy(patterns=("^ci/app:",), keep_last=1))
OLD = Rule("old", Policy(created_before="2024-01-03T00:00:00"))
POLICY = Policy(rules=(CI, OLD), exclude=("base",))


@pytest.fixture
def index(tmp_path: Path) -> CacheIndex:
    """Two repositories with a tag a day, a list with a child, and a base image."""
    builder = CacheBuilder(tmp_path / "cache")
    for day in (1, 2, 3, 4):
        for repository in ("ci/app", "prod/app"):
            created = f"2024-01-0{day}T00:00:00"
            builder.image(f"{repository}:{day}", layers=[builder.blob(1000)], created=created)
    # The oldest of all by its last pull.
    url, pulled = "ci/app@sha256:" + "12" * 32, "2023-12-31T00:00:00"
    child = builder.image(url, created="2024-01-09T00:00:00", pulled=pulled)
    builder.index("ci/app:0", children=[child], created=pulled)
    builder.image("prod/base:1", created="2024-01-01T00:00:00")
    return scanned(builder.root)


def gone(plan: PrunePlan) -> dict[str, str | None]:
    rows = plan.removed.nonzero()[0].tolist()
    return {plan.index.url(row).partition("@")[0]: plan.rule_of(row) for row in rows}


def test_each_rule_selects_and_what_any_keeps_stays(index: CacheIndex) -> None:
    # ci/app:4 is the last tag of ci; prod/app:3 and 4 are too new for old; base is excluded.
    assert gone(make_plan(index, POLICY)) == {
        "ci/app": "ci",
        **{f"ci/app:{tag}": "ci" for tag in (0, 1, 2, 3)},
        **{f"prod/app:{tag}": "old" for tag in (1, 2)},
    }


def test_a_keep_of_one_rule_beats_the_selection_of_another(index: CacheIndex) -> None:
    everything = Rule("everything", Policy(patterns=(".",)))
    newest = Rule("newest", Policy(patterns=("^prod/app",), keep_last=3, count=0))
    plan = make_plan(index, Policy(rules=(everything, newest)))
    stays = index.urls((~plan.removed).nonzero()[0])
    assert sorted(stays) == ["prod/app:2", "prod/app:3", "prod/app:4"]


def test_a_size_target_goes_on_where_the_rules_end(index: CacheIndex) -> None:
    few = Policy(rules=(Rule("ci", Policy(patterns=("^ci/app:1",))),))
    freed = make_plan(index, few).bytes_freed
    for more, expected in ((0, {}), (1, {"ci/app": "size-target", "ci/app:0": "size-target"})):
        target = Policy(rules=few.rules, exclude=("base",), free_bytes=freed + more)
        plan = make_plan(index, target)
        assert gone(plan) == {"ci/app:1": "ci", **expected}
        assert plan.selection is not None
        assert plan.selection.target is not None
        assert plan.selection.target.frees == plan.bytes_freed


def test_blobs_that_stay_anyway_are_none_that_a_size_target_can_count_on(
    index: CacheIndex,
) -> None:
    rules = (Rule("ci", Policy(patterns=("^ci/app:1",))),)
    enough = make_plan(index, Policy(rules=rules)).bytes_freed
    policy = Policy(rules=rules, free_bytes=enough)
    free = make_plan(index, policy)
    held = make_plan(index, policy, young_blobs=np.arange(index.blobs_present))
    assert set(gone(free).values()) == {"ci"}
    assert set(gone(held).values()) == {"ci", "size-target"}


def test_the_report_counts_by_rule_and_names_the_rule_of_each_item(index: CacheIndex) -> None:
    report = planned_report(make_plan(index, POLICY))
    assert "By rule: ci 5, old 2" in list(text_lines(report, summary=True))
    document = as_document(report, summary=False)
    assert document["by_rule"] == {"ci": 5, "old": 2}
    rules = {item["url"]: (item["reason"], item["rule"]) for item in document["manifests"]}
    assert rules["ci/app:3"] == ("selected", "ci")
    assert rules["ci/app@sha256:" + "12" * 32] == ("child-of-selected-list", "ci")
    kept = {item["url"]: (item["kept_by"], item["rule"]) for item in document["kept"]}
    assert kept == {"ci/app:4": ("keep-last", "ci"), "prod/base:1": ("excluded", None)}
    flat = as_document(planned_report(make_plan(index, CI.policy)), summary=False)
    assert (flat["by_rule"], {item["rule"] for item in flat["manifests"]}) == (None, {None})


def through_a_file(plan: PrunePlan) -> tuple[list[dict[str, Any]], PrunePlan]:
    """The lines of a saved plan, and what still holds of it on the same cache."""
    content = b"".join(encode(plan, identify(plan.index.root), made_by="1"))
    decoder = PlanDecoder(DEFAULT_LAYOUT)
    decoder.feed(content)
    lines = [json.loads(line) for line in content.splitlines()]
    return lines, replan(decoder.finish(), plan.index)


def test_a_saved_plan_keeps_the_rules(index: CacheIndex) -> None:
    plan = make_plan(index, Policy(rules=POLICY.rules, exclude=("base",), max_bytes=5000))
    lines, again = through_a_file(plan)
    assert again.policy == plan.policy
    assert gone(again) == gone(plan)
    assert "size-target" in gone(plan).values()
    rules = {line["url"]: line["rule"] for line in lines if line["record"] == "manifest"}
    assert rules["ci/app:3"] == "ci"


def test_the_audit_log_names_the_rules(index: CacheIndex) -> None:
    plan = make_plan(index, POLICY)
    facts = plan_facts(plan, "1")["policy"]
    assert facts["rules"] == [
        {"name": "ci", "patterns": ("^ci/app:",), "keep_last": 1},
        {"name": "old", "created_before": "2024-01-03T00:00:00"},
    ]
    count = len(plan.images)
    batch = Batch(["ab" * 32] * count, [1] * count, None)
    result = BatchResult(bytearray(count), [1] * count, {})
    facts = manifest_facts(plan, plan.images)
    entries = file_entries("image", "img", facts, batch, result)
    rules = {entry.url: (entry.reason, entry.rule) for entry in entries}
    assert rules["ci/app:3"] == ("selected", "ci")
    assert rules["prod/app:1"] == ("selected", "old")


def test_explain_names_the_rule(index: CacheIndex) -> None:
    plan = make_plan(index, POLICY)
    rows = {index.url(row).partition("@")[0]: row for row in range(len(index))}

    def verdict(url: str) -> str:
        explanation = explain(index, rows[url], plan)
        lines = list(explanation_lines(explanation, now=0, most=0))
        (line,) = (line for line in lines if line.startswith("This prune: "))
        return line.removeprefix("This prune: it would ")

    assert verdict("ci/app:3") == "go: it is selected by rule 'ci' (pattern)"
    assert verdict("ci/app") == "go: this list takes it along (rule 'ci')"
    assert verdict("ci/app:4") == (
        "stay: --keep-last keeps it (rule 'ci': its tag is the newest of ci/app that match, "
        "and 1 are kept)"
    )
    assert verdict("prod/base:1") == "stay: it is excluded"
    assert verdict("prod/app:4") == (
        "stay: it does not meet every criterion (none of 2 rules selects it)"
    )
    document = explained(explain(index, rows["ci/app:3"], plan), most=0)
    assert document["verdict"]["rule"] == "ci"


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (Policy(rules=(CI, CI)), "several rules called 'ci'"),
        (Policy(rules=(CI,), patterns=("x",)), "no criteria of its own"),
        (Policy(rules=(CI,), count=1), "no criteria of its own"),
        (Policy(rules=(CI,), orphans_only=True), "--orphans-only can't be combined"),
        (Policy(rules=(Rule("a b", CI.policy),)), "not the name of a rule: 'a b'"),
        (Policy(rules=(Rule("", CI.policy),)), "not the name of a rule"),
        (Policy(rules=(Rule("size-target", CI.policy),)), "not the name of a rule"),
        (Policy(rules=(Rule("x", Policy()),)), "rule 'x': nothing says what to prune"),
        (Policy(rules=(Rule("x", Policy(exclude=("a",))),)), "rule 'x': .*only say what to keep"),
        (Policy(rules=(Rule("x", Policy(max_bytes=1)),)), "are for the whole policy"),
        (Policy(rules=(Rule("x", Policy(rules=(CI,))),)), "are for the whole policy"),
        (Policy(rules=(Rule("x", Policy(count=-1)),)), "rule 'x': --count -1"),
    ],
)
def test_rules_that_make_no_sense_are_refused(policy: Policy, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        policy.check()


def test_more_patterns_than_a_scan_can_match_are_matched_later(index: CacheIndex) -> None:
    rules = tuple(
        Rule(f"r{number}", Policy(patterns=(f"^ci/app:{number % 10}$", f"none-{number}")))
        for number in range(MOST_PATTERN_SETS + 3)
    )
    policy = Policy(rules=rules)
    assert len(policy.pattern_sets) == MOST_PATTERN_SETS

    async def prune() -> fastprune.PruneReport | None:
        return await fastprune.prune(index.root, policy, dry_run=True)

    report = anyio.run(prune)
    assert report is not None
    assert sorted(url.partition("@")[0] for url in index.urls(report.manifests)) == [
        *("ci/app", "ci/app:0", "ci/app:1", "ci/app:2", "ci/app:3", "ci/app:4")
    ]
