"""What the HTML report shows, as a document.

Stage: report. Input: a cache with sizes, what a plan removes. Output: a document. Pure, no
I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastprune.text.escaping import printable
from fastprune.usage.ages import AGES, Ages, file_pulls
from fastprune.usage.placing import Bytes, Extra
from fastprune.usage.report import Cutoffs, age_rows, what_ifs
from fastprune.usage.rows import Usage
from fastprune.usage.tree import MOST, Most, level, savings, tree

if TYPE_CHECKING:
    from fastprune.plan.prune_plan import PrunePlan

JSON_VERSION = 1
MOST_SAVINGS = 1_000
NAMESPACE_DEPTH = 2
"""Parts of a name that are a namespace: docker.io/library."""


PAGE_DAYS = (
    *range(1, 15),
    *range(16, 31, 2),
    *range(35, 91, 5),
    *range(100, 181, 10),
    *range(195, 361, 15),
    365,
    *range(390, 731, 30),
    *range(790, 1826, 45),
)
"""Days of the curve; those of `AGES` are among them."""


def page_document(
    usages: Sequence[Usage],
    apart: Usage,
    ages: Ages,
    cutoffs: Cutoffs,
    blob_bytes: Bytes,
    *,
    plan: PrunePlan | None,
    now: int,
    scanned: str,
    command: str,
    version: str,
    most: Most = MOST,
) -> dict[str, Any]:
    """What the page shows.

    Args:
        usages: By registry, namespace (the first two parts of a name), repository and image,
            with nothing apart.
        apart: By repository, with dangling and broken images apart.
        ages: Of the same cache.
        cutoffs: When each of `PAGE_DAYS` began.
        blob_bytes: int64: the size of the file of each present blob.
        plan: What would go; None for nothing.
        now: Seconds on the server's clock, as in `fastprune.index.times`.
        scanned: When the cache was read, for people.
        command: The name of the command.
        version: That of fastprune.
        most: How much the tree shows by name.
    """
    index = apart.index
    pulls = file_pulls(index)
    registries, namespaces, repositories, images = (
        level(usage, blob_bytes, pulls, plan) for usage in usages
    )
    return {
        "version": JSON_VERSION,
        "fastprune": version,
        "command": command,
        "image_path": printable(index.root),
        "scanned": scanned,
        "now": now,
        "selects": apart.selects,
        "totals": {
            "bytes": apart.total,
            "images": ages.images,
            "manifests": len(index),
            "blobs": index.blobs_present,
            "orphans": _extra(apart, Extra.ORPHANS),
            "dangling": _extra(apart, Extra.DANGLING),
            "broken": _extra(apart, Extra.BROKEN),
        },
        "goes": plan
        and {
            "bytes": plan.bytes_freed,
            "manifests": len(plan.manifests),
            "blobs": len(plan.blobs),
            "protected": len(plan.protected),
        },
        "tree": tree(registries, namespaces, repositories, images, most),
        "ages": [row._asdict() for row in age_rows(ages, {days: cutoffs[days] for days in AGES})],
        "what_if": _curve(ages, cutoffs),
        "savings": {
            "repositories": savings(repositories, MOST_SAVINGS),
            "images": savings(images, MOST_SAVINGS),
        },
    }


def _extra(usage: Usage, kind: Extra) -> dict[str, int]:
    at, columns = len(usage) + kind, usage.columns
    return {
        "bytes": int(columns.unique[at]),
        "images": int(columns.images[at]),
        "blobs": int(columns.blobs[at]),
    }


def _curve(ages: Ages, cutoffs: Cutoffs) -> list[dict[str, int]]:
    """The points of the curve, up to the first age at which everything stays."""
    points = [point._asdict() for point in what_ifs(ages, cutoffs)]
    most = ages.total - ages.orphan_bytes
    flat = [at for at, point in enumerate(points) if point["bytes_left"] == most]
    return points[: max(2, flat[0] + 1 if flat else len(points))]
