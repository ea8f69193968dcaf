"""Long reports are made line by line: the URLs of a whole cache are never there at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.scanning import scanned

from fastprune.explanation.lookup import find_manifest
from fastprune.index import arrays, text_order
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import image_bytes
from fastprune.plan.encoding import encode
from fastprune.plan.prune_plan import PrunePlan, make_plan
from fastprune.plan.saved_plan import CacheIdentity
from fastprune.policy.policy import Policy
from fastprune.report.listing import Format, SortKey, render, sorted_rows
from fastprune.report.prune_rendering import as_document, text_lines
from fastprune.report.prune_report import planned_report
from fastprune.selection.rules import names
from fastprune.text.escaping import document_lines

TAGS = 60
AT_ONCE = 5


@pytest.fixture
def index(builder: CacheBuilder) -> CacheIndex:
    for number in range(TAGS):
        # In another order than that of their digests.
        builder.image(f"r.io/a{number * 7 % TAGS:02}:1")
    return scanned(builder.root)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For how many URLs the index is asked at once; a few are enough for a piece."""
    monkeypatch.setattr(names, "_PIECE", AT_ONCE)
    monkeypatch.setattr(text_order, "_SAMPLES", 2)
    monkeypatch.setattr(text_order.in_text_order, "__kwdefaults__", {"in_bucket": AT_ONCE})
    monkeypatch.setattr(arrays.pieces, "__defaults__", (AT_ONCE,))
    counts: list[int] = []
    urls = CacheIndex.urls

    def counted(index: CacheIndex, rows: Rows) -> list[str]:
        counts.append(len(rows))
        return urls(index, rows)

    monkeypatch.setattr(CacheIndex, "urls", counted)
    return counts


def whole_plan(index: CacheIndex) -> PrunePlan:
    return make_plan(index, Policy(created_before="9999-01-01T00:00:00"))


def check_pieces(asked: list[int]) -> None:
    # A bucket may be a few times as large as wanted, if the sample is unlucky.
    assert len(asked) >= TAGS / AT_ONCE
    assert max(asked) <= TAGS / 2


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("key", list(SortKey))
def test_a_list_of_manifests(
    index: CacheIndex, asked: list[int], form: Format, key: SortKey
) -> None:
    rows = sorted_rows(index, np.arange(len(index)), key, reverse=False)
    lines = list(render(index, rows, form, header=True, width=200))
    check_pieces(asked)
    expected = sorted(f"r.io/a{number:02}" for number in range(TAGS))
    shown = [line[line.index("r.io/a") :][:8] for line in lines if "r.io/a" in line]
    assert shown == expected if key is SortKey.url else sorted(shown) == expected


def test_a_list_begins_before_its_end_is_known(index: CacheIndex, asked: list[int]) -> None:
    lines = render(index, np.arange(len(index)), Format.json)
    next(lines), next(lines)
    assert max(asked) <= AT_ONCE
    assert sum(asked) <= 2 * AT_ONCE


def test_the_text_of_a_report(index: CacheIndex, asked: list[int]) -> None:
    lines = list(text_lines(planned_report(whole_plan(index)), summary=False))
    check_pieces(asked)
    urls = [line for line in lines if line.startswith("r.io/")]
    assert urls == sorted(f"r.io/a{number:02}:1" for number in range(TAGS))


def test_the_document_of_a_report(index: CacheIndex, asked: list[int]) -> None:
    document = as_document(planned_report(whole_plan(index)), summary=False)
    assert asked == []
    for name in ("manifests", "blobs", "protected", "kept"):
        assert isinstance(document[name], Iterator)
    written = json.loads("\n".join(document_lines(document)))
    check_pieces(asked)
    urls = [item["url"] for item in written["manifests"]]
    assert urls == sorted(f"r.io/a{number:02}:1" for number in range(TAGS))
    assert len(written["blobs"]) == index.blobs_present


def test_the_file_of_a_plan(index: CacheIndex, asked: list[int]) -> None:
    blocks = encode(whole_plan(index), CacheIdentity("/cache", 1, "0" * 16), made_by="1")
    lines = b"".join(blocks).splitlines()
    check_pieces(asked)
    assert len(lines) == 1 + TAGS + index.blobs_present + 1


def test_the_search_for_an_image(index: CacheIndex, asked: list[int]) -> None:
    row = find_manifest(index, "a07:1")
    check_pieces(asked)
    assert index.url(row) == "r.io/a07:1"


def test_sizes_of_images(
    index: CacheIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows: Any = np.random.default_rng(1).permutation(len(index))
    whole = image_bytes(index, rows).tolist()
    monkeypatch.setattr("fastprune.index.refcounts._PIECE", 7)
    assert image_bytes(index, rows).tolist() == whole
    assert image_bytes(index, rows[:0]).tolist() == []
