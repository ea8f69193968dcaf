"""Damage that a running server keeps in memory: it is found, and the server forgets it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.cachebuilder import CacheBuilder, digest_of, files
from tests.support.stand_in import Client, Fault, Kind, Point, Settings, StandIn, Upstream

import fastprune
from fastprune import (
    ApplyOptions,
    Findings,
    RepairReport,
    ServerError,
    UsageError,
    WrongServerError,
)
from fastprune.deletion import healing
from fastprune.deletion.journal import JournalEntry
from fastprune.guard import agreement
from fastprune.server.address import parse_address
from fastprune.server.client import ServerClient
from fastprune.verification.served import ServedReason

R = "registry.k8s.io"
WHOLE, LOST, BROKEN = f"{R}/whole:1", f"{R}/lost:1", f"{R}/broken:1"
HOUR = 3600
pytestmark = pytest.mark.usefixtures("read_again_at_once")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_PAUSES", (0.02, 0.02, 0.02, 0.02))


@pytest.fixture
def upstream() -> Upstream:
    upstream = Upstream()
    for url in (WHOLE, LOST, BROKEN):
        upstream.image(url, layers=[b"shared", url.encode()])
    return upstream


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[StandIn]:
    root = tmp_path / "cache"
    CacheBuilder(root)
    with StandIn(Settings(root, upstream)) as server:
        for url in (WHOLE, LOST, BROKEN):
            assert pulled(server, url)
        yield server


def pulled(server: StandIn, url: str) -> bool:
    with Client(server.url) as client:
        return client.pull(url).is_whole


def path_of(server: StandIn, url: str, upstream: Upstream) -> Path:
    return server.settings.root / "img" / upstream.tags[url]


def damage(server: StandIn, upstream: Upstream) -> None:
    """Removes the file of one image, and a blob of another, behind the server's back."""
    path_of(server, LOST, upstream).unlink()
    (server.settings.root / "blobs" / digest_of(BROKEN)).unlink()


def found(server: StandIn) -> Findings:
    async def main() -> Findings:
        async with ServerClient(parse_address(server.url)) as client:
            return await fastprune.verify(server.settings.root, server=client)

    return anyio.run(main)


class Notes:
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []

    async def note(self, entries: Any) -> None:
        self.entries += entries

    async def settle(self) -> None:
        pass


def repaired(
    server: StandIn,
    before: Callable[[Findings], object] = lambda findings: None,
    **how: Any,
) -> RepairReport:
    async def main() -> RepairReport:
        async with (
            ServerClient(parse_address(server.url)) as client,
            fastprune.locked(server.settings.root, named=client.address) as cache,
        ):
            findings = await cache.verify(server=client)
            before(findings)
            return await cache.repair(findings, ApplyOptions(server=client, **how))

    return anyio.run(main)


def reasons(findings: Findings) -> dict[str, ServedReason]:
    return {one.url: one.reason for one in findings.served or ()}


# What is found.


def test_a_sound_cache_has_no_findings(server: StandIn) -> None:
    findings = found(server)
    assert findings.served == ()
    assert findings.is_clean
    assert anyio.run(fastprune.verify, server.settings.root).served is None


def test_what_the_server_serves_from_memory_alone_is_found(
    server: StandIn, upstream: Upstream
) -> None:
    damage(server, upstream)
    findings = found(server)
    assert reasons(findings) == {LOST: ServedReason.NO_FILE, BROKEN: ServedReason.MISSING_BLOB}
    assert (findings.exit_code, findings.damaged_manifests) == (3, 2)
    # A mere check asks for lists only, so it changes nothing.
    assert {request.split("?")[0] for request in server.requests[-2:]} == {"GET /cmd/manifest/list"}
    assert not path_of(server, LOST, upstream).exists()


def test_every_url_of_a_damaged_image_is_named(server: StandIn, upstream: Upstream) -> None:
    upstream.tag(f"{R}/broken:2", upstream.tags[BROKEN])
    assert pulled(server, f"{R}/broken:2")
    damage(server, upstream)
    assert set(reasons(found(server))) == {LOST, BROKEN, f"{R}/broken:2"}
    report = repaired(server)
    assert {one.url for one in report.healed} == {LOST, BROKEN, f"{R}/broken:2"}
    assert pulled(server, BROKEN)
    assert pulled(server, f"{R}/broken:2")
    assert found(server).is_clean


