"""The library beside a running server: a prune from its list to its requests."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from tests.support.asking import age
from tests.support.cachebuilder import files
from tests.support.oracle import expected, load
from tests.support.realcaches import unpack
from tests.support.stand_in import Settings, StandIn

import fastprune
from fastprune import ApplyOptions, Exclusion, PlanOptions, Policy, PruneReport, ScanOptions

POLICY = Policy(patterns=("calico",))


async def prune(root: Path, url: str, *, listed: bool = True) -> PruneReport:
    async with fastprune.ServerClient(fastprune.parse_address(url)) as server:
        listing = await server.listing() if listed else None
        report = await fastprune.prune(
            root,
            POLICY,
            planning=PlanOptions(ScanOptions(listing=listing), grace=86_400),
            applying=ApplyOptions(server=server, grace=86_400),
            exclusion=Exclusion(named=server.address),
        )
    assert report is not None
    return report


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = unpack("pulled", tmp_path)
    age(root, 50 * 3600)
    return root


def test_a_prune_asks_the_server(cache: Path) -> None:
    outcome = expected(load(cache), patterns=POLICY.patterns)
    with StandIn(Settings(cache)) as server:
        report = anyio.run(prune, cache, server.url)
        assert any(one.startswith("DELETE") for one in server.requests)
    assert report.exit_code == 0
    assert files(cache) == outcome.left


def test_a_plan_that_knows_nothing_of_the_server_is_refused(cache: Path) -> None:
    before = files(cache)

    async def work() -> None:
        with pytest.raises(fastprune.UsageError, match="the list of the server"):
            await prune(cache, server.url, listed=False)

    with StandIn(Settings(cache)) as server:
        anyio.run(work)
        assert not [one for one in server.requests if one.startswith("DELETE")]
    assert files(cache) == before
