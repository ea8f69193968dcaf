"""Hypothesis strategies for small caches and for requests to prune them.

Everything is drawn from small pools, so that the difficult cases happen often: shared layers and
children, one digest in img/ and lts/, several tags on one child, children with a tag of their
own, nested lists and cycles of lists, equal URLs on two files, missing and repeated blobs,
orphans, empty and malformed times. A strategy gives a plain `CacheSketch`. Its repr is enough to
understand a failing test. `build` writes it to a folder.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypothesis import strategies as st

from .cachebuilder import CacheBuilder
from .corruption import Corruption
from .documents import Folder, Media
from .oracle import Cache, Outcome, expected

Hazard = Literal["fifo", "symlink", "directory", "socket", "raw"]

# The first two pairs share their first 8 bytes. The next three end in zero bytes, or are only
# zero bytes. They need not be digests of anything.
DIGESTS = (
    "aaaaaaaaaaaaaaaa" + "0" * 47 + "1",
    "aaaaaaaaaaaaaaaa" + "0" * 47 + "2",
    "bbbbbbbbbbbbbbbb" + "f" * 48,
    "bbbbbbbbbbbbbbbb" + "0" * 48,
    "cc" + "0" * 62,
    "0" * 64,
    "f" * 64,
    "0123456789abcdef" * 4,
)
ABSENT_DIGEST = "dd" * 32
REPOSITORIES = ("docker.io/library/a", "quay.io/b/c", "host:5000/a")
TAGS = (":1", ":2", ":latest", "")
# Tags that belong to the image that they name: signatures, attestations, referrers.
ATTACHED_TAGS = (
    *(f":sha256-{DIGESTS[number]}.sig" for number in (0, 2, 5)),
    f":sha256-{DIGESTS[0]}.att",
    f":sha256-{DIGESTS[2]}",
    f":sha512-{DIGESTS[5]}",
)
TIMES = (
    "2024-03-01T22:17:31",
    "2024-03-01T22:17:30",
    "2024-02-29T00:00:00",
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59",
    "",
)
MALFORMED_TIMES = (
    "2023-02-29T00:00:00",
    "2024-13-01T00:00:00",
    "2024-01-01T24:00:00",
    "2024-01-01T00:00:60",
    "0000-01-01T00:00:00",
    "2024-01-01 00:00:00",
    "2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00\n",
    "2024-01-01T00:00",
    "2024-01-01",
    "٢٠٢٤-01-01T00:00:00",
    "0",
)
CUTOFFS = (*(time for time in TIMES if time), "2024-03-01T22:17:32")
PATTERNS = (
    "docker.io",
    "^quay",
    "a:1$",
    ":latest$",
    "@sha256:",
    "library/a@",
    "(?i)LATEST",
    "LATEST",
    "host:5000/a",
    "c(:2)?$",
    "@sha256:a{16}",
    "sha256-",
    "nothing",
    ".",
)
# The kinds of damage in a random cache. The slow kinds have tests of their own.
_SMALL_DAMAGE = (
    Corruption.EMPTY,
    Corruption.CUT,
    Corruption.ARRAY,
    Corruption.TYPE_9,
    Corruption.PART_EMPTY,
    Corruption.LAYER_DIGEST,
)
_MANIFEST_FOLDERS: tuple[Folder, ...] = ("img", "lts")
_FOREIGN_NAMES = ("README", ".nfs0001", DIGESTS[0].upper(), DIGESTS[0] + ".tmp", DIGESTS[0][:63])


@dataclass(frozen=True, slots=True)
class ImageSketch:
    """An image manifest file; `layers` and `config` are names of blobs, there or not."""

    folder: Folder
    name: str
    url: str
    layers: tuple[str, ...]
    config: str
    created: str = ""
    pulled: str = ""
    media: Media = "docker"


@dataclass(frozen=True, slots=True)
class ListSketch:
    """A list file; `children` are names of manifests, there or not."""

    folder: Folder
    name: str
    url: str
    children: tuple[str, ...]
    created: str = ""
    pulled: str = ""
    media: Media = "docker"


@dataclass(frozen=True, slots=True)
class CorruptSketch:
    """A manifest file with some damage."""

    folder: Folder
    name: str
    damage: Corruption


@dataclass(frozen=True, slots=True)
class ForeignSketch:
    """An entry that is not part of the cache: by its type, or (`raw`) by its name."""

    folder: str
    name: str
    hazard: Hazard


@dataclass(frozen=True, slots=True)
class CacheSketch:
    """A whole cache; no two entries have the same folder and name.

    `linked` are those of the manifests and blobs, by path, that have other names elsewhere.
    """

    manifests: tuple[ImageSketch | ListSketch, ...] = ()
    blobs: tuple[tuple[str, int], ...] = ()
    corrupt: tuple[CorruptSketch, ...] = ()
    foreign: tuple[ForeignSketch, ...] = ()
    linked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Request:
    """The options of one prune."""

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    created_before: str | None = None
    allow_broken: bool = False
    skip_corrupt: bool = False

    def expected(self, cache: Cache) -> Outcome:
        """What the oracle expects of this request."""
        return expected(
            cache,
            patterns=self.patterns,
            exclude=self.exclude,
            created_before=self.created_before,
            allow_broken=self.allow_broken,
            skip_corrupt=self.skip_corrupt,
        )


def build(sketch: CacheSketch, root: Path) -> CacheBuilder:
    """Writes a cache to a folder, which is made where missing."""
    builder = CacheBuilder(root)
    for name, size in sketch.blobs:
        builder.blob(size, name=name)
    for manifest in sketch.manifests:
        _write_manifest(builder, manifest)
    for corrupt in sketch.corrupt:
        builder.corrupt(corrupt.damage, folder=corrupt.folder, name=corrupt.name)
    for foreign in sketch.foreign:
        _write_foreign(builder, foreign)
    for path in sorted(sketch.linked):
        builder.link(path)
    return builder


@contextmanager
def on_disk(sketch: CacheSketch) -> Iterator[Path]:
    """A cache in a folder of its own for the time of a `with`.

    pytest's `tmp_path` is one per test function, not one per example of Hypothesis.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "cache"
        build(sketch, root)
        yield root


