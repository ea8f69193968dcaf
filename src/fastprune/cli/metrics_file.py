"""The metrics file of a command: checked before any work, and written even after an error."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from fastprune.cli.messages import facts, log
from fastprune.cli.options import DEFAULT_IMAGE_PATH, GlobalOptions
from fastprune.cli.session import image_path_of
from fastprune.errors import FastpruneError, UnreadableManifestsError, UsageError
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.report.metrics import (
    Labels,
    RunFacts,
    Values,
    is_ours,
    parse_image_path,
    parse_kept,
    render,
)
from fastprune.version import __version__
from fastprune.whole_files import check_writable, checked_target, write_whole

_MODE = 0o644
_SUFFIX = ".prom"
_MOST_READ = 1_000_000


Note = Callable[[Values], None]
"""Records metrics of a run as they become known; see `fastprune.report.metrics`."""


def with_metrics(
    path: str | None, command: str, root: str, work: Callable[[Note], int], *, dry_run: bool = False
) -> int:
    """Does the work of a command, and writes its metrics, if they were asked for.

    The work records metrics as they become known, and returns the exit code.

    Returns:
        The exit code; 1 if only the metrics failed.

    Raises:
        UsageError: The file can't be written; the work was not begun.
        FastpruneError: An error of the work.
    """
    values: dict[str, float | Mapping[str, float]] = {}
    if path is None:
        return work(values.update)
    target = _checked(path, root)
    labels, began = Labels(command, os.path.abspath(root)), time.monotonic()

    def written(exit_code: int) -> bool:
        run = RunFacts(
            labels=labels,
            version=__version__,
            dry_run=dry_run,
            exit_code=exit_code,
            ended=time.time(),
            seconds=time.monotonic() - began,
        )
        return _write(path, target, run, values)

    try:
        code = work(values.update)
    except BaseException as error:
        if isinstance(error, UnreadableManifestsError):
            values["cache_corrupt_manifests"] = len(error.faults)
        written(_exit_code(error))
        raise
    return code if written(code) else code or FastpruneError.exit_code


@contextmanager
def failures_in_metrics(
    path: str | None, command: str, options: GlobalOptions, *, dry_run: bool = False
) -> Iterator[None]:
    """Counts an error in its body, before `with_metrics` has begun, as a failed run.

    If only the configuration file of the options could name the cache, and it can't be read, the
    cache of the previous run counts.
    """
    try:
        yield
    except UsageError as error:
        root = image_path_of(options) or _former_image_path(path, command) or DEFAULT_IMAGE_PATH
        refused = error

        def fail(_: Note) -> int:
            raise refused

        with_metrics(path, command, root, fail, dry_run=dry_run)


def _former_image_path(path: str | None, command: str) -> str | None:
    with suppress(OSError):
        return parse_image_path(_read(path), command) if path else None
    return None


def _exit_code(error: BaseException) -> int:
    """The exit code of the program when this error ends it."""
    match error:
        case FastpruneError():
            return error.exit_code
        case KeyboardInterrupt():
            return 128 + signal.SIGINT
        case SystemExit(code=int(code)):
            return code
        case _:
            return 1


def _checked(path: str, root: str) -> str:
    """The path with all links followed, if metrics can be written there."""
    try:
        target = checked_target(path, root, DEFAULT_LAYOUT)
        former = _read(target)
        check_writable(target)
    except UsageError as error:
        raise UsageError(f"--metrics-file {error}; nothing was deleted") from None
    except OSError as error:
        raise UsageError(
            f"--metrics-file {path} can't be written: {error.strerror}; nothing was deleted"
        ) from None
    if not is_ours(former):
        raise UsageError(
            f"--metrics-file {path} holds something else than metrics of fastprune, and would be "
            "replaced; nothing was deleted"
        )
    if not target.endswith(_SUFFIX):
        log.warning(
            "--metrics-file %s: the node exporter reads only files whose names end in %s",
            path,
            _SUFFIX,
        )
    return target


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_READ)
    except FileNotFoundError:
        return ""


def _write(path: str, target: str, run: RunFacts, values: Values) -> bool:
    try:
        text = render(run, values, parse_kept(_read(target), run.labels))
        write_whole(target, [text.encode()], mode=_MODE)
    except OSError as error:
        log.error(
            "--metrics-file %s can't be written: %s; all else was done as the report says",
            path,
            error.strerror,
            extra=facts(path=path),
        )
        return False
    return True
