"""The options that several commands share, and how a command gets them.

A group of options is a frozen dataclass whose fields are annotated for typer.
`takes(Group, ...)` puts their fields into the signature that typer sees and hands the
command one value per group.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from fastprune.cli.config import ConfigFile
from fastprune.cli.headings import GLOBAL, HOW_MUCH, KEEP, SELECTION
from fastprune.criteria import Criteria

DEFAULT_IMAGE_PATH = "/var/lib/ociregistry"
IMAGE_PATH_VARIABLE = "FASTPRUNE_IMAGE_PATH"
NOWHERE = "a relative path, but the folder that fastprune was started in was deleted"
"""What is said of a path that `leads_nowhere`."""

_SHORT_OPTIONS = frozenset(("-h", "-n", "-o", "-q", "-y"))


class LogLevel(StrEnum):
    """How much is said on stderr."""

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
            help="Show how far it is. Default: only on a terminal.",
            rich_help_panel=GLOBAL,
            show_default=False,
        ),
    ] = None
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            "--log-level", help="What to say on stderr. Default: warning.", rich_help_panel=GLOBAL
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
            help="Default: auto, on a terminal and unless $NO_COLOR is set; $FORCE_COLOR "
            "is for what only looks like no terminal.",
            rich_help_panel=GLOBAL,
        ),
    ] = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions(Criteria):
    """Which manifests are meant."""

    pattern: Annotated[
        list[str] | None,
        typer.Option(
            "--pattern",
            metavar="P[,P...]",
            help="The image URL matches any of these RE2 expressions. Repeatable.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="P[,P...]",
            help="Keep what any of these matches, whatever else selects it. Repeatable.",
            rich_help_panel=KEEP,
        ),
    ] = None
    date: Annotated[
        str | None,
        typer.Option(
            "--date",
            "--prune-before",
            "--created-before",
            metavar="T",
            help="Created before YYYY-MM-DDTHH:MM:SS or YYYY-MM-DD, local wall clock.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DUR",
            help="Created longer ago than this: 90m, 36h, 30d, 2w, 1y, 1d12h.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    pulled_before: Annotated[
        str | None,
        typer.Option(
            "--pulled-before",
            metavar="T",
            help="Last pulled before this time; a list and its children count as one.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    not_pulled_for: Annotated[
        str | None,
        typer.Option(
            "--not-pulled-for",
            metavar="DUR",
            help="Last pulled longer ago than this.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    dangling: Annotated[
        bool,
        typer.Option(
            "--dangling",
            help="Untagged images that no list refers to.",
            rich_help_panel=SELECTION,
        ),
    ] = False
    broken: Annotated[
        bool,
        typer.Option(
            "--broken",
            help="Images with missing blobs, and lists that lead to no others.",
            rich_help_panel=SELECTION,
        ),
    ] = False
    keep_last: Annotated[
        int | None,
        typer.Option(
            "--keep-last",
            metavar="N",
            help="Keep the N newest tags of each repository (of those that --pattern matches), by "
            "creation, then last pull, then name. With no other criterion all other tags are "
            "selected.",
            rich_help_panel=KEEP,
        ),
    ] = None
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="DUR",
            help="Keep what was pulled or created within this time, or has no time at all.",
            rich_help_panel=KEEP,
        ),
    ] = None
    keep_from: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-from",
            metavar="FILE|-",
            help="Keep the images that this file, or stdin, names: references as Kubernetes "
            "prints them. Repeatable.",
            rich_help_panel=KEEP,
        ),
    ] = None
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Those pulled longest ago, until the cache is no larger: 500GB, 1.5TiB.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    min_free_space: Annotated[
        str | None,
        typer.Option(
            "--min-free-space",
            metavar="SIZE|N%",
            help="The same, until the file system has so much free space.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    free: Annotated[
        str | None,
        typer.Option(
            "--free",
            metavar="SIZE",
            help="The same, until so many bytes come free. Of several targets the largest counts.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone",
            metavar="NAME",
            help="The server's time zone, for ages, as in Europe/Berlin. Default: this machine's.",
            rich_help_panel=SELECTION,
        ),
    ] = None
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            metavar="N",
            help="At most so many images, those pulled longest ago first.",
            rich_help_panel=HOW_MUCH,
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
        # In help and completion, a command's own options come before the global ones.
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
    """What typer takes for no default is an empty parameter: an argument that is needed."""
    missing = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if missing else field.default


def _check_texts(given: dict[str, Any], signature: inspect.Signature) -> None:
    """Refuses what is no value: an option that was swallowed, an empty text, a file nowhere.

    `--log-file -n` must not prune for real into a file named -n, nor `--image-path "$CACHE"`
    another cache because the variable is not set.
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
    # What comes first is taken for the default, which dataclasses and signatures say better.
    return shown.default if isinstance(shown.default, str) else str(shown.metavar)


def merged(before: GlobalOptions, after: GlobalOptions) -> GlobalOptions:
    """Global options given before and after the command; after wins."""
    given = {
        field.name: getattr(after, field.name)
        for field in dataclasses.fields(after)
        if getattr(after, field.name) is not None
    }
    return dataclasses.replace(before, **given)
