"""The fast, all-at-once checks of columns against the obvious check of each value."""

from __future__ import annotations

import json
import re
from array import array
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.property.profile import examples
from tests.support import oracle
from tests.support.strategies import MALFORMED_TIMES, TIMES

from fastprune.errors import ManifestError
from fastprune.index.times import BAD_TIME, NO_TIME, format_times, parse_times
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import shown
from fastprune.model import file_names, pack_names, parse_time
from fastprune.reading.shards import (
    ABSENT,
    EMPTY_TIME,
    TIME_CHARS,
    ChunkRecords,
    Fault,
    is_digest,
    is_digest_url,
    pack_digests,
    pack_sizes,
)

EPOCH = datetime(1970, 1, 1)
MOMENTS = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59))


def seconds_of(moment: datetime) -> int:
    return (moment.replace(microsecond=0) - EPOCH) // timedelta(seconds=1)


# Times.


@examples(200)
@given(moments=st.lists(MOMENTS))
def test_times_are_parsed_and_formatted_as_datetime_does(moments: list[datetime]) -> None:
    texts = [moment.replace(microsecond=0).isoformat() for moment in moments]
    times = parse_times("".join(texts).encode())
    assert times.tolist() == [seconds_of(moment) for moment in moments]
    assert [parse_time(text) for text in texts] == times.tolist()
    assert format_times(times) == texts


# Made of what times are made of, so that nearly all parts of a time are right.
_NEARLY = st.one_of(
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]", fullmatch=True
    ),
    st.text("0123456789-T: Z", min_size=TIME_CHARS, max_size=TIME_CHARS),
)


@examples(400)
@given(text=_NEARLY)
@example(text="2100-02-29T00:00:00")
@example(text="2000-02-29T00:00:00")
@example(text="0001-01-01T00:00:00")
@example(text="0000-12-31T23:59:59")
@example(text="9999-12-31T23:59:59")
@example(text="0" * TIME_CHARS)
def test_only_real_times_are_times(text: str) -> None:
    (seconds,) = parse_times(text.encode()).tolist()
    if oracle.is_real_time(text):
        assert seconds == parse_time(text) == seconds_of(datetime.fromisoformat(text))
        assert format_times(np.array([seconds])) == [text]
    else:
        assert (seconds, parse_time(text)) == (BAD_TIME, None)


@pytest.mark.parametrize("text", MALFORMED_TIMES)
def test_malformed_times_are_refused(text: str) -> None:
    assert parse_time(text) is None
    if len(text) == TIME_CHARS and text.isascii():
        assert parse_times(text.encode()).tolist() == [BAD_TIME]


def test_no_time_and_bad_times_have_no_text_and_sort_before_all_times() -> None:
    assert parse_times(EMPTY_TIME).tolist() == [NO_TIME]
    known = [text for text in TIMES if text]
    times = parse_times("".join(known).encode())
    assert format_times(np.array([NO_TIME, *times.tolist(), BAD_TIME])) == ["", *known, ""]
    assert max(NO_TIME, BAD_TIME) < int(times.min())
    assert parse_times(b"").tolist() == []
    assert parse_time("") is None


# Digests.

HEX = re.compile(r"sha256:[0-9a-f]{64}")
_DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: "sha256:" + raw.hex())
_A_NAME = "0" * 64
_A_DIGEST = "sha256:" + _A_NAME
# What is nearly a digest: something cut off, put in, or changed in one place.
_WRONG = st.one_of(
    st.sampled_from(
        [
            "",
            "sha256:",
            "0" * 64,
            "0" * 71,
            "sha256:" + "sha256:" + "0" * 57,
            "sha256:" + "0" * 63,
            "sha256:" + "0" * 65,
            "sha256:" + "A" * 64,
            "sha256:" + "0" * 63 + "g",
            "sha256:" + "0" * 63 + "\n",
            "\nsha256:" + "0" * 63,
            "sha256:" + "0" * 63 + "٢",
            "sha512:" + "0" * 64,
            "SHA256:" + "0" * 64,
        ]
    ),
    st.builds(
        lambda digest, at, char: digest[:at] + char + digest[at + 1 :],
        _DIGESTS,
        st.integers(0, 70),
        st.sampled_from("0afgAF:s2\n \0é"),
    ),
    st.builds(lambda digest, at: digest[:at] + digest[at + 1 :], _DIGESTS, st.integers(0, 70)),
    st.builds(
        lambda digest, at, char: digest[:at] + char + digest[at:],
        _DIGESTS,
        st.integers(0, 71),
        st.sampled_from("0a:\n"),
    ),
)


