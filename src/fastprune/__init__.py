"""fastprune lists and prunes the on-disk image cache of ociregistry.

The names below are the library. They are imported when they are first used, so that
`fastprune --version` does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprune.api import apply, prune, scan
    from fastprune.errors import (
        FastpruneError,
        JournalError,
        LockedError,
        NoCacheError,
        TrashError,
        UnreadableManifestsError,
        UsageError,
        WorkerError,
    )
    from fastprune.index import CacheIndex
    from fastprune.journal import Journal, JournalEntry
    from fastprune.limits import Limits
    from fastprune.model import Digest, ManifestKind, Reference
    from fastprune.plan import PrunePlan, make_plan
    from fastprune.policy import Policy
    from fastprune.report import PruneReport
    from fastprune.runs import make_run_id
    from fastprune.scanner import ScanOptions

__version__ = "0.1.0"

_HOMES = {
    "api": ("apply", "prune", "scan"),
    "limits": ("Limits",),
    "errors": (
        "FastpruneError",
        "JournalError",
        "LockedError",
        "NoCacheError",
        "TrashError",
        "UnreadableManifestsError",
        "UsageError",
        "WorkerError",
    ),
    "index": ("CacheIndex",),
    "journal": ("Journal", "JournalEntry"),
    "model": ("Digest", "ManifestKind", "Reference"),
    "plan": ("PrunePlan", "make_plan"),
    "policy": ("Policy",),
    "report": ("PruneReport",),
    "runs": ("make_run_id",),
    "scanner": ("ScanOptions",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = (
    "CacheIndex",
    "Digest",
    "FastpruneError",
    "Journal",
    "JournalEntry",
    "JournalError",
    "Limits",
    "LockedError",
    "ManifestKind",
    "NoCacheError",
    "Policy",
    "PrunePlan",
    "PruneReport",
    "Reference",
    "ScanOptions",
    "TrashError",
    "UnreadableManifestsError",
    "UsageError",
    "WorkerError",
    "__version__",
    "apply",
    "make_plan",
    "make_run_id",
    "prune",
    "scan",
)


def __getattr__(name: str) -> Any:
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
