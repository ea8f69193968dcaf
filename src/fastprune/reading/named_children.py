"""What a list names: the digests of its children, cached or not.

Stage: read. Input: the path of a manifest. Output: digests. I/O: reads one file again, as an index
has only those children that are cached.
"""

from __future__ import annotations

import os

from fastprune.errors import ManifestError
from fastprune.layouts.layout import Layout
from fastprune.reading.folders import opened_folder
from fastprune.reading.reader import FileReader
from fastprune.reading.shards import pack_digests


def named_children(path: str, layout: Layout, max_manifest_bytes: int) -> bytes | None:
    """The raw digests that a list names, one after the other; None if it can't be read any more."""
    folder, name = os.path.split(path)
    reader = FileReader(max_manifest_bytes)
    try:
        with opened_folder(folder) as descriptor:
            for _, content in reader.read_carefully(descriptor, [name], [0], []):
                return pack_digests([layout.parse(content).digests])
    except (OSError, ManifestError):
        return None
    return None