def test_damaged_files_of_manifests_in_memory_are_found(
    server: StandIn, upstream: Upstream
) -> None:
    path_of(server, LOST, upstream).write_bytes(b"{")
    (server.settings.root / "blobs" / digest_of(BROKEN)).write_bytes(b"cut")
    expected = {LOST: ServedReason.DAMAGED_FILE, BROKEN: ServedReason.BAD_BLOB}
    assert reasons(found(server)) == expected
    report = repaired(server)
    assert {one.url for one in report.healed} == {LOST, BROKEN}
    # The server has removed the bad blob with the last image that needed it.
    assert report.plan.beside == (f"blobs/{digest_of(BROKEN)}",)
    assert not (server.settings.root / "blobs" / digest_of(BROKEN)).exists()
    assert pulled(server, LOST)
    assert pulled(server, BROKEN)
    assert found(server).is_clean


def test_another_server_is_refused_before_it_counts_as_damage(
    server: StandIn, tmp_path: Path
) -> None:
    CacheBuilder(tmp_path / "other")
    with StandIn(Settings(tmp_path / "other")) as other:
        other.settings.root = server.settings.root
        with pytest.raises(WrongServerError, match="knows 0 of the 3 whole manifests"):
            found(other)


# Healing.


def test_healed_images_are_pulled_anew(server: StandIn, upstream: Upstream) -> None:
    damage(server, upstream)
    assert not pulled(server, BROKEN)
    notes, whole = Notes(), path_of(server, WHOLE, upstream).stat().st_ino
    report = repaired(server, journal=notes)
    assert report.exit_code == 0
    assert {one.url for one in report.healed} == {LOST, BROKEN}
    assert not report.removed_any
    assert not report.trash_run
    told = {(entry.kind, entry.path, entry.reason, entry.outcome) for entry in notes.entries}
    broken = path_of(server, BROKEN, upstream)
    assert ("image", f"img/{broken.name}", "missing-blob", "removed") in told
    lost = path_of(server, LOST, upstream).name
    assert ("unreadable", f"img/{lost}", "no-file", "removed") in told
    gone = {entry.path for entry in notes.entries if entry.kind == "blob"}
    assert gone
    assert not gone & set(files(server.settings.root))
    assert all(entry.size for entry in notes.entries if entry.kind == "blob")
    # The layer that the whole image needs as well is still there.
    assert path_of(server, WHOLE, upstream).stat().st_ino == whole
    for url in (WHOLE, LOST, BROKEN):
        assert pulled(server, url)
    assert found(server).is_clean
    server.restart()
    for url in (WHOLE, LOST, BROKEN):
        assert pulled(server, url)


def test_only_what_is_damaged_is_asked_for(server: StandIn, upstream: Upstream) -> None:
    damage(server, upstream)
    del server.requests[:]
    repaired(server)
    (prune,) = [one for one in server.requests if one.startswith("DELETE")]
    assert "whole" not in prune
    assert prune.count("%24") == 2
    # The proof asks for the whole image.
    heads = [one for one in server.requests if one.startswith("HEAD")]
    assert heads == ["HEAD /v2/whole/manifests/1?ns=registry.k8s.io"] * 2


def test_if_all_files_are_gone_the_proof_is_a_file_that_comes_back(
    server: StandIn, upstream: Upstream
) -> None:
    for folder in ("img", "blobs"):
        for path in (server.settings.root / folder).iterdir():
            path.unlink()
    report = repaired(server)
    assert {one.url for one in report.healed} == {WHOLE, LOST, BROKEN}
    assert files(server.settings.root) == set()
    assert pulled(server, LOST)


def test_a_replica_with_the_same_list_is_asked_for_nothing(
    server: StandIn, upstream: Upstream, tmp_path: Path
) -> None:
    CacheBuilder(tmp_path / "replica")
    damage(server, upstream)
    before = files(server.settings.root)
    with StandIn(Settings(tmp_path / "replica", upstream)) as replica:
        for url in (WHOLE, LOST, BROKEN):
            assert pulled(replica, url)
        there = files(tmp_path / "replica")
        replica.settings.root = server.settings.root
        with pytest.raises(WrongServerError, match="its file did not change"):
            repaired(replica)
        assert files(tmp_path / "replica") == there
        assert not [one for one in replica.requests if one.startswith("DELETE")]
    assert files(server.settings.root) == before


