"""How tags that only a running server knows are shown: listings, explanations, reports."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.listings import listing_of
from tests.support.scanning import scanned
from tests.support.schemas import as_written, errors

from fastprune import Policy, ScanOptions, UsageError, make_plan
from fastprune.deletion.cache_reader import explain_image
from fastprune.executors.inline import InlineExecutor
from fastprune.explanation.explaining import Explanation
from fastprune.explanation.lookup import find_manifest
from fastprune.explanation.report import as_document as explained
from fastprune.explanation.report import text_lines as explanation_lines
from fastprune.index.cache_index import CacheIndex
from fastprune.model import parse_time
from fastprune.pipeline import PlanOptions
from fastprune.report.listing import Format, SortKey, render, sorted_rows
from fastprune.report.prune_rendering import as_document, text_lines
from fastprune.report.prune_report import planned_report
from fastprune.selection.selecting import selected_names
from fastprune.usage.report import UsageSort, json_lines, sorted_groups, usage_rows
from fastprune.usage.rows import By
from fastprune.usage.surveying import survey_cache
from fastprune.usage.table import table_lines

PULLED = "2024-02-01T00:00:00"
CUTOFFS = {30: parse_time("2024-06-01T00:00:00") or 0}


@pytest.fixture
def index(builder: CacheBuilder) -> CacheIndex:
    """Two images; the server knows the first by two more tags, and one that has no file."""
    image = builder.image("r.io/a:1", layers=[builder.blob(1_500_000)], pulled=PULLED)
    builder.image("r.io/b:1", layers=[builder.blob(10)])
    entries = [
        ("r.io/a:1", image),
        ("r.io/a:stable", image),
        ("r.io/a:\x1b[31mred", image),
        ("r.io/gone:1", "12" * 32),
    ]
    return scanned(builder.root, listing=listing_of(entries))


def listed(
    index: CacheIndex, form: Format, *, policy: Policy | None = None, key: SortKey = SortKey.url
) -> list[str]:
    names = sorted_rows(index, selected_names(index, policy or Policy()), key, reverse=False)
    tabular = form in (Format.table, Format.csv)
    return list(render(index, names, form, header=tabular, width=120))


def test_a_tag_of_the_server_has_a_line_of_its_own_in_every_format(index: CacheIndex) -> None:
    urls = ["r.io/a:\\x1b[31mred", "r.io/a:1", "r.io/a:stable", "r.io/b:1"]
    assert listed(index, Format.url) == urls
    text = [line.split(" ") for line in listed(index, Format.text)]
    assert {len(words) for words in text} == {6}
    assert [words[1] for words in text] == ["\\x1b[31mred", "1", "stable", "1"]
    assert text[1][2:] == text[2][2:]
    table = listed(index, Format.table)
    marked = [line for line in table if "(server only)" in line]
    assert [line.split()[1] for line in marked] == ["\\x1b[31mred", "stable"]
    rows = list(csv.DictReader(listed(index, Format.csv)))
    assert [row["server_only"] for row in rows] == ["true", "false", "true", "false"]
    document = json.loads("".join(listed(index, Format.json)))
    assert errors("list", document) == []
    lines = [json.loads(line) for line in listed(index, Format.jsonl)]
    assert lines == document["manifests"]
    assert [one["server_only"] for one in lines] == [True, False, True, False]
    one, other = lines[1], lines[2]
    assert (other["url"], other["tag"]) == ("r.io/a:stable", "stable")
    assert other | {"url": "", "tag": "", "server_only": False} == one | {"url": "", "tag": ""}


@pytest.mark.parametrize("key", SortKey)
def test_every_order_has_all_names(index: CacheIndex, key: SortKey) -> None:
    assert sorted(listed(index, Format.url, key=key)) == sorted(listed(index, Format.url))


def test_without_a_server_no_format_has_a_mark(builder: CacheBuilder) -> None:
    builder.image("r.io/a:1")
    index = scanned(builder.root)
    for form in Format:
        lines = listed(index, form)
        assert not any("server_only" in line or "(server" in line for line in lines)


def explanation(index: CacheIndex, reference: str, policy: Policy | None) -> Explanation:
    return explain_image(index, reference, policy, PlanOptions())


def lines_of(one: Explanation) -> Iterator[str]:
    return explanation_lines(one, now=0, most=5)


@pytest.mark.parametrize("reference", ["r.io/a:stable", "a:stable", "stable"])
def test_a_tag_of_the_server_names_the_image(index: CacheIndex, reference: str) -> None:
    assert index.url(find_manifest(index, reference)) == "r.io/a:1"


def test_a_beginning_of_several_names_of_one_image_means_that_image(index: CacheIndex) -> None:
    assert index.url(find_manifest(index, "r.io/a")) == "r.io/a:1"
    with pytest.raises(UsageError, match="may mean any of these"):
        find_manifest(index, "r.io/")


def test_explain_says_by_which_urls_the_server_knows_an_image_and_which_keep_it(
    index: CacheIndex,
) -> None:
    lines = list(lines_of(explanation(index, "r.io/a:stable", None)))
    at = lines.index("URLs by which the server knows it: 3")
    assert lines[at + 1 : at + 4] == [
        "  (server only) r.io/a:\\x1b[31mred",
        "  r.io/a:1",
        "  (server only) r.io/a:stable",
    ]
    policy = Policy(patterns=("a:1", "red"))
    one = explanation(index, "r.io/a:1", policy)
    lines = list(lines_of(one))
    assert "  (keeps it) r.io/a:stable" in lines
    assert "  (server only) r.io/a:\\x1b[31mred" in lines
    assert (
        "This prune: it would stay: the server knows it by a tag that does not go (r.io/a:stable)"
        in lines
    )
    document = explained(one, most=5)
    assert errors("explain", document) == []
    assert document["verdict"]["reason"] == "server-only-tag"
    known = document["known_as"]
    assert known["count"] == 3
    assert {item["url"]: (item["server_only"], item["keeps"]) for item in known["first"]} == {
        "r.io/a:1": (False, False),
        "r.io/a:stable": (True, True),
        "r.io/a:\x1b[31mred": (True, False),
    }


def test_explain_says_that_the_server_does_not_know_an_image(
    index: CacheIndex, builder: CacheBuilder
) -> None:
    lines = list(lines_of(explanation(index, "r.io/b:1", None)))
    assert "URLs by which the server knows it: none" in lines
    without = explanation(scanned(builder.root), "r.io/b:1", None)
    assert not any("server" in line for line in lines_of(without))
    assert "known_as" not in explained(without, most=5)


def test_a_report_counts_what_the_server_knows_and_what_its_tags_kept(index: CacheIndex) -> None:
    report = planned_report(make_plan(index, Policy(patterns=(":1",))))
    report = replace(report, seconds={"scan": 1.0, "plan": 1.0})
    lines = list(text_lines(report, summary=True))
    assert "Kept by rules: 1 (tag that only the server knows 1)" in lines
    assert (
        "Server: 4 entries, 2 of them tags that no file shows, 1 without a file; manifests that "
        "it does not know: 1" in lines
    )
    document = as_written(as_document(report, summary=False))
    assert errors("report", json.loads(json.dumps(document))) == []
    assert document["kept_by"] == {"server-only-tag": 1}
    assert [one["kept_by"] for one in document["kept"]] == ["server-only-tag"]
    assert document["server"] == {
        "entries": 4,
        "only_tags": 2,
        "not_loaded": 1,
        "without_file": 1,
    }


def test_a_report_without_a_server_says_nothing_of_one(builder: CacheBuilder) -> None:
    builder.image("r.io/a:1")
    report = planned_report(make_plan(scanned(builder.root), Policy(patterns=(":1",))))
    assert not any("erver" in line for line in text_lines(report, summary=True))
    assert "server" not in as_document(report, summary=False)


def test_what_the_server_knows_takes_no_room(index: CacheIndex, builder: CacheBuilder) -> None:
    plan = make_plan(index, Policy(patterns=(".",)))
    without = make_plan(scanned(builder.root), Policy(patterns=(".",)))
    assert plan.bytes_freed == without.bytes_freed
    assert np.array_equal(plan.blob_bytes, without.blob_bytes)


def test_usage_counts_the_tags_of_the_server_and_no_byte_twice(builder: CacheBuilder) -> None:
    image = builder.image("r.io/a:1", layers=[builder.blob(1_500_000)])
    listing = listing_of([("r.io/a:1", image), ("r.io/a:stable", image)])
    said = []
    for options in (ScanOptions(), ScanOptions(listing=listing)):
        survey = survey_cache(str(builder.root), Policy(), lambda _: InlineExecutor(), options)
        usage, ages = survey.usage(By.image), survey.ages()
        rows = list(usage_rows(usage, sorted_groups(usage, UsageSort.name, reverse=False), None))
        document = json.loads("".join(json_lines(usage, iter(rows), ages, CUTOFFS)))
        assert errors("du", document) == []
        text = list(table_lines(usage, rows, ages, CUTOFFS, width=100))
        said.append((document, text))
    (without, plain), (document, text) = said
    counts = {"entries": 2, "only_tags": 1, "not_loaded": 0, "without_file": 0}
    assert document == without | {"server": counts}
    assert text == [plain[0], "The server knows 1 tag that no file shows", *plain[1:]]
