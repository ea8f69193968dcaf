"""Makes sure of the server before a plan is carried out by asking it.

Stage: apply. Input: a `PrunePlan` and a `Server`. Output: the plan. I/O: asks the server, and reads
one manifest.

The proof asks for one manifest, and so sets its `pulled`. If the server lists only what is to go,
that is a manifest of the plan. It goes all the same: that this program has asked for it is no
reason to keep it.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from fastprune.deletion.checks import content_of
from fastprune.errors import ManifestError
from fastprune.executors.threads import in_thread
from fastprune.guard.agreement import make_sure
from fastprune.index.cache_index import CacheIndex
from fastprune.index.records import kept_part, kept_records
from fastprune.index.times import BAD_TIME, parse_times
from fastprune.plan.prune_plan import PrunePlan
from fastprune.reading.folders import opened_folder
from fastprune.reading.marks import IDENTITY_BYTES
from fastprune.reading.shards import TIME_CHARS
from fastprune.server.asked import Server


async def proved(plan: PrunePlan, server: Server) -> PrunePlan:
    """Makes sure that a server serves the cache of a plan, which is of a scan with its list.

    Returns:
        The plan; its index has the new `pulled` of a manifest that goes and was asked for.

    Raises:
        WrongServerError: It serves another cache, or that can't be known.
        ServerError: It gives no answer, or one that is not as it should be.
    """
    touched = await make_sure(server, plan.index, going=plan.removed)
    if touched is None or touched.row is None or not plan.removed[touched.row]:
        return plan
    index = await in_thread(_with_new_pulled, plan.index, touched.row)
    return replace(plan, index=index)


def _with_new_pulled(index: CacheIndex, row: int) -> CacheIndex:
    """The index with the `pulled` that a manifest has now, if nothing else in it has changed."""
    name = index.digests[row].tobytes().hex()
    try:
        with opened_folder(os.path.join(index.root, index.folder(row))) as folder:
            content = content_of(folder, name)
        record = None if content is None else kept_part(index.layout.parse(content))
    except (OSError, ManifestError):
        return index
    (known,) = kept_records(index, np.array([row]))
    if record is None or record._replace(pulled=known.pulled) != known:
        return index
    if len(record.pulled) != TIME_CHARS or not record.pulled.isascii():
        return index
    (time,) = parse_times(record.pulled.encode()).tolist()
    if time == BAD_TIME:
        return index
    pulled, identities = index.pulled.copy(), index.identities.copy()
    pulled[row] = time
    if len(identities):
        identities[row] = np.zeros(IDENTITY_BYTES, dtype=np.uint8)
    return replace(index, pulled=pulled, identities=identities)
