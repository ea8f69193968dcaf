"""The processes of this machine, and how each of them sees its files.

Stage: rim. I/O: reads /proc on Linux; asks psutil elsewhere.

A process has its own root and its own mounts if it runs in a container. Only root may look
into those of another user's process. Where we may not, an absolute path means the same as here
only if the process has our mounts.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import psutil

T = TypeVar("T")

PROC = "/proc"
"""Where the kernel shows processes."""

# Links of a path can lead round in a circle.
_MOST_STEPS = 1_000
# What the kernel calls it in /proc/self/status; see capabilities(7).
_CAP_SYS_PTRACE = 19
_HIDES_NOTHING = ("0", "off")
# Every process that may not be traced is hidden, whatever group we are in.
_HIDES_FROM_GROUPS = ("4", "ptraceable")
_LINUX = sys.platform == "linux"


class UnknownError(Exception):
    """Something about a process can't be known; the message says what."""


def processes(proc: str = PROC) -> Iterator[Process]:
    """All other processes whose command lines can be read."""
    if _LINUX:
        yield from _LinuxProcess.all(proc)
    else:
        yield from _OtherProcess.all()


def what_is_hidden(proc: str = PROC) -> str:
    """Says why there may be processes that can't be seen; empty if there are none.

    Processes of other machines and of other PID namespaces do not count: nothing shows them.
    """
    if not _LINUX:
        return _OtherProcess.hidden()
    try:
        with open(f"{proc}/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            options = _mount_options(file, proc)
    except OSError:
        return f"{proc} shows no processes: it is not mounted, or empty"
    hides = options.get("hidepid", "0")
    if hides not in _HIDES_NOTHING and not _may_see_all(proc, hides, options.get("gid")):
        return f"{proc} is mounted with hidepid={hides}: processes of other users are hidden"
    if not os.path.lexists(f"{proc}/1"):
        return f"{proc} shows only some of the processes: process 1 is not there"
    unreadable = [name for name in _pids(proc) if _unreadable(proc, name)]
    if unreadable:
        return f"the command line of process {unreadable[0]} can't be read"
    return ""


def _mount_options(lines: Iterator[str], folder: str) -> dict[str, str]:
    """The options of what is mounted on a folder; of the topmost, if there are several."""
    options: dict[str, str] = {}
    for line in lines:
        mount, _, source = line.partition(" - ")
        fields = mount.split()
        if len(fields) > 4 and fields[4] == folder:
            texts = [text.partition("=") for text in source.split()[-1].split(",")]
            options = {name: value for name, _, value in texts}
    return options


def _may_see_all(proc: str, hides: str, group: str | None) -> bool:
    groups = [str(one) for one in (os.getegid(), *os.getgroups())]
    if hides not in _HIDES_FROM_GROUPS and group in groups:
        return True
    try:
        with open(f"{proc}/self/status", encoding="ascii", errors="replace") as file:
            status = file.read()
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(found and int(found[1], 16) >> _CAP_SYS_PTRACE & 1)


def _pids(proc: str) -> list[str]:
    try:
        return [name for name in os.listdir(proc) if name.isdecimal()]
    except OSError:
        return []


def _unreadable(proc: str, pid: str) -> bool:
    # In this order, a process that has just ended does not count as unreadable.
    return not os.access(f"{proc}/{pid}/cmdline", os.R_OK) and os.path.exists(f"{proc}/{pid}")


class _LinuxProcess:
    """A process as /proc shows it.

    Attributes:
        pid: Its id.
        arguments: Its command line, the program included.
    """

    def __init__(self, proc: str, pid: int, arguments: list[str]) -> None:
        self.pid, self.arguments = pid, arguments
        self._proc = proc
        self._folder = f"{proc}/{pid}"

    @classmethod
    def all(cls, proc: str) -> Iterator[Process]:
        own = command_line(f"{proc}/self")
        for name in _pids(proc):
            line = command_line(f"{proc}/{name}")
            # Our own workers have our command line.
            if line and line != own:
                arguments = [os.fsdecode(one) for one in line.removesuffix(b"\0").split(b"\0")]
                yield cls(proc, int(name), arguments)

    def is_there(self) -> bool:
        """Whether it still runs."""
        return os.path.exists(self._folder)

    @property
    def executable(self) -> str:
        """A path that leads us to its program, if we may look at it."""
        return f"{self._folder}/exe"

    @property
    def started(self) -> float | None:
        """When it started, in seconds since 1970; None if that can't be known."""
        try:
            ticks = int(_status_fields(self._folder)[19])
            with open(f"{self._proc}/stat", "rb") as file:
                (booted,) = [int(line.split()[1]) for line in file if line.startswith(b"btime ")]
        except (OSError, ValueError, IndexError):
            return None
        return booted + ticks / os.sysconf("SC_CLK_TCK")

    def path_here(self, path: str) -> str:
        """Translates a path as the process sees it to a path that leads to the same from here.

        Raises:
            UnknownError: That can't be known.
        """
        if self._may_look():
            return self._followed(path)
        if not os.path.isabs(path):
            raise UnknownError(
                f"{path} starts at its working directory, which belongs to another user"
            )
        if self._mounts("self") != self._mounts(str(self.pid)):
            raise UnknownError(
                f"it belongs to another user and has other mounts: where {path} leads for it "
                "can't be seen"
            )
        return path

    def _may_look(self) -> bool:
        try:
            os.stat(f"{self._folder}/root/")
            os.stat(f"{self._folder}/cwd")
        except OSError as error:
            # Else the process has just ended, or its working directory is gone.
            return not isinstance(error, PermissionError)
        return True

    def _mounts(self, pid: str) -> bytes | None:
        try:
            with open(f"{self._proc}/{pid}/mountinfo", "rb") as file:
                return file.read()
        except OSError as error:
            raise UnknownError(f"its mounts can't be read: {error.strerror}") from None

    def _followed(self, path: str) -> str:
        """Follows a path inside the root of the process; absolute links stay in it, too."""
        root = f"{self._folder}/root"
        at = root if os.path.isabs(path) else f"{self._folder}/cwd"
        ahead = path.split("/")
        for _ in range(_MOST_STEPS):
            if not ahead:
                return at
            name = ahead.pop(0)
            if name in ("", ".") or (name == ".." and at == root):
                continue
            if at == f"{root}/proc" and name in ("self", "thread-self"):
                # /proc/self is the process that follows the link.
                at = self._folder
                continue
            try:
                target = os.readlink(f"{at}/{name}")
            except OSError:
                at = f"{at}/{name}"
                continue
            if os.path.isabs(target):
                at = root
            ahead[:0] = target.split("/")
        raise UnknownError(f"the links of {path} lead nowhere")


def command_line(process: str) -> bytes:
    """The command line of a process; empty if it has none, has ended, or can't be read."""
    try:
        with open(f"{process}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def parent_of(pid: int, proc: str = PROC) -> int:
    """The id of the process that has started another; 0 if that can't be known."""
    try:
        return int(_status_fields(f"{proc}/{pid}")[1])
    except (OSError, ValueError, IndexError):
        return 0


def _status_fields(process: str) -> list[bytes]:
    """The fields of /proc/<pid>/stat that follow the name of the program."""
    with open(f"{process}/stat", "rb") as file:
        # The name is in brackets, and can hold anything.
        return file.read().rpartition(b")")[2].split()


class _OtherProcess:
    """The same as `_LinuxProcess`, as psutil shows it on a system without /proc."""

    def __init__(self, process: psutil.Process, arguments: list[str]) -> None:
        self.pid, self.arguments = process.pid, arguments
        self._process = process

    @classmethod
    def all(cls) -> Iterator[Process]:
        import psutil

        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid():
                    yield cls(process, process.cmdline())
            except psutil.Error:
                continue

    @staticmethod
    def hidden() -> str:
        """See `what_is_hidden`. Such a system shows only the names of other users' processes."""
        import psutil

        for process in psutil.process_iter():
            name = "a process"
            try:
                name = process.name()
                process.cmdline()
            except psutil.AccessDenied:
                if "ociregistry" in name:
                    return f"the command line of process {process.pid} ({name}) can't be read"
            except psutil.Error:
                continue
        return ""

    def is_there(self) -> bool:
        return self._process.is_running()

    @property
    def executable(self) -> str:
        return _answer(self._process.exe) or ""

    @property
    def started(self) -> float | None:
        return _answer(self._process.create_time)

    def path_here(self, path: str) -> str:
        if os.path.isabs(path):
            return path
        working_directory = _answer(self._process.cwd)
        if working_directory is None:
            raise UnknownError(f"{path} starts at its working directory, which can't be read")
        return os.path.join(working_directory, path)


Process = _LinuxProcess | _OtherProcess
"""A process that runs, as this system shows it."""


def _answer(ask: Callable[[], T]) -> T | None:
    """What psutil says of a process; None if it has ended, or we may not look at it."""
    import psutil

    try:
        return ask()
    except psutil.Error:
        return None
