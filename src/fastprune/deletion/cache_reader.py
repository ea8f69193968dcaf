"""What can be worked out of a cache: plans, findings, and what the trash holds.

Stage: walk to plan. Input: the path of a cache. Output: `TimedPlan`, `Findings`, `TrashContents`.
Blocking; I/O: reads only. A dry run needs no more than this; `held_cache` carries out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from fastprune import pipeline
from fastprune.layouts.layout import Layout
from fastprune.pipeline import OpenExecutor, PlanOptions, TimedPlan
from fastprune.policy.policy import Policy
from fastprune.progress import Progress
from fastprune.reading.folders import check_root
from fastprune.scanning.scanner import MAX_MANIFEST_BYTES, ScanOptions, scan_cache
from fastprune.trash.run_ids import choose_runs
from fastprune.trash.tree import list_trash
from fastprune.usage.surveying import Survey, survey_cache
from fastprune.verification.verifier import VerifyOptions, verify_cache

if TYPE_CHECKING:
    from fastprune.explanation.explaining import Explanation
    from fastprune.index.cache_index import CacheIndex
    from fastprune.plan.saved_plan import SavedPlan
    from fastprune.trash.model import RunContents, TrashContents
    from fastprune.verification.findings import Findings

Made = TypeVar("Made", TimedPlan, "Findings", "RunContents")
Result = TypeVar("Result")
# How many manifests a run holds is known when it is read.
_UNKNOWN = sys.maxsize


@dataclass(frozen=True, slots=True)
class CacheReader:
    """What can be worked out of a cache. Blocking; reads only, and takes no lock.

    Attributes:
        root: Path of the cache.
        layout: What kind of cache it is, for its trash; a plan and findings take that of their
            scan.
        workers: Opens where to read, for each reading anew; see `Reading.workers`.
        progress: Gives who is told how far it is; asked when the workers have started.
        checkpoint: Called often; raises if the reading is to end.
        made: Is told of each plan, findings and run of the trash, for who has to know them.
    """

    root: str
    layout: Layout
    workers: Callable[[], AbstractContextManager[OpenExecutor]]
    progress: Callable[[], Progress | None] = lambda: None
    checkpoint: Callable[[], None] = lambda: None
    made: Callable[[TimedPlan | Findings | RunContents], None] = lambda result: None

    def scan(self, options: ScanOptions) -> CacheIndex:
        """See `scanner.scan_cache`."""
        return self._read(scan_cache, options)

    def survey(self, policy: Policy, options: ScanOptions) -> Survey:
        """See `surveying.survey_cache`."""
        return self._read(survey_cache, options, policy)

    def plan(self, policy: Policy, options: PlanOptions) -> TimedPlan:
        """See `pipeline.work_out`."""
        return self._told(self._read(pipeline.work_out, options, policy))

    def replan(self, saved: SavedPlan, options: PlanOptions) -> TimedPlan:
        """See `pipeline.work_out_again`."""
        return self._told(self._read(pipeline.work_out_again, options, saved))

    def verify(self, options: VerifyOptions) -> Findings:
        """See `verifier.verify_cache`."""
        return self._told(self._read(verify_cache, options))

    def _told(self, result: Made) -> Made:
        """The same result, of which `made` was told."""
        self.made(result)
        return result

    def _read(
        self,
        work: Callable[..., Result],
        options: ScanOptions | PlanOptions | VerifyOptions,
        *asked: Policy | SavedPlan,
    ) -> Result:
        with self.workers() as open_executor:
            told = {"progress": self.progress(), "checkpoint": self.checkpoint}
            return work(self.root, *asked, open_executor, options, **told)

    def read_trash(
        self,
        runs: Iterable[str] | None = None,
        *,
        older_than: timedelta | None = None,
        max_manifest_bytes: int = MAX_MANIFEST_BYTES,
    ) -> TrashContents:
        """Reads what runs of the trash hold; see `fastprune.api.list_trash`.

        Larger manifest files than `max_manifest_bytes` are unreadable.
        """
        check_root(self.root, self.layout)
        found = list_trash(self.root, self.layout)
        chosen = choose_runs(found.runs, runs, older_than=older_than, now=datetime.now(UTC))
        contents: list[RunContents] = []
        if chosen:
            with self.workers() as open_executor:
                executor = open_executor(_UNKNOWN)
                # The workers are forked: now is the time for heavy imports.
                from fastprune.trash.contents import read_run

                for run in chosen:
                    self.checkpoint()
                    held = read_run(
                        self.root,
                        run,
                        executor,
                        layout=self.layout,
                        max_manifest_bytes=max_manifest_bytes,
                        progress=self.progress(),
                    )
                    contents.append(self._told(held))
        from fastprune.trash.model import TrashContents

        return TrashContents(tuple(contents), found.foreign)


def explain_image(
    index: CacheIndex, reference: str, policy: Policy | None, options: PlanOptions
) -> Explanation:
    """Says what holds the blobs of an image, and why a prune would remove or keep it. Blocking.

    The cache must be scanned with edges and with the patterns of the policy. For the rest, see
    `fastprune.api.explain`.
    """
    from fastprune.explanation.explaining import explain
    from fastprune.explanation.lookup import find_manifest
    from fastprune.plan.prune_plan import make_plan
    from fastprune.reading.named_children import named_children

    row, plan = find_manifest(index, reference), None
    if policy is not None:
        broken, corrupt = options.allow_broken, options.skip_corrupt
        plan = make_plan(index, policy, allow_broken=broken, skip_corrupt=corrupt)
    named: bytes | None = b""
    if index.is_list[row]:
        path, most = os.path.join(index.root, index.path(row)), options.scan.max_manifest_bytes
        named = named_children(path, index.layout, most)
    explanation = explain(index, row, plan, named_children=named)
    # Which files would go is known now, and they are few: so they are asked for hard links.
    linked = pipeline.asked_for_links(index, explanation.unit, explanation.own.ids)
    if linked.has_links:
        explanation = explain(linked, row, plan, named_children=named)
    return explanation
