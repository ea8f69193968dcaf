"""Which manifest somebody means: a URL, a tag or a digest, whole or in part.

Stage: select. Input: a `CacheIndex` and text. Output: rows. Pure, no I/O.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from heapq import nsmallest
from itertools import product

import numpy as np

from fastprune.errors import FastpruneError, UsageError
from fastprune.index.arrays import distinct
from fastprune.index.cache_index import CacheIndex, Rows
from fastprune.index.refcounts import edges_of
from fastprune.model import DIGEST_BYTES, DIGEST_PREFIX, Reference
from fastprune.selection.rules.names import names_of
from fastprune.text.escaping import printable

_LEAST_DIGITS = 4
_HEX = frozenset("0123456789abcdef")
_LATEST = ":latest"
# As Docker completes a name.
_DEFAULT_REGISTRIES = ("", "docker.io/", "docker.io/library/")
_MOST_COMPARED = 5_000
_MOST_NAMED = 20
_MOST_NEAR = 5


def find_manifest(index: CacheIndex, reference: str) -> int:
    """Finds the row of the one manifest that a reference means; see `find_manifests`.

    Raises:
        UsageError: It may mean several; the message names them.
        FastpruneError: It means none; the message names similar ones.
    """
    rows = find_manifests(index, reference).tolist()
    if len(rows) == 1:
        return int(rows[0])
    if rows:
        some = [f"  {index.path(row)} {printable(index.url(row))}" for row in rows[:_MOST_NAMED]]
        rest = [f"  and {len(rows) - len(some)} more"] if len(rows) > len(some) else []
        raise UsageError(
            "\n".join([f"{reference!r} may mean any of these; write more of it:", *some, *rest])
        )
    near = _near_matches(index, reference)
    hint = ["; there are:", *(f"  {printable(url)}" for url in near)]
    more = "\n".join(hint) if near else "; 'fastprune list' shows what there is"
    raise FastpruneError(f"no image is called {reference!r}{more}")


def find_manifests(index: CacheIndex, reference: str) -> Rows:
    """Finds the manifests that a reference may mean.

    The first of these that gives any: the path of a file (`img/<digest>`); the image URL as
    it is or as Docker completes it (`nginx` is `docker.io/library/nginx:latest`); the
    beginning of a digest, four digits at least; the end of a URL from a slash on, with
    `:latest` if need be, or with an end of its digest left out; the beginning or end of a
    URL. A tag that only a server knows means the same as a URL that a file shows.

    Returns:
        Rows, ascending; without children of a list that is among them.
    """
    if reference:
        for rows in _attempts(index, reference):
            if len(rows):
                return _outermost(index, rows)
    return _rows(())


def _attempts(index: CacheIndex, reference: str) -> Iterator[Rows]:
    yield _with_path(index, reference)
    # What follows looks only for URLs that hold the reference. All URLs of a large cache would take
    # more memory than its index.
    urls = [(row, url) for row, url in _rows_and_urls(index) if reference in url]
    for registry, tail in product(_DEFAULT_REGISTRIES, ("", _LATEST)):
        whole = registry + reference + tail
        yield _rows(row for row, url in urls if url == whole)
    yield _with_digest(index, reference)
    for tail in ("", _LATEST):
        end = f"/{reference}{tail}"
        yield _rows(row for row, url in urls if url.endswith(end))
    if "@" in reference:
        # A name with the beginning of a digest.
        yield _rows(row for row, url in urls if f"/{reference}" in f"/{url}")
    yield _rows(row for row, url in urls if url.startswith(reference) or url.endswith(reference))


def _rows_and_urls(index: CacheIndex) -> Iterator[tuple[int, str]]:
    """Each name: the row of its manifest, and the URL."""
    names = names_of(index)
    for some, urls in names.pieces(np.arange(len(names))):
        yield from zip(names.rows(some).tolist(), urls, strict=True)


def _rows(rows: Iterable[int]) -> Rows:
    return distinct(np.fromiter(rows, dtype=np.intp))


def _with_path(index: CacheIndex, reference: str) -> Rows:
    folder, slash, _ = reference.partition("/")
    rows = _with_digest(index, reference.removeprefix(folder + slash))
    return _rows(row for row in rows.tolist() if index.path(row) == reference)


def _with_digest(index: CacheIndex, reference: str) -> Rows:
    digits = reference.removeprefix(DIGEST_PREFIX)
    if not _LEAST_DIGITS <= len(digits) <= 2 * DIGEST_BYTES or not _HEX.issuperset(digits):
        return _rows(())
    whole = np.frombuffer(bytes.fromhex(digits[: len(digits) & ~1]), dtype=np.uint8)
    same = (index.digests[:, : len(whole)] == whole).all(axis=1)
    if len(digits) % 2:
        same &= index.digests[:, len(whole)] >> 4 == int(digits[-1], 16)
    return np.flatnonzero(same)


def _outermost(index: CacheIndex, rows: Rows) -> Rows:
    """Leaves out the children of a list among the rows, as a tag may be on both."""
    lists = rows[index.is_list[rows]]
    children = index.child_rows[edges_of(index, lists)]
    outer = rows[~np.isin(rows, children)]
    return outer if len(outer) else rows


def _near_matches(index: CacheIndex, reference: str) -> list[str]:
    """URLs that somebody may have meant by a reference that means none."""
    name = Reference.parse(reference).repository.rpartition("/")[2]
    if name:
        # Tags come first.
        holding = {("@" in url, url) for _, url in _rows_and_urls(index) if name in url}
        if holding:
            return [url for _, url in nsmallest(_MOST_NEAR, holding)]
    # Compare only the end of each URL, as the reference may leave out the registry.
    segments = reference.count("/") + 1
    tails: dict[str, str] = {}
    for _, url in _rows_and_urls(index):
        if "@" not in url:
            tail = "/".join(url.split("/")[-segments:])
            tails[tail] = max(url, tails.get(tail, ""))
    some = nsmallest(_MOST_COMPARED, tails, key=tails.__getitem__)
    return [tails[tail] for tail in difflib.get_close_matches(reference, some, n=_MOST_NEAR)]
