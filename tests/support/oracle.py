"""What a prune must do: a slow and obvious model, made of dicts and sets.

It is written from the specification alone and imports nothing from fastprune. `load` reads a
cache into plain values; `expected` says what a prune of it must remove, keep and refuse. Files
are known by relative path ("img/<name>"); digests are the 64 hex digits, without a prefix.

`expected` compares names and never looks inside them, so a test may build a `Cache` by hand
with letters for digests.
"""

from __future__ import annotations

import importlib
import json
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

# google-re2 carries no types; Go's regexp and RE2 read a pattern in the same way.
_re2: Any = importlib.import_module("re2")

MANIFEST_FOLDERS = ("img", "lts")

_LIST_PARTS = {0: "v2.docker.manifestList", 2: "v1.oci.index"}
_IMAGE_PARTS = {1: "v2.docker.manifest", 3: "v1.oci.manifest"}
_HEX = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})")
_LARGEST_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest file that was understood.

    Attributes:
        path: Folder and file name: what it is known by.
        is_list: Whether it refers to manifests rather than to blobs.
        url: The image URL, as written.
        created: The text of the file; empty if missing, None if it isn't text.
        pulled: The same.
        size: Bytes of the file.
        blobs: Of an image: digests of its layers and then its config, repeats included.
        children: Of a list: digests of its children, repeats included.
    """

    path: str
    is_list: bool
    url: str = ""
    created: str | None = ""
    pulled: str | None = ""
    size: int = 0
    blobs: tuple[str, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The file name; what the file itself says of its digest is not trusted."""
        return self.path.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Cache:
    """What is on disk.

    Attributes:
        manifests: Those understood, by path.
        corrupt: Those not understood: reason by path.
        blobs: Size by digest.
        foreign: Paths of everything else directly in the three folders.
        unknown: Those of `foreign` that may be manifests to the server: `corrupt`, too.
    """

    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    corrupt: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, int] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()

    @property
    def there(self) -> frozenset[str]:
        """Digests of the blobs that are there, be it as a link or the like."""
        links = (path for path in self.foreign if path.startswith("blobs/"))
        return frozenset(self.blobs) | {path.removeprefix("blobs/") for path in links}

    @property
    def paths(self) -> frozenset[str]:
        """Everything directly in the three folders."""
        blobs = {f"blobs/{digest}" for digest in self.blobs}
        return frozenset(self.manifests) | frozenset(self.corrupt) | blobs | self.foreign


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a prune must come to; all are relative paths.

    Attributes:
        refused: Nothing may be removed, as there are corrupt manifests.
        corrupt: The corrupt manifests, refused or skipped.
        selected: Manifests that meet every criterion.
        lists: Lists to be removed.
        images: Image manifests to be removed.
        blobs: Blobs to be removed.
        left: Everything that stays.
        protected: What would have gone, had not these lists, which stay, referred to it.
        malformed: Manifests whose `created` is neither empty nor a real time.
        manifest_bytes: Size of all manifests understood.
        blob_bytes: Size of all blobs.
        freed_manifest_bytes: Size of the manifests to be removed.
        freed_blob_bytes: Size of the blobs to be removed.
    """

    refused: bool
    corrupt: frozenset[str]
    selected: frozenset[str]
    lists: frozenset[str]
    images: frozenset[str]
    blobs: frozenset[str]
    left: frozenset[str]
    protected: Mapping[str, frozenset[str]]
    malformed: frozenset[str]
    manifest_bytes: int
    blob_bytes: int
    freed_manifest_bytes: int
    freed_blob_bytes: int

    @property
    def removed(self) -> frozenset[str]:
        """Everything to be removed."""
        return self.lists | self.images | self.blobs

    @property
    def total_bytes(self) -> int:
        """Size of all manifests understood and of all blobs."""
        return self.manifest_bytes + self.blob_bytes

    @property
    def freed_bytes(self) -> int:
        """Size of everything to be removed."""
        return self.freed_manifest_bytes + self.freed_blob_bytes


class _CorruptError(Exception):
    """A manifest file that can't be understood; the message is the reason."""


def load(root: Path, *, max_manifest_bytes: int | None = None) -> Cache:
    """Reads a cache.

    Args:
        root: The folder that holds img/, lts/ and blobs/; a missing one counts as empty.
        max_manifest_bytes: A larger manifest file is corrupt; by default none is too large.
    """
    manifests: dict[str, Manifest] = {}
    corrupt: dict[str, str] = {}
    blobs: dict[str, int] = {}
    foreign: set[str] = set()
    unknown: set[str] = set()
    for folder in (*MANIFEST_FOLDERS, "blobs"):
        for file in _entries(root / folder):
            path = f"{folder}/{file.name}"
            status = file.lstat()
            if not (_HEX.fullmatch(file.name) and stat.S_ISREG(status.st_mode)):
                foreign.add(path)
                if folder != "blobs" and _HEX.fullmatch(file.name):
                    # To the server it may be a manifest.
                    corrupt[path] = "not a regular file"
                    unknown.add(path)
            elif folder == "blobs":
                blobs[file.name] = status.st_size
            elif max_manifest_bytes is not None and status.st_size > max_manifest_bytes:
                corrupt[path] = "too large"
            else:
                try:
                    manifests[path] = parse(path, file.read_bytes())
                except (_CorruptError, OSError) as error:
                    corrupt[path] = str(error)
    return Cache(manifests, corrupt, blobs, frozenset(foreign), frozenset(unknown))


