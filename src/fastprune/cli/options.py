"""Declares options: the global ones, those that several commands have, and groups of options.

A group is a dataclass; each field is made by `option`, `flag` or `argument`. `takes` lets a command
have groups.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import typer

from fastprune.cli.headings import GLOBAL, OUTPUT, PACE, SAFETY, SELECTION
from fastprune.cli.server_config import ConfigFile

STDOUT = "-"
"""The value of an option that stands for stdout."""

DEFAULT_IMAGE_PATH = "/var/lib/ociregistry"
IMAGE_PATH_VARIABLE = "FASTPRUNE_IMAGE_PATH"
NOWHERE = "a relative path, but the folder that fastprune was started in was deleted"
"""The message about a path that `leads_nowhere`."""

_SHORT_OPTIONS = frozenset(("-h", "-n", "-o", "-q", "-y"))

_SHOWN = "shown"
"""The key of a field's metadata with what typer shows and parses."""

_MAY_BE_EMPTY = "may be empty"


def option(
    names: str,
    heading: str,
    text: str,
    *,
    default: Any = None,
    may_be_empty: bool = False,
    **more: Any,
) -> Any:
    """A field of a group that is an option.

    Args:
        names: The names and the value, as in `--output -o FILE`.
        heading: Where `--help` shows it; see `fastprune.cli.headings`.
        text: What `--help` says about it.
        default: The value if it is not given; `dataclasses.MISSING` if it has to be given.
        may_be_empty: Whether an empty text is a value.
        more: More arguments of `typer.Option`.
    """
    words = names.split()
    value = None if words[-1].startswith("-") else words.pop()
    shown = typer.Option(*words, metavar=value, help=text, rich_help_panel=heading, **more)
    return dataclasses.field(default=default, metadata={_SHOWN: shown, _MAY_BE_EMPTY: may_be_empty})


flag = functools.partial(option, default=False)
"""An `option` without a value, off by default."""


def argument(value: str, text: str, *, default: Any = dataclasses.MISSING) -> Any:
    """A field of a group that is an argument; `--help` calls it by the value, as in `FILE`."""
    shown = typer.Argument(metavar=value, help=text)
    return dataclasses.field(default=default, metadata={_SHOWN: shown})


policy_option = functools.partial(
    option,
    "--policy FILE",
    SELECTION,
    "Select and keep by the rules of this file, TOML or YAML. Options beside it can only keep "
    "more.",
)
html_option = functools.partial(
    option,
    "--html FILE",
    OUTPUT,
    "Write a page for a browser that marks what would go; it loads nothing from the network.",
)
metrics_option = functools.partial(
    option,
    "--metrics-file FILE",
    OUTPUT,
    "Write metrics of the run to this file, for the node exporter of Prometheus (textfile "
    "collector).",
)
audit_log_option = functools.partial(
    option,
    "--audit-log FILE",
    OUTPUT,
    "Append a JSON line to this file for every file that goes, with the reason.",
)
yes_option = functools.partial(
    flag, "--yes -y", SAFETY, "Do not ask. Without a terminal nothing is ever asked."
)
format_option = functools.partial(
    option, "--format FORMAT", OUTPUT, "text or json.", default="text"
)


lock_wait_option = functools.partial(
    option, "--lock-wait DUR", PACE, "Wait this long for another fastprune to end."
)
no_lock_option = functools.partial(
    flag,
    "--no-lock",
    SAFETY,
    "Go on without a lock if the file system can't lock. A cache that another fastprune has locked "
    "is still refused.",
)


LogLevel = StrEnum("LogLevel", "debug info warning error")
"""The least level of messages on stderr."""

LogFormat = StrEnum("LogFormat", "text json")
"""How messages are written."""

