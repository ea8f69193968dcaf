"""Beside a running server, the same files go as without one, whatever the cache looks like."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from tests.property.profile import examples
from tests.property.running import policy_of
from tests.property.test_failing_deletions import without_cycles
from tests.support.asked_server import AskedServer
from tests.support.asking import Notes, age, ask, plan_of, set_aside
from tests.support.cachebuilder import files, folder_of
from tests.support.oracle import kept_images_lost_blobs, load
from tests.support.strategies import (
    CacheSketch,
    ImageSketch,
    ListSketch,
    Request,
    caches,
    on_disk,
    requests,
)

from fastprune import Policy, PruneReport

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)


def as_served(sketch: CacheSketch) -> CacheSketch:
    """A cache as the server writes it: registries have a dot, and files are where it keeps them."""
    placed = {(one.folder, one.name): one for one in map(_served, sketch.manifests)}
    return replace(sketch, manifests=tuple(placed.values()))


def _served(one: ImageSketch | ListSketch) -> ImageSketch | ListSketch:
    url = one.url.replace("host:5000/", "host.example:5000/")
    if "@" not in url and ":" not in url.rpartition("/")[2]:
        url += ":latest"
    created, pulled = (time if _TIME.fullmatch(time) else "" for time in (one.created, one.pulled))
    return replace(one, url=url, folder=folder_of(url), created=created, pulled=pulled)


SERVED = caches(contrary=False, linked=False).map(without_cycles).map(as_served)


def prune_once(root: Path, server: AskedServer, request: Request, run: int) -> PruneReport:
    """Prunes beside a server, and checks what is reported."""
    before, notes = load(root), Notes()
    plan = plan_of(
        root,
        server,
        policy_of(request),
        allow_broken=request.allow_broken,
        skip_corrupt=request.skip_corrupt,
    )
    report = ask(plan, server, run=run, journal=notes)
    after = load(root)
    assert sorted(notes.went()) == sorted(before.paths - after.paths)
    assert kept_images_lost_blobs(before, after) == []
    assert (report.failures, report.changed, report.stopped) == ((), (), "")
    return report


@examples(50)
@given(sketch=SERVED, request=requests())
def test_the_same_files_go_as_without_a_server(sketch: CacheSketch, request: Request) -> None:
    with on_disk(sketch) as root:
        age(root)
        server = AskedServer(root)
        outcome = request.expected(load(root))
        prune_once(root, server, request, 0)
        # What the server may still give to a client stays until its restart.
        counted = {f"blobs/{digest}" for digest in server.memory.counted_blobs()}
        assert files(root) - counted == outcome.left - counted
        assert outcome.left <= files(root)
        server.restart()
        outcome = request.expected(load(root))
        prune_once(root, server, request, 1)
        server.restart()
        ask(plan_of(root, server, Policy(orphans_only=True)), server, run=2)
        ask(plan_of(root, server, Policy(orphans_only=True)), server, run=3)
        assert set_aside(root) == set()
        assert files(root) == request.expected(load(root)).left


@examples(30)
@given(
    sketch=caches(contrary=False, foreign=True).map(without_cycles).map(as_served),
    request=requests(),
)
def test_what_is_no_file_of_the_cache_stays(sketch: CacheSketch, request: Request) -> None:
    """The server would remove a link that has the name of a blob; so its image stays."""
    with on_disk(sketch) as root:
        age(root)
        server, before = AskedServer(root), load(root)
        plan = plan_of(root, server, policy_of(request), allow_broken=request.allow_broken)
        ask(plan, server)
        after = load(root)
        assert after.foreign == before.foreign
        assert kept_images_lost_blobs(before, after) == []
        assert request.expected(before).left <= files(root)
