"""The global options, options that several commands have, and groups of options."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from fastprune.cli.headings import GLOBAL, OUTPUT, PACE, SAFETY, SELECTION
from fastprune.cli.server_config import ConfigFile

PolicyFile = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Select and keep by the rules of this file, TOML or YAML. Options beside it can "
        "only keep more.",
        rich_help_panel=SELECTION,
    ),
]

HtmlFile = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page for a browser that marks what would go; it loads nothing from the "
        "network.",
        rich_help_panel=OUTPUT,
    ),
]

MetricsFile = Annotated[
    str | None,
    typer.Option(
        "--metrics-file",
        metavar="FILE",
        help="Write metrics of the run to this file, for the node exporter of Prometheus "
        "(textfile collector).",
        rich_help_panel=OUTPUT,
    ),
]

Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Do not ask. Without a terminal nothing is ever asked.",
        rich_help_panel=SAFETY,
    ),
]

AuditLogFile = Annotated[
    str | None,
    typer.Option(
        "--audit-log",
        metavar="FILE",
        help="Append a JSON line to this file for every file that goes, with the reason.",
        rich_help_panel=OUTPUT,
    ),
]

LockWait = Annotated[
    str | None,
    typer.Option(
        "--lock-wait",
        metavar="DUR",
        help="Wait this long for another fastprune to end.",
        rich_help_panel=PACE,
    ),
]

NoLock = Annotated[
    bool,
    typer.Option(
        "--no-lock",
        help="Go on without a lock if the file system can't lock. A cache that another fastprune "
        "has locked is still refused.",
        rich_help_panel=SAFETY,
    ),
]

TextOrJson = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="text or json.", rich_help_panel=OUTPUT)
]

DEFAULT_IMAGE_PATH = "/var/lib/ociregistry"
IMAGE_PATH_VARIABLE = "FASTPRUNE_IMAGE_PATH"
NOWHERE = "a relative path, but the folder that fastprune was started in was deleted"
"""The message about a path that `leads_nowhere`."""

_SHORT_OPTIONS = frozenset(("-h", "-n", "-o", "-q", "-y"))


class LogLevel(StrEnum):
    """The least level of messages on stderr."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    """How messages are written."""

    text = "text"
    json = "json"


class Color(StrEnum):
    """Whether to use colours."""

    auto = "auto"
    always = "always"
    never = "never"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """Options that work before and after the command; None means not given."""

    image_path: Annotated[
        str | None,
        typer.Option(
            "--image-path",
            metavar="DIR",
            # Not typer's envvar: the variable must not beat an option before the command.
            help=f"The image cache. Else ${IMAGE_PATH_VARIABLE}, else imagePath of the "
            f"config file, else {DEFAULT_IMAGE_PATH}.",
            rich_help_panel=GLOBAL,
        ),
    ] = None
    config_file: Annotated[
        ConfigFile | None,
        typer.Option(
            "--config-file",
            metavar="FILE",
            parser=ConfigFile,
            help="ociregistry's own YAML: imagePath and pruneConfig are used.",
            rich_help_panel=GLOBAL,
        ),
    ] = None
    jobs: Annotated[
        str | None,
        typer.Option(
            "--jobs",
            metavar="N|auto",
            help="Processes that read manifests. Default: auto, by the CPUs that may be used.",
            rich_help_panel=GLOBAL,
        ),
    ] = None
    max_manifest_size: Annotated[
        str | None,
        typer.Option(
            "--max-manifest-size",
            metavar="SIZE",
            help="Refuse larger manifest files. Default: 64MiB.",
            rich_help_panel=GLOBAL,
        ),
    ] = None
    quiet: Annotated[
        bool | None,
        typer.Option(
            "--quiet",
            "-q",
            help="Nothing on stderr but errors.",
            rich_help_panel=GLOBAL,
            show_default=False,
        ),
    ] = None
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="Show progress. Default: only on a terminal.",
            rich_help_panel=GLOBAL,
            show_default=False,
        ),
    ] = None
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            "--log-level", help="Least level on stderr. Default: warning.", rich_help_panel=GLOBAL
        ),
    ] = None
    log_file: Annotated[
        str | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            help="Append the messages, with times, to this file too.",
            rich_help_panel=GLOBAL,
        ),
    ] = None
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format",
            help="Messages as text, or each as a line of JSON. Default: text.",
            rich_help_panel=GLOBAL,
        ),
    ] = None
    color: Annotated[
        Color | None,
        typer.Option(
            "--color",
            help="Default: auto, on a terminal unless $NO_COLOR is set; $FORCE_COLOR turns "
            "colours on elsewhere.",
            rich_help_panel=GLOBAL,
        ),
    ] = None


Command = TypeVar("Command", bound=Callable[..., Any])


def takes(*groups: type[Any]) -> Callable[[Command], Command]:
    """Hands a command one value per group of options, before its own parameters.

    Args:
        groups: Dataclasses like the ones above.
    """

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        own = own[len(groups) :]
        # Help and completion show a command's own options before the global ones.
        shown = sorted(groups, key=lambda group: group is GlobalOptions)
        fields = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=hints[field.name],
            )
            for group in shown
            for hints in [get_type_hints(group, include_extras=True)]
            for field in dataclasses.fields(group)
        ]

        @functools.wraps(command)
        def wrapper(**given: Any) -> Any:
            _check_texts(given, signature)
            values = [
                group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
                for group in groups
            ]
            return command(*values, **given)

        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        signature = inspect.Signature(parameters + fields)
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        wrapper.__annotations__ = {
            name: parameter.annotation for name, parameter in signature.parameters.items()
        }
        return wrapper  # type: ignore[return-value]

    return decorate


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default of a field; without one, the empty parameter, which typer takes as required."""
    missing = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if missing else field.default


