"""Builds caches on disk exactly as the real server writes them, and files that it never writes.

In this module, digests are 64 hex digits without a prefix: the names of the files. A method
returns the digest of the file that it wrote. Methods for hazards return the relative path.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .corruption import TOO_LARGE_BYTES, Corruption, corrupt_bytes
from .documents import (
    Descriptor,
    Document,
    Folder,
    Media,
    Platform,
    encode,
    holder_json,
    image_document,
    list_document,
)

__all__ = (
    "FOLDERS",
    "TIME",
    "UNKNOWN_SIZE",
    "CacheBuilder",
    "Corruption",
    "Descriptor",
    "Platform",
    "Stamp",
    "can_make_devices",
    "corrupt_bytes",
    "digest_of",
    "files",
    "folder_of",
    "snapshot",
)

FOLDERS = ("img", "lts", "blobs")
TIME = "2024-01-01T00:00:00"
UNKNOWN_SIZE = 1000  # what a descriptor states for something that is not in the cache

# The modes that the server creates files with, under the usual umask.
_MANIFEST_MODE = 0o755
_BLOB_MODE = 0o644


def digest_of(content: bytes | str) -> str:
    """The hex sha256 of some bytes, or of a label if only a name is needed."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def folder_of(url: str) -> Folder:
    """Where the server keeps a URL's manifest.

    A digest URL goes to img. A URL with the tag `latest` in any letter case, or without a tag,
    goes to lts. All other URLs go to img. A colon before the last slash belongs to a port.
    """
    if "@" in url:
        return "img"
    _, colon, tag = url.rpartition("/")[2].rpartition(":")
    return "lts" if not colon or tag.lower() == "latest" else "img"


