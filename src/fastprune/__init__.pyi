# Made from __init__.py by 'make reference': change that file, not this one.
# ruff: noqa
# fmt: off
from fastprune.api import explain as explain, list_trash as list_trash, load_policy as load_policy, plan_prune as plan_prune, prune as prune, scan as scan, survey as survey, tune as tune, verify as verify
from fastprune.audit.audit_file import AuditFile as AuditFile, open_audit_log as open_audit_log
from fastprune.deletion.held_cache import ApplyOptions as ApplyOptions
from fastprune.deletion.journal import Journal as Journal, JournalEntry as JournalEntry
from fastprune.deletion.locked_cache import LockedCache as LockedCache, locked as locked
from fastprune.deletion.pace import Limits as Limits
from fastprune.deletion.trashing import planned_empty as planned_empty, planned_restore as planned_restore
from fastprune.errors import CacheReadError as CacheReadError, CantLockError as CantLockError, ClusterError as ClusterError, CutOffError as CutOffError, DeleteLimitError as DeleteLimitError, DurationError as DurationError, FastpruneError as FastpruneError, JournalError as JournalError, LockedError as LockedError, ManifestError as ManifestError, NoCacheError as NoCacheError, NoMemoryError as NoMemoryError, OtherCacheError as OtherCacheError, PlanFileError as PlanFileError, ServerError as ServerError, ServerRunningError as ServerRunningError, TrashError as TrashError, UnreadableManifestsError as UnreadableManifestsError, UsageError as UsageError, WorkerError as WorkerError, WrongServerError as WrongServerError
from fastprune.explanation.explaining import Explanation as Explanation
from fastprune.guard.exclusive import Exclusion as Exclusion
from fastprune.guard.server_findings import ServerFinding as ServerFinding
from fastprune.index.cache_index import CacheIndex as CacheIndex
from fastprune.layouts.layout import Layout as Layout, ManifestRecord as ManifestRecord
from fastprune.model import Digest as Digest, ManifestKind as ManifestKind, Reference as Reference
from fastprune.pipeline import PlanOptions as PlanOptions, Reading as Reading
from fastprune.plan.files import load_plan as load_plan, save_plan as save_plan
from fastprune.plan.prune_plan import PrunePlan as PrunePlan, make_plan as make_plan
from fastprune.plan.replanning import replan as replan
from fastprune.plan.saved_plan import SavedPlan as SavedPlan
from fastprune.policy.delete_limits import DeleteLimits as DeleteLimits
from fastprune.policy.file_loading import PolicyFile as PolicyFile
from fastprune.policy.policy import Policy as Policy, Rule as Rule
from fastprune.progress import Progress as Progress
from fastprune.report.prune_report import PruneReport as PruneReport, planned_report as planned_report
from fastprune.scanning.memory import StateFolder as StateFolder
from fastprune.scanning.scanner import ScanOptions as ScanOptions
from fastprune.server.address import ServerAddress as ServerAddress, parse_address as parse_address
from fastprune.server.asked import Server as Server
from fastprune.server.client import ServerClient as ServerClient
from fastprune.server.listing import ServerListing as ServerListing
from fastprune.text.references import parse_references as parse_references
from fastprune.trash.model import RunContents as RunContents, TrashContents as TrashContents
from fastprune.trash.report import TrashReport as TrashReport
from fastprune.trash.run_ids import make_run_id as make_run_id
from fastprune.tuning.deleting import StoppedError as StoppedError
from fastprune.tuning.figures import TuneReport as TuneReport
from fastprune.usage.ages import Ages as Ages
from fastprune.usage.rows import By as By, Usage as Usage
from fastprune.usage.surveying import Survey as Survey
from fastprune.verification.findings import Findings as Findings
from fastprune.verification.repair_plan import RepairPlan as RepairPlan, plan_repair as plan_repair
from fastprune.verification.repair_report import RepairReport as RepairReport
from fastprune.verification.verifier import VerifyOptions as VerifyOptions
from fastprune.version import __version__ as __version__
__all__: tuple[str, ...]