Color = StrEnum("Color", "auto always never")
"""Whether to use colours."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """Options that work before and after the command; None means not given."""

    # Not typer's envvar: the variable must not beat an option before the command.
    image_path: str | None = option(
        "--image-path DIR",
        GLOBAL,
        f"The image cache. Else ${IMAGE_PATH_VARIABLE}, else imagePath of the "
        f"config file, else {DEFAULT_IMAGE_PATH}.",
    )
    config_file: ConfigFile | None = option(
        "--config-file FILE",
        GLOBAL,
        "ociregistry's own YAML: imagePath and pruneConfig are used.",
        parser=ConfigFile,
    )
    jobs: str | None = option(
        "--jobs N|auto",
        GLOBAL,
        "Processes that read manifests. Default: auto, by the CPUs that may be used, and up to 32 "
        "on a network file system.",
    )
    max_manifest_size: str | None = option(
        "--max-manifest-size SIZE", GLOBAL, "Refuse larger manifest files. Default: 64MiB."
    )
    quiet: bool | None = option(
        "--quiet -q", GLOBAL, "Nothing on stderr but errors.", show_default=False
    )
    progress: bool | None = option(
        "--progress/--no-progress",
        GLOBAL,
        "Show progress. Default: only on a terminal.",
        show_default=False,
    )
    log_level: LogLevel | None = option(
        "--log-level", GLOBAL, "Least level on stderr. Default: warning."
    )
    log_file: str | None = option(
        "--log-file FILE", GLOBAL, "Append the messages, with times, to this file too."
    )
    log_format: LogFormat | None = option(
        "--log-format", GLOBAL, "Messages as text, or each as a line of JSON. Default: text."
    )
    color: Color | None = option(
        "--color",
        GLOBAL,
        "Default: auto, on a terminal unless $NO_COLOR is set; $FORCE_COLOR turns "
        "colours on elsewhere.",
    )


def takes(*groups: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Makes a command of a function that gets the context, and a value per group of options."""
    # Help and completion show a command's own options before the global ones.
    fields = [
        (field, hints[field.name])
        for group in sorted(groups, key=lambda group: group is GlobalOptions)
        for hints in [get_type_hints(group)]
        for field in dataclasses.fields(group)
    ]
    shown = {field.name: field.metadata[_SHOWN] for field, _ in fields}
    may_be_empty = {field.name for field, _ in fields if field.metadata.get(_MAY_BE_EMPTY)}
    parameters = [_CONTEXT, *(_parameter(field, hint) for field, hint in fields)]

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def wrapper(context: typer.Context, **given: Any) -> None:
            _check_texts(given, shown, may_be_empty)
            values = [
                group(**{field.name: given[field.name] for field in dataclasses.fields(group)})
                for group in groups
            ]
            function(context, *values)

        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
        return wrapper

    return decorate


_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def _parameter(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    # typer takes a parameter without a default as required.
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[hint, field.metadata[_SHOWN]],
    )


def _check_texts(
    given: dict[str, Any], shown: dict[str, Any], may_be_empty: Collection[str]
) -> None:
    """Refuses a value that is an option, an empty text, or a path in a deleted folder.

    `--log-file -n` must not prune for real and log to a file named -n. `--image-path "$CACHE"` must
    not prune another cache because the variable is not set.
    """
    for name, parsed in given.items():
        value = parsed.path if isinstance(parsed, ConfigFile) else parsed
        option = _name_of(shown[name])
        for text in value if isinstance(value, list | tuple) else [value]:
            if not isinstance(text, str):
                continue
            if text.startswith("--") or text in _SHORT_OPTIONS:
                raise typer.BadParameter(
                    f"{text!r} looks like an option; the value of {option} is missing"
                )
            # A dash is stdin or stdout.
            is_file = text != "-" and "FILE" in (shown[name].metavar or "")
            if is_file and leads_nowhere(text):
                raise typer.BadParameter(f"{option} {text}: {NOWHERE}; give an absolute path")
        if value == "" and name not in may_be_empty:
            raise typer.BadParameter(f"the value of {option} is empty")


def leads_nowhere(path: str) -> bool:
    """Whether a path is relative, and the working folder was deleted."""
    if os.path.isabs(path):
        return False
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _name_of(shown: Any) -> str:
    """The name of an option or argument, as the help shows it."""
    # typer takes the first name for a default; the real one is that of the field.
    return shown.default if isinstance(shown.default, str) else str(shown.metavar)


def merged(before: GlobalOptions, after: GlobalOptions) -> GlobalOptions:
    """Global options given before and after the command; after wins."""
    given = {
        field.name: getattr(after, field.name)
        for field in dataclasses.fields(after)
        if getattr(after, field.name) is not None
    }
    return dataclasses.replace(before, **given)
