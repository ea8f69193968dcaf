"""The start of every command: resolves the global options and sets up messages."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from fastprune.cli.cluster_options import ClusterOptions, cluster_address, opened_cluster
from fastprune.cli.messages import set_up_messages
from fastprune.cli.option_values import parse_number_or_auto
from fastprune.cli.options import (
    DEFAULT_IMAGE_PATH,
    IMAGE_PATH_VARIABLE,
    NOWHERE,
    Color,
    GlobalOptions,
    LogFormat,
    leads_nowhere,
)
from fastprune.cli.server_config import ServerConfig
from fastprune.cli.signals import end_if_told
from fastprune.cli.state_folder import StateOptions, VerifiedOptions, state_folder
from fastprune.cli.terminal import paint_for, wants_color
from fastprune.cli.tuned_defaults import load_defaults
from fastprune.errors import FastpruneError, NoCacheError, UsageError
from fastprune.executors.executor import Executor
from fastprune.executors.processes import start_workers
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.policy.criteria_io import Inputs, is_stdin
from fastprune.progress import NoProgress, Progress
from fastprune.reading.folders import check_root
from fastprune.scanning.jobs import auto_jobs
from fastprune.scanning.scanner import MAX_MANIFEST_BYTES, ScanOptions, scan_cache
from fastprune.text.quantities import parse_size
from fastprune.text.style import Paint

if TYPE_CHECKING:
    from fastprune.deletion.cache_reader import CacheReader
    from fastprune.deletion.pace import Limits
    from fastprune.executors.dask_address import ClusterAddress
    from fastprune.index.cache_index import CacheIndex
    from fastprune.pipeline import OpenExecutor
    from fastprune.scanning.memory import StateFolder

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 3 << 20
_MAPPED_FROM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Session:
    """The global options, resolved.

    Attributes:
        saved_concurrency: Threads that delete, if the command line does not say; None for
            auto.
        saved_rate: Files a second that tune measured, if that was saved.
        max_manifest_bytes: Larger manifest files are refused.
        inputs: What this run reads from files and stdin.
        state: Where what was read is remembered; None for nowhere.
        dask: The cluster whose workers read the cache; None for processes of our own.
    """

    image_path: str
    config: ServerConfig
    jobs: int
    saved_concurrency: int | None
    saved_rate: float | None
    max_manifest_bytes: int
    quiet: bool
    show_progress: bool
    color: Color | None = None
    log_format: LogFormat | None = None
    inputs: Inputs = field(default_factory=Inputs)
    state: StateFolder | None = None
    dask: ClusterAddress | None = None

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Starts the workers, and ends them. Start early: a small process forks fast."""
        # Before the workers are forked: they inherit it.
        _set_up_heap()
        if self.dask is not None:
            self.check_cache()
            opened: AbstractContextManager[Executor] = opened_cluster(self.dask)
        else:
            opened = closing(start_workers(self.jobs))
        with opened as executor:
            end_if_told()
            yield executor

    @contextmanager
    def workers(self) -> Iterator[OpenExecutor]:
        """Starts the workers before it is known how many manifests there are."""
        with self.executor() as executor:
            yield lambda _: executor

    def reader(self) -> CacheReader:
        """What reads the cache, with the workers and the progress of this session."""
        from fastprune.deletion.cache_reader import CacheReader

        return CacheReader(self.image_path, DEFAULT_LAYOUT, self.workers, self.progress)

    def scan(self, options: ScanOptions) -> CacheIndex:
        """Scans the cache, with workers of its own."""
        with self.workers() as open_executor:
            return scan_cache(self.image_path, open_executor, options, progress=self.progress())

    @property
    def scan_options(self) -> ScanOptions:
        """How the global options say to scan."""
        return ScanOptions(max_manifest_bytes=self.max_manifest_bytes, state=self.state)

    def check_cache(self) -> None:
        """Checks that there is a cache, before work that takes long.

        Raises:
            NoCacheError: There is none.
        """
        check_root(self.image_path, DEFAULT_LAYOUT)

    def concurrency(self, option: str | None) -> int | None:
        """Threads that delete, by the option or else as saved; None for auto."""
        if option is None:
            return self.saved_concurrency
        return parse_number_or_auto(option, "--concurrency")

    def limits(self, option: str | None) -> Limits:
        """How fast files go, by `concurrency`."""
        from fastprune.deletion.pace import DEFAULT_CONCURRENCY, Limits

        return Limits(self.concurrency(option) or DEFAULT_CONCURRENCY)

    def progress(self) -> Progress:
        """Shows progress: a bar on a terminal, lines elsewhere, or nothing."""
        if not self.show_progress:
            return NoProgress()
        from fastprune.cli.progress_bar import LineProgress, TerminalProgress

        if sys.stderr.isatty() and self.log_format is not LogFormat.json:
            return TerminalProgress(color=wants_color(self.color, sys.stderr))
        return LineProgress()

    @property
    def paint(self) -> Paint:
        """The `Paint` for text on stdout."""
        return paint_for(self.color, sys.stdout)


