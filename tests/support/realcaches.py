"""The two caches that a real server wrote, kept under `tests/data/`.

`pulled` was filled by clients that pulled through the server (79 img, 2 lts, 93 blobs);
`loaded` by `ociregistry load` from a text list (9 img, 2 lts, 13 blobs).
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Literal

REAL_CACHES: tuple[RealCache, ...] = ("pulled", "loaded")
RealCache = Literal["pulled", "loaded"]

_DATA = Path(__file__).resolve().parent.parent / "data"


def unpack(name: RealCache, to: Path) -> Path:
    """Unpacks a fresh copy of a real cache.

    Args:
        name: `pulled` or `loaded`.
        to: An existing folder; the copy becomes a folder of that name inside it.

    Returns:
        The image path of the copy: the folder that holds img/, lts/ and blobs/.
    """
    root = to / name
    root.mkdir()
    with tarfile.open(_DATA / f"{name}.tar.gz") as archive:
        archive.extractall(root, filter="data")
    return root
