"""fastprune lists and prunes the on-disk image cache of ociregistry.

The names below are the library. They are imported when they are first used, so that
`fastprune --version` does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastprune.version import __version__

if TYPE_CHECKING:
    from fastprune.api import apply, load_policy, prune, repair, scan, survey, verify
    from fastprune.deletion.journal import Journal, JournalEntry
    from fastprune.deletion.pace import Limits
    from fastprune.errors import (
        CantLockError,
        DeleteLimitError,
        DurationError,
        FastpruneError,
        JournalError,
        LockedError,
        NoCacheError,
        NoMemoryError,
        OtherCacheError,
        PlanFileError,
        ServerRunningError,
        TrashError,
        UnreadableManifestsError,
        UsageError,
        WorkerError,
    )
    from fastprune.guard.lock import cache_lock
    from fastprune.index.cache_index import CacheIndex
    from fastprune.model import Digest, ManifestKind, Reference
    from fastprune.plan.files import load_plan, save_plan
    from fastprune.plan.prune_plan import PrunePlan, make_plan
    from fastprune.plan.replanning import replan
    from fastprune.plan.saved_plan import SavedPlan
    from fastprune.policy.delete_limits import DeleteLimits
    from fastprune.policy.file_loading import PolicyFile
    from fastprune.policy.policy import Policy, Rule
    from fastprune.progress import Progress
    from fastprune.report.prune_report import PruneReport
    from fastprune.scanner import ScanOptions
    from fastprune.text.references import parse_references
    from fastprune.trash.run_ids import make_run_id
    from fastprune.usage.ages import Ages
    from fastprune.usage.rows import By, Usage
    from fastprune.usage.surveying import Survey
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_report import RepairReport
    from fastprune.verification.verifier import VerifyOptions


_HOMES = {
    "api": ("apply", "load_policy", "prune", "repair", "scan", "survey", "verify"),
    "deletion.journal": ("Journal", "JournalEntry"),
    "deletion.pace": ("Limits",),
    "errors": (
        "CantLockError",
        "DeleteLimitError",
        "DurationError",
        "FastpruneError",
        "JournalError",
        "LockedError",
        "NoCacheError",
        "NoMemoryError",
        "OtherCacheError",
        "PlanFileError",
        "ServerRunningError",
        "TrashError",
        "UnreadableManifestsError",
        "UsageError",
        "WorkerError",
    ),
    "guard.lock": ("cache_lock",),
    "index.cache_index": ("CacheIndex",),
    "model": ("Digest", "ManifestKind", "Reference"),
    "plan.files": ("load_plan", "save_plan"),
    "plan.prune_plan": ("PrunePlan", "make_plan"),
    "plan.replanning": ("replan",),
    "plan.saved_plan": ("SavedPlan",),
    "policy.delete_limits": ("DeleteLimits",),
    "policy.file_loading": ("PolicyFile",),
    "policy.policy": ("Policy", "Rule"),
    "progress": ("Progress",),
    "report.prune_report": ("PruneReport",),
    "scanner": ("ScanOptions",),
    "text.references": ("parse_references",),
    "trash.run_ids": ("make_run_id",),
    "usage.ages": ("Ages",),
    "usage.rows": ("By", "Usage"),
    "usage.surveying": ("Survey",),
    "verification.findings": ("Findings",),
    "verification.repair_report": ("RepairReport",),
    "verification.verifier": ("VerifyOptions",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = (
    "Ages",
    "By",
    "CacheIndex",
    "CantLockError",
    "DeleteLimitError",
    "DeleteLimits",
    "Digest",
    "DurationError",
    "FastpruneError",
    "Findings",
    "Journal",
    "JournalEntry",
    "JournalError",
    "Limits",
    "LockedError",
    "ManifestKind",
    "NoCacheError",
    "NoMemoryError",
    "OtherCacheError",
    "PlanFileError",
    "Policy",
    "PolicyFile",
    "Progress",
    "PrunePlan",
    "PruneReport",
    "Reference",
    "RepairReport",
    "Rule",
    "SavedPlan",
    "ScanOptions",
    "ServerRunningError",
    "Survey",
    "TrashError",
    "UnreadableManifestsError",
    "Usage",
    "UsageError",
    "VerifyOptions",
    "WorkerError",
    "__version__",
    "apply",
    "cache_lock",
    "load_plan",
    "load_policy",
    "make_plan",
    "make_run_id",
    "parse_references",
    "prune",
    "repair",
    "replan",
    "save_plan",
    "scan",
    "survey",
    "verify",
)


def __getattr__(name: str) -> Any:
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
