"""Where the space of a cache goes: a slow model of dicts and sets, written from docs/du.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .oracle import Cache, is_digest_url, is_owned

OUTSIDE = ("outside", "")


@dataclass(frozen=True, slots=True)
class Row:
    """What is expected of a row; `shared` only where it is a group of manifests."""

    unique: int
    shared: int = 0
    images: int = 0
    manifests: int = 0
    blobs: int = 0


Key = tuple[str, str]
"""Kind and name of a row."""


def name_of(url: str, by: str, depth: int | None) -> str:
    """The name of the group that an image URL belongs to."""
    if by == "image":
        return url
    repository = url.split("@", maxsplit=1)[0]
    if "@" not in url and ":" in repository.split("/")[-1]:
        repository = repository[: repository.rindex(":")]
    segments = 1 if by == "registry" else depth
    return "/".join(repository.split("/")[:segments])


def units(cache: Cache) -> dict[str, set[str]]:
    """By the path of an image's first manifest, the paths of everything that belongs to it."""
    every = cache.manifests.values()
    owned = {one.path: {two.path for two in every if is_owned(cache, two, one)} for one in every}
    below = {child for path, children in owned.items() for child in children - {path}}
    found = {path: _closure(path, owned) for path in owned if path not in below}
    reached = {path for paths in found.values() for path in paths}
    return found | {path: {path} for path in owned if path not in reached}


def _closure(path: str, owned: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = {path}
    while waiting:
        found |= waiting
        waiting = {child for one in waiting for child in owned[one]} - found
    return found


def usage(
    cache: Cache, by: str, *, depth: int | None = None, selected: Collection[str] | None = None
) -> dict[Key, Row]:
    """Every row that is not empty, except the rows by layer.

    Args:
        cache: What is on disk.
        by: registry, repository or image.
        depth: Segments of repositories.
        selected: Paths of the manifests that were asked for; None for all.
    """
    asked = set(cache.manifests) if selected is None else set(selected)
    referred = {digest for one in cache.manifests.values() for digest in one.children}
    members: dict[Key, set[str]] = {}
    images: dict[Key, int] = {}
    for head, paths in units(cache).items():
        key = _key(cache, head, by, depth, referred)
        images_of = key if paths & asked else OUTSIDE
        images[images_of] = images.get(images_of, 0) + 1
        for path in paths:
            members.setdefault(key if path in asked else OUTSIDE, set()).add(path)
    return _rows(cache, members, images)


def _key(cache: Cache, head: str, by: str, depth: int | None, referred: set[str]) -> Key:
    one = cache.manifests[head]
    if head in _broken(cache):
        return ("broken", "")
    if is_digest_url(one.url) and not one.is_list and one.digest not in referred:
        return ("dangling", "")
    # By image, two files with one URL are two rows, which differ by their paths.
    return (by, name_of(one.url, by, depth) + (f" {head}" if by == "image" else ""))


def _broken(cache: Cache) -> set[str]:
    """Images that lack blobs; and lists with cached children, all of which are broken."""
    every = cache.manifests.values()
    found = {one.path for one in every if not set(one.blobs) <= cache.there}
    below = {one.path: {two.path for two in every if two.digest in one.children} for one in every}
    while more := {path for path in below if below[path] and below[path] <= found} - found:
        found |= more
    return found


def _rows(
    cache: Cache, members: Mapping[Key, set[str]], images: Mapping[Key, int]
) -> dict[Key, Row]:
    sizes: dict[str, int] = {f"blobs/{digest}": size for digest, size in cache.blobs.items()}
    sizes |= {one.path: one.size for one in cache.manifests.values()}
    users: dict[str, set[Key]] = {path: set() for path in sizes}
    for key, paths in members.items():
        for path in paths:
            users[path].add(key)
            for digest in cache.manifests[path].blobs:
                if digest in cache.blobs:
                    users[f"blobs/{digest}"].add(key)
    places: dict[Key, set[str]] = {}
    for path, keys in users.items():
        places.setdefault(_place(keys), set()).add(path)
    rows = {
        key: Row(
            unique=sum(sizes[path] for path in places.get(key, ())),
            shared=sum(
                sizes[path] for path, keys in users.items() if key in keys and len(keys) > 1
            ),
            images=images.get(key, 0),
            manifests=len(paths),
            blobs=sum(key in keys for path, keys in users.items() if path.startswith("blobs/")),
        )
        for key, paths in members.items()
    }
    for key, paths in places.items():
        if key not in rows:
            blobs = sum(path.startswith("blobs/") for path in paths)
            rows[key] = Row(sum(sizes[path] for path in paths), 0, 0, len(paths) - blobs, blobs)
    return rows


def _place(keys: set[Key]) -> Key:
    if len(keys) == 1:
        return next(iter(keys))
    if not keys:
        return ("orphans", "")
    return ("shared_outside", "") if OUTSIDE in keys else ("shared", "")
