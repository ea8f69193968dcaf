"""`verify --server`: what the server answers for although it is damaged; `--repair` beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.cli.program import Result, run
from tests.support.cachebuilder import CacheBuilder, digest_of, files, snapshot
from tests.support.schemas import errors
from tests.support.stand_in import Client, ServerProcess, Upstream, server_process

A = "registry.k8s.io/a"
URLS = tuple(f"{A}:{number}" for number in range(6))
LOST, BROKEN = URLS[0], URLS[1]

pytestmark = pytest.mark.usefixtures("read_again_at_once")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    upstream = Upstream()
    for url in URLS:
        upstream.image(url, layers=[b"shared", url.encode()])
    upstream.save(tmp_path / "upstream")
    return upstream


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    CacheBuilder(tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def server(cache: Path, tmp_path: Path, upstream: Upstream) -> Iterator[ServerProcess]:
    """A process that serves the cache; of two images, it has lost a file and a blob."""
    with server_process(cache, "--upstream", tmp_path / "upstream") as server:
        assert all(pulled(server, url) for url in URLS)
        (cache / "img" / upstream.tags[LOST]).unlink()
        (cache / "blobs" / digest_of(BROKEN)).unlink()
        yield server


def pulled(server: ServerProcess, url: str) -> bool:
    with Client(server.url) as client:
        return client.pull(url).is_whole


def verify(cache: Path, server: ServerProcess | str, *options: str) -> Result:
    url = server if isinstance(server, str) else server.url
    return run("verify", "--server", url, *options, cache=cache)


def test_a_check_names_what_the_server_serves_from_memory(
    cache: Path, server: ServerProcess, upstream: Upstream
) -> None:
    before = snapshot(cache)
    result = verify(cache, server)
    assert result.code == 3
    heading, *lines = result.out.splitlines()
    assert heading == "Manifests in the server's memory that are gone or damaged on disk:"
    assert lines[0] == f"{LOST} sha256:{upstream.tags[LOST]}: its file is gone"
    assert lines[1] == f"{BROKEN} sha256:{upstream.tags[BROKEN]}: a blob is missing"
    assert "Damage: 2 manifests, 1 blob" in lines
    assert "Of these in the server's memory: 2 image URLs" in lines
    # Nobody warns of the server that is named.
    assert "a server seems to run" not in result.err
    assert snapshot(cache) == before


def test_the_document_of_a_check(cache: Path, server: ServerProcess, upstream: Upstream) -> None:
    result = verify(cache, server, "--format", "json")
    document = json.loads(result.out)
    assert errors("verify", document) == []
    assert document["totals"]["served"] == 2
    assert document["clean"] is False
    assert document["served"][0] == {
        "url": LOST,
        "digest": f"sha256:{upstream.tags[LOST]}",
        "path": f"img/{upstream.tags[LOST]}",
        "reason": "no-file",
    }
    alone = json.loads(run("verify", "--format", "json", cache=cache).out)
    assert "served" not in alone
    assert "served" not in alone["totals"]


def test_a_repair_heals_while_the_server_runs(
    cache: Path, server: ServerProcess, tmp_path: Path
) -> None:
    assert not pulled(server, BROKEN)
    log = tmp_path / "audit"
    result = verify(cache, server, "--repair", "--format", "json", "--audit-log", str(log))
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert errors("verify", document) == []
    repair = document["repair"]
    assert {one["url"] for one in repair["healed"]} == {LOST, BROKEN}
    assert (repair["totals"]["healed"], repair["totals"]["unhealed"]) == (2, 0)
    audit = [json.loads(line) for line in log.read_text().splitlines()]
    assert [error for line in audit for error in errors("audit-line", line)] == []
    told = {(line["kind"], line["action"]) for line in audit if line.get("kind")}
    assert told == {("unreadable", "delete"), ("image", "delete"), ("blob", "delete")}
    assert all(pulled(server, url) for url in URLS)
    again = verify(cache, server)
    assert again.code == 0
    assert "Damage: none" in again.out


def test_a_dry_run_says_the_same_and_changes_nothing(cache: Path, server: ServerProcess) -> None:
    before = snapshot(cache)
    result = verify(cache, server, "--repair", "--dry-run")
    assert result.code == 3
    lines = result.out.splitlines()
    at = lines.index("Heal (dry run):")
    assert lines[at + 1 : at + 3] == [f"{LOST}: no-file", f"{BROKEN}: missing-blob"]
    assert "Would be forgotten by the server: 2 image URLs" in lines
    assert snapshot(cache) == before
    done = verify(cache, server, "--repair")
    assert "Forgotten by the server: 2 image URLs" in done.out
    assert "Heal:" in done.out


def test_without_server_a_repair_refuses_as_before(cache: Path, server: ServerProcess) -> None:
    result = run("verify", "--repair", cache=cache)
    assert result.code == 11
    assert f"process {server.process.pid}: " in result.err


def test_another_port_than_that_of_the_server_refuses(
    cache: Path, server: ServerProcess, tmp_path: Path
) -> None:
    CacheBuilder(tmp_path / "other")
    with server_process(tmp_path / "other") as other:
        before = files(cache)
        result = verify(cache, other, "--repair")
        assert result.code == 11
        said = f"process {server.process.pid} serves this cache and does not listen at port "
        assert f"{said}{other.port}, but at {server.port}" in result.err
        # A check looks at the list alone.
        result = verify(cache, other)
        assert result.code == 11
        assert "knows 0 of the 4 whole manifests" in result.err
    assert files(cache) == before


def test_a_prune_refuses_until_it_is_healed(cache: Path, server: ServerProcess) -> None:
    prune = ("prune", "--server", server.url, "--pattern", f"^{URLS[5]}$", "--yes")
    before = files(cache)
    result = run(*prune, cache=cache)
    assert result.code == 11
    assert "the server lists 1 manifest that has no file" in result.err
    assert f"  {LOST} sha256:" in result.err
    assert "verify --server URL --repair" in result.err
    assert files(cache) == before
    assert verify(cache, server, "--repair").code == 0
    result = run(*prune, cache=cache)
    assert result.code == 0, result.err
    assert len(before - files(cache)) >= 2


def test_options_that_need_a_server(cache: Path) -> None:
    result = run_inside("verify", "--server-ca", "x.pem", cache=cache)
    assert result.code == 2
    assert "--server-ca" in result.err
