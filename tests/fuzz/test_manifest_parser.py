"""A manifest file with any content is a fault, or a row that says exactly what the file says.

Every run tries a few files. `FASTPRUNE_EXAMPLES=100 pytest tests/fuzz` tries more, and
`python -m tests.fuzz.fuzz_manifest` runs for hours (SECURITY.md).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.checking import Checker
from tests.fuzz.mutations import DEEP, KEYS, NUMBERS, TEXTS, encoded, mutated, seeds
from tests.property.profile import examples
from tests.support.documents import PART_NAMES

_IN_MEMORY = "/dev/shm"


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    folder = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder) as root:
        checker = Checker(Path(root))
        yield checker
        checker.close()


def test_the_files_of_a_server_are_understood(checker: Checker) -> None:
    assert sum(map(checker.check, seeds())) > 20


@examples(300)
@given(random=st.randoms(use_true_random=False), seed=st.sampled_from(seeds()))
def test_an_altered_manifest(random: Random, seed: bytes, checker: Checker) -> None:
    checker.check(mutated(random, seed))


@examples(200)
@given(content=st.binary(max_size=200))
@example(content=b"")
@example(content=b" " * 512)
@example(content=b"\0" * 4096)
def test_any_bytes(content: bytes, checker: Checker) -> None:
    checker.check(content)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.text()
)
JSON = st.recursive(
    SCALARS,
    lambda values: (
        st.lists(values, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), values, max_size=6)
    ),
    max_leaves=20,
)
DESCRIPTORS = st.one_of(
    JSON, st.fixed_dictionaries({"digest": st.sampled_from(TEXTS)}, optional={"size": JSON})
)
PARTS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {},
        optional={
            "layers": JSON | st.lists(DESCRIPTORS, max_size=3),
            "manifests": JSON | st.lists(DESCRIPTORS, max_size=3),
            "config": DESCRIPTORS,
        },
    ),
)
HOLDERS = st.fixed_dictionaries(
    {"type": st.integers(-1, 4) | JSON, "imageUrl": st.sampled_from(TEXTS) | JSON},
    optional=dict.fromkeys(PART_NAMES, PARTS)
    | {name: st.sampled_from(TEXTS) | JSON for name in ("created", "pulled", "digest")},
)


LAYER = {"digest": "sha256:" + "1a" * 32, "size": 1}
SOUND: dict[str, Any] = {
    "type": 3,
    "imageUrl": "a:1",
    PART_NAMES[3]: {"layers": [LAYER], "config": LAYER},
    "created": "",
}


@pytest.mark.parametrize("key", SOUND)
def test_a_very_deep_value_where_another_should_be(key: str, checker: Checker) -> None:
    """The value is too deep for Python's repr, so a message must not show it."""
    assert checker.check(encoded(SOUND, ascii_only=True))
    understood = checker.check(encoded(SOUND | {key: DEEP}, ascii_only=True))
    assert understood == (key == "created")


@pytest.mark.parametrize("key", LAYER)
@pytest.mark.parametrize("place", ["layers", "config"])
def test_a_very_deep_value_in_a_descriptor(place: str, key: str, checker: Checker) -> None:
    layer: dict[str, Any] = LAYER | {key: DEEP}
    part = SOUND[PART_NAMES[3]] | {place: [layer] if place == "layers" else layer}
    assert not checker.check(encoded(SOUND | {PART_NAMES[3]: part}, ascii_only=True))


@examples(300)
@given(document=HOLDERS | JSON)
def test_any_json(document: Any, checker: Checker) -> None:
    checker.check(encoded(document, ascii_only=True))
