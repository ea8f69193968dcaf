"""What a prune must do: a slow and obvious model, made of dicts and sets.

It is written from the specification alone and imports nothing from fastprune. `load` reads a
cache into plain values. `expected` says what a prune of it must remove, keep and refuse. Files
are identified by relative path ("img/<name>"). Digests are the 64 hex digits, without a prefix.

`expected` only compares names. So a test may build a `Cache` by hand, with letters for digests.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeGuard

# google-re2 carries no types; Go's regexp and RE2 read a pattern in the same way.
_re2: Any = importlib.import_module("re2")

MANIFEST_FOLDERS = ("img", "lts")

_LIST_PARTS = {0: "v2.docker.manifestList", 2: "v1.oci.index"}
_IMAGE_PARTS = {1: "v2.docker.manifest", 3: "v1.oci.manifest"}
_HEX = re.compile(r"[0-9a-f]{64}")
_ATTACHED = re.compile(r"sha(256|384|512)-([0-9a-f]{64,})(\.[A-Za-z0-9_.-]+)?")
_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})")
# What a descriptor may say, if it is not sha256; of those that are known, with their lengths.
_OTHER_DIGEST = re.compile(
    r"sha512:[0-9a-f]{128}|sha384:[0-9a-f]{96}|blake3:[0-9a-f]{64}"
    r"|(?!(?:sha(?:256|384|512)|blake3):)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+"
)
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
        children: Of a list: digests of its children, repeats included, as far as they are
            sha256: nothing else can be in the cache.
        sizes: Of an image: what the descriptors of its blobs say.
    """

    path: str
    is_list: bool
    url: str = ""
    created: str | None = ""
    pulled: str | None = ""
    size: int = 0
    blobs: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()

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
        linked: Paths of manifests and blobs that have other names, which may be anywhere.
        unknown: Those of `corrupt` that may be sound: too large, or of `foreign`.
        server: By the path of a manifest, the URLs by which a running server knows it.
    """

    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    corrupt: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, int] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    linked: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    server: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
        freed_manifest_bytes: Size of the manifests to be removed that have no other name.
        freed_blob_bytes: Size of the blobs to be removed that have no other name.
        linked_bytes: Size of what is to be removed and has one.
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
    linked_bytes: int = 0

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
        """Size of everything to be removed that comes free by that."""
        return self.freed_manifest_bytes + self.freed_blob_bytes

    @property
    def removed_bytes(self) -> int:
        """Size of everything to be removed."""
        return self.freed_bytes + self.linked_bytes


References: TypeAlias = "tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]"
"""Digests of blobs, digests of children, sizes of the blobs."""


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
    linked: set[str] = set()
    unknown: set[str] = set()
    for folder in (*MANIFEST_FOLDERS, "blobs"):
        for file in _entries(root / folder):
            path = f"{folder}/{file.name}"
            status = file.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                linked.add(path)
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
                unknown.add(path)
            else:
                try:
                    manifests[path] = parse(path, file.read_bytes())
                except (_CorruptError, OSError) as error:
                    corrupt[path] = str(error)
    return Cache(
        manifests, corrupt, blobs, frozenset(foreign), frozenset(linked), frozenset(unknown)
    )


def parse(path: str, content: bytes) -> Manifest:
    """Understands the content of one manifest file, or raises for a corrupt one."""
    holder = _object(_json(content), "the document")
    kind, url = _member(holder, "type"), _member(holder, "imageUrl")
    if type(kind) is not int or kind not in (0, 1, 2, 3):
        raise _CorruptError(f"type is {kind!r}")
    if not isinstance(url, str) or not _is_text(url):
        raise _CorruptError("imageUrl is not a string")
    part = _object(_member(holder, (_LIST_PARTS | _IMAGE_PARTS)[kind]), "the filled part")
    said = _references(kind, part)
    if _member(part, "layers" if kind in _IMAGE_PARTS else "manifests") is None:
        # As in a part that was never filled: only the document itself can tell.
        upstream = _bytes(holder)
        if upstream is None or references(kind, upstream)[:2] != said[:2]:
            raise _CorruptError("it may refer to something")
    return Manifest(
        path=path,
        is_list=kind in _LIST_PARTS,
        url=url,
        created=_text(_member(holder, "created")),
        pulled=_text(_member(holder, "pulled")),
        size=len(content),
        blobs=said[0],
        children=said[1],
        sizes=said[2],
    )


def is_other_digest(digest: object) -> bool:
    """Whether a descriptor names its content by another algorithm than sha256."""
    return isinstance(digest, str) and _OTHER_DIGEST.fullmatch(digest) is not None


def named_digest(url: str) -> str | None:
    """What a tag as signatures have it names: the digest; None for any other URL."""
    repository, _, tag = url.rpartition(":")
    found = _ATTACHED.fullmatch(tag)
    return found[2] if found and repository and "@" not in repository else None


def other_tags(cache: Cache, one: Manifest) -> tuple[str, ...]:
    """The tags that only a running server knows: no digest URLs, and not what the file shows."""
    known = cache.server.get(one.path, ())
    return tuple(url for url in known if url != one.url and not is_digest_url(url))


def names(cache: Cache, one: Manifest) -> tuple[str, ...]:
    """What a manifest goes by: the URL that its file shows, and tags that only a server knows."""
    return (one.url, *other_tags(cache, one))


def tag_belongs_to(cache: Cache, url: str, one: Manifest, image: Manifest) -> bool:
    """Whether a tag of a manifest names an image of its own repository, as that of a signature.

    Other files of that digest are the same image, whatever repository they were pulled from.
    """
    named = named_digest(url)
    if named is None or named != image.digest or one == image:
        return False
    repository, _, tag = url.rpartition(":")
    if not tag.startswith("sha256-"):
        return False
    return any(
        copy.digest == named
        and copy != one
        and _repository(known) == _repository(f"{repository}:x")
        for copy in cache.manifests.values()
        for known in (copy.url, *cache.server.get(copy.path, ()))
    )


def belongs_to(cache: Cache, one: Manifest, image: Manifest) -> bool:
    """Whether any tag of a manifest belongs to an image."""
    return any(tag_belongs_to(cache, url, one, image) for url in names(cache, one))


def tag_belongs(cache: Cache, url: str, one: Manifest) -> bool:
    """Whether a tag of a manifest belongs to any image of the cache."""
    return any(tag_belongs_to(cache, url, one, image) for image in cache.manifests.values())


def is_part(cache: Cache, part: Manifest, whole: Manifest) -> bool:
    """Whether a list refers to it, or a tag of it belongs to that manifest."""
    return part.digest in whole.children or belongs_to(cache, part, whole)


def is_owned(cache: Cache, part: Manifest, whole: Manifest) -> bool:
    """Whether it goes with the whole: a part that is known by no tag of its own."""
    return is_part(cache, part, whole) and all(
        is_digest_url(url) or url in names(cache, whole) or tag_belongs(cache, url, part)
        for url in names(cache, part)
    )


def _repository(url: str) -> str:
    name = url.partition("@")[0]
    path, slash, last = name.rpartition("/")
    name = path + slash + last.partition(":")[0]
    name = name.removeprefix("index.") if name.startswith("index.docker.io/") else name
    if name.startswith("docker.io/") and name.count("/") == 1:
        name = name.replace("docker.io/", "docker.io/library/")
    return name


def references(kind: int, upstream: bytes) -> References:
    """What an upstream document refers to: blobs, children, and sizes of the blobs."""
    return _references(kind, _object(_json(upstream), "the document"))


def upstream_in(content: bytes) -> tuple[int, bytes | None]:
    """The type of the manifest file that a content is of, and the upstream document in it."""
    holder = _object(_json(content), "the document")
    kind = _member(holder, "type")
    assert isinstance(kind, int)
    return kind, _bytes(holder)


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


class _Object(list[tuple[str, Any]]):
    """A JSON object, member by member."""


def _json(content: bytes) -> object:
    """Reads JSON as Go does: any bytes and halves of surrogate pairs within strings."""
    try:
        return json.loads(
            content.decode("utf-8", "surrogateescape"),
            parse_constant=_no_constant,
            parse_int=lambda digits: int(digits) if len(digits) < 30 else 0.5,
            object_pairs_hook=_Object,
        )
    except RecursionError:
        raise _CorruptError("nested too deeply") from None
    except ValueError as error:
        raise _CorruptError(f"not JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(value: object, name: str) -> _Object:
    if not isinstance(value, _Object):
        raise _CorruptError(f"{name} is not an object")
    return value


def _member(value: _Object, name: str) -> Any:
    """A member as Go assigns it: in any letter case, and null assigns nothing."""
    same = [key for key, _ in value if _folded(key) == _folded(name)]
    if len(set(same)) > 1:
        raise _CorruptError(f"{name} is there in two letter cases")
    return next((item for key, item in reversed(value) if key in same), None)


def _folded(name: str) -> str:
    return name.replace("\u017f", "s").replace("\u212a", "k").lower()


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _references(kind: int, part: _Object) -> References:
    name = "layers" if kind in _IMAGE_PARTS else "manifests"
    array = _member(part, name)
    if array is not None and (not isinstance(array, list) or isinstance(array, _Object)):
        raise _CorruptError(f"{name} is not an array")
    others = {"layers", "config", "manifests"} - {name}
    if kind in _IMAGE_PARTS:
        if array is None and _member(part, "manifests") is not None:
            raise _CorruptError("an image of manifests")
        pairs = [_blob(one) for one in [*(array or []), _member(part, "config")]]
        return tuple(one[0] for one in pairs), (), tuple(one[1] for one in pairs)
    if array is None:
        version = _member(part, "schemaVersion")
        filled = type(version) is int and version != 0
        if not filled or any(_member(part, other) is not None for other in others):
            raise _CorruptError("a list without manifests")
    digests = [_digest(one) for one in array or []]
    return (), tuple(digest for digest in digests if digest), ()


def _bytes(holder: _Object) -> bytes | None:
    encoded = _member(holder, "bytes")
    try:
        lines = encoded.replace("\r", "").replace("\n", "")
        return base64.b64decode(lines, validate=True)
    except (AttributeError, TypeError, ValueError):
        return None


def _digest(descriptor: object) -> str:
    """The 64 hex digits, or nothing for a sound digest of another algorithm."""
    digest = _member(_object(descriptor, "a descriptor"), "digest")
    if is_other_digest(digest):
        return ""
    if not isinstance(digest, str) or not is_digest(digest):
        raise _CorruptError(f"not a digest: {digest!r}")
    return digest[len("sha256:") :]


def _blob(descriptor: object) -> tuple[str, int]:
    digest = _digest(descriptor)
    size = _member(_object(descriptor, "a descriptor"), "size")
    # The server itself leaves a size of zero out of a Docker descriptor.
    size = 0 if size is None else size
    if not digest or type(size) is not int or not 0 <= size <= _LARGEST_SIZE:
        raise _CorruptError(f"digest of another algorithm, or size is {size!r}")
    return digest, size


def _text(value: object) -> str | None:
    if value is None:
        return ""
    return value if isinstance(value, str) and _is_text(value) else None


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
    """Section 2: the selected, and the parts that go with them."""
    going = set(selected)
    while True:
        more = {
            child
            for parent in going
            for child in cache.manifests.values()
            if is_owned(cache, child, parent)
        } - kept
        if more <= going:
            return going
        going |= more


def _protected(cache: Cache, going: set[Manifest]) -> dict[Manifest, set[Manifest]]:
    """Section 3: what must be put back, and what stays and has it as a part."""
    everything = set(cache.manifests.values())
    served = {manifest.digest for manifest in everything - going}
    back: set[Manifest] = set()
    while True:
        staying = (everything - going) | back
        more = {
            manifest
            for manifest in going - back
            if manifest.digest not in served
            and any(is_part(cache, manifest, one) for one in staying)
        }
        if not more:
            break
        back |= more
    return {
        manifest: {one for one in staying - {manifest} if is_part(cache, manifest, one)}
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
    sizes = {one.path: one.size for one in going}
    sizes |= {f"blobs/{digest}": cache.blobs[digest] for digest in blobs}
    free = {path: size for path, size in sizes.items() if path not in cache.linked}
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
        freed_manifest_bytes=sum(free.get(one.path, 0) for one in going),
        freed_blob_bytes=sum(free.get(f"blobs/{digest}", 0) for digest in blobs),
        linked_bytes=sum(sizes.values()) - sum(free.values()),
    )


def _paths(manifests: Iterable[Manifest]) -> frozenset[str]:
    return frozenset(manifest.path for manifest in manifests)
