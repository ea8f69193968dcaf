"""The program: registers its commands, and turns errors into exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import typer

from fastprune.cli.headings import GLOBAL
from fastprune.cli.help_text import HelpfulCommand, HelpfulGroup
from fastprune.cli.options import GlobalOptions, flag, merged, takes
from fastprune.cli.signals import end_at_once_on_signals, end_on_signals, leave
from fastprune.errors import FastpruneError, NoMemoryError
from fastprune.text.escaping import printable

PROGRAM = "fastprune"

COMMANDS = {
    "list": "List the manifests of the cache.",
    "du": "Show where the space goes, and how long ago it was pulled.",
    "plan": "Work out a prune and write it to a file for review and apply.",
    "prune": "Remove selected manifests, and blobs that nothing else needs.",
    "apply": "Carry out a saved plan, as far as it is still safe.",
    "verify": "Check the cache for damaged manifests and blobs, and orphans.",
    "explain": "Say why an image would go or stay, and what holds its blobs.",
    "trash": "Show, put back or delete for good what prune --trash moved.",
    "tune": "Measure this machine; recommend --jobs and --concurrency.",
}
"""Each command, a module of `fastprune.cli`, with its summary, in the order of `--help`."""

# The class of click, or of typer's own copy of click.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    name=PROGRAM,
    cls=HelpfulGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    help="Lists and prunes the image cache of ociregistry: fast, and without ever removing a "
    "blob that a kept image still needs. Stop the server before you prune, or name it with "
    "--server.",
    epilog="fastprune prune --not-pulled-for 30d --dry-run\nfastprune COMMAND --help",
)


def _version(wanted: bool) -> None:
    if wanted:
        from fastprune.version import __version__

        typer.echo(f"fastprune {__version__}")
        raise typer.Exit


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _VersionOption:
    version: bool = flag("--version", GLOBAL, "Show the version.", callback=_version, is_eager=True)


@app.callback()
@takes(GlobalOptions, _VersionOption)
def _globals(context: typer.Context, options: GlobalOptions, _: _VersionOption) -> None:
    context.obj = options


def command(
    name: str, *, examples: Sequence[str], parent: typer.Typer = app
) -> Callable[[Callable[..., int]], None]:
    """Registers a function as a command, whose help ends with the examples.

    The types of its parameters are its groups of options, the `GlobalOptions` first; it returns
    the exit code. Errors of the library become messages and exit codes.
    """

    def register(function: Callable[..., int]) -> None:
        groups = [hint for name, hint in get_type_hints(function).items() if name != "return"]

        @functools.wraps(function)
        def guarded(context: typer.Context, options: GlobalOptions, *values: Any) -> None:
            options = merged(context.obj, options)
            try:
                code = function(options, *values)
            except (FastpruneError, OSError, MemoryError, ImportError) as error:
                from fastprune.cli.refusals import say_refusal, wants_json

                name = _name(context) if wants_json(values) else None
                code = say_refusal(_known(error), options, command=name)
            except KeyboardInterrupt:
                from fastprune.cli.messages import notice

                # Once something may be deleted, `run_until_signal` takes signals.
                code = 128 + signal.SIGINT
                notice("interrupted; nothing was deleted", exit_code=code)
            raise typer.Exit(code)

        shown = parent.command(name, cls=HelpfulCommand, epilog="\n".join(examples))
        shown(takes(*groups)(guarded))

    return register


def add_group(name: str, summary: str, *, examples: Sequence[str]) -> typer.Typer:
    """Adds a group of commands, which takes the global options like a command."""
    group = typer.Typer(
        name=name, cls=HelpfulGroup, help=summary, epilog="\n".join(examples), no_args_is_help=True
    )

    @group.callback()
    @takes(GlobalOptions)
    def globals_of_group(context: typer.Context, options: GlobalOptions) -> None:
        context.obj = merged(context.obj, options)

    app.add_typer(group)
    return group


def _known(error: FastpruneError | OSError | MemoryError | ImportError) -> FastpruneError:
    """An error of the library as it is; any other as one with the message of the system."""
    if isinstance(error, FastpruneError):
        return error
    if isinstance(error, MemoryError):
        return NoMemoryError("memory ran out")
    if isinstance(error, ImportError):
        # Most often memory ran out. The last line has the message of the system.
        reason = str(error).strip().rpartition("\n")[2]
        return NoMemoryError(f"a library can't be loaded: {printable(reason)}")
    path = f"{printable(str(error.filename))}: " if error.filename else ""
    return FastpruneError(f"{path}{error.strerror or error}")


def _name(context: typer.Context) -> str:
    """The name of a command, preceded by that of its group."""
    names: list[str] = []
    step: Any = context
    while step.parent:
        names.insert(0, step.info_name)
        step = step.parent
    return " ".join(names)


def run() -> None:
    """Registers the commands and runs the one that was asked for."""
    # For completion, the shell passes the words of the line in the environment.
    completing = f"_{PROGRAM.upper()}_COMPLETE" in os.environ
    for name, summary in COMMANDS.items():
        if completing or name in sys.argv:
            importlib.import_module(f"fastprune.cli.{name}")
        else:
            # This command is not called, but --help lists it: its module need not be imported.
            app.command(name, help=summary)(_not_asked_for)
    end_on_signals()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        if type(error).show is not _UsageError.show:
            # No command at all: the message is the help.
            error.show()
            code = error.exit_code
        else:
            from fastprune.cli.refusals import say_usage_error

            code = say_usage_error(error)
    except OSError as error:
        # Commands report their own errors of writing: this one comes from --help.
        from fastprune.cli.refusals import say_unwritten

        code = say_unwritten(error)
    except KeyboardInterrupt:
        # The signal came before a command ran: commands report it themselves.
        code = 128 + signal.SIGINT
    except SystemExit as ended:
        # Any other signal.
        code = ended.code
    end_at_once_on_signals()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    leave(code or 0)


def _not_asked_for() -> None:
    raise AssertionError