def _check_texts(given: dict[str, Any], signature: inspect.Signature) -> None:
    """Refuses a value that is an option, an empty text, or a path in a deleted folder.

    `--log-file -n` must not prune for real and log to a file named -n. `--image-path "$CACHE"` must
    not prune another cache because the variable is not set.
    """
    for name, parsed in given.items():
        value = parsed.path if isinstance(parsed, ConfigFile) else parsed
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and (text.startswith("--") or text in _SHORT_OPTIONS):
                raise typer.BadParameter(
                    f"{text!r} looks like an option; the value of "
                    f"{_option(signature.parameters[name])} is missing"
                )
            if _is_file(signature, name, text) and leads_nowhere(text):
                option = _option(signature.parameters[name])
                raise typer.BadParameter(f"{option} {text}: {NOWHERE}; give an absolute path")
        if value == "" and isinstance(value, str):
            raise typer.BadParameter(f"the value of {_option(signature.parameters[name])} is empty")


def leads_nowhere(path: str) -> bool:
    """Whether a path is relative, and the working folder was deleted."""
    if os.path.isabs(path):
        return False
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _is_file(signature: inspect.Signature, name: str, value: Any) -> bool:
    """Whether the value of a parameter is the path of a file; a dash is stdin or stdout."""
    if not isinstance(value, str) or value == "-":
        return False
    (shown,) = signature.parameters[name].annotation.__metadata__
    return "FILE" in (shown.metavar or "")


def _option(parameter: inspect.Parameter) -> str:
    """The option or argument of a parameter, as the help shows it."""
    (shown,) = parameter.annotation.__metadata__
    # typer takes the first name for a default; the real one is in the dataclass or signature.
    return shown.default if isinstance(shown.default, str) else str(shown.metavar)


def merged(before: GlobalOptions, after: GlobalOptions) -> GlobalOptions:
    """Global options given before and after the command; after wins."""
    given = {
        field.name: getattr(after, field.name)
        for field in dataclasses.fields(after)
        if getattr(after, field.name) is not None
    }
    return dataclasses.replace(before, **given)
