"""Workers elsewhere: on a real cluster the answer is the same; what they miss is looked at here."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.decoding import decoded
from tests.property.profile import examples
from tests.property.test_findings import damaged
from tests.property.test_same_index import CHUNKS, PATTERN_SETS
from tests.support.cachebuilder import files
from tests.support.damage import Damage, SoundCache, damages, sound_caches
from tests.support.dask_clusters import cluster
from tests.support.elsewhere import Elsewhere
from tests.support.scanning import scanned
from tests.support.strategies import CacheSketch, caches, on_disk

from fastprune import Policy, ScanOptions
from fastprune.executors.dask_cluster import DaskExecutor
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.text.escaping import document_lines
from fastprune.usage.surveying import survey_cache
from fastprune.verification.report import as_document
from fastprune.verification.verifier import VerifyOptions, verify_cache


@pytest.fixture(scope="module")
def dask() -> Iterator[DaskExecutor]:
    """A cluster that lives as long as the tests of this module."""
    with cluster(2) as opened, opened.executor() as executor:
        yield executor


def found(root: Path, executor: Executor, *, content: bool) -> Any:
    """What `verify` finds, but for how long it took."""
    findings = verify_cache(str(root), lambda _: executor, VerifyOptions(content=content))
    document = json.loads("\n".join(document_lines(as_document(findings, summary=False))))
    for varying in ("seconds", "started", "content"):
        document.pop(varying, None)
    return document


def measured(root: Path, executor: Executor) -> list[int]:
    """The sizes of the blobs, as `du` asks for them."""
    survey = survey_cache(str(root), Policy(), lambda _: executor, ScanOptions())
    return list(map(int, survey.blob_bytes))


@examples(25)
@given(
    sketch=caches(corrupt=True, foreign=True),
    chunk=CHUNKS,
    edges=st.booleans(),
    merge=st.sampled_from((None, False)),
    pattern_sets=PATTERN_SETS,
)
def test_a_dask_cluster_gives_the_index_of_a_scan_in_this_process(
    dask: DaskExecutor,
    sketch: CacheSketch,
    chunk: int | None,
    edges: bool,
    merge: bool | None,
    pattern_sets: tuple[tuple[str, ...], ...],
) -> None:
    with on_disk(sketch) as root:
        here = scanned(root, edges=edges, pattern_sets=pattern_sets)
        there = scanned(
            root, dask, edges=edges, pattern_sets=pattern_sets, chunk=chunk, merge=merge
        )
        assert decoded(here) == decoded(there)


@examples(20)
@given(sketch=sound_caches, what=damages, content=st.booleans())
def test_a_dask_cluster_gives_the_findings_of_this_process(
    dask: DaskExecutor, sketch: SoundCache, what: tuple[Damage, ...], content: bool
) -> None:
    with damaged(sketch, what) as root:
        here = found(root, InlineExecutor(), content=content)
        assert found(root, dask, content=content) == here


@examples(60)
@given(sketch=caches(corrupt=True, foreign=True), chunk=CHUNKS, data=st.data())
def test_a_file_that_only_a_worker_does_not_see_is_not_gone(
    sketch: CacheSketch, chunk: int | None, data: st.DataObject
) -> None:
    """Else the blobs of a manifest would count as orphans, and be deleted."""
    with on_disk(sketch) as root, tempfile.TemporaryDirectory() as folder:
        executor = Elsewhere(root, missing_some(root, Path(folder), data))
        assert decoded(scanned(root, executor, chunk=chunk)) == decoded(scanned(root))
        assert executor.required
        assert measured(root, executor) == measured(root, InlineExecutor())


@examples(60)
@given(sketch=sound_caches, what=damages, content=st.booleans(), data=st.data())
def test_what_only_a_worker_does_not_see_is_no_damage(
    sketch: SoundCache, what: tuple[Damage, ...], content: bool, data: st.DataObject
) -> None:
    with damaged(sketch, what) as root, tempfile.TemporaryDirectory() as folder:
        executor = Elsewhere(root, missing_some(root, Path(folder), data))
        here = found(root, InlineExecutor(), content=content)
        assert found(root, executor, content=content) == here


def missing_some(root: Path, folder: Path, data: st.DataObject) -> Path:
    """A copy of a cache without some files, in which some others are cut off."""
    copy = folder / "copy"
    # A FIFO and the like can't be copied, and so is not seen by a worker, either.
    shutil.copytree(root, copy, symlinks=True, ignore=odd_ones)
    names = sorted(name for name in files(copy) if not (copy / name).is_dir())
    lost = data.draw(st.sets(st.sampled_from(names))) if names else set()
    cut = data.draw(st.booleans())
    for name in lost:
        if cut and not name.startswith("blobs") and not (copy / name).is_symlink():
            (copy / name).write_bytes(b"")
        else:
            (copy / name).unlink()
    event(f"{'cut off' if cut else 'missing'}: {min(len(lost), 3)}")
    return copy


def odd_ones(folder: str, names: list[str]) -> list[str]:
    """What is neither a file nor a folder nor a link."""
    paths = {name: Path(folder) / name for name in names}
    return [
        name
        for name, path in paths.items()
        if not (path.is_symlink() or path.is_file() or path.is_dir())
    ]
