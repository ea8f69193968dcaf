"""fastprune lists and prunes the on-disk image cache of ociregistry.

The names below are the library. They are imported when they are first used, so that
`fastprune --version` does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprune.api import apply, load_policy, prune, repair, scan, survey, verify
    from fastprune.delete_limits import DeleteLimits
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
    from fastprune.guard import cache_lock
    from fastprune.index import CacheIndex
    from fastprune.journal import Journal, JournalEntry
    from fastprune.limits import Limits
    from fastprune.model import Digest, ManifestKind, Reference
    from fastprune.plan import PrunePlan, make_plan
    from fastprune.planfile import SavedPlan
    from fastprune.plans import load_plan, save_plan
    from fastprune.policies import PolicyFile
    from fastprune.policy import Policy, Rule
    from fastprune.progress import Progress
    from fastprune.references import parse_references
    from fastprune.replanning import replan
    from fastprune.report import PruneReport
    from fastprune.runs import make_run_id
    from fastprune.scanner import ScanOptions
    from fastprune.usage.ages import Ages
    from fastprune.usage.rows import By, Usage
    from fastprune.usage.surveying import Survey
    from fastprune.verification.findings import Findings
    from fastprune.verification.repair_report import RepairReport
    from fastprune.verification.verifier import VerifyOptions

__version__ = "0.1.0"

_HOMES = {
    "usage.ages": ("Ages",),
    "api": ("apply", "load_policy", "prune", "repair", "scan", "survey", "verify"),
    "limits": ("Limits",),
    "delete_limits": ("DeleteLimits",),
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
    "guard": ("cache_lock",),
    "index": ("CacheIndex",),
    "journal": ("Journal", "JournalEntry"),
    "model": ("Digest", "ManifestKind", "Reference"),
    "plan": ("PrunePlan", "make_plan"),
    "planfile": ("SavedPlan",),
    "plans": ("load_plan", "save_plan"),
    "policies": ("PolicyFile",),
    "policy": ("Policy", "Rule"),
    "progress": ("Progress",),
    "references": ("parse_references",),
    "replanning": ("replan",),
    "verification.repair_report": ("RepairReport",),
    "report": ("PruneReport",),
    "runs": ("make_run_id",),
    "scanner": ("ScanOptions",),
    "usage.surveying": ("Survey",),
    "usage.rows": ("By", "Usage"),
    "verification.findings": ("Findings",),
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
