"""A `CacheIndex` of a random cache without a disk, and the same cache for the oracle.

This does what a scan does between workers and index, in one process and in any order. So the
pure stages can be tested on many more caches.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np
from tests.support.oracle import Cache, Manifest
from tests.support.strategies import CacheSketch, ImageSketch, ListSketch

from fastprune.index.builder import IndexBuilder
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import DigestTable, as_digests
from fastprune.index.gathering import ShardGatherer
from fastprune.index.merging import merge_shards
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.layouts.layout import ManifestRecord
from fastprune.patterns import UrlMatcher
from fastprune.reading.marks import FileSizes
from fastprune.reading.shards import ChunkRecords, ShardIndex

PatternSets = tuple[tuple[str, ...], ...]
Shuffle = Callable[[list[tuple[int, list[int], ShardIndex]]], None]

FOLDERS = ("img", "lts")
_LIST_KINDS = {"docker": 0, "oci": 2}
_IMAGE_KINDS = {"docker": 1, "oci": 3}
_UNKNOWN_SIZE = 1000


def index_of(
    sketch: CacheSketch,
    *,
    pattern_sets: PatternSets = (),
    chunk: int = 1000,
    shuffle: Shuffle = lambda shards: None,
    enough: int = 1,
    merge: int = 0,
) -> CacheIndex:
    """Builds the index that a scan of this cache gives.

    Args:
        sketch: The cache. Its corrupt files are faults, its foreign entries left out.
        pattern_sets: What to match the URLs with.
        chunk: Manifests per shard.
        shuffle: Brings the shards into another order.
        enough: So many rows are gathered before they are merged.
        merge: So many shards of a folder, one after the other, are merged as a worker does it; with
            0 all are gathered.
    """
    sizes = dict(sketch.blobs)
    listings = [_files(sketch, folder) for folder in FOLDERS]
    names = [b"".join(bytes.fromhex(name) for name, _ in files) for files in listings]
    builder = IndexBuilder("cache", 0.0, names, pattern_sets, layout=DEFAULT_LAYOUT, edges=True)
    blobs = b"".join(bytes.fromhex(name) for name, _ in sketch.blobs)
    builder.set_blobs(DigestTable.from_unsorted(as_digests(blobs)))
    match = UrlMatcher(pattern_sets).match if pattern_sets else None
    shards: list[tuple[int, list[int], ShardIndex]] = []
    for folder, files in enumerate(listings):
        for first in range(0, len(files), chunk):
            some = files[first : first + chunk]
            records = ChunkRecords(len(shards), [name for name, _ in some])
            for row, (_, manifest) in enumerate(some):
                if manifest is not None:
                    position = first + row
                    records.put(row, _record(manifest, sizes), _file_size(position))
            positions = list(range(first, first + len(some)))
            shard = records.pack(edges=True, match=match)
            shards.append((folder, positions, shard))
    shuffle(shards)
    gatherer = ShardGatherer(builder, enough=enough)
    for folder in range(len(FOLDERS)) if merge else ():
        of_folder = [(places, shard) for at, places, shard in shards if at == folder]
        for first in range(0, len(of_folder), merge):
            group = of_folder[first : first + merge]
            places = [at for positions, _ in group for at in positions]
            merged = merge_shards([shard for _, shard in group])
            builder.add(merged, builder.rows_of(folder, places))
    for folder, positions, shard in () if merge else shards:
        gatherer.add(shard, builder.rows_of(folder, positions))
    gatherer.flush()
    unsized = as_digests(builder.unsized_blobs())
    builder.set_sizes([FileSizes(0, array("q", [sizes[one.tobytes().hex()] for one in unsized]))])
    faults = [(f"{one.folder}/{one.name}", one.damage) for one in sketch.corrupt]
    index = builder.finish(faults, [], 0)
    paths = [index.path(row) for row in range(len(index))]
    blob_paths = [f"blobs/{name}" for name in index.blob_names(np.arange(index.blobs_present))]
    return index.with_links(*(_positions(some, sketch.linked) for some in (paths, blob_paths)))


def cache_of(sketch: CacheSketch) -> Cache:
    """The same cache as the oracle reads it."""
    return Cache(
        manifests={
            f"{one.folder}/{one.name}": _manifest(one, _file_size(position))
            for folder in FOLDERS
            for position, (_, one) in enumerate(_files(sketch, folder))
            if one is not None
        },
        corrupt={f"{one.folder}/{one.name}": one.damage for one in sketch.corrupt},
        blobs=dict(sketch.blobs),
        linked=sketch.linked,
    )


def _positions(paths: list[str], some: frozenset[str]) -> Rows:
    return np.array([at for at, path in enumerate(paths) if path in some], dtype=np.intp)


def _files(sketch: CacheSketch, folder: str) -> list[tuple[str, ImageSketch | ListSketch | None]]:
    """Names and contents of the files of a folder, None for a corrupt one."""
    sound = [(one.name, one) for one in sketch.manifests if one.folder == folder]
    return [*sound, *((one.name, None) for one in sketch.corrupt if one.folder == folder)]


def _file_size(position: int) -> int:
    return 100 + position


def _record(manifest: ImageSketch | ListSketch, sizes: dict[str, int]) -> ManifestRecord:
    if isinstance(manifest, ListSketch):
        kind, names, blob_sizes = _LIST_KINDS[manifest.media], manifest.children, []
    else:
        kind, names = _IMAGE_KINDS[manifest.media], (*manifest.layers, manifest.config)
        blob_sizes = [sizes.get(name, _UNKNOWN_SIZE) for name in names]
    return ManifestRecord(
        kind,
        manifest.url,
        manifest.created,
        manifest.pulled,
        "\n".join(f"sha256:{name}" for name in names),
        blob_sizes,
    )


def _manifest(manifest: ImageSketch | ListSketch, size: int) -> Manifest:
    is_list = isinstance(manifest, ListSketch)
    blobs: Sequence[str] = ()
    if isinstance(manifest, ImageSketch):
        blobs = (*manifest.layers, manifest.config)
    return Manifest(
        path=f"{manifest.folder}/{manifest.name}",
        is_list=is_list,
        url=manifest.url,
        created=manifest.created,
        pulled=manifest.pulled,
        size=size,
        blobs=tuple(blobs),
        children=manifest.children if isinstance(manifest, ListSketch) else (),
    )
