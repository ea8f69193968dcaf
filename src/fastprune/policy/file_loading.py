"""A policy file to a policy, as the options of the same names would make it.

Stage: rim. Input: the path of a file. Output: `PolicyFile`. I/O: reads it, and the files that it
names; the checks of its keys are in `fastprune.policy.file_entries`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fastprune.errors import UsageError
from fastprune.layouts.layout import Layout
from fastprune.policy.criteria import Criteria, parse_zone, to_policy
from fastprune.policy.criteria_io import STDIN, Inputs
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.policy.file_checking import POLICY, check
from fastprune.policy.file_entries import Entry, Setting, Settings
from fastprune.policy.file_reading import read_toml, read_yaml
from fastprune.policy.policy import Policy, Rule
from fastprune.text.quantities import parse_duration, parse_size

_MOST_BYTES = 1_000_000
_READERS: dict[str, Callable[[str, str], Entry]] = {
    ".toml": read_toml,
    ".yaml": read_yaml,
    ".yml": read_yaml,
}
_CRITERIA = {field.name for field in dataclasses.fields(Criteria)}


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """The content of a policy file, in absolute times and bytes.

    Attributes:
        policy: What to select and what to keep.
        grace: Spare blobs younger than so many seconds.
        delete_limits: How much may go at most.
        zone: The server's time zone, by the option or by the file.
        min_free_space: Where it says min-free-space; empty if it doesn't.
    """

    policy: Policy
    grace: float
    delete_limits: DeleteLimits
    zone: str | None
    min_free_space: str = ""


def load_policy_file(
    path: str,
    now: datetime,
    *,
    root: str,
    layout: Layout,
    zone: str | None,
    inputs: Inputs | None = None,
) -> PolicyFile:
    """Reads a policy file: TOML or YAML, by its ending.

    The current time has a zone. The value of --zone overrides that of the file.

    Raises:
        UsageError: It can't be read or used; the message has a line for each thing that is
            wrong, with file and key.
        NoCacheError: There is no cache, and the file says how much space must be free.
    """
    reader = _READERS.get(os.path.splitext(path)[1].lower())
    if reader is None:
        raise UsageError(f"--policy {path}: its name must end in {', '.join(_READERS)}")
    text = check(reader(_read(path), path), path)
    inputs = inputs or Inputs()
    wrong: list[str] = []

    def made(settings: Settings, place: str) -> Policy:
        try:
            criteria, named = _criteria_of(settings, path, zone), partial(_named, settings)
            return to_policy(criteria, now, root=root, layout=layout, named=named, inputs=inputs)
        except UsageError as error:
            wrong.append(_placed(error, path, place))
            return Policy()

    zone = _checked_zone(zone, text.whole.get("zone"), wrong)
    whole = made(text.whole, path)
    rules = []
    for name, (place, settings) in text.rules.items():
        rules.append(Rule(name, made(settings, place)))
        try:
            if not wrong:
                rules[-1].check()
        except UsageError as error:
            what = str(error).removeprefix(f"rule {name!r}: ")
            wrong.append(f"{place}: {what}")
    try:
        grace, limits = _grace_and_limits(text.whole)
    except UsageError as error:
        wrong.append(str(error))
    if wrong:
        raise UsageError("\n".join(wrong))
    if not rules and not whole.has_size_target:
        raise UsageError(
            f"{path}: nothing says what to prune: write a rule, as [rules.NAME], or a size "
            f"target in [{POLICY}]"
        )
    policy = dataclasses.replace(whole, rules=tuple(rules))
    policy.check()
    space = text.whole.get("min-free-space")
    return PolicyFile(policy, grace, limits, zone, "" if space is None else space.where)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--policy {path}: can't be read: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"--policy {path}: larger than {_MOST_BYTES} bytes")
    try:
        # Some editors begin a file with a byte order mark.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not text in UTF-8") from None


def _criteria_of(settings: Settings, path: str, zone: str | None) -> Criteria:
    """The criteria that options of the same names and values make."""
    by_name = ((key.replace("-", "_"), setting.value) for key, setting in settings.items())
    values = {name: value for name, value in by_name if name in _CRITERIA}
    for name in ("pattern", "exclude", "keep_from"):
        if isinstance(values.get(name), str):
            values[name] = [values[name]]
    if "keep_from" in values:
        # Relative to the folder of the policy file.
        names, folder = values["keep_from"], os.path.dirname(path)
        values["keep_from"] = [one if one == STDIN else os.path.join(folder, one) for one in names]
    return Criteria(**values | {"zone": zone})


def _named(settings: Settings, option: str) -> str:
    """Names an option in messages by its place in the file."""
    setting = settings.get(option.removeprefix("--"))
    return option if setting is None else setting.where


def _placed(error: UsageError, path: str, place: str) -> str:
    """The message of an error, with the place in the file unless it has one."""
    text = str(error)
    return text if text.startswith((f"{path}: ", f"{path}, line ")) else f"{place}: {text}"


def _checked_zone(option: str | None, setting: Setting | None, wrong: list[str]) -> str | None:
    """The zone of the option, or else of the file."""
    if setting is None:
        return option
    try:
        parse_zone(setting.value, setting.where)
    except UsageError as error:
        wrong.append(str(error))
        return option
    return setting.value if option is None else option


def _grace_and_limits(settings: Settings) -> tuple[float, DeleteLimits]:
    nothing = Setting(None, "")
    grace, count, size, percent = (
        settings.get(name, nothing)
        for name in ("grace", "max-delete-count", "max-delete-size", "max-delete-percent")
    )
    limit = None if size.value is None else parse_size(size.value, size.where)
    limits = DeleteLimits(count.value, limit, percent.value)
    return parse_duration(grace.value or "0s", grace.where), limits
