"""However references are cut into pieces, each is counted once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from tests.property.indexing import index_of
from tests.property.profile import examples
from tests.support.strategies import CacheSketch, caches

from fastprune.policy.policy import Policy
from fastprune.selection.rules import sizing
from fastprune.selection.selecting import select
from fastprune.usage import placing
from fastprune.usage.rows import By
from fastprune.usage.surveying import survey_of


@examples(80)
@given(sketch=caches())
def test_the_rows_of_a_usage(sketch: CacheSketch) -> None:
    index = index_of(sketch)
    survey = survey_of(index, Policy(), index.known_sizes(slice(index.blobs_present)))
    for by in By:
        whole = survey.usage(by).columns
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(placing, "_PIECE", 1)
            cut = survey.usage(by).columns
        assert all(np.array_equal(a, b) for a, b in zip(whole, cut, strict=True))


@examples(80)
@given(sketch=caches())
def test_a_size_target(sketch: CacheSketch) -> None:
    index = index_of(sketch)
    policy = Policy(max_bytes=sizing.total_bytes(index) // 2)
    whole = select(index, policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing, "_PIECE", 1)
        cut = select(index, policy)
        assert sizing.total_bytes(index) // 2 == policy.max_bytes
    assert np.array_equal(whole.selected, cut.selected)
    assert whole.target == cut.target