@examples(300)
@given(texts=st.lists(st.one_of(_DIGESTS, _DIGESTS, _WRONG.filter(bool)), max_size=6))
# Together as long as two digests, and cut in the wrong place.
@example(texts=["sha256:" + "0" * 63, "sha256:" + "0" * 65])
@example(texts=["sha256:" + "0" * 64 + "\n", "sha256:" + "0" * 62])
def test_digests_are_packed_all_or_nothing(texts: list[str]) -> None:
    lines = "\n".join(texts).split("\n") if texts else []
    sound = [bool(HEX.fullmatch(line)) for line in lines]
    assert [is_digest(line) for line in lines] == sound
    if all(sound):
        raw = b"".join(bytes.fromhex(line[7:]) for line in lines)
        # However they are grouped.
        assert pack_digests(texts) == pack_digests(["\n".join(texts), ""]) == raw
        return
    with pytest.raises(ManifestError) as refusal:
        pack_digests(texts)
    # It names the first one that is wrong.
    assert str(refusal.value) == f"not a sha256 digest: {lines[sound.index(False)][:80]!r}"


# What JSON can put in the place of a digest.
_VALUES = st.one_of(_DIGESTS, _DIGESTS, _DIGESTS, _WRONG, st.sampled_from([None, 7, [], {}, True]))
_IMAGES = st.lists(st.lists(_VALUES, min_size=1, max_size=4), min_size=1, max_size=4)


@examples(300)
@given(images=_IMAGES, kind=st.sampled_from([0, 3]))
@example(images=[[_A_DIGEST + "\n" + _A_DIGEST], [_A_DIGEST]], kind=3)
@example(images=[[""], [_A_DIGEST]], kind=3)
@example(images=[[""]], kind=0)
@example(images=[[_A_DIGEST, ""]], kind=3)
def test_one_wrong_digest_makes_a_fault_of_its_manifest_and_of_no_other(
    images: list[list[object]], kind: int
) -> None:
    records = ChunkRecords(0, [_A_NAME] * len(images))
    for row, digests in enumerate(images):
        content = json.dumps(_holder(kind, digests)).encode()
        try:
            records.put(row, DEFAULT_LAYOUT.parse(content), len(content))
        except ManifestError as error:
            records.faults.append(Fault(row, str(error)))
    shard = records.pack(edges=True, match=None)
    if kind == 0:
        # A child of another algorithm can't be cached: it is passed over.
        images = [[one for one in digests if not oracle.is_other_digest(one)] for digests in images]
    sound = [all(_is_sound(digest) for digest in digests) for digests in images]
    assert sorted(fault.row for fault in shard.faults) == [
        row for row, good in enumerate(sound) if not good
    ]
    read = [digests if good else [] for digests, good in zip(images, sound, strict=True)]
    assert list(shard.kinds) == [kind if good else ABSENT for good in sound]
    assert shard.digest_counts.tolist() == list(map(len, read))
    assert shard.digests == b"".join(bytes.fromhex(str(one)[7:]) for some in read for one in some)
    assert len(shard.sizes) == (sum(map(len, read)) if kind == 3 else 0)


def _is_sound(digest: object) -> bool:
    return isinstance(digest, str) and bool(HEX.fullmatch(digest))


def _holder(kind: int, digests: list[object]) -> dict[str, object]:
    """A list of these children, or an image whose config is the last of these blobs."""
    descriptors = [{"digest": digest, "size": 1} for digest in digests]
    image = {"layers": descriptors[:-1], "config": descriptors[-1]}
    parts = {"v2.docker.manifestList": {"manifests": descriptors}, "v1.oci.manifest": image}
    return {"type": kind, "imageUrl": "r/a:1", "created": "", "pulled": "", **parts}


@examples(200)
@given(repository=st.text("ab/:@.", max_size=6), digest=st.one_of(_DIGESTS, _WRONG))
def test_a_digest_url_ends_in_a_digest(repository: str, digest: object) -> None:
    url = f"{repository}@{digest}"
    assert is_digest_url(url) == oracle.is_digest_url(url)


# Sizes and names.

_SIZES: st.SearchStrategy[object] = st.one_of(
    st.integers(-2, 3),
    st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63), 1.0, 1.5, True, False, None, "1", [], {}]),
)


@examples(200)
@given(sizes=st.lists(_SIZES, max_size=5))
def test_sizes_are_whole_numbers_that_fit(sizes: list[int]) -> None:
    sound = [type(size) is int and 0 <= size < 2**63 for size in sizes]
    if all(sound):
        assert pack_sizes(sizes) == array("q", sizes)
        return
    with pytest.raises(ManifestError) as refusal:
        pack_sizes(sizes)
    assert str(refusal.value) == f"not a size: {shown(sizes[sound.index(False)])}"


_NAMES = st.one_of(
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.sampled_from(["", "0" * 63, "0" * 65, "F" * 64, "g" * 64, "0" * 62 + "\udcc3\udca9"]),
)


@examples(200)
@given(names=st.lists(_NAMES, max_size=5))
def test_file_names_are_packed_all_or_nothing_and_come_back(names: list[str]) -> None:
    if all(re.fullmatch("[0-9a-f]{64}", name) for name in names):
        assert file_names(pack_names(names)) == names
    else:
        with pytest.raises(ValueError, match="not the name of a cached file|hex|ASCII|ascii"):
            pack_names(names)
