"""Lets fastprune prune a cache through the server that runs on it."""

from __future__ import annotations

from pathlib import Path

import anyio
from tests.support.inprocess import Output, invoke

import fastprune
from fastprune.deletion.held_cache import ApplyOptions
from fastprune.guard.named_server import NamedServer
from fastprune.pipeline import PlanOptions
from fastprune.policy.delete_limits import DeleteLimits
from fastprune.policy.policy import Policy
from fastprune.report.prune_report import PruneReport
from fastprune.scanning.scanner import ScanOptions
from fastprune.server.address import parse_address
from fastprune.server.client import ServerClient


def prune_live(root: Path, server_url: str, *args: str | Path) -> Output:
    """Prunes in this process.

    Args:
        root: The cache.
        server_url: The server that runs on it.
        args: Criteria and options.
    """
    options = ["--server", server_url, "--yes", "--allow-remove-all", "--format", "json"]
    return invoke("prune", *options, *args, cache=root)


def report_live(root: Path, server_url: str, pattern: str) -> PruneReport:
    """Prunes what a pattern selects by the calls of the library, and gives the whole report."""

    async def work() -> PruneReport:
        address = parse_address(server_url)
        named = NamedServer(address.scheme, address.host, address.port)
        async with ServerClient(address) as server, fastprune.locked(root, named=named) as cache:
            scan = ScanOptions(listing=await server.listing())
            plan = await cache.plan(Policy(patterns=(pattern,)), PlanOptions(scan))
            limits = DeleteLimits(allow_remove_all=True)
            return await cache.apply(plan, ApplyOptions(server=server, delete_limits=limits))

    return anyio.run(work)
