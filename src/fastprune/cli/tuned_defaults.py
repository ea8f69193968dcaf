"""The file of `fastprune tune --save`: defaults for each cache.

The file is `$XDG_CONFIG_HOME/fastprune/tuned.json`, else `~/.config/fastprune/tuned.json`:

    {"version": 1, "caches": {"/var/lib/ociregistry":
        {"jobs": 4, "concurrency": 16, "deletes_per_second": 21450.0}}}

The first two are numbers or "auto". The estimate of a dry run uses the third.
Caches are known by their resolved paths.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from fastprune.cli.messages import log
from fastprune.cli.user_folders import user_folder
from fastprune.errors import FastpruneError
from fastprune.text.escaping import in_utf8

VERSION = 1

_MOST = 1024
_FASTEST = 1e9


@dataclass(frozen=True, slots=True)
class SavedDefaults:
    """Values that are used if the command line does not give them; None means auto.

    Attributes:
        deletes_per_second: How fast files went at that concurrency; None if not known.
    """

    jobs: int | None = None
    concurrency: int | None = None
    deletes_per_second: float | None = None


def load_defaults(image_path: str) -> SavedDefaults:
    """The defaults that were saved for a cache. Unusable values are ignored with a warning."""
    path = _file()
    try:
        entry = _read_caches(path).get(_key(image_path))
    except OSError as error:
        # If we may not even look for the file, only --log-level debug shows it: HOME is often
        # that of root, and most machines have no such file.
        level = logging.WARNING if os.path.exists(path) else logging.DEBUG
        log.log(level, "%s can't be read and is not used: %s", path, error.strerror)
        return SavedDefaults()
    if entry is None:
        return SavedDefaults()
    if not isinstance(entry, dict):
        log.warning("%s is damaged and not used: %s is not an object", path, image_path)
        return SavedDefaults()
    where = f"{path}: {image_path}"
    defaults = SavedDefaults(
        jobs=_number(entry, "jobs", where),
        concurrency=_number(entry, "concurrency", where),
        deletes_per_second=_rate(entry, where),
    )
    log.debug("%s: %s for %s", path, entry, image_path)
    return defaults


def save_defaults(image_path: str, defaults: SavedDefaults) -> str:
    """Saves the defaults for a cache, beside those for others; gives the path of the file.

    Raises:
        FastpruneError: The file can't be written, or an existing one can't be read.
    """
    path = _file()
    if not path:
        raise FastpruneError("there is no home folder to save in: set XDG_CONFIG_HOME")
    try:
        caches = _read_caches(path)
    except OSError as error:
        # The file may hold the defaults of other caches.
        raise FastpruneError(
            f"{path} can't be read, so it was not replaced: {error.strerror}"
        ) from error
    caches[_key(image_path)] = {
        "jobs": defaults.jobs or "auto",
        "concurrency": defaults.concurrency or "auto",
    }
    if defaults.deletes_per_second is not None:
        caches[_key(image_path)]["deletes_per_second"] = round(defaults.deletes_per_second, 1)
    document = {"version": VERSION, "caches": caches}
    import orjson

    from fastprune.whole_files import write_whole

    # The file may be a link into a folder with all configuration files: keep the link.
    target = os.path.realpath(path)
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        content = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        write_whole(target, [content], mode=0o600)
    except OSError as error:
        raise FastpruneError(f"{path} can't be written: {error.strerror}") from error
    return path


def _key(image_path: str) -> str:
    return in_utf8(os.path.realpath(image_path))


def _file() -> str:
    """The path of the file; empty if there is no home folder."""
    folder = user_folder("XDG_CONFIG_HOME", ".config")
    return os.path.join(folder, "tuned.json") if folder else ""


def _read_caches(path: str) -> dict[str, Any]:
    """The caches of the file; none if there is none, or, with a warning, if it is damaged.

    Raises:
        OSError: It can't be read.
    """
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            # Imported only if there is a file: most machines have none.
            import orjson

            document = orjson.loads(file.read())
        match document:
            case {"version": number, "caches": dict(caches)} if number == VERSION:
                return caches
        raise ValueError(f'it is no object of version {VERSION} with an object "caches"')
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        log.warning("%s is damaged and not used: %s", path, error)
        return {}


def _number(entry: dict[str, Any], key: str, where: str) -> int | None:
    value = entry.get(key, "auto")
    if value == "auto":
        return None
    if type(value) is int and 1 <= value <= _MOST:
        return value
    log.warning("%s: %s is not used: neither auto nor a number from 1 to %d", where, key, _MOST)
    return None


def _rate(entry: dict[str, Any], where: str) -> float | None:
    value = entry.get("deletes_per_second")
    if value is None:
        return None
    if type(value) in (int, float) and 0 < value < _FASTEST:
        return float(value)
    log.warning("%s: deletes_per_second is not used: no number above 0", where)
    return None