def test_a_tag_that_has_moved_meanwhile_is_not_asked_for(
    server: StandIn, upstream: Upstream
) -> None:
    damage(server, upstream)
    moved: list[str] = []

    def move(findings: Findings) -> None:
        with Client(server.url) as client:
            client.request("DELETE", "/cmd/prune?type=pattern&count=-1&dryRun=false&expr=lost")
        moved.append(upstream.image(LOST, layers=[b"new"]))
        assert pulled(server, LOST)

    report = repaired(server, move)
    assert {one.url for one in report.healed} == {LOST, BROKEN}
    assert (server.settings.root / "img" / moved[0]).exists()
    assert found(server).is_clean


def test_what_is_whole_again_is_left_alone(server: StandIn, upstream: Upstream) -> None:
    damage(server, upstream)

    def bring_back(findings: Findings) -> None:
        with Client(server.url) as client:
            client.request("HEAD", "/v2/registry.k8s.io/lost/manifests/1")
        (server.settings.root / "blobs" / digest_of(BROKEN)).write_bytes(BROKEN.encode())

    report = repaired(server, bring_back)
    assert report.healed == ()
    assert {one.url for one, _ in report.unhealed} == {LOST, BROKEN}
    assert {why for _, why in report.unhealed} == {"it is whole again; verify again"}
    assert report.exit_code == 3
    assert found(server).is_clean


@pytest.mark.parametrize("begins", ["before the scan", "after it"])
def test_a_pull_under_way_keeps_the_blobs_that_it_shares(
    begins: str, server: StandIn, upstream: Upstream
) -> None:
    """The server would remove them, as it counts finished pulls only."""
    config = f"config of {BROKEN}".encode()
    damaged = upstream.image(f"{R}/damaged:1", layers=[b"gone", b"kept"], config=config)
    assert pulled(server, f"{R}/damaged:1")
    (server.settings.root / "blobs" / digest_of(b"gone")).unlink()

    def begin(findings: Findings | None = None) -> None:
        """Writes the manifest of a pull, as the server does before it writes the blobs."""
        builder = CacheBuilder(server.settings.root)
        builder.image(f"{R}/new:1", layers=[digest_of(b"kept"), digest_of(b"more")])

    if begins == "before the scan":
        begin()
        report = repaired(server)
    else:
        report = repaired(server, begin)
    ((one, why),) = report.unhealed
    assert one.url == f"{R}/damaged:1"
    assert "pulled just now" in why
    assert (server.settings.root / "blobs" / digest_of(b"kept")).exists()
    assert (server.settings.root / "img" / damaged).exists()


def test_an_image_whose_pull_failed_waits_for_the_next_start(
    server: StandIn, upstream: Upstream
) -> None:
    """The server has not counted all its blobs. A prune would count down those of others."""
    failed = f"{R}/failed:1"
    upstream.image(failed, layers=[b"shared", b"its own"])
    lost = server.settings.root / "blobs" / digest_of(b"shared")
    aside = lost.rename(server.settings.root.parent / "aside")
    server.hooks.once(Point.PULLED_BLOB, lost.unlink, digest_of(b"shared"))
    assert not pulled(server, failed)
    report = repaired(server)
    named = {one.url: why for one, why in report.unhealed}
    assert "counts too few references" in named[failed]
    assert path_of(server, failed, upstream).exists()
    aside.rename(lost)
    assert pulled(server, WHOLE)


