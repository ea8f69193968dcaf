"""The oracle's reading of a cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.cachebuilder import (
    CacheBuilder,
    Corruption,
    files,
)
from tests.support.documents import Folder, encode
from tests.support.oracle import (
    Cache,
    is_digest_url,
    is_real_time,
    load,
)
from tests.support.strategies import (
    MALFORMED_TIMES,
    TIMES,
)

HEX = "12" * 32


@pytest.mark.parametrize("folder", ["img", "lts"])
@pytest.mark.parametrize("kind", Corruption)
def test_each_kind_of_damage_is_seen(kind: Corruption, folder: Folder, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    path = builder.corrupt(kind, folder=folder, size=5000)
    assert (tmp_path / path).is_file()
    found = load(tmp_path, max_manifest_bytes=4999 if kind is Corruption.TOO_LARGE else None)
    assert list(found.corrupt) == [path]
    assert found.manifests == {}


def test_the_file_that_damage_starts_from_is_sound(tmp_path: Path) -> None:
    path = CacheBuilder(tmp_path).corrupt(Corruption.TOO_LARGE, size=5000)
    assert load(tmp_path).manifests[path].url == "registry.example/damaged:1"


@pytest.mark.parametrize("value", [None, 7, ["x"], "gone"])
def test_a_time_that_is_no_text_is_not_corrupt(value: object, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    path = tmp_path / "img" / builder.image("r/a:1")
    holder = json.loads(path.read_bytes())
    for key in ("created", "pulled"):
        if value == "gone":
            del holder[key]
        else:
            holder[key] = value
    path.write_bytes(encode(holder))
    (found,) = load(tmp_path).manifests.values()
    assert found.created == found.pulled == ("" if value in (None, "gone") else None)
    assert not is_real_time(found.created)


def test_what_a_file_says_of_itself_is_not_trusted(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    path = tmp_path / "img" / builder.image("r/a:1")
    path.write_bytes(path.read_bytes().replace(path.name.encode(), b"../../victim"))
    assert [one.digest for one in load(tmp_path).manifests.values()] == [path.name]


def test_other_names_are_foreign(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    names = ("README", ".nfs01", HEX + ".tmp", HEX[:-1], "AB" * 32, HEX[:-1] + "g", HEX + "\n")
    made = {builder.raw(folder, name, b"{}") for folder in ("img", "blobs") for name in names}
    made.add(builder.directory("lts", "folder"))
    assert load(tmp_path).foreign == made
    assert load(tmp_path).paths == files(tmp_path) == made


def test_missing_folders_are_empty(tmp_path: Path) -> None:
    assert load(tmp_path) == Cache()


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        (f"r@sha256:{HEX}", True),
        (f"host:5000/r/s@sha256:{HEX}", True),
        (f"r:1@sha256:{HEX}", True),
        (f"@sha256:{HEX}", False),
        (f"sha256:{HEX}", False),
        (f"r@sha256:{HEX[:-1]}", False),
        (f"r@sha256:{HEX}0", False),
        (f"r@sha256:{HEX}\n", False),
        (f"r@sha256:{HEX}:1", False),
        ("r@sha256:" + "AB" * 32, False),
        (f"r@sha512:{HEX}", False),
        ("r:1", False),
        ("", False),
    ],
)
def test_digest_urls(url: str, answer: bool) -> None:
    assert is_digest_url(url) is answer


def test_real_times() -> None:
    assert [time for time in TIMES if not is_real_time(time)] == [""]
    assert [time for time in MALFORMED_TIMES if is_real_time(time)] == []


def test_files_with_other_names_are_told(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("r/a:1", layers=[builder.blob(10)])
    path = min(files(builder.root))
    other = builder.link(path)
    assert load(builder.root).linked == {path}
    assert other.samefile(builder.root / path)
    other.unlink()
    assert load(builder.root).linked == frozenset()
