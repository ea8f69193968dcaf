"""Which servers run on a cache: processes that write into it behind our back.

Stage: rim. Input: path of a cache. Output: `ServerFinding`s. I/O: reads what the system shows
of processes, their configuration files and executables.

A server holds no lock, no pid file and no open file in its cache. It is known by its command
line: `serve`, or `load`, and an image path that leads to the cache, seen from its own working
directory and, in a container, from its own root. If a part of this can't be known, the finding
says which.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from fastprune.errors import ServerRunningError
from fastprune.guard.named_server import NamedServer, other_servers
from fastprune.guard.process_table import PROC, Process, UnknownError, processes, what_is_hidden
from fastprune.guard.server_findings import ServerFinding, in_words
from fastprune.guard.server_program import CommandLine, Nature, nature_of, parsed

_LARGEST_CONFIG = 4 << 20
# The start of a process is known to a second or so only.
_SURELY_LATER = 2.0


def find_servers(root: str, proc: str = PROC) -> tuple[ServerFinding, ...]:
    """Looks for servers that run on a cache. Cheap: only `serve` and `load` are examined.

    Returns:
        Processes that serve this cache, and those of which that can't be ruled out. A process
        that is surely another program, or surely serves another cache, is not among them.
    """
    findings = []
    if hidden := what_is_hidden(proc):
        findings.append(ServerFinding(None, "", hidden))
    for process in processes(proc):
        line = parsed(process.arguments)
        if line.writes and (finding := _judged(process, line, os.path.abspath(root))):
            findings.append(finding)
    return tuple(findings)


class _Place(NamedTuple):
    """Where a server may have its cache, as the server sees it.

    It is the default, unless an option or a file has `given` it.
    """

    path: str
    given: bool


_DEFAULT = _Place("/var/lib/ociregistry", given=False)


def _judged(process: Process, line: CommandLine, root: str) -> ServerFinding | None:
    unknown = ""
    try:
        places, doubt = _places(process, line)
        here = [place for place in places if _leads_to(process, place.path, root)]
        if not here and doubt:
            raise UnknownError(doubt)
        if not here:
            return None
        given = any(place.given for place in here)
    except UnknownError as error:
        if not process.is_there():
            return None
        unknown, given = f"its cache can't be told: {error}", False
    nature = Nature.OCIREGISTRY if given else nature_of(process, line)
    if nature is Nature.OTHER:
        return None
    if nature is Nature.UNKNOWN and not unknown:
        unknown = "whether it is ociregistry can't be told; it would serve this cache"
    return ServerFinding(process.pid, " ".join(process.arguments), unknown, serves=line.serves)


def _leads_to(process: Process, path: str, root: str) -> bool:
    try:
        return os.path.samefile(process.path_here(path), root)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UnknownError(f"{path} can't be looked at: {error.strerror}") from None


def _places(process: Process, line: CommandLine) -> tuple[list[_Place], str]:
    """Where a server may have its cache; and why that is not sure, or an empty text.

    Raises:
        UnknownError: That can't be known.
    """
    if "image-path" in line.options:
        # An empty path means the working directory.
        return [_Place(line.options["image-path"] or ".", given=True)], ""
    if "config-file" in line.options:
        return _configured_places(process, line.options["config-file"])
    return [_DEFAULT], ""


def _configured_places(process: Process, path: str) -> tuple[list[_Place], str]:
    from fastprune.guard.server_yaml import IMAGE_PATH, ServerYamlError, load, value_of

    content, changed = _read(process, path)
    try:
        document = load(content)
    except ServerYamlError as error:
        raise UnknownError(
            f"its configuration file {path} can't be understood: {error}; correct it, or start "
            "the server with --image-path"
        ) from None
    started = process.started
    later = started is None or changed > started + _SURELY_LATER
    doubt = f"its configuration file {path} may have changed since it started" if later else ""
    image_path = value_of(document, IMAGE_PATH)
    places = [_Place(str(image_path), given=True)] if image_path else []
    if not document.get(IMAGE_PATH):
        # The server knows its keys in one spelling only.
        places.append(_DEFAULT)
    return places, doubt


def _read(process: Process, path: str) -> tuple[bytes, float]:
    """The content of a configuration file, and when it was last changed."""
    try:
        here = process.path_here(path)
        if not stat.S_ISREG(os.stat(here).st_mode):
            raise UnknownError(f"its configuration file {path} is no regular file")
        with open(os.open(here, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(_LARGEST_CONFIG + 1)
            changed = os.fstat(file.fileno()).st_ctime
    except OSError as error:
        raise UnknownError(
            f"its configuration file {path} can't be read: {error.strerror}"
        ) from None
    if len(content) > _LARGEST_CONFIG:
        raise UnknownError(f"its configuration file {path} is too large")
    return content, changed


def pruning_servers(root: str, proc: str = PROC) -> tuple[tuple[int, str], ...]:
    """Which servers on a cache prune it by themselves, as far as that can be seen.

    Returns:
        The id of each, and the path of the configuration file that says so. A file that can't
        be read says nothing here.
    """
    from fastprune.guard.server_yaml import ServerYamlError, load, prunes_by_itself

    serving = {one.pid for one in find_servers(root, proc) if one.is_sure and one.serves}
    found = []
    for process in processes(proc):
        file = parsed(process.arguments).options.get("config-file")
        if process.pid in serving and file:
            with suppress(UnknownError, ServerYamlError):
                if prunes_by_itself(load(_read(process, file)[0])):
                    found.append((process.pid, file))
    return tuple(found)


def servers_in_the_way(root: str, named: NamedServer | None = None) -> tuple[ServerFinding, ...]:
    """`find_servers`, without the server of `--server` if that is named."""
    found = find_servers(root)
    return found if named is None else other_servers(found, named)


def refuse_servers(
    root: str, *, force: bool = False, named: NamedServer | None = None
) -> tuple[ServerFinding, ...]:
    """Makes sure that no server runs on a cache, but for one that is named.

    Returns:
        The servers that were found, if `force` overrides them.

    Raises:
        ServerRunningError: One seems to run, or that can't be ruled out; the message says
            which process, and what could not be known.
    """
    found = servers_in_the_way(root, named)
    if found and not force:
        refusal = ServerRunningError(in_words(found, root))
        if not any(one.is_sure for one in found):
            refusal.hint = "make sure that no server runs on this cache, and give --force"
            if named is not None:
                refusal.hint = f"make sure that no server but {named} runs on it, and give --force"
            if os.geteuid():
                refusal.hint += ", or run fastprune as root, which can look at all processes"
        elif named is not None:
            refusal.hint = (
                "nothing was deleted; only the server of --server may run on this cache: give the "
                "address at which it listens, and stop any other"
            )
        raise refusal
    return found
