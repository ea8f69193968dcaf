"""What a manifest says is one value: read from its file, or out of the index again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from tests.property.profile import examples
from tests.support.cachebuilder import CacheBuilder
from tests.support.scanning import scanned
from tests.support.strategies import CacheSketch, caches, on_disk

from fastprune.index.records import kept_part, kept_records
from fastprune.layouts.default import DEFAULT_LAYOUT


def same(root: Path) -> int:
    """Compares the records of an index with those of the files; gives how many there are."""
    index = scanned(root)
    rows = np.arange(len(index))[::-1]
    records = list(kept_records(index, rows))
    contents = [(root / index.path(row)).read_bytes() for row in rows.tolist()]
    assert records == [kept_part(DEFAULT_LAYOUT.parse(content)) for content in contents]
    return len(records)


@examples(60)
@given(sketch=caches())
def test_the_index_gives_back_what_the_files_say(sketch: CacheSketch) -> None:
    with on_disk(sketch) as root:
        same(root)


def test_odd_times_are_cut_alike(builder: CacheBuilder) -> None:
    builder.image("a:1", layers=[builder.blob(10)], created="y" * 100, pulled="")
    builder.image("b:1", layers=[], created="2024-01-02T03:04:05", pulled="soon")
    assert same(builder.root) == 2


def test_sizes_and_the_children_of_a_list_are_not_kept(builder: CacheBuilder) -> None:
    image = builder.image("a@1", layers=[builder.blob(10)])
    builder.index("a:1", children=[image])
    index = scanned(builder.root)
    by_url = {record.url: record for record in kept_records(index, np.arange(len(index)))}
    assert by_url["a:1"].digests == ""
    assert len(by_url["a@1"].digests.split("\n")) == 2
    assert not any(record.sizes for record in by_url.values())
