"""The right answers of a prune of a generated cache, worked out without code of fastprune.

Children never cross a repository, so selection, expansion and protection are settled one
repository at a time, with plain dicts. Only base layers are shared: their reference counts are
summed over all repositories, and settled at the end.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from content import TINY, ManifestFile, RepositoryBuilder, Settings, base_layer

FORMAT_VERSION = 1
BIGGEST_REPOSITORY = "docker.io/library/nginx"
SMALL_ORGANISATION = "calico"

# The patterns whose answers are recorded. Each means the same to RE2 and to Python's `re`.
PATTERNS = {
    "small": f"/{SMALL_ORGANISATION}/",
    "repository": f"^{re.escape(BIGGEST_REPOSITORY)}:",
    "registry": r"^quay\.io/",
    "tag": r":v?1\.0\.3$",
    "latest": r":latest$",
    "nothing": "no-such-image",
    "all": ".",
}
COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


@dataclasses.dataclass(slots=True)
class Removal:
    """What the prune of one pattern removes; base layers are settled at the very end."""

    manifests: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    base: Counter[int] = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass(slots=True)
class Totals:
    """Sums over repositories; adding two of them is associative."""

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    base: Counter[int] = dataclasses.field(default_factory=Counter)
    removals: dict[str, Removal] = dataclasses.field(
        default_factory=lambda: {name: Removal() for name in PATTERNS}
    )

    def add(self, other: Totals) -> None:
        """Adds another sum to this one."""
        self.counts.update(other.counts)
        self.base.update(other.base)
        for name, removal in other.removals.items():
            mine = self.removals[name]
            mine.manifests += removal.manifests
            mine.blobs += removal.blobs
            mine.blob_bytes += removal.blob_bytes
            mine.base.update(removal.base)


def removed_files(files: list[ManifestFile], pattern: re.Pattern[str]) -> set[int]:
    """Positions of the files that a prune by one pattern removes from a repository.

    The steps are selection, expansion to children, and protection of the children of kept lists.
    Lists are never nested here, so one pass of each step is enough.
    """
    removed = {position for position, file in enumerate(files) if pattern.search(file.url)}
    if not removed:
        return removed
    copies: dict[str, list[int]] = {}
    for position, file in enumerate(files):
        copies.setdefault(file.document.digest, []).append(position)
    for position in list(removed):
        removed.update(_expansion(files, position, copies))
    needed: set[int] = set()
    kept = (file for position, file in enumerate(files) if position not in removed)
    for child in (child for file in kept for child in file.document.children):
        if removed.issuperset(copies[child]):
            needed.update(copies[child])
    return removed - needed


def _expansion(
    files: list[ManifestFile], position: int, copies: dict[str, list[int]]
) -> Iterator[int]:
    """The cached children of a list, apart from those with a tag of their own."""
    for child in files[position].document.children:
        for copy in copies[child]:
            url = files[copy].url
            if "@sha256:" in url or url == files[position].url:
                yield copy


def tally(builder: RepositoryBuilder, totals: Totals) -> None:
    """Adds one repository to the totals, with the outcome of every recorded pattern."""
    files, blobs = builder.files, builder.blobs
    references = Counter(digest for file in files for digest in file.document.own)
    for file in files:
        totals.base.update(file.document.base)
        totals.counts[file.folder] += 1
        totals.counts["lists" if file.document.children else "images"] += 1
    orphans = blobs.keys() - references.keys()
    totals.counts["references"] += references.total()
    totals.counts["blobs"] += len(blobs)
    totals.counts["blob_bytes"] += sum(blobs.values())
    totals.counts["orphans"] += len(orphans)
    totals.counts["orphan_bytes"] += sum(blobs[digest] for digest in orphans)
    totals.counts["repositories"] += 1
    for name, pattern in COMPILED.items():
        removed = removed_files(files, pattern)
        removal = totals.removals[name]
        removal.manifests += len(removed)
        dropped = Counter(digest for at in removed for digest in files[at].document.own)
        for digest, count in dropped.items():
            if count == references[digest]:
                removal.blobs += 1
                removal.blob_bytes += blobs[digest]
        for at in removed:
            removal.base.update(files[at].document.base)


def describe(settings: Settings, totals: Totals) -> dict[str, Any]:
    """The content of DIR.json."""
    sizes = {
        code: TINY if settings.tiny else base_layer(settings.seed, code)[1] for code in totals.base
    }
    counts = totals.counts
    expected = {}
    for name, removal in totals.removals.items():
        base = [code for code, count in removal.base.items() if count == totals.base[code]]
        freed = removal.blobs + len(base)
        freed_bytes = removal.blob_bytes + sum(sizes[code] for code in base)
        expected[name] = {
            "pattern": PATTERNS[name],
            "manifests": removal.manifests,
            "blobs_freed": freed,
            "bytes_freed": freed_bytes,
            "blobs": freed + counts["orphans"],
            "bytes": freed_bytes + counts["orphan_bytes"],
        }
    manifests = counts["img"] + counts["lts"]
    return {
        "version": FORMAT_VERSION,
        "seed": settings.seed,
        "blob_size": "tiny" if settings.tiny else "sparse",
        "repositories": counts["repositories"],
        "manifests": manifests,
        "img": counts["img"],
        "lts": counts["lts"],
        "lists": counts["lists"],
        "images": counts["images"],
        "manifest_bytes": counts["manifest_bytes"],
        "manifest_bytes_mean": round(counts["manifest_bytes"] / manifests, 1),
        "blobs": counts["blobs"] + len(sizes),
        "blob_bytes": counts["blob_bytes"] + sum(sizes.values()),
        "base_layers": len(sizes),
        "orphans": counts["orphans"],
        "orphan_bytes": counts["orphan_bytes"],
        "references": counts["references"] + totals.base.total(),
        "expected": expected,
    }
