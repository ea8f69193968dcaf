"""The output of fastprune for the sample caches, compared with that of the original.

`tests/data/original/` holds what `ociregistry list --header` (with and without `--short-digest`)
and `ociregistry prune --pattern dashboard,cilium --dry-run` wrote, byte for byte. Three things
differ on purpose, and `docs/differences.md` says so: the order, `-` for what is empty, and the
lines around the items of a prune.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.program import run
from tests.support.realcaches import RealCache, unpack

ORIGINAL = Path(__file__).resolve().parents[1] / "data" / "original"
PATTERNS = "dashboard,cilium"
COLUMNS = 6


@pytest.mark.parametrize(
    ("name", "file", "options"),
    [
        ("pulled", "list-pulled.txt", ()),
        ("pulled", "list-pulled-short.txt", ("--short-digest",)),
        ("loaded", "list-loaded.txt", ()),
    ],
)
def test_a_listing_has_the_columns_of_the_original(
    name: RealCache, file: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    header, *theirs = (ORIGINAL / file).read_text().splitlines()
    result = run("list", "--header", *options, cache=unpack(name, tmp_path))
    first, *ours = result.out.splitlines()
    assert first == header
    filled = [" ".join(word or "-" for word in line.split(" ")) for line in theirs]
    assert {len(line.split(" ")) for line in filled} == {COLUMNS}
    assert sorted(ours) == sorted(filled)


def test_a_dry_run_names_the_items_of_the_original(tmp_path: Path) -> None:
    theirs = (ORIGINAL / "prune-pulled-dry-run.txt").read_text().splitlines()
    blobs, manifests = map(theirs.index, ("Prune blobs (dry run):", "Prune manifests (dry run):"))
    options = ("prune", "--pattern", PATTERNS, "--dry-run")
    ours = run(*options, cache=unpack("pulled", tmp_path)).out.splitlines()
    expected = [
        "Prune manifests (dry run):",
        *sorted(theirs[manifests + 1 :]),
        "Prune blobs (dry run):",
        *sorted(theirs[blobs + 1 : manifests]),
    ]
    assert ours[: len(expected)] == expected
    assert ours[len(expected)].startswith("Manifests: ")