@dataclass(frozen=True, slots=True)
class _Draft:
    """One manifest file as drawn, all at once, so that shrinking can leave it out.

    Attributes:
        folder: img or lts.
        name: The file name.
        repository: Start of the URL.
        tail: Rest of the URL; None for a digest URL.
        created: Text of the time.
        pulled: The same.
        content: Its content, unless another file of its digest comes before it.
        contrary: Whether it has its own content all the same. A server would not write that.
            But names are forced here, and a prune must treat each file correctly.
        damage: Of a corrupt file.
    """

    folder: Folder
    name: str
    repository: str
    tail: str | None
    created: str
    pulled: str
    content: _Content
    contrary: bool
    damage: Corruption | None


@dataclass(frozen=True, slots=True)
class _Content:
    """What a digest stands for; `positions` become digests of what is there."""

    media: Media
    is_list: bool
    positions: tuple[int, ...]
    config: str


# Strategies are made once: making them again in each draw would take most of the time.
_DIGESTS = st.sampled_from(DIGESTS)
_CONTENTS = st.builds(
    _Content,
    media=st.sampled_from(("docker", "oci")),
    is_list=st.booleans(),
    positions=st.lists(st.integers(0, 15), max_size=8).map(tuple),
    config=_DIGESTS,
)
_TIMES = st.sampled_from((*TIMES, *TIMES, *MALFORMED_TIMES))
_DRAFTS = st.builds(
    _Draft,
    folder=st.sampled_from(_MANIFEST_FOLDERS),
    name=_DIGESTS,
    repository=st.sampled_from(REPOSITORIES),
    tail=st.sampled_from((*TAGS * 2, *[None] * 2 * len(TAGS), *ATTACHED_TAGS)),
    created=_TIMES,
    pulled=_TIMES,
    content=_CONTENTS,
    contrary=st.sampled_from((*[False] * 9, True)),
    damage=st.sampled_from((*[None] * 20 * len(_SMALL_DAMAGE), *_SMALL_DAMAGE)),
)
_BLOBS = st.lists(
    st.tuples(_DIGESTS, st.integers(0, 5000)),
    max_size=len(DIGESTS),
    unique_by=lambda blob: blob[0],
)
# Mostly none. Often all files of one kind, as a backup by `cp -al` links them.
_LINKED = st.one_of(
    st.just(frozenset[tuple[str, str]]()),
    st.frozensets(st.tuples(st.sampled_from((*_MANIFEST_FOLDERS, "blobs")), _DIGESTS)),
    st.sampled_from(
        [
            frozenset((folder, name) for folder in folders for name in DIGESTS)
            for folders in (("blobs",), (*_MANIFEST_FOLDERS, "blobs"))
        ]
    ),
)
_FOREIGN_FOLDERS = st.sampled_from((*_MANIFEST_FOLDERS, "blobs"))
_FOREIGN = st.lists(
    st.one_of(
        st.builds(ForeignSketch, _FOREIGN_FOLDERS, st.sampled_from(_FOREIGN_NAMES), st.just("raw")),
        st.builds(
            ForeignSketch,
            _FOREIGN_FOLDERS,
            _DIGESTS,
            st.sampled_from(("fifo", "symlink", "directory", "socket")),
        ),
    ),
    max_size=4,
    unique_by=lambda one: (one.folder, one.name),
)
_PATTERNS = st.one_of(
    st.lists(st.sampled_from(PATTERNS), max_size=4, unique=True),
    # This leads to protection and expansion most often.
    st.sampled_from((["@sha256:"], [":1"], [":latest$"])),
)
_EXCLUDES: st.SearchStrategy[list[str]] = st.sampled_from(
    (*[[]] * 2 * len(PATTERNS), *([pattern] for pattern in PATTERNS))
)
_CUTOFFS = st.sampled_from((*[None] * 3 * len(CUTOFFS), *CUTOFFS))


