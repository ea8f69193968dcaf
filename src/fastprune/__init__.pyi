# Made from __init__.py by 'make reference': change that file, not this one.

from fastprune.api import (
    explain,
    list_trash,
    load_policy,
    plan_prune,
    prune,
    scan,
    survey,
    tune,
    verify,
)
from fastprune.audit.audit_file import (
    AuditFile,
    open_audit_log,
)
from fastprune.deletion.held_cache import ApplyOptions
from fastprune.deletion.journal import (
    Journal,
    JournalEntry,
)
from fastprune.deletion.locked_cache import (
    LockedCache,
    locked,
)
from fastprune.deletion.pace import Limits
from fastprune.deletion.trashing import (
    planned_empty,
    planned_restore,
)
from fastprune.errors import (
    CacheReadError,
    CantLockError,
    CutOffError,
    DeleteLimitError,
    DurationError,
    FastpruneError,
    JournalError,
    LockedError,
    ManifestError,
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
from fastprune.explanation.explaining import Explanation
from fastprune.guard.exclusive import Exclusion
from fastprune.guard.server_findings import ServerFinding
from fastprune.index.cache_index import CacheIndex
from fastprune.model import (
    Digest,
    ManifestKind,
    Reference,
)
from fastprune.pipeline import (
    PlanOptions,
    Reading,
)
from fastprune.plan.files import (
    load_plan,
    save_plan,
)
from fastprune.plan.prune_plan import (
    PrunePlan,
    make_plan,
)
from fastprune.plan.replanning import replan
from fastprune.plan.saved_plan import SavedPlan
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.policy.file_loading import PolicyFile
from fastprune.policy.policy import (
    Policy,
    Rule,
)
from fastprune.progress import Progress
from fastprune.report.prune_report import (
    PruneReport,
    planned_report,
)
from fastprune.scanner import ScanOptions
from fastprune.text.references import parse_references
from fastprune.trash.model import (
    RunContents,
    TrashContents,
)
from fastprune.trash.report import TrashReport
from fastprune.trash.run_ids import make_run_id
from fastprune.tuning.deleting import StoppedError
from fastprune.tuning.figures import TuneReport
from fastprune.usage.ages import Ages
from fastprune.usage.rows import (
    By,
    Usage,
)
from fastprune.usage.surveying import Survey
from fastprune.verification.findings import Findings
from fastprune.verification.repair_plan import (
    RepairPlan,
    plan_repair,
)
from fastprune.verification.repair_report import RepairReport
from fastprune.verification.verifier import VerifyOptions
from fastprune.version import __version__

__all__ = (
    "Ages",
    "ApplyOptions",
    "AuditFile",
    "By",
    "CacheIndex",
    "CacheReadError",
    "CantLockError",
    "CutOffError",
    "DeleteLimitError",
    "DeleteLimits",
    "Digest",
    "DurationError",
    "Exclusion",
    "Explanation",
    "FastpruneError",
    "Findings",
    "Journal",
    "JournalEntry",
    "JournalError",
    "Limits",
    "LockedCache",
    "LockedError",
    "ManifestError",
    "ManifestKind",
    "NoCacheError",
    "NoMemoryError",
    "OtherCacheError",
    "PlanFileError",
    "PlanOptions",
    "Policy",
    "PolicyFile",
    "Progress",
    "PrunePlan",
    "PruneReport",
    "Reading",
    "Reference",
    "RepairPlan",
    "RepairReport",
    "Rule",
    "RunContents",
    "SavedPlan",
    "ScanOptions",
    "ServerFinding",
    "ServerRunningError",
    "StoppedError",
    "Survey",
    "TrashContents",
    "TrashError",
    "TrashReport",
    "TuneReport",
    "UnreadableManifestsError",
    "Usage",
    "UsageError",
    "VerifyOptions",
    "WorkerError",
    "__version__",
    "explain",
    "list_trash",
    "load_plan",
    "load_policy",
    "locked",
    "make_plan",
    "make_run_id",
    "open_audit_log",
    "parse_references",
    "plan_prune",
    "plan_repair",
    "planned_empty",
    "planned_report",
    "planned_restore",
    "prune",
    "replan",
    "save_plan",
    "scan",
    "survey",
    "tune",
    "verify",
)
