"""A plan to the lines of its file.

Stage: plan. Input: a `PrunePlan`. Output: lines. Pure, no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from fastprune.index.arrays import pieces
from fastprune.index.refcounts import NOBODY, lost_edges
from fastprune.model import DIGEST_PREFIX, ManifestKind
from fastprune.plan.manifest_states import states
from fastprune.plan.prune_plan import PrunePlan
from fastprune.plan.saved_plan import (
    VERSION,
    BlobLine,
    CacheIdentity,
    ManifestLine,
    PlanHeader,
    last_line,
)
from fastprune.text.escaping import to_json

_BLOCK = 10_000


def encode(
    plan: PrunePlan, cache: CacheIdentity, *, made_by: str, grace: float = 0
) -> Iterator[bytes]:
    """Writes a plan down, in blocks of whole lines.

    `made_by` is the version of this program. Blobs younger than `grace` seconds were spared.
    """
    checksum = hashlib.sha256()
    documents = _documents(plan, cache, made_by, grace)
    while lines := [to_json(one) + b"\n" for one in islice(documents, _BLOCK)]:
        block = b"".join(lines)
        checksum.update(block)
        yield block
    yield last_line(checksum.hexdigest()) + b"\n"


def _documents(
    plan: PrunePlan, cache: CacheIdentity, made_by: str, grace: float
) -> Iterator[dict[str, Any]]:
    index = plan.index
    header = PlanHeader(
        fastprune=made_by,
        scanned_at=datetime.fromtimestamp(int(index.scanned_at), UTC).isoformat(),
        cache=cache,
        policy=plan.policy,
        allow_broken=plan.allow_broken,
        grace=float(grace),
        corrupt=tuple(path for path, _ in index.faults),
        totals={
            "manifests": len(plan.manifests),
            "lists": len(plan.lists),
            "images": len(plan.images),
            "blobs": len(plan.blobs),
            "bytes": plan.bytes_freed,
            "protected": len(plan.protected),
            "spared_blobs": len(plan.spared_blobs),
            "kept": len(plan.met_but_kept),
        },
    )
    yield {"record": "plan", "version": VERSION, **asdict(header)}
    yield from _manifests(plan)
    for name, size, reason in plan.blob_items(plan.blobs, plan.blob_bytes):
        yield BlobLine("blob", DIGEST_PREFIX + name, size, reason.text)._asdict()


def _manifests(plan: PrunePlan) -> Iterator[dict[str, Any]]:
    index = plan.index
    broken: dict[int, list[str]] = {}
    for parent, child in zip(*map(np.ndarray.tolist, lost_edges(index, plan.removed)), strict=True):
        broken.setdefault(child, []).append(index.path(parent))
    for rows in pieces(plan.manifests):
        columns = (rows.tolist(), states(index, rows), plan.rules_of(rows))
        for row, (said, references), rule in zip(*columns, strict=True):
            owner = int(plan.taken_by[row])
            yield ManifestLine(
                record="manifest",
                path=index.path(row),
                url=said.url,
                kind=ManifestKind(said.kind).label,
                type=said.kind,
                created=said.created,
                pulled=said.pulled,
                bytes=int(index.file_sizes[row]),
                reason=plan.manifest_reason(row).text,
                rule=rule,
                taken_by=None if owner == NOBODY else index.path(owner),
                breaks=broken.get(row, []),
                references=references.hex(),
            )._asdict()
