"""Metrics of a run, in the text format of Prometheus.

Stage: report. Input: values by name. Output: text. Pure, no I/O.

The format is that of https://prometheus.io/docs/instrumenting/exposition_formats/. A file
holds the last run of one command on one cache. Counters and the time of the last success
continue from the values in the old file (`parse_kept`). Our own lines, which tests read with
prometheus_client: to import that brings in a web server, TLS and collectors for this process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fastprune.text.escaping import in_utf8

if TYPE_CHECKING:
    from fastprune.index.cache_index import CacheIndex
    from fastprune.plan.prune_plan import PrunePlan
    from fastprune.report.prune_report import AskedServer, PruneReport

PREFIX = "fastprune_"

FAMILIES = {
    "build_info": ("gauge", "The version of fastprune; always 1."),
    "last_run_timestamp_seconds": ("gauge", "When the last run ended."),
    "last_success_timestamp_seconds": (
        "gauge",
        "When a run last ended with exit code 0, dry runs of a prune not counted; 0 for never.",
    ),
    "last_run_exit_code": ("gauge", "Exit code of the last run."),
    "last_run_dry_run": ("gauge", "Whether the last run was a dry run: 1 or 0."),
    "last_run_duration_seconds": ("gauge", "How long the last run took."),
    "last_run_step_duration_seconds": ("gauge", "How long a step of the last run took."),
    "runs_total": ("counter", "Runs that have ended, refused ones included."),
    "failed_runs_total": ("counter", "Runs that ended with another exit code than 0."),
    "freed_bytes_total": ("counter", "Bytes that all runs have freed, or moved to the trash."),
    "cache_manifests": ("gauge", "Manifests in the cache when the last run scanned it."),
    "cache_blobs": ("gauge", "Blobs in the cache then."),
    "cache_bytes": ("gauge", "Bytes of these, blobs by what descriptors say."),
    "cache_missing_blobs": ("gauge", "Blobs that manifests need and that are not there."),
    "cache_corrupt_manifests": ("gauge", "Manifests that can't be read."),
    "cache_damaged_manifests": (
        "gauge",
        "Manifests that can't be read, do not match their names, or lack a blob.",
    ),
    "cache_damaged_blobs": ("gauge", "Blobs that are missing, cut off, altered or unreadable."),
    "cache_orphan_blobs": ("gauge", "Blobs that nothing refers to."),
    "cache_dangling_images": ("gauge", "Untagged images that no list refers to."),
    "last_run_read_blobs": ("gauge", "Blobs whose content the last run read."),
    "cache_foreign_files": ("gauge", "What is in the cache and does not belong there."),
    "last_run_planned_manifests": ("gauge", "Manifests that were to go in the last run."),
    "last_run_planned_blobs": ("gauge", "Blobs that were to go."),
    "last_run_planned_bytes": ("gauge", "Bytes that were to go."),
    "last_run_protected_manifests": ("gauge", "Selected manifests that a list which stays needs."),
    "last_run_removed_manifests": ("gauge", "Manifests that the last run removed."),
    "last_run_removed_blobs": ("gauge", "Blobs that it removed."),
    "last_run_freed_bytes": ("gauge", "Bytes that it freed, or moved to the trash."),
    "last_run_failed_files": ("gauge", "Files that it could not remove."),
    "last_run_changed_files": ("gauge", "Files that had changed and were left alone."),
    "last_run_left_files": ("gauge", "Files that it did not get to, because it was stopped."),
    "last_run_server_requests": ("gauge", "Requests to remove something that a server was sent."),
    "last_run_moved_files": ("gauge", "Files that a server could not remove, for the next run."),
    "last_run_moved_bytes": ("gauge", "Bytes of these, which are not free yet."),
    "last_run_emptied_files": ("gauge", "Files that earlier runs had moved and that went."),
    "last_run_put_back_files": ("gauge", "Files that were put back, as something needs them."),
    "last_run_counted_blobs": ("gauge", "Unneeded blobs that stay until the server is restarted."),
    "last_run_shared_images": ("gauge", "Images that stay, as a new one needs a blob of theirs."),
    "last_run_disturbed_images": ("gauge", "Images that were pulled while their files went."),
}
"""Type and description of every metric, by its name without `PREFIX`, in the order of the
file. The same name has the same description in every file, as the node exporter demands."""

KEPT = ("last_success_timestamp_seconds", "runs_total", "failed_runs_total", "freed_bytes_total")
"""Metrics that continue from their values in the old file."""

Values = Mapping[str, float | Mapping[str, float]]
"""By name, as in `FAMILIES`; of `last_run_step_duration_seconds` by step."""

_IMAGE_PATH = re.compile(r'image_path="((?:[^"\\\n]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_SAMPLE = re.compile(rf"{PREFIX}(\w+)\{{([^\n]*)\}} (\S+)")


class Labels(NamedTuple):
    """The labels that distinguish the metrics of one file from those of others."""

    command: str
    image_path: str

    def text(self, **more: str) -> str:
        """The labels as they are written."""
        labels = self._asdict() | more
        return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The facts about a run that every command has.

    Attributes:
        ended: Seconds since the epoch.
    """

    labels: Labels
    version: str
    dry_run: bool
    exit_code: int
    ended: float
    seconds: float


