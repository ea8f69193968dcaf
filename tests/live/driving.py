"""Lets fastprune prune a cache through the server that runs on it."""

from __future__ import annotations

from pathlib import Path

from tests.support.inprocess import Output, invoke


def prune_live(root: Path, server_url: str, *args: str | Path) -> Output:
    """Prunes in this process.

    Args:
        root: The cache.
        server_url: The server that runs on it.
        args: Criteria and options.
    """
    options = ["--server", server_url, "--yes", "--allow-remove-all", "--format", "json"]
    return invoke("prune", *options, *args, cache=root)