class CacheBuilder:
    """Writes one cache, file by file.

    It remembers the sizes of the files that it wrote, for the descriptors of later manifests.
    Equal calls in equal order give equal caches.
    """

    def __init__(self, root: Path) -> None:
        """Creates the image path and its three folders, if they are missing."""
        self.root = root
        self._sizes: dict[str, int] = {}
        self._documents: dict[str, Document] = {}
        self._counter = 0
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)

    def blob(self, content: int | bytes, *, name: str | None = None) -> str:
        """Writes a blob.

        Args:
            content: Its bytes; or its size, for bytes that no other blob has (two blobs of
                size 0 are the same file). With a forced name a size makes a sparse file.
            name: A file name that need not be the digest of the content.

        Returns:
            The digest: the file name.
        """
        if isinstance(content, int) and name is not None:
            return self._sparse_blob(name, content)
        filled = self._fresh(content) if isinstance(content, int) else content
        name = name or digest_of(filled)
        self._write("blobs", name, filled, _BLOB_MODE)
        self._sizes[name] = len(filled)
        return name

    def image(
        self,
        url: str,
        *,
        layers: Sequence[str | Descriptor] = (),
        config: str | Descriptor | None = None,
        created: str = TIME,
        pulled: str | None = None,
        media: Media = "docker",
        annotations: Mapping[str, str] | None = None,
        folder: Folder | None = None,
        name: str | None = None,
    ) -> str:
        """Writes an image manifest; not its layers.

        Args:
            url: The image URL.
            layers: Digests, whether such blobs exist or not; the same one may come twice.
            config: A digest; by default a blob of its own is written, one per URL.
            created: Wall-clock text, or anything else to be written in its place.
            pulled: The same; by default as `created`.
            media: Docker manifest or OCI manifest.
            annotations: Of the document.
            folder: By default the server's own choice, `folder_of`.
            name: A file name that need not be the digest of the document.

        Returns:
            The digest: the file name.
        """
        if config is None:
            config = self.blob(encode({"config": url}))
        document = image_document(
            media, self._descriptor(config), map(self._descriptor, layers), annotations
        )
        return self._manifest(document, url, created, pulled, folder, name)

    def index(
        self,
        url: str,
        *,
        children: Sequence[str | Descriptor] = (),
        created: str = TIME,
        pulled: str | None = None,
        media: Media = "docker",
        folder: Folder | None = None,
        name: str | None = None,
    ) -> str:
        """Writes a manifest list (Docker) or an image index (OCI); not its children.

        Args:
            url: The image URL.
            children: Digests, whether such manifests are cached or not.
            created: Wall-clock text, or anything else to be written in its place.
            pulled: The same; by default as `created`.
            media: Docker manifest list or OCI index.
            folder: By default the server's own choice, `folder_of`.
            name: A file name that need not be the digest of the document.

        Returns:
            The digest: the file name.
        """
        document = list_document(media, (self._child(child) for child in children))
        return self._manifest(document, url, created, pulled, folder, name)

    def tag(
        self,
        digest: str,
        url: str,
        *,
        folder: Folder | None = None,
        created: str = TIME,
        pulled: str | None = None,
    ) -> str:
        """Writes a manifest again, as a pull of it under this URL does.

        If the folder has the manifest already, the new URL replaces the old one. In the other
        folder, this makes a second file of the same digest.
        """
        return self._manifest(self._documents[digest], url, created, pulled, folder, digest)

    def raw(self, folder: str, name: str, content: bytes) -> str:
        """Writes any bytes under any name, and returns the relative path."""
        return self._write(folder, name, content, _BLOB_MODE)

    def corrupt(
        self,
        kind: Corruption,
        *,
        folder: Folder = "img",
        name: str | None = None,
        url: str = "registry.example/damaged:1",
        size: int = TOO_LARGE_BYTES,
    ) -> str:
        """Writes a damaged manifest file and returns its relative path.

        Args:
            kind: The damage.
            folder: img or lts.
            name: The file name; by default a digest that depends on kind and folder.
            url: The image URL, where the damage leaves one.
            size: Bytes of the file; only for `Corruption.TOO_LARGE`.
        """
        name = name or digest_of(f"{kind} in {folder}")
        return self._write(folder, name, corrupt_bytes(kind, url=url, size=size), _MANIFEST_MODE)

    # Hazards: by default each has the name of a digest, so only its type shows what it is.

    def link(self, path: str) -> Path:
        """Makes a hard link to a file, in a folder beside the cache, and returns its path.

        Args:
            path: The path of the file, relative to the cache.
        """
        other = self.root.parent / f"{self.root.name}-links" / path
        other.parent.mkdir(parents=True, exist_ok=True)
        other.hardlink_to(self.root / path)
        return other

    def fifo(self, folder: str, name: str | None = None) -> str:
        """A FIFO: a program that opens it for reading waits for ever."""
        return self._node(folder, name, stat.S_IFIFO)

    def socket(self, folder: str, name: str | None = None) -> str:
        """A socket that nobody listens on."""
        return self._node(folder, name, stat.S_IFSOCK)

    def device(self, folder: str, name: str | None = None) -> str:
        """The device /dev/zero, which never ends; `can_make_devices` says whether this works."""
        return self._node(folder, name, stat.S_IFCHR, os.makedev(1, 5))

    def symlink(self, folder: str, target: str | Path, name: str | None = None) -> str:
        """A symbolic link; its target need not exist."""
        path = self._hazard(folder, name, "symlink")
        path.symlink_to(target)
        return self._relative(path)

    def directory(self, folder: str, name: str | None = None) -> str:
        """A folder with a file in it."""
        path = self._hazard(folder, name, "directory")
        path.mkdir()
        (path / "inside").write_bytes(b"inside")
        return self._relative(path)

    def _manifest(
        self,
        document: Document,
        url: str,
        created: str,
        pulled: str | None,
        folder: Folder | None,
        name: str | None,
    ) -> str:
        name = name or document.digest
        pulled = created if pulled is None else pulled
        content = encode(holder_json(document, name, url, created, pulled))
        self._write(folder or folder_of(url), name, content, _MANIFEST_MODE)
        self._documents[name] = document
        self._sizes[name] = len(document.upstream)
        return name

    def _descriptor(self, given: str | Descriptor) -> Descriptor:
        if isinstance(given, Descriptor):
            return given
        return Descriptor(given, self._sizes.get(given, UNKNOWN_SIZE))

    def _child(self, given: str | Descriptor) -> Descriptor:
        if isinstance(given, Descriptor):
            return given
        return Descriptor(given, self._sizes.get(given, UNKNOWN_SIZE), Platform())

    def _fresh(self, size: int) -> bytes:
        """Bytes of this size that no other blob of this cache has, if the size allows it."""
        self._counter += 1
        seed = hashlib.sha256(str(self._counter).encode()).digest()
        return seed[:size].ljust(size, b".")

    def _sparse_blob(self, name: str, size: int) -> str:
        self._write("blobs", name, b"", _BLOB_MODE)
        os.truncate(self.root / "blobs" / name, size)
        self._sizes[name] = size
        return name

    def _write(self, folder: str, name: str, content: bytes, mode: int) -> str:
        path = self.root / folder / name
        path.write_bytes(content)
        path.chmod(mode)
        return self._relative(path)

    def _node(self, folder: str, name: str | None, kind: int, device: int = 0) -> str:
        path = self._hazard(folder, name, f"node {kind:o}")
        os.mknod(path, kind | 0o600, device)
        return self._relative(path)

    def _hazard(self, folder: str, name: str | None, label: str) -> Path:
        return self.root / folder / (name or digest_of(f"{label} in {folder}"))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def can_make_devices(folder: Path) -> bool:
    """Whether `CacheBuilder.device` works in this folder (it takes a privilege)."""
    probe = folder / "device-probe"
    try:
        os.mknod(probe, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        return False
    probe.unlink()
    return True


class Stamp(NamedTuple):
    """The values that must be equal if an entry was not touched.

    Attributes:
        kind: file, directory, symlink, fifo, socket or device.
        content: sha256 of a file, target of a link, else empty.
        mode: Permission bits.
        mtime_ns: Time of the last change.
        size: Bytes.
    """

    kind: str
    content: str
    mode: int
    mtime_ns: int
    size: int


def snapshot(root: Path, *, ignore: Iterable[str] = ()) -> dict[str, Stamp]:
    """Every entry below a folder, and the folder itself as `.`, by relative path.

    Equal snapshots mean that nothing changed at all: a file that was created and removed in
    between changes the mtime of its folder. Only regular files are opened.

    Args:
        root: The folder.
        ignore: Relative paths to leave out, with everything below them. (`.` leaves out only
            the stamp of the root: for a program that creates and removes a lock file there.)
    """
    ignored = set(ignore)
    found: dict[str, Stamp] = {}
    waiting = [root]
    while waiting:
        path = waiting.pop()
        relative = path.relative_to(root).as_posix()
        if relative not in ignored:
            found[relative] = _stamp(path)
        elif relative != ".":
            continue
        if stat.S_ISDIR(path.lstat().st_mode):
            waiting.extend(path.iterdir())
    return found


def files(root: Path) -> set[str]:
    """The relative path of every entry directly in img/, lts/ and blobs/, of any type."""
    return {
        f"{folder}/{path.name}"
        for folder in FOLDERS
        if (root / folder).is_dir()
        for path in (root / folder).iterdir()
    }


def _stamp(path: Path) -> Stamp:
    status = path.lstat()
    kind = _kind(status.st_mode)
    content = ""
    if kind == "file":
        content = digest_of(path.read_bytes())
    elif kind == "symlink":
        content = path.readlink().as_posix()
    return Stamp(kind, content, stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_size)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_ISFIFO(mode):
        return "fifo"
    return "socket" if stat.S_ISSOCK(mode) else "device"
