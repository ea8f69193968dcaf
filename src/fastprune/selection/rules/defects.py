"""Rules by what is wrong with an image: nothing leads to it, or blobs of it are missing.

Stage: select. Input: a `CacheIndex` with edges. Output: masks. Pure, no I/O.
"""

from __future__ import annotations

import numpy as np

from fastprune.index.arrays import marked
from fastprune.index.cache_index import CacheIndex
from fastprune.index.refcounts import Mask, needing
from fastprune.selection.rules.names import Names, names_of


def dangling(index: CacheIndex) -> Mask:
    """Which images are untagged and in no list, bool (n,); also a server knows no tag of them."""
    names = names_of(index)
    return names.all(dangling_by(names))


def dangling_by(names: Names) -> Mask:
    """Which names are those of untagged images in no list, bool (n + u,).

    A tag that moves, such as `latest`, leaves such an image behind; or it was pulled by its
    digest: nothing in a cache tells the two apart. An untagged list was always pulled.
    """
    index = names.index
    alone = np.zeros(len(names), dtype=bool)
    shown = names.shown(alone)
    shown[:] = index.digest_urls & ~index.is_list
    shown[index.child_rows] = False
    return alone


def broken(index: CacheIndex) -> Mask:
    """Which images lack blobs, and which lists lead to such images only, bool (n,).

    A list that also leads to a sound image can be used, so it is not broken. It keeps its
    broken children, unless lists may be broken.
    """
    lacking = needing(index, marked(index.missing_blobs, len(index.blob_digests)))
    parents, children = index.child_parents, index.child_rows
    leads_somewhere = marked(parents, len(index))
    # From the images up, one level per round; lists in a cycle lead to no image.
    while True:
        sound = marked(parents[~lacking[children]], len(index))
        new = leads_somewhere & ~sound & ~lacking
        if not new.any():
            return lacking
        lacking |= new
