"""Where things are in a cache and what its files say, one module per kind of cache.

A layout names the folders and turns the bytes of one manifest file into a
`ManifestRecord`. It can't delete anything.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

_SHOWN_CHARS = 40


class ManifestRecord(NamedTuple):
    """What a manifest says: read from its file, or out of an index again.

    There are few at a time: an index keeps millions of them, as columns.

    Attributes:
        kind: A value of `ManifestKind`.
        url: The image URL, exactly as written.
        created: Wall-clock text, or empty.
        pulled: Wall-clock text, or empty.
        digests: Of a list: its children. Of an image: its layers, in order, then its
            config. One text with a line feed between two digests: a million of these are
            far lighter than lists. Not yet checked: `fastprune.reading.shards.pack_digests` is
            strict.
        sizes: Bytes of each digest by its descriptor; empty for a list.
    """

    kind: int
    url: str
    created: str
    pulled: str
    digests: str
    sizes: list[int]


Content = bytes | bytearray | memoryview
"""The bytes of a manifest file."""


class Layout(Protocol):
    """The tree of one kind of cache, and what its manifest files say.

    A scan is given one (`ScanOptions`), and the `CacheIndex` carries it to all that comes after.
    A layout can be pickled, as workers need it; what has no state is pickled by reference.

    Attributes:
        manifest_folders: One folder that holds manifest files, or two, in the order of the
            index. The first one is always there.
        blob_folder: The folder that holds blobs.
    """

    manifest_folders: tuple[str, ...]
    blob_folder: str

    @property
    def folders(self) -> tuple[str, ...]:
        """All folders: those of the manifests, then that of the blobs."""
        return (*self.manifest_folders, self.blob_folder)

    def manifest_folder_of(self, url: str, /) -> str:
        """The folder in which a server keeps the manifest of an image URL; pure.

        The URL is `registry/repository:tag`, or with `@sha256:<hex>`.
        """

    def parse(self, content: Content, /) -> ManifestRecord:
        """Takes out of the whole of a manifest file what an index needs; pure.

        The digests are the strings of the file, not yet checked.

        Raises:
            ManifestError: The references are not all known; the message says why. Nothing
                doubtful is read as "no references".
        """

    def parse_with_upstream(self, content: Content, /) -> tuple[ManifestRecord, bytes | None]:
        """The same, and the upstream document that the file was made of, if it has it; pure.

        Raises:
            ManifestError: As for `parse`.
        """

    def disagreement(self, record: ManifestRecord, upstream: bytes | None, name: bytes, /) -> str:
        """Says why a manifest file is not what its name stands for; empty if it is. Pure.

        The name is given as 32 raw bytes.
        """

    def digests_in(self, content: bytes, /) -> set[bytes]:
        """Finds what looks like digests in a manifest file that can't be understood; pure.

        The file may be cut off or altered anywhere. Whatever is left of it says what it may have
        needed: enough not to call that unneeded, and for nothing else. A digest is 32 raw bytes.
        """


def shown(value: object) -> str:
    """A JSON value in words that are short, whatever the value: for messages.

    The `repr` of a deeply nested value raises RecursionError, so arrays and objects are
    only named.
    """
    if isinstance(value, list | dict):
        return "an array" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