def parse(path: str, content: bytes) -> Manifest:
    """Understands the content of one manifest file, or raises for a corrupt one."""
    holder = _object(_json(content), "the document")
    kind, url = holder.get("type"), holder.get("imageUrl")
    if type(kind) is not int or kind not in (0, 1, 2, 3):
        raise _CorruptError(f"type is {kind!r}")
    if not isinstance(url, str):
        raise _CorruptError("imageUrl is not a string")
    children: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    if kind in _LIST_PARTS:
        part = _object(holder.get(_LIST_PARTS[kind]), _LIST_PARTS[kind])
        children = tuple(map(_digest, _array(part, "manifests")))
    else:
        part = _object(holder.get(_IMAGE_PARTS[kind]), _IMAGE_PARTS[kind])
        blobs = tuple(map(_blob_digest, [*_array(part, "layers"), part.get("config")]))
    return Manifest(
        path=path,
        is_list=kind in _LIST_PARTS,
        url=url,
        created=_text(holder.get("created")),
        pulled=_text(holder.get("pulled")),
        size=len(content),
        blobs=blobs,
        children=children,
    )


def is_digest_url(url: str) -> bool:
    """Whether a URL is `repository@sha256:<64 lower-case hex digits>`."""
    repository, _, digest = url.rpartition("@")
    return repository != "" and is_digest(digest)


def is_digest(text: str) -> bool:
    """Whether a text is `sha256:` and 64 lower-case hex digits."""
    return text.startswith("sha256:") and bool(_HEX.fullmatch(text[len("sha256:") :]))


