"""Where things are in a cache and what its files say, one module per kind of cache.

A layout names the folders and turns the bytes of one manifest file into a
`ManifestRecord`. It can't delete anything.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

_SHOWN_CHARS = 40


class ManifestRecord(NamedTuple):
    """What one manifest file says; short-lived, one exists at a time in a scan.

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


class Layout(Protocol):
    """The tree of one kind of cache.

    Attributes:
        manifest_folders: Folders that hold manifest files, in the order of the index.
        blob_folder: The folder that holds blobs.
    """

    manifest_folders: tuple[str, ...]
    blob_folder: str

    def parse(self, content: bytes | bytearray | memoryview) -> ManifestRecord:
        """Turns the bytes of one manifest file into a record; pure."""
        ...


def shown(value: object) -> str:
    """A JSON value in words that are short, whatever the value: for messages.

    The `repr` of a deeply nested value raises RecursionError, so arrays and objects are
    only named.
    """
    if isinstance(value, list | dict):
        return "an array" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
