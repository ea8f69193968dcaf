"""Makes a policy and plan options from options, a policy file and the server's configuration."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastprune.cli.option_values import delete_limits_of, seconds_of
from fastprune.cli.plan_options import DeleteLimitOptions, PlanningOptions, SelectionOptions
from fastprune.cli.server_config import PruneSettings, prune_settings
from fastprune.cli.server_options import grace_of
from fastprune.cli.session import Session
from fastprune.errors import UsageError
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.pipeline import PlanOptions
from fastprune.policy.criteria import Criteria, to_policy
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.policy.policy import Policy

if TYPE_CHECKING:
    from fastprune.policy.file_loading import PolicyFile
    from fastprune.server.client import ServerClient

_KEEPING = ("exclude", "keep_last", "keep_within", "keep_from", "zone")
"""Options that may be given beside a policy file, because they only keep more."""


@dataclass(frozen=True, slots=True)
class Request:
    """The policy and the plan options that a command line asks for.

    Attributes:
        zone: The server's time zone; None for that of this machine.
        min_free_space: The option, or the key of the policy file, that asks for free space; empty
            if none does.
    """

    policy: Policy
    options: PlanOptions
    delete_limits: DeleteLimits
    zone: str | None
    min_free_space: str = ""


def request_of(
    session: Session,
    selection: SelectionOptions,
    planning: PlanningOptions,
    limits: DeleteLimitOptions | None = None,
    *,
    server: ServerClient | None = None,
) -> Request:
    """The request of the options, completed from the policy file or the server's config file.

    Raises:
        UsageError: Nothing says what to prune.
        NoCacheError: There is no cache, and the free space of its file system is asked for.
    """
    settings = prune_settings(session.config)
    delete_limits = delete_limits_of(limits or DeleteLimitOptions())
    grace, zone = seconds_of(planning.grace, "--grace"), selection.zone
    grace_from = "--grace"
    space = "" if selection.min_free_space is None else "--min-free-space"
    if planning.policy is None:
        if planning.orphans_only:
            # Only orphans are to go: the criteria of the server's file do not count.
            settings = PruneSettings()
        criteria = overridden(selection, settings)
        policy = _policy_of_options(session, criteria, orphans_only=planning.orphans_only)
    else:
        if planning.orphans_only:
            raise _not_with_a_file("--orphans-only")
        found = _policy_of_file(session, planning.policy, selection)
        policy, zone, space = found.policy, found.zone, found.min_free_space
        delete_limits = delete_limits.or_stricter(found.delete_limits)
        if found.grace > (grace or 0):
            grace, grace_from = found.grace, f"{planning.policy}: grace"
    policy.check()
    options = PlanOptions(
        scan=session.scan_options,
        allow_broken=planning.allow_broken,
        skip_corrupt=planning.skip_corrupt,
        grace=grace_of(grace, server, given_by=grace_from),
    )
    return Request(policy, options, delete_limits, zone, space)


def policy_and_zone(
    session: Session, selection: SelectionOptions, policy_file: str | None
) -> tuple[Policy, str | None]:
    """The policy of `list` and `du`, and the server's time zone; without criteria, all.

    Raises:
        NoCacheError: There is no cache, and the free space of its file system is asked for.
    """
    if policy_file is None:
        return _policy_of_options(session, selection), selection.zone
    found = _policy_of_file(session, policy_file, selection)
    return found.policy, found.zone


def says_what_to_prune(
    session: Session, selection: SelectionOptions, planning: PlanningOptions
) -> bool:
    """Whether the options or the server's config file say what to prune, or what to keep."""
    given = [
        *(name for name in _given(selection) if name != "zone"),
        *(name for name in _given(prune_settings(session.config)) if name != "dry_run"),
    ]
    return bool(given) or planning.orphans_only or planning.policy is not None


def _given(options: Any) -> list[str]:
    """The names of the fields that have a value."""
    values = ((field.name, getattr(options, field.name)) for field in fields(options))
    # Zero is a value, and equals False.
    return [
        name for name, value in values if value is not None and value is not False and value != []
    ]


def _policy_of_options(
    session: Session, criteria: Criteria, *, orphans_only: bool = False
) -> Policy:
    return to_policy(
        criteria,
        datetime.now(UTC),
        root=session.image_path,
        layout=DEFAULT_LAYOUT,
        orphans_only=orphans_only,
        inputs=session.inputs,
    )


def _policy_of_file(session: Session, path: str, selection: SelectionOptions) -> PolicyFile:
    """A policy file, and the images that the options beside it keep."""
    from fastprune.policy.file_loading import load_policy_file

    for name in _given(selection):
        if name not in _KEEPING:
            raise _not_with_a_file("--" + name.replace("_", "-"))
    found = load_policy_file(
        path,
        datetime.now(UTC),
        root=session.image_path,
        layout=DEFAULT_LAYOUT,
        zone=selection.zone,
        inputs=session.inputs,
    )
    keeps = _policy_of_options(session, replace(selection, zone=found.zone))
    return replace(found, policy=_keeping_more(found.policy, keeps))


def _not_with_a_file(option: str) -> UsageError:
    return UsageError(
        f"{option} can't be combined with --policy, which says what to select; only "
        "options that keep more can: --exclude, --keep-last, --keep-within and --keep-from"
    )


def _keeping_more(policy: Policy, keeps: Policy) -> Policy:
    """A policy that also keeps what another one keeps."""
    last = [one.keep_last for one in (policy, keeps) if one.keep_last is not None]
    since = [one.keep_since for one in (policy, keeps) if one.keep_since is not None]
    return replace(
        policy,
        exclude=(*policy.exclude, *keeps.exclude),
        keep_last=max(last, default=None),
        # Fixed-width text sorts like time.
        keep_since=min(since, default=None),
        keep_references=tuple(sorted({*policy.keep_references, *keeps.keep_references})),
    )


def overridden(selection: SelectionOptions, settings: PruneSettings) -> SelectionOptions:
    """Adds the settings of `pruneConfig` that the command line does not give, key by key."""
    values = {
        name: getattr(settings, name)
        for name in ("pattern", "date", "older_than", "not_pulled_for", "count")
        if getattr(selection, name) in (None, [])
    }
    return replace(selection, **values)
