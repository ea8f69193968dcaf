"""Random sound caches, as a server writes them, and kinds of damage.

Unlike in the caches of `strategies`, every name is the sha256 of the content.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from .cachebuilder import CacheBuilder, digest_of, files
from .documents import Media

REPOSITORIES = ("docker.io/library/a", "host:5000/b")
TAGS = (":1", ":latest", None)
WRONG_DIGEST = "sha256:" + "ee" * 32


@dataclass(frozen=True, slots=True)
class SoundImage:
    """An image: the numbers of its layers, among the blobs; a tail of None for a digest URL."""

    repository: str
    tail: str | None
    layers: tuple[int, ...]
    media: Media


@dataclass(frozen=True, slots=True)
class SoundCache:
    """A cache without any damage.

    Attributes:
        blobs: Sizes.
        images: Its images.
        lists: For each list its tail, and the numbers of its children among the images.
    """

    blobs: tuple[int, ...]
    images: tuple[SoundImage, ...]
    lists: tuple[tuple[str | None, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Damage:
    """A kind of damage and its file: the position among all files that can have this damage."""

    kind: str
    number: int


_POSITIONS = st.lists(st.integers(0, 7), max_size=4).map(tuple)
_IMAGES = st.builds(
    SoundImage,
    repository=st.sampled_from(REPOSITORIES),
    tail=st.sampled_from(TAGS),
    layers=_POSITIONS,
    media=st.sampled_from(("docker", "oci")),
)
sound_caches: st.SearchStrategy[SoundCache] = st.builds(
    SoundCache,
    blobs=st.lists(st.integers(0, 50), min_size=1, max_size=5).map(tuple),
    images=st.lists(_IMAGES, max_size=5).map(tuple),
    lists=st.lists(st.tuples(st.sampled_from(TAGS), _POSITIONS), max_size=3).map(tuple),
)


def build_sound(sketch: SoundCache, root: Path) -> CacheBuilder:
    """Writes a sound cache."""
    builder = CacheBuilder(root)
    blobs = [builder.blob(size) for size in sketch.blobs]
    images = []
    for number, one in enumerate(sketch.images):
        layers = [blobs[layer % len(blobs)] for layer in one.layers]
        config = builder.blob(b'{"number":%d}' % number)
        name = builder.image(
            one.repository + (one.tail or ":x"), layers=layers, config=config, media=one.media
        )
        if one.tail is None:
            _forget(builder, name, one.repository + ":x")
            builder.tag(name, f"{one.repository}@sha256:{name}")
        images.append(name)
    for number, (tail, positions) in enumerate(sketch.lists):
        known = [*images, digest_of(f"other platform {number}")]
        children = [known[position % len(known)] for position in positions]
        url = REPOSITORIES[number % 2]
        name = builder.index(url + (tail or ":y"), children=children)
        if tail is None:
            _forget(builder, name, url + ":y")
            builder.tag(name, f"{url}@sha256:{name}")
    return builder


def _forget(builder: CacheBuilder, name: str, url: str) -> None:
    assert not url.endswith(":latest")
    (builder.root / "img" / name).unlink()


def befall(root: Path, damage: Damage) -> None:
    """Damages a file, if there is one that can have this damage."""
    change, where = DAMAGES[damage.kind]
    there = sorted(path for path in files(root) if path.startswith(where))
    there = [path for path in there if (root / path).is_file() and len(Path(path).name) == 64]
    if there:
        change(root / there[damage.number % len(there)])


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def _alter(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:] if content else b"")


def _add_orphan(path: Path) -> None:
    content = b"orphan " + path.name.encode()
    (path.parent / digest_of(content)).write_bytes(content)


def _add_foreign(path: Path) -> None:
    (path.parent / f"{path.name}.tmp").write_bytes(b"foreign")


def _add_fifo(path: Path) -> None:
    name = path.parent / digest_of(f"fifo {path.name}")
    if not name.exists():
        os.mkfifo(name)


def _add_link(path: Path) -> None:
    name = path.parent / digest_of(f"link {path.name}")
    if not name.is_symlink():
        name.symlink_to(path.name)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _edit(change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        try:
            holder = json.loads(path.read_bytes())
        except ValueError:
            return
        if isinstance(holder, dict):
            change(holder)
            path.write_text(json.dumps(holder, separators=(",", ":")))

    return edit


def _without_bytes(holder: dict[str, object]) -> None:
    holder.pop("bytes", None)


def _no_base64(holder: dict[str, object]) -> None:
    holder["bytes"] = "*" + str(holder.get("bytes"))


def _other_type(holder: dict[str, object]) -> None:
    holder["type"] = 9


def _other_digest(holder: dict[str, object]) -> None:
    """Turns the first digest of the filled parts into another one."""
    for part in holder.values():
        if isinstance(part, dict):
            for descriptor in [*(part.get("layers") or ()), *(part.get("manifests") or ())]:
                descriptor["digest"] = WRONG_DIGEST
                return


def _other_size(holder: dict[str, object]) -> None:
    for part in holder.values():
        if isinstance(part, dict) and (part.get("config") or {}).get("digest"):
            part["config"]["size"] = 12345


def _other_letter_case(holder: dict[str, object]) -> None:
    """This is no damage: an earlier version of the server wrote files like this."""
    for key in list(holder):
        if key.startswith("v2.docker.m"):
            holder[key.replace("docker.m", "docker.M")] = holder.pop(key)


def _rename(path: Path) -> None:
    path.rename(path.parent / digest_of(f"renamed {path.name}"))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated blob": (_truncate, "blobs"),
    "grown blob": (_grow, "blobs"),
    "altered blob": (_alter, "blobs"),
    "missing blob": (Path.unlink, "blobs"),
    "renamed blob": (_rename, "blobs"),
    "orphan": (_add_orphan, "blobs"),
    "foreign blob": (_add_foreign, "blobs"),
    "foreign manifest": (_add_foreign, "img"),
    "fifo": (_add_fifo, "blobs"),
    "fifo among manifests": (_add_fifo, "img"),
    "link": (_add_link, "blobs"),
    "link among manifests": (_add_link, "img"),
    "missing manifest": (Path.unlink, "img"),
    "empty manifest": (_empty, "img"),
    "empty latest manifest": (_empty, "lts"),
    "cut manifest": (_truncate, "img"),
    "manifest of another type": (_edit(_other_type), "img"),
    "renamed manifest": (_rename, "img"),
    "manifest without bytes": (_edit(_without_bytes), "img"),
    "manifest with odd bytes": (_edit(_no_base64), "img"),
    "manifest with another digest": (_edit(_other_digest), "img"),
    "latest manifest with another digest": (_edit(_other_digest), "lts"),
    "manifest of an earlier version": (_edit(_other_letter_case), "img"),
    "manifest with another size": (_edit(_other_size), "img"),
}
"""What may befall a file, and the folder of the files that it may befall."""

damages: st.SearchStrategy[tuple[Damage, ...]] = st.lists(
    st.builds(Damage, kind=st.sampled_from(sorted(DAMAGES)), number=st.integers(0, 9)), max_size=5
).map(tuple)