@st.composite
def caches(
    draw: st.DrawFn,
    *,
    max_manifests: int = 12,
    corrupt: bool = False,
    foreign: bool = False,
    contrary: bool = True,
    linked: bool = False,
) -> CacheSketch:
    """Random small caches.

    Args:
        draw: Given by Hypothesis.
        max_manifests: The most manifest files; at most 16, as there are 8 names.
        corrupt: Whether there may be corrupt manifest files.
        foreign: Whether there may be foreign entries.
        contrary: Whether two files of one digest may say different things.
        linked: Whether files may have other names.
    """
    drafts = draw(_several_drafts(max_manifests))
    blobs = draw(_BLOBS)
    strangers = draw(_FOREIGN) if foreign else []
    if not corrupt or draw(st.integers(0, 3)):
        # An entry that the server may read as a manifest is refused, like a corrupt one.
        strangers = [one for one in strangers if one.folder == "blobs" or one.hazard == "raw"]
    taken = {(one.folder, one.name) for one in drafts} | {("blobs", name) for name, _ in blobs}
    damaged = [one for one in drafts if corrupt and one.damage is not None]
    sound = {(str(one.folder), one.name) for one in drafts if one not in damaged}
    sound |= {("blobs", name) for name, _ in blobs}
    known = draw(_LINKED) if linked else frozenset()
    return CacheSketch(
        manifests=_sketches([one for one in drafts if one not in damaged], contrary=contrary),
        blobs=tuple(blobs),
        corrupt=tuple(
            CorruptSketch(one.folder, one.name, one.damage) for one in damaged if one.damage
        ),
        foreign=tuple(one for one in strangers if (one.folder, one.name) not in taken),
        linked=frozenset(f"{folder}/{name}" for folder, name in sound & known),
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Random options; sometimes without any criterion."""
    return Request(
        patterns=tuple(draw(_PATTERNS)),
        exclude=tuple(draw(_EXCLUDES)),
        created_before=draw(_CUTOFFS),
        allow_broken=draw(st.booleans()),
        skip_corrupt=draw(st.booleans()),
    )


@functools.cache
def _several_drafts(most: int) -> st.SearchStrategy[list[_Draft]]:
    """Files in different places. Without a minimal size, large caches would be too rare."""
    return st.one_of(
        *(
            st.lists(
                _DRAFTS,
                min_size=least,
                max_size=most,
                unique_by=lambda one: (one.folder, one.name),
            )
            for least in (0, most // 3, most // 2, most * 2 // 3)
        )
    )


def _sketches(drafts: list[_Draft], *, contrary: bool) -> tuple[ImageSketch | ListSketch, ...]:
    contents: dict[str, _Content] = {}
    for one in drafts:
        contents.setdefault(one.name, one.content)
    return tuple(
        _sketch(
            one,
            one.content if one.contrary and contrary else contents[one.name],
            list(contents),
        )
        for one in drafts
    )


def _sketch(draft: _Draft, content: _Content, names: list[str]) -> ImageSketch | ListSketch:
    """A list refers to existing names and one that does not exist; an image to any digest."""
    known = (*(names if content.is_list else DIGESTS), ABSENT_DIGEST)
    refers_to = tuple(known[position % len(known)] for position in content.positions)
    tail = f"@sha256:{draft.name}" if draft.tail is None else draft.tail
    if content.is_list:
        return ListSketch(
            folder=draft.folder,
            name=draft.name,
            url=draft.repository + tail,
            children=refers_to,
            created=draft.created,
            pulled=draft.pulled,
            media=content.media,
        )
    return ImageSketch(
        folder=draft.folder,
        name=draft.name,
        url=draft.repository + tail,
        layers=refers_to,
        config=content.config,
        created=draft.created,
        pulled=draft.pulled,
        media=content.media,
    )


def _write_manifest(builder: CacheBuilder, manifest: ImageSketch | ListSketch) -> None:
    if isinstance(manifest, ListSketch):
        builder.index(
            manifest.url,
            children=manifest.children,
            created=manifest.created,
            pulled=manifest.pulled,
            media=manifest.media,
            folder=manifest.folder,
            name=manifest.name,
        )
        return
    builder.image(
        manifest.url,
        layers=manifest.layers,
        config=manifest.config,
        created=manifest.created,
        pulled=manifest.pulled,
        media=manifest.media,
        folder=manifest.folder,
        name=manifest.name,
    )


def _write_foreign(builder: CacheBuilder, foreign: ForeignSketch) -> None:
    folder, name = foreign.folder, foreign.name
    match foreign.hazard:
        case "fifo":
            builder.fifo(folder, name)
        case "socket":
            builder.socket(folder, name)
        case "directory":
            builder.directory(folder, name)
        case "symlink":
            # To a real manifest or blob, if there is one: following the link would do harm.
            builder.symlink(folder, f"../img/{DIGESTS[0]}", name)
        case "raw":
            builder.raw(folder, name, b"not part of the cache")
