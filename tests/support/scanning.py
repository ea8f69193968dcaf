"""Scans without an event loop, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastprune import CacheIndex, ScanOptions
from fastprune.executors.executor import Executor
from fastprune.executors.inline import InlineExecutor
from fastprune.scanning.scanner import scan_cache


def scanned(root: Path, executor: Executor | None = None, **options: Any) -> CacheIndex:
    """Scans a cache.

    Args:
        root: Its path.
        executor: Where to read, if not in this process.
        options: The attributes of `ScanOptions`.
    """
    chosen = executor or InlineExecutor()
    return scan_cache(str(root), lambda manifests: chosen, ScanOptions(**options))
