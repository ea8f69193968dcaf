"""The rule that keeps the images in use, which a list of references names.

Stage: select. Input: `Names` and references. Output: a mask. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.digests import Digests, DigestTable, as_digests
from fastprune.index.refcounts import Mask
from fastprune.model import DIGEST_PREFIX
from fastprune.selection.rules.names import Names
from fastprune.text.references import DEFAULT_REGISTRY, DEFAULT_TAG, LONG_DEFAULT_REGISTRY, OFFICIAL


def in_use(names: Names, references: tuple[str, ...]) -> Mask:
    """Which names any of the references means, by name or by digest, bool (n + u,).

    A digest means the files of that name, in any folder and repository, and the images with
    that config: some container runtimes call the digest of the config the image's id.

    References are as `parse_references` gives them. The cache has edges if any holds a digest.
    """
    meant = np.zeros(len(names), dtype=bool)
    digests = {text.rpartition("@")[2] for text in references if _has_digest(text)}
    if digests:
        meant |= names.spread(_with_digest(names.index, digests))
    wanted = frozenset(
        form for text in references if not _has_digest(text) for form in _forms(text)
    )
    for piece, urls in names.pieces(_with_lengths(names, {len(form) for form in wanted})):
        meant[piece] |= [url in wanted for url in urls]
    return meant


def _with_lengths(names: Names, lengths: set[int]) -> Rows:
    """The tags whose URLs have one of these lengths, so that few URLs are put together."""
    tags, shown = names.tags, len(names.index)
    few = np.array(sorted(lengths), dtype=np.uint32)
    own = tags[tags < shown]
    own = own[np.isin(names.index.url_lengths[own], few)]
    return np.concatenate([own, tags[tags >= shown]])


def _with_digest(index: CacheIndex, digests: set[str]) -> Mask:
    raw = b"".join(bytes.fromhex(digest.removeprefix(DIGEST_PREFIX)) for digest in digests)
    meant = _among(index.digests, index.folder_starts, as_digests(raw))
    # Present and missing blobs, each sorted.
    starts = (0, index.blobs_present, len(index.blob_digests))
    configs = _among(index.blob_digests, starts, as_digests(raw))
    images = np.flatnonzero(index.blob_counts)
    # The config comes after the layers.
    ends = index.blob_starts[images].astype(np.int64) + index.blob_counts[images]
    meant[images] |= configs[index.blob_ids[ends - 1]]
    return meant


def _among(digests: Digests, starts: Sequence[int], wanted: Digests) -> Mask:
    """Which digests are among the wanted ones; they are sorted from one start to the next."""
    among = np.zeros(len(digests), dtype=bool)
    for first, last in pairwise(starts):
        found = DigestTable(digests[first:last]).find(wanted)
        among[found[found >= 0] + first] = True
    return among


def _has_digest(reference: str) -> bool:
    return "@" in reference or reference.startswith(DIGEST_PREFIX)


def _forms(reference: str) -> list[str]:
    """The URLs that a cache may have for it: clients may leave out what Docker completes."""
    forms = [reference]
    hub = f"{DEFAULT_REGISTRY}/"
    if reference.startswith(hub + OFFICIAL):
        forms.append(hub + reference.removeprefix(hub + OFFICIAL))
    if reference.startswith(hub):
        forms += [f"{LONG_DEFAULT_REGISTRY}/{form.removeprefix(hub)}" for form in forms]
    latest = f":{DEFAULT_TAG}"
    return forms + [form.removesuffix(latest) for form in forms if form.endswith(latest)]
