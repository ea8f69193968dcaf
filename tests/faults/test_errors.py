"""Calls that fail: each ends in a documented way, and nothing is lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from tests.faults.counting import COUNTS
from tests.faults.injection import FOREVER, WHERE, Fault, run_with, strike
from tests.faults.scenes import NUMBERS, Mode, Scene, prune_of
from tests.support.cachebuilder import files

EVERYWHERE: tuple[tuple[Mode, str], ...] = (
    ("delete", "unlink"),
    ("delete", "fsync"),
    ("trash", "rename"),
)
"""Kinds of calls that are struck with every error in every place."""

SOMEWHERE: tuple[tuple[Mode, str], ...] = (
    ("delete", "open"),
    ("delete", "preadv"),
    ("delete", "read"),
    ("delete", "readdir"),
    ("delete", "stat"),
    ("trash", "mkdir"),
    ("trash", "fsync"),
)
"""Kinds of calls that are struck with every error, and in every place with some of them."""


def cases() -> Iterator[tuple[Mode, str, int, str]]:
    for mode, kind in EVERYWHERE:
        for number in NUMBERS:
            for where in WHERE:
                yield mode, kind, number, where
    for mode, kind in SOMEWHERE:
        for turn, number in enumerate(NUMBERS):
            yield mode, kind, number, WHERE[turn % len(WHERE)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("errors"))


@pytest.fixture(scope="module")
def struck() -> Iterator[list[str]]:
    """Counts the faults after which nothing was lost."""
    struck: list[str] = []
    yield struck
    COUNTS.append(f"{len(struck)} calls that failed, one at a time: nothing lost")


def _command(mode: Mode, kind: str) -> list[str]:
    """A prune; without remembered scans if these calls are not always as many with them.

    The last look reads a manifest only if it changed right before the scan.
    """
    off = ["--state-dir", ""] if (mode, kind) in SOMEWHERE else []
    return [*prune_of(mode), *off]


@pytest.mark.parametrize(
    ("mode", "kind", "number", "where"),
    [
        pytest.param(*case, id=f"{case[0]}-{case[1]}-{errno.errorcode[case[2]]}-{case[3]}")
        for case in cases()
    ],
)
def test_one_call_that_fails(
    mode: Mode, kind: str, number: int, where: str, scene: Scene, struck: list[str]
) -> None:
    outcome = strike(kind, where, number, *_command(mode, kind), fresh=scene.fresh)
    assert outcome.struck
    assert scene.complaints(outcome.result, number) == []
    scene.heal("delete")
    struck.append(mode)


@pytest.mark.parametrize("folder", ["img", "lts", "blobs"])
def test_a_folder_that_goes_while_it_is_listed_is_not_taken_for_all_there_is(
    folder: str, scene: Scene
) -> None:
    """The system answers ENOENT, as it does for a folder that never existed."""
    kinds = ("readdir",)
    calls = run_with(Fault(kinds), *prune_of("delete"), cache=scene.fresh()).calls
    # Some entries came before.
    fault = Fault(kinds, first=calls.index(f"readdir {folder}") + 3, error=errno.ENOENT)
    result = run_with(fault, *prune_of("delete"), cache=scene.fresh()).result
    assert scene.complaints(result, errno.ESTALE) == []
    assert result.code == 1


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_no_file_can_be_deleted(number: int, scene: Scene) -> None:
    fault = Fault(("unlink",), first=1, last=FOREVER, error=number)
    result = run_with(fault, *prune_of("delete"), cache=scene.fresh()).result
    assert scene.complaints(result, number) == []
    assert result.code == 3
    assert files(scene.root) == scene.before.paths


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_disk_that_stops_answering_in_the_middle(number: int, scene: Scene) -> None:
    """From a call in the middle of the deletion on, every call fails."""
    clean = run_with(Fault(), *prune_of("delete"), cache=scene.fresh()).calls
    deletions = [at for at, call in enumerate(clean, 1) if call.startswith("unlink img")]
    fault = Fault(first=deletions[2], last=FOREVER, error=number)
    result = run_with(fault, *prune_of("delete"), cache=scene.fresh()).result
    assert scene.complaints(result, number) == []
    assert result.code == 3
    scene.heal("delete")