def is_real_time(text: str | None) -> TypeGuard[str]:
    """Whether a text is `YYYY-MM-DDTHH:MM:SS`, and that a time of a day that there was."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return False
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        date(year, month, day)
        time(hour, minute, second)
    except ValueError:
        return False
    return True


def expected(
    cache: Cache,
    *,
    patterns: Iterable[str] = (),
    exclude: Iterable[str] = (),
    created_before: str | None = None,
    allow_broken: bool = False,
    skip_corrupt: bool = False,
) -> Outcome:
    """What a prune must do.

    Args:
        cache: What is on disk.
        patterns: RE2 expressions, one of which must be found in the URL; none: no criterion.
        exclude: RE2 expressions; what one of them is found in stays, whatever else holds.
        created_before: `YYYY-MM-DDTHH:MM:SS`, for `created` strictly before it.
        allow_broken: Lists that stay protect nothing.
        skip_corrupt: Corrupt manifests count as absent, rather than as a reason to refuse.

    Returns:
        The outcome. Without patterns and without `created_before` nothing is selected, and
        only blobs that nothing refers to go.

    Raises:
        ValueError: A pattern is empty, or `created_before` is not a time.
    """
    selected = _selected(cache, list(patterns), created_before)
    kept = set(filter(finder(list(exclude)), cache.manifests.values()))
    return removal(cache, selected, kept, allow_broken=allow_broken, skip_corrupt=skip_corrupt)


def removal(
    cache: Cache,
    selected: Collection[Manifest],
    kept: Collection[Manifest],
    *,
    allow_broken: bool = False,
    skip_corrupt: bool = False,
) -> Outcome:
    """What must happen once it is known what is selected: sections 2 to 4.

    Args:
        cache: What is on disk.
        selected: The manifests that meet every criterion.
        kept: Manifests that stay, selected or not.
        allow_broken: See `expected`.
        skip_corrupt: See `expected`.
    """
    selected, kept = set(selected) - set(kept), set(kept)
    if cache.unknown or (cache.corrupt and not skip_corrupt):
        return _outcome(cache, refused=True, selected=(), going=set(), protected={})
    going = _with_children(cache, selected, kept)
    protected = {} if allow_broken else _protected(cache, going)
    return _outcome(
        cache, refused=False, selected=selected, going=going - set(protected), protected=protected
    )


def finder(patterns: list[str]) -> Callable[[Manifest], bool]:
    """Whether one of some RE2 expressions is found in the URL of a manifest."""
    if "" in patterns:
        raise ValueError("an empty pattern would match everything")
    compiled = [_re2.compile(pattern) for pattern in patterns]
    return lambda manifest: any(one.search(manifest.url) is not None for one in compiled)


def kept_images_lost_blobs(before: Cache, after: Cache) -> list[tuple[str, str]]:
    """The blobs that a prune must not have taken: pairs of image path and digest, sorted.

    Every image manifest that is still there must have every blob that it had before.
    """
    return sorted(
        (image.path, digest)
        for image in after.manifests.values()
        for digest in set(image.blobs)
        if digest in before.blobs and digest not in after.blobs
    )


def kept_lists_lost_children(before: Cache, after: Cache) -> list[tuple[str, str]]:
    """The children that a prune must not have taken: pairs of list path and digest, sorted.

    For every list that is still there, each child that had a file before must have one.
    (Not so after `allow_broken`.)
    """
    had = {manifest.digest for manifest in before.manifests.values()}
    has = {manifest.digest for manifest in after.manifests.values()}
    return sorted(
        (one.path, digest)
        for one in after.manifests.values()
        for digest in set(one.children)
        if digest in had and digest not in has
    )


# Reading.


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def _json(content: bytes) -> object:
    try:
        text = content.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant)
        # A lone surrogate, written as an escape, is no text: it can't be encoded again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise _CorruptError("nested too deeply") from None
    except ValueError as error:
        raise _CorruptError(f"not JSON: {error}") from None
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _CorruptError(f"{name} is not an object")
    return value


def _array(part: dict[str, object], name: str) -> list[object]:
    value = part.get(name)
    if not isinstance(value, list):
        raise _CorruptError(f"{name} is not an array")
    return value


def _digest(descriptor: object) -> str:
    digest = _object(descriptor, "a descriptor").get("digest")
    if not isinstance(digest, str) or not is_digest(digest):
        raise _CorruptError(f"not a digest: {digest!r}")
    return digest[len("sha256:") :]


def _blob_digest(descriptor: object) -> str:
    digest = _digest(descriptor)
    # The server itself leaves a size of zero out of a Docker descriptor.
    size = _object(descriptor, "a descriptor").get("size", 0)
    if type(size) is not int or not 0 <= size <= _LARGEST_SIZE:
        raise _CorruptError(f"size is {size!r}")
    return digest


def _text(value: object) -> str | None:
    if value is None:
        return ""
    return value if isinstance(value, str) else None


# The steps of a prune.


def _selected(cache: Cache, patterns: list[str], created_before: str | None) -> set[Manifest]:
    """Section 1: manifests that meet every criterion given, and none without a criterion."""
    if created_before is not None and not is_real_time(created_before):
        raise ValueError(f"not a time: {created_before!r}")
    found = finder(patterns)
    chosen: set[Manifest] = set()
    for manifest in cache.manifests.values():
        meets = []
        if patterns:
            meets.append(found(manifest))
        if created_before is not None:
            meets.append(is_real_time(manifest.created) and manifest.created < created_before)
        if meets and all(meets):
            chosen.add(manifest)
    return chosen


def _with_children(cache: Cache, selected: set[Manifest], kept: set[Manifest]) -> set[Manifest]:
    """Section 2: the selected, and the children that go with the lists among them."""
    going = set(selected)
    while True:
        more = {
            child
            for parent in going
            for child in cache.manifests.values()
            if child.digest in parent.children
            and (is_digest_url(child.url) or child.url == parent.url)
        } - kept
        if more <= going:
            return going
        going |= more


def _protected(cache: Cache, going: set[Manifest]) -> dict[Manifest, set[Manifest]]:
    """Section 3: what must be put back, and the lists that stay and refer to it."""
    everything = set(cache.manifests.values())
    back: set[Manifest] = set()
    while True:
        staying = (everything - going) | back
        served = {manifest.digest for manifest in staying}
        needed = {digest for one in staying for digest in one.children}
        more = {manifest for manifest in going - back if manifest.digest in needed - served}
        if not more:
            break
        back |= more
    return {
        manifest: {one for one in staying - {manifest} if manifest.digest in one.children}
        for manifest in back
    }


def _unreferenced(cache: Cache, going: set[Manifest]) -> set[str]:
    """Section 4: present blobs whose count is zero after the removed manifests' share."""
    counts = Counter(digest for one in cache.manifests.values() for digest in one.blobs)
    counts.subtract(digest for one in going for digest in one.blobs)
    return {digest for digest in cache.blobs if counts[digest] == 0}


def _outcome(
    cache: Cache,
    *,
    refused: bool,
    selected: Collection[Manifest],
    going: set[Manifest],
    protected: Mapping[Manifest, set[Manifest]],
) -> Outcome:
    blobs: set[str] = set() if refused else _unreferenced(cache, going)
    lists = {manifest for manifest in going if manifest.is_list}
    removed = _paths(going) | {f"blobs/{digest}" for digest in blobs}
    return Outcome(
        refused=refused,
        corrupt=frozenset(cache.corrupt),
        selected=_paths(selected),
        lists=_paths(lists),
        images=_paths(going - lists),
        blobs=frozenset(f"blobs/{digest}" for digest in blobs),
        left=cache.paths - removed,
        protected={one.path: _paths(by) for one, by in protected.items()},
        malformed=_paths(
            one
            for one in cache.manifests.values()
            if one.created != "" and not is_real_time(one.created)
        ),
        manifest_bytes=sum(one.size for one in cache.manifests.values()),
        blob_bytes=sum(cache.blobs.values()),
        freed_manifest_bytes=sum(one.size for one in going),
        freed_blob_bytes=sum(cache.blobs[digest] for digest in blobs),
    )


def _paths(manifests: Iterable[Manifest]) -> frozenset[str]:
    return frozenset(manifest.path for manifest in manifests)
