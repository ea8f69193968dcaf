"""From the options of `prune`, `plan` and `explain` to what is asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime

from fastprune.cli.carrying import seconds_of
from fastprune.cli.config import PruneSettings, prune_settings
from fastprune.cli.options import SelectionOptions
from fastprune.cli.prune_options import DeleteLimitOptions, PlanningOptions
from fastprune.cli.refusing import delete_limits_of
from fastprune.cli.selection import overridden, to_policy
from fastprune.cli.session import Session
from fastprune.delete_limits import DeleteLimits
from fastprune.errors import UsageError
from fastprune.pipeline import PlanOptions
from fastprune.policy import Policy
from fastprune.scanner import ScanOptions

_KEEPING = ("exclude", "keep_last", "keep_within", "keep_from", "zone")
"""What may be said beside a policy file: it only keeps more."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        policy: What to select and what to keep.
        options: How a plan is worked out.
        delete_limits: What it may come to at most.
        zone: The server's time zone; None for that of this machine.
    """

    policy: Policy
    options: PlanOptions
    delete_limits: DeleteLimits
    zone: str | None


def request_of(
    session: Session,
    selection: SelectionOptions,
    planning: PlanningOptions,
    limits: DeleteLimitOptions | None = None,
) -> Request:
    """What the options ask for, filled up from the policy file or the server's config file.

    Raises:
        UsageError: A value can't be used, or nothing says what to prune.
        NoCacheError: There is no cache, and the free space of its file system is asked for.
    """
    settings = prune_settings(session.config)
    delete_limits = delete_limits_of(limits or DeleteLimitOptions())
    grace, zone = seconds_of(planning.grace, "--grace") or 0, selection.zone
    if planning.policy is None:
        policy = _policy_of_options(selection, planning, settings, root=session.image_path)
    else:
        from fastprune.cli.policy_file import load_policy_file

        _refuse_criteria(selection, planning)
        now = datetime.now(UTC)
        found = load_policy_file(planning.policy, now, root=session.image_path, zone=zone)
        zone = found.zone
        selection = dataclasses.replace(selection, zone=zone)
        policy = _keeping_more(found.policy, to_policy(selection, now, root=session.image_path))
        delete_limits = delete_limits.or_stricter(found.delete_limits)
        grace = max(grace, found.grace)
    policy.check()
    options = PlanOptions(
        scan=ScanOptions(max_manifest_bytes=session.max_manifest_bytes),
        allow_broken=planning.allow_broken,
        skip_corrupt=planning.skip_corrupt,
        grace=grace,
    )
    return Request(policy, options, delete_limits, zone)


def asks(session: Session, selection: SelectionOptions, planning: PlanningOptions) -> bool:
    """Whether the options or the server's config file say what to prune, or what to keep."""
    settings = prune_settings(session.config)
    given = (dataclasses.replace(selection, zone=None), dataclasses.replace(settings, dry_run=None))
    values = [value for options in given for value in dataclasses.asdict(options).values()]
    nothing = all(value is None or value is False or value == [] for value in values)
    return not nothing or planning.orphans_only or planning.policy is not None


def _policy_of_options(
    selection: SelectionOptions, planning: PlanningOptions, settings: PruneSettings, *, root: str
) -> Policy:
    if planning.orphans_only:
        settings = dataclasses.replace(
            settings, pattern=None, date=None, older_than=None, not_pulled_for=None, count=None
        )
    return to_policy(
        overridden(selection, settings),
        datetime.now(UTC),
        root=root,
        orphans_only=planning.orphans_only,
    )


def _refuse_criteria(selection: SelectionOptions, planning: PlanningOptions) -> None:
    """A policy file says what to select; options beside it may only narrow that."""
    given = ["--orphans-only"] if planning.orphans_only else []
    for field in dataclasses.fields(selection):
        value = getattr(selection, field.name)
        if field.name not in _KEEPING and value is not None and value is not False and value != []:
            given.append("--" + field.name.replace("_", "-"))
    if given:
        raise UsageError(
            f"{given[0]} can't be combined with --policy, which says what to select; beside it "
            "there may be what keeps more: --exclude, --keep-last, --keep-within, --keep-from, "
            "--grace and the delete limits"
        )


def _keeping_more(policy: Policy, keeps: Policy) -> Policy:
    """A policy that keeps what another one keeps, too."""
    last = [one.keep_last for one in (policy, keeps) if one.keep_last is not None]
    since = [one.keep_since for one in (policy, keeps) if one.keep_since is not None]
    return dataclasses.replace(
        policy,
        exclude=(*policy.exclude, *keeps.exclude),
        keep_last=max(last, default=None),
        # Fixed-width text sorts like time.
        keep_since=min(since, default=None),
        keep_references=tuple(sorted({*policy.keep_references, *keeps.keep_references})),
    )
