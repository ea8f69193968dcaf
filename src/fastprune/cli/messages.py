"""Messages on stderr and in the log file: as text, or each as a line of JSON.

Messages go through `log`, by level. Notices (`notice`), such as progress, are written at any
level, but not with --quiet.

A line of JSON has `time` (RFC 3339, UTC), `level` and `message`, then the values in the message,
such as `path` or `exit_code`: see docs/monitoring.md.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastprune.cli.options import Color, GlobalOptions, LogFormat, LogLevel
from fastprune.cli.terminal import paint_for
from fastprune.errors import FastpruneError, UnreadableManifestsError, UsageError
from fastprune.text.escaping import printable
from fastprune.text.style import Paint, Style

log = logging.getLogger("fastprune")
_notices = logging.getLogger("fastprune.notices")
_notices.propagate = False

_STYLES = {logging.ERROR: Style.ERROR, logging.WARNING: Style.WARNING}
_PROGRAM = "fastprune: "


def set_up_messages(options: GlobalOptions, cache: str | None = None) -> None:
    """Sets where messages go, and what they look like.

    The log file may not lie in a folder of the cache.

    Raises:
        UsageError: The log file can't be opened, or lies in a folder of the cache.
    """
    level = options.log_level or LogLevel.warning
    as_json = _JsonFormat() if options.log_format is LogFormat.json else None
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(as_json or _StderrFormat(paint_for(options.color, sys.stderr)))
    stderr.setLevel(logging.ERROR if options.quiet else logging.NOTSET)
    # Do not stop if a message can't be written.
    logging.raiseExceptions = False
    log.setLevel(level.upper())
    _notices.setLevel(logging.INFO)
    for old in log.handlers:
        old.close()
    log.handlers[:] = _notices.handlers[:] = [stderr]
    if options.log_file:
        if cache is not None:
            _refuse_in_cache(options.log_file, cache)
        try:
            file = logging.FileHandler(options.log_file, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--log-file {options.log_file}: {error.strerror}") from None
        file.setFormatter(as_json or _FileFormat())
        log.addHandler(file)
        _notices.addHandler(file)


def _refuse_in_cache(path: str, cache: str) -> None:
    from fastprune.layouts.default import DEFAULT_LAYOUT
    from fastprune.whole_files import folder_of_cache

    if found := folder_of_cache(path, cache, DEFAULT_LAYOUT):
        raise UsageError(
            f"--log-file {path}: lies in a folder of the cache ({found[1]}), where only cached "
            "files may be"
        )


def facts(**values: Any) -> dict[str, dict[str, Any]]:
    """Fields for the JSON line of a message, as `extra=` of a call of `log`."""
    return {"facts": values}


def notice(text: str, *values: object, **about: Any) -> None:
    """Writes a message at any level, unless --quiet was given; `about` is as in `facts`."""
    _notices.info(text, *values, extra=facts(**about))


def say_error(error: FastpruneError) -> None:
    """Writes the message of an error, and its hint."""
    about: dict[str, Any] = {"exit_code": error.exit_code}
    lines = [str(error)]
    if isinstance(error, UnreadableManifestsError):
        lines += [f"  {printable(path)}: {printable(reason)}" for path, reason in error.faults]
        about["corrupt"] = error.items
    log.error("\n".join(lines), extra=facts(**about, hint=error.hint or None))


class _StderrFormat(logging.Formatter):
    def __init__(self, paint: Paint) -> None:
        super().__init__()
        self._paint = paint

    def format(self, record: logging.LogRecord) -> str:
        if record.name == _notices.name:
            return _PROGRAM + _message(record, printable)
        level = record.levelname.lower() + ":"
        if style := _STYLES.get(record.levelno):
            level = self._paint(style, level)
        hint = _hint(record, self._paint(Style.HINT, "hint:"))
        return f"{_PROGRAM}{level} {_message(record, printable)}{hint}"


class _FileFormat(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record)
        return f"{time} {record.levelname} {_message(record, printable)}{_hint(record, 'hint:')}"


class _JsonFormat(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        document = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": _message(record, str),
        }
        about = getattr(record, "facts", {})
        document |= {name: value for name, value in about.items() if value is not None}
        import json

        # ASCII only: a lone surrogate, which a path may hold, is no error then. DEL remains.
        return json.dumps(document).replace("\x7f", "\\u007f")


def _hint(record: logging.LogRecord, word: str) -> str:
    hint = getattr(record, "facts", {}).get("hint")
    return f"\n{_PROGRAM}{word} {hint}" if hint else ""


def _message(record: logging.LogRecord, safe: Callable[[str], str]) -> str:
    """The message on one line: its values may come from a cache, so line ends are escaped."""
    values = record.args
    if isinstance(values, tuple):
        values = tuple(safe(value) if isinstance(value, str) else value for value in values)
    text = str(record.msg) % values if values else str(record.msg)
    return "\n".join(map(safe, text.split("\n")))


# Until the options are known, errors go to stderr.
set_up_messages(GlobalOptions(color=Color.auto))
