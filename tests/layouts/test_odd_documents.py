"""What is not quite as the server writes it nowadays: read as its own decoder does, or refused.

`tests/data/odd_documents.jsonl` holds documents and manifest files (Latin-1 stands for their
bytes), what Go 1.19's encoding/json read of them into the structures of ociregistry 1.17
(`go`: null where it refuses), and whether fastprune understands them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.profile import examples

from fastprune.errors import CutOffError, ManifestError
from fastprune.layouts import holders
from fastprune.layouts.gojson import loads
from fastprune.layouts.ociregistry import OCIREGISTRY
from fastprune.reading.shards import check_record, pack_digests

_TABLE = Path(__file__).parents[1] / "data" / "odd_documents.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in _TABLE.read_text().splitlines()]

LAYER = {"mediaType": "m", "digest": "sha256:" + "1a" * 32, "size": 100}
OTHER = {"mediaType": "m", "digest": "sha256:" + "2b" * 32, "size": 7}
IMAGE = {"schemaVersion": 2, "config": OTHER, "layers": [LAYER]}


def described(row: dict[str, Any]) -> str:
    return f"{'file' if row['is_holder'] else 'document'} of type {row['type']}: {row['name']}"


def reading(row: dict[str, Any]) -> tuple[list[str], list[int]]:
    content = row["content"].encode("latin-1")
    if not row["is_holder"]:
        digests, sizes, _ = holders.upstream_references(row["type"], content)
        pack_digests([digests])
        return digests.split(), sizes
    record = OCIREGISTRY.parse(content)
    check_record(record)
    assert record == OCIREGISTRY.parse_with_upstream(content)[0]
    return record.digests.split(), record.sizes


@pytest.mark.parametrize("row", ROWS, ids=described)
def test_what_is_understood_is_what_go_reads(row: dict[str, Any]) -> None:
    if not row["understood"]:
        with pytest.raises(ManifestError, match="."):
            reading(row)
        return
    digests, sizes = reading(row)
    # Children of other algorithms can't be in the cache.
    assert digests == [one for one in row["go"]["digests"] if one.startswith("sha256:")]
    assert sizes == row["go"]["sizes"]


def test_the_table_has_both() -> None:
    assert sum(row["understood"] for row in ROWS) > 60
    assert sum(row["go"] is None for row in ROWS) > 30


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(b"[" * 9_999 + b"]" * 9_999, id="arrays in arrays"),
        pytest.param(b'{"a":' * 9_999 + b"1" + b"}" * 9_999, id="objects in objects"),
        pytest.param(b"1" * 5_000, id="more digits than Python counts"),
    ],
)
def test_what_go_takes_and_python_does_not(extra: bytes) -> None:
    document = json.dumps(IMAGE).encode()[:-1] + b',"x":' + extra + b"}"
    digests, sizes, _ = holders.upstream_references(3, document)
    assert (len(digests.split()), sizes) == (2, [100, 7])


def test_a_level_more_than_go_takes() -> None:
    document = json.dumps(IMAGE).encode()[:-1] + b',"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    with pytest.raises(ManifestError, match="nested too deeply"):
        holders.upstream_references(3, document)


@pytest.mark.parametrize("content", [b"", b'{"type":3,"imageUrl":"a', b"\0" * 512, b"not JSON"])
def test_what_may_be_being_written_is_told_from_the_rest(content: bytes) -> None:
    with pytest.raises(CutOffError):
        OCIREGISTRY.parse(content)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@examples(200)
@given(value=_JSON, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_json_is_read_as_python_reads_it(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert loads(text.encode("utf-8", "surrogatepass")) == json.loads(text)


@examples(300)
@given(
    text=st.lists(
        st.sampled_from(["{", "}", "[", "]", ":", ",", '"a"', "1", "-", "null", " ", '"', "01"]),
        max_size=8,
    ).map("".join)
)
def test_it_takes_what_python_takes_and_nothing_else(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match="."):
            loads(text.encode())
        return
    assert loads(text.encode()) == expected