def open_session(
    options: GlobalOptions,
    state: StateOptions | VerifiedOptions | None = None,
    cluster: ClusterOptions | None = None,
) -> Session:
    """Resolves the global options and sets up messages.

    Without options for state, nothing is remembered; without those of a cluster, none is used.

    Raises:
        UsageError: One of them can't be used.
        NoCacheError: The path of the cache is relative, and the working folder was deleted.
    """
    set_up_messages(options, image_path_of(options) if options.log_file else None)
    config = options.config_file.load() if options.config_file else ServerConfig()
    path, inputs = _path_of(options, config), Inputs()
    if leads_nowhere(path):
        raise NoCacheError(f"no cache at {path}: {NOWHERE}")
    if options.config_file and is_stdin(options.config_file.path):
        inputs.take_stdin("--config-file")
    dask = None if cluster is None else cluster_address(cluster, options)
    if dask is not None:
        # Workers have other working folders.
        path = os.path.abspath(path)
    show = sys.stderr.isatty() if options.progress is None else options.progress
    size = options.max_manifest_size
    jobs, saved = parse_number_or_auto(options.jobs, "--jobs"), load_defaults(path)
    if options.jobs is None:
        jobs = saved.jobs
    return Session(
        image_path=path,
        config=config,
        jobs=jobs or auto_jobs(path, DEFAULT_LAYOUT).jobs,
        saved_concurrency=saved.concurrency,
        saved_rate=saved.deletes_per_second,
        max_manifest_bytes=(
            parse_size(size, "--max-manifest-size") if size else MAX_MANIFEST_BYTES
        ),
        quiet=bool(options.quiet),
        show_progress=show and not options.quiet,
        color=options.color,
        log_format=options.log_format,
        inputs=inputs,
        state=None if state is None else state_folder(state, path),
        dask=dask,
    )


def image_path_of(options: GlobalOptions) -> str | None:
    """The path of the cache; None if only the configuration file names it and can't be used."""
    try:
        config = options.config_file.load() if options.config_file else ServerConfig()
    except UsageError:
        return options.image_path or os.environ.get(IMAGE_PATH_VARIABLE)
    return _path_of(options, config)


def _path_of(options: GlobalOptions, config: ServerConfig) -> str:
    given = options.image_path or os.environ.get(IMAGE_PATH_VARIABLE) or config.image_path
    return given or DEFAULT_IMAGE_PATH


def write(lines: Iterable[str]) -> None:
    """Writes lines to stdout; a reader that went away is no error.

    Raises:
        FastpruneError: They can't be written; earlier work stays done.
    """
    try:
        left = iter(lines)
        while block := list(islice(left, 10_000)):
            sys.stdout.write("\n".join(block) + "\n")
        sys.stdout.flush()
    except OSError as error:
        give_up_stdout(error)


def give_up_stdout(error: OSError) -> None:
    """Stops writing to stdout after an error; a reader that went away is none.

    Raises:
        FastpruneError: The reader is still there.
    """
    stdout = sys.stdout.fileno()
    # isatty answers no for a terminal that hung up.
    hung_up = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(stdout).st_mode)
    # The interpreter flushes stdout once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    if not hung_up and not isinstance(error, BrokenPipeError):
        raise FastpruneError(f"the output can't be written: {error.strerror}") from None


def write_json(document: Mapping[str, object]) -> None:
    """Writes one JSON document to stdout, indented; see `document_lines`."""
    from fastprune.text.escaping import document_lines

    write(document_lines(document))


def _set_up_heap() -> None:
    """Keeps large arrays out of the heap, and a little of what is freed in it.

    Large arrays would leave holes when they are freed. glibc maps pieces above a threshold by
    themselves, and raises it to the size of the largest piece that was freed, unless it is set
    (mallopt(3), M_MMAP_THRESHOLD). At a million manifests setting it saves a tenth of the peak.

    Smaller pieces come and go with every chunk. If the top of the heap were given back each time,
    the kernel would clear its pages anew: a twentieth of the time of a worker
    (M_TRIM_THRESHOLD, 128 KiB unless it is set).
    """
    if sys.platform.startswith("linux"):
        # A Python without libffi has no ctypes.
        with suppress(ImportError, AttributeError, OSError):
            import ctypes

            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
