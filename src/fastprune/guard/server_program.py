"""Tells ociregistry from other programs: by names, by options, by the text of executables.

Stage: rim. I/O: reads executables, in pieces.

The executable of a Go program names its module. So a Go program with another module is surely
not ociregistry. A program that runs others, such as an interpreter or an emulator, is judged
by the program that it runs and by its options.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from io import RawIOBase
from typing import NamedTuple

from fastprune.guard.process_table import Process, UnknownError

_NAME = "ociregistry"
# Name of the executable in container images.
_OTHER_NAME = "server"
_MODULE = b"github.com/aceeric/ociregistry"
_BUILT_BY_GO = b"\xff Go buildinf:"
_PACKED = b"UPX!"
_PIECE = 1 << 20
# No executable is larger.
_LARGEST = 1 << 30

_COMMANDS = frozenset(("serve", "load", "list", "prune", "version"))
_WRITING_COMMANDS = frozenset(("serve", "load"))
_DISTINCT = frozenset(
    (
        *("image-path", "config-file", "preload-images", "image-file", "resolve-ref"),
        *("pull-timeout", "default-ns"),
    )
)
_DISTINCT_SWITCHES = frozenset(("always-pull-latest", "air-gapped"))
_WITH_VALUE = _DISTINCT | {
    *("log-level", "log-file", "port", "os", "arch", "health", "metrics", "host")
}
_SWITCHES = _DISTINCT_SWITCHES | {"hello-world"}


class Nature(Enum):
    """Whether a program is ociregistry."""

    OCIREGISTRY = "is ociregistry"
    OTHER = "is another program"
    UNKNOWN = "can't be told"


class CommandLine(NamedTuple):
    """What a command line means if it is one of ociregistry.

    Attributes:
        command: The first word that is one of its commands; empty if there is none.
        before: The words before it that are neither options nor their values, the program
            first.
        options: The values of its options; the last one counts.
        distinct: Whether it has an option that hardly any other program has.
        strange: Whether something follows the command that ociregistry does not take.
    """

    command: str
    before: tuple[str, ...]
    options: dict[str, str]
    distinct: bool
    strange: bool

    @property
    def writes(self) -> bool:
        """Whether the command writes into a cache for as long as it runs."""
        return self.command in _WRITING_COMMANDS

    @property
    def serves(self) -> bool:
        """Whether the command answers requests."""
        return self.command == "serve"


def parsed(arguments: list[str]) -> CommandLine:
    """Reads a command line, the program included, as ociregistry does."""
    command, before, options = "", arguments[:1], dict[str, str]()
    distinct = strange = False
    ahead = iter(arguments[1:])
    for argument in ahead:
        name, equals, value = argument.partition("=")
        option = name.removeprefix("-").removeprefix("-") if name.startswith("-") else ""
        if option in _WITH_VALUE:
            options[option] = value if equals else next(ahead, "")
            distinct = distinct or option in _DISTINCT
        elif option in _SWITCHES:
            distinct = distinct or option in _DISTINCT_SWITCHES
        elif command:
            strange = True
        elif argument in _COMMANDS:
            command = argument
        elif not option:
            before.append(argument)
    return CommandLine(command, tuple(before), options, distinct, strange)


def nature_of(process: Process, line: CommandLine) -> Nature:
    """Whether a process is ociregistry, whatever cache it serves."""
    names = [os.path.basename(word).lower() for word in line.before]
    if any(_NAME in name for name in names):
        return Nature.OCIREGISTRY
    program, *run_by_it = line.before or ("",)
    says = _what_it_says(process.executable)
    if says is _Says.OCIREGISTRY or any(_is_ours(process, word) for word in run_by_it):
        return Nature.OCIREGISTRY
    if says is _Says.UNREADABLE and _OTHER_NAME not in names and not line.distinct:
        # The process of another user: only its command line can tell.
        if line.strange:
            return Nature.OTHER
        says = _what_it_says(program) if os.path.isabs(program) else says
    match says:
        case _Says.OTHER:
            return Nature.OTHER
        case _Says.NOTHING if not line.distinct:
            # Not built by Go, and no sign that it is an interpreter or emulator with a server.
            return Nature.OTHER
    return Nature.UNKNOWN


class _Says(Enum):
    """What an executable says of itself."""

    OCIREGISTRY = "it is made of the module"
    OTHER = "Go has built it, of other modules"
    NOTHING = "it can be read, and Go has not built it"
    UNREADABLE = "it can't be read, or it is packed"


def _is_ours(process: Process, word: str) -> bool:
    """Whether a word of a command line is a file that says it is ociregistry."""
    try:
        return _what_it_says(process.path_here(word)) is _Says.OCIREGISTRY
    except UnknownError:
        return False


_said: dict[tuple[int, int, int, int], _Says] = {}


def _what_it_says(path: str) -> _Says:
    try:
        # Only regular files: opening a FIFO or a device can have effects.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return _Says.UNREADABLE
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                return _Says.UNREADABLE
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if key not in _said:
                _said[key] = _searched(file)
            return _said[key]
    except (OSError, ValueError):
        return _Says.UNREADABLE


def _searched(file: RawIOBase) -> _Says:
    built_by_go = packed = False
    rest = b""
    while piece := file.read(_PIECE):
        # The text that we look for may begin in one piece and end in the next.
        text = rest + piece
        if _MODULE in text:
            return _Says.OCIREGISTRY
        built_by_go = built_by_go or _BUILT_BY_GO in text
        packed = packed or _PACKED in text
        rest = text[1 - len(_MODULE) :]
    if packed:
        return _Says.UNREADABLE
    return _Says.OTHER if built_by_go else _Says.NOTHING
