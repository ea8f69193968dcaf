"""fastprune lists and prunes the on-disk image cache of ociregistry.

The names below are the library. Each is imported when it is first used, so that
`fastprune --version` does not wait for numpy.

`_HOMES` is the one list of them: which names are public, and in which module each is. What type
checkers read, `__init__.pyi`, is made from it by `make reference`.
"""

import importlib
from typing import Any

from fastprune.version import __version__ as __version__

_HOMES = {
    "api": "explain list_trash load_policy plan_prune prune scan survey tune verify",
    "audit.audit_file": "AuditFile open_audit_log",
    "deletion.held_cache": "ApplyOptions",
    "deletion.journal": "Journal JournalEntry",
    "deletion.locked_cache": "LockedCache locked",
    "deletion.pace": "Limits",
    "deletion.trashing": "planned_empty planned_restore",
    "errors": (
        "CacheReadError CantLockError ClusterError CutOffError DeleteLimitError DurationError "
        "FastpruneError JournalError LockedError ManifestError NoCacheError NoMemoryError "
        "OtherCacheError PlanFileError ServerError ServerRunningError TrashError "
        "UnreadableManifestsError UsageError WorkerError WrongServerError"
    ),
    "explanation.explaining": "Explanation",
    "guard.exclusive": "Exclusion",
    "guard.server_findings": "ServerFinding",
    "index.cache_index": "CacheIndex",
    "layouts.layout": "Layout ManifestRecord",
    "model": "Digest ManifestKind Reference",
    "pipeline": "PlanOptions Reading",
    "plan.files": "load_plan save_plan",
    "plan.prune_plan": "PrunePlan make_plan",
    "plan.replanning": "replan",
    "plan.saved_plan": "SavedPlan",
    "policy.delete_limits": "DeleteLimits",
    "policy.file_loading": "PolicyFile",
    "policy.policy": "Policy Rule",
    "progress": "Progress",
    "report.prune_report": "PruneReport planned_report",
    "scanning.memory": "StateFolder",
    "scanning.scanner": "ScanOptions",
    "server.address": "ServerAddress parse_address",
    "server.asked": "Server",
    "server.client": "ServerClient",
    "server.listing": "ServerListing",
    "text.references": "parse_references",
    "trash.model": "RunContents TrashContents",
    "trash.report": "TrashReport",
    "trash.run_ids": "make_run_id",
    "tuning.deleting": "StoppedError",
    "tuning.figures": "TuneReport",
    "usage.ages": "Ages",
    "usage.rows": "By Usage",
    "usage.surveying": "Survey",
    "verification.findings": "Findings",
    "verification.repair_plan": "RepairPlan plan_repair",
    "verification.repair_report": "RepairReport",
    "verification.verifier": "VerifyOptions",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = tuple(sorted(("__version__", *_HOME_OF)))


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