def render(facts: RunFacts, values: Values, kept: Mapping[str, float]) -> str:
    """The file of a run: its facts, more metrics of it, and the values that `parse_kept` gave."""
    succeeded = facts.exit_code == 0 and not facts.dry_run
    freed = values.get("last_run_freed_bytes", 0)
    assert isinstance(freed, float | int)
    merged: dict[str, float | Mapping[str, float]] = {
        **values,
        "build_info": 1,
        "last_run_timestamp_seconds": facts.ended,
        "last_success_timestamp_seconds": (
            facts.ended if succeeded else kept.get("last_success_timestamp_seconds", 0)
        ),
        "last_run_exit_code": facts.exit_code,
        "last_run_dry_run": int(facts.dry_run),
        "last_run_duration_seconds": facts.seconds,
        "runs_total": kept.get("runs_total", 0) + 1,
        "failed_runs_total": kept.get("failed_runs_total", 0) + (facts.exit_code != 0),
        "freed_bytes_total": kept.get("freed_bytes_total", 0) + freed,
    }
    return "".join(
        line
        for name, (kind, text) in FAMILIES.items()
        if name in merged
        for line in _family(name, kind, text, merged[name], facts)
    )


def _family(
    name: str, kind: str, text: str, value: float | Mapping[str, float], facts: RunFacts
) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {text}\n"
    yield f"# TYPE {PREFIX}{name} {kind}\n"
    if isinstance(value, Mapping):
        for step, seconds in value.items():
            yield f"{PREFIX}{name}{{{facts.labels.text(step=step)}}} {_number(seconds)}\n"
        return
    more = {"version": facts.version} if name == "build_info" else {}
    yield f"{PREFIX}{name}{{{facts.labels.text(**more)}}} {_number(value)}\n"


def _number(value: float) -> str:
    """A value that is read back as it is; a whole number without a fraction."""
    return str(int(value)) if value == int(value) else repr(round(value, 6))


def _escaped(value: str) -> str:
    """A label's value: backslash, quote and line feed are escaped; it has to be UTF-8."""
    return in_utf8(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def is_ours(text: str) -> bool:
    """Whether a file is empty, or begins as one of these does."""
    return not text or text.startswith(f"# HELP {PREFIX}")


def parse_kept(text: str, labels: Labels) -> dict[str, float]:
    """The values of an old file that a new one with the same labels continues.

    Lines that can't be understood are ignored.
    """
    kept = {}
    for name, of, value in _samples(text):
        if name in KEPT and of == labels.text():
            with suppress(ValueError):
                kept[name] = float(value)
    return {name: value for name, value in kept.items() if 0 <= value < 2**63}


def parse_image_path(text: str, command: str) -> str | None:
    """Which cache a file is about, if it has metrics of the command."""
    for _, of, _ in _samples(text):
        if (path := _IMAGE_PATH.search(of)) and of.startswith(f'command="{command}",'):
            return _ESCAPED.sub(lambda pair: "\n" if pair[1] == "n" else pair[1], path[1])
    return None


def _samples(text: str) -> Iterator[tuple[str, str, str]]:
    """Name, labels and value of each line that has them."""
    for match in filter(None, map(_SAMPLE.fullmatch, text.split("\n"))):
        yield match[1], match[2], match[3]


def plan_values(plan: PrunePlan) -> dict[str, float | Mapping[str, float]]:
    """The metrics of a plan, and of the cache that it was made for."""
    return {
        **index_values(plan.index),
        "last_run_planned_manifests": len(plan.manifests),
        "last_run_planned_blobs": len(plan.blobs),
        "last_run_planned_bytes": plan.bytes_freed,
        "last_run_protected_manifests": len(plan.protected),
    }


def index_values(index: CacheIndex) -> dict[str, float]:
    """The metrics of a cache."""
    present = index.blobs_present
    # As floats: descriptors may claim any size, and a sum of integers could overflow.
    size = index.file_sizes.sum(dtype=float) + index.blob_sizes[:present].sum(dtype=float)
    return {
        "cache_manifests": len(index),
        "cache_blobs": present,
        "cache_bytes": float(size),
        "cache_missing_blobs": len(index.missing_blobs),
        "cache_corrupt_manifests": len(index.faults),
        "cache_foreign_files": len(index.foreign),
    }


NOTHING_DONE: Values = dict.fromkeys(
    (
        *("last_run_removed_manifests", "last_run_removed_blobs", "last_run_freed_bytes"),
        *("last_run_failed_files", "last_run_changed_files", "last_run_left_files"),
    ),
    0,
)
"""The metrics of a prune that removed nothing, such as a refused one."""


def report_values(report: PruneReport) -> dict[str, float | Mapping[str, float]]:
    """The metrics of what was done; of a dry run, that nothing was."""
    done = not report.dry_run
    asked = report.asked
    emptied = 0 if asked is None else asked.bytes_emptied
    return {
        "last_run_removed_manifests": done * (len(report.lists) + len(report.images)),
        "last_run_removed_blobs": done * len(report.blobs),
        # What is moved beside a server comes free in the run that empties it, and counts there.
        "last_run_freed_bytes": done * (report.bytes_freed + emptied),
        "last_run_failed_files": len(report.failures),
        "last_run_changed_files": len(report.changed),
        "last_run_left_files": report.left,
        "last_run_step_duration_seconds": report.seconds,
        **({} if asked is None else _asked_values(asked)),
    }


def _asked_values(asked: AskedServer) -> dict[str, float]:
    """The metrics that only a run beside a server has."""
    return {
        "last_run_server_requests": asked.requests,
        "last_run_moved_files": asked.moved,
        "last_run_moved_bytes": asked.bytes_moved,
        "last_run_emptied_files": asked.emptied,
        "last_run_put_back_files": asked.put_back,
        "last_run_counted_blobs": asked.counted,
        "last_run_shared_images": len(asked.shared),
        "last_run_disturbed_images": len(asked.disturbed),
    }