def test_what_was_healed_before_counts_for_nothing_in_the_next_request(
    server: StandIn, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two images with a blob in common, the first is forgotten: so one reference is left."""
    monkeypatch.setattr(healing, "_MOST_IN_REQUEST", 1)
    for url in (LOST, BROKEN):
        (server.settings.root / "blobs" / digest_of(url)).unlink()
    report = repaired(server)
    assert report.unhealed == ()
    assert {one.url for one in report.healed} == {LOST, BROKEN}


def test_a_url_that_the_server_removes_half_of_is_not_asked_for(
    server: StandIn, upstream: Upstream
) -> None:
    odd = f"{R}/Odd:1"
    upstream.image(odd, layers=[b"odd"])
    assert pulled(server, odd)
    (server.settings.root / "blobs" / digest_of(b"odd")).unlink()
    report = repaired(server)
    ((one, why),) = report.unhealed
    assert one.url == odd
    assert "a capital letter" in why
    assert path_of(server, odd, upstream).exists()


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.FAILED, Kind.FAILED_AFTER, Kind.RESTART])
def test_an_answer_that_is_odd_ends_the_repair_and_the_list_says_what_was_done(
    kind: Kind, server: StandIn, upstream: Upstream
) -> None:
    damage(server, upstream)
    server.faults.add(Fault(kind, method="DELETE"))
    report = repaired(server)
    assert report.stopped
    assert report.exit_code == 3
    assert len(report.healed) + len(report.unhealed) == 2
    server.faults.clear()
    repaired(server)
    for url in (WHOLE, LOST, BROKEN):
        assert pulled(server, url)
    assert found(server).is_clean


def test_a_server_that_ends_is_an_error(server: StandIn, upstream: Upstream) -> None:
    damage(server, upstream)
    with pytest.raises(ServerError):
        repaired(server, lambda findings: server.stop())


def test_what_the_server_does_not_forget_is_said(server: StandIn, upstream: Upstream) -> None:
    damage(server, upstream)
    root, broken = server.settings.root, path_of(server, BROKEN, upstream)
    copy = broken.read_bytes()

    def stuck(about: str) -> None:
        broken.write_bytes(copy)

    server.hooks.on(Point.BEFORE_ANSWER, lambda path: stuck(path) if "prune" in path else None)
    report = repaired(server)
    assert [one.url for one in report.healed] == [LOST]
    ((one, why),) = report.unhealed
    assert (one.url, why) == (BROKEN, "the server has forgotten it, but its file is still there")
    assert report.exit_code == 3
    assert root.exists()


# Files that are moved while the server runs.


def broken_file(server: StandIn, url: str, *, age: float) -> Path:
    """An image that the server has never loaded, as a blob was missing."""
    root = server.settings.root
    builder = CacheBuilder(root)
    digest = builder.image(url, layers=[digest_of(f"missing {url}")])
    path = root / "img" / digest
    written = path.stat().st_mtime - age
    os.utime(path, (written, written))
    return path


def test_a_broken_image_that_the_server_never_loaded_is_moved(server: StandIn) -> None:
    old = broken_file(server, f"{R}/old:1", age=2 * HOUR)
    unreadable = server.settings.root / "img" / digest_of("unreadable")
    unreadable.write_bytes(b"{")
    os.utime(unreadable, (1, 1))
    report = repaired(server)
    assert report.exit_code == 0
    assert report.trash_run
    assert not old.exists()
    assert not unreadable.exists()
    assert pulled(server, WHOLE)
    assert found(server).is_clean


def test_a_young_one_may_be_a_pull_under_way(server: StandIn) -> None:
    young = broken_file(server, f"{R}/young:1", age=0)
    report = repaired(server)
    assert young.exists()
    assert report.plan.beside == (f"img/{young.name}",)
    assert report.exit_code == 3


def test_a_broken_one_that_the_list_does_not_show_stays(server: StandIn) -> None:
    hidden = broken_file(server, f"{R}/hidden:1.0-RC1", age=2 * HOUR)
    report = repaired(server)
    assert hidden.exists()
    assert report.plan.beside == (f"img/{hidden.name}",)


# What is refused.


def test_findings_without_the_server_are_not_carried_out_beside_it(server: StandIn) -> None:
    async def main(*, asked: bool) -> None:
        async with (
            ServerClient(parse_address(server.url)) as client,
            fastprune.locked(server.settings.root, named=client.address) as cache,
        ):
            findings = await cache.verify()
            await cache.repair(findings, ApplyOptions(server=client if asked else None))

    with pytest.raises(UsageError, match="must come from with_served"):
        anyio.run(lambda: main(asked=True))
    with pytest.raises(UsageError, match="that server must be asked"):
        anyio.run(lambda: main(asked=False))
