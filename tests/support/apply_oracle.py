"""What `apply` must do with a saved plan: a slow model, written from the documentation alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .oracle import Cache, Outcome, is_part, load


@dataclass(frozen=True, slots=True)
class Seen:
    """A cache at one moment.

    Attributes:
        cache: As the oracle reads it.
        types: The `type` of each manifest file, by path.
    """

    cache: Cache
    types: Mapping[str, int]

    def says(self, path: str) -> tuple[object, ...]:
        """Everything in a manifest that must not change; for a list, its cached children."""
        one = self.cache.manifests[path]
        return (
            self.types[path],
            one.url,
            one.created,
            one.pulled,
            one.blobs,
            frozenset(one.children) & self.digests,
        )

    @property
    def digests(self) -> frozenset[str]:
        """The digests that have a manifest file."""
        return frozenset(one.digest for one in self.cache.manifests.values())


def look(root: Path) -> Seen:
    """Reads a cache."""
    cache = load(root)
    types = {path: json.loads((root / path).read_bytes())["type"] for path in cache.manifests}
    return Seen(cache, types)


def expected_removals(before: Seen, planned: Outcome, now: Seen, *, allow_broken: bool) -> set[str]:
    """The paths that `apply` must remove: everything that it may remove, and nothing else.

    Args:
        before: The cache when the plan was made.
        planned: The plan.
        now: The cache when it is applied.
        allow_broken: Whether the plan was made with `--allow-broken`.
    """
    named = (planned.lists | planned.images) & set(now.cache.manifests)
    going = {path for path in named if before.says(path) == now.says(path)}
    going -= _lists_of_what_changed(now, named, going)
    accepted = set(_losses(before, planned.lists | planned.images)) if allow_broken else set()
    while lost := set(_losses(now, going)) - accepted:
        going -= {child for _, child in lost}
    needed = {
        digest
        for path, one in now.cache.manifests.items()
        if path not in going
        for digest in one.blobs
    }
    blobs = {path for path in planned.blobs if path.removeprefix("blobs/") in now.cache.blobs}
    return going | {path for path in blobs if path.removeprefix("blobs/") not in needed}


def _lists_of_what_changed(
    now: Seen, named: frozenset[str] | set[str], going: frozenset[str] | set[str]
) -> frozenset[str] | set[str]:
    """A list stays if an image that should go with it stays because it changed."""
    changed = named - going
    while True:
        more = {
            path for path in named - changed if any(_is_part(now, part, path) for part in changed)
        }
        if not more:
            return changed
        changed |= more


def _losses(seen: Seen, going: frozenset[str] | set[str]) -> list[tuple[str, str]]:
    """Pairs of a list that stays and a file that it needs, if no other copy of that file stays."""
    staying = set(seen.cache.manifests) - going
    served = {seen.cache.manifests[path].digest for path in staying}
    return [
        (path, child)
        for path in staying
        for child in going
        if _is_part(seen, child, path) and seen.cache.manifests[child].digest not in served
    ]


def _is_part(seen: Seen, part: str, whole: str) -> bool:
    manifests = seen.cache.manifests
    return is_part(seen.cache, manifests[part], manifests[whole])
