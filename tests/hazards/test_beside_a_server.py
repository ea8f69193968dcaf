"""What happens while a running server is asked: pulls, moved tags, and what it does not know.

After each scene every image that stays can be pulled whole.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.support.asked_server import AskedServer
from tests.support.asking import (
    EVERYTHING,
    Watched,
    age,
    ask,
    plan_of,
    prune_beside,
    set_aside,
)
from tests.support.cachebuilder import CacheBuilder, digest_of, files
from tests.support.paused_pull import PausedPull, at_first
from tests.support.stand_in.hooks import Point
from tests.support.stand_in.pulling import PullError
from tests.support.stand_in.references import of_url

from fastprune import Policy, PruneReport

A, B, NEW = "r.example/a:1", "r.example/b:1", "r.example/new:1"
ONLY_A = Policy(patterns=("^r.example/a",))
LAYER, OWN = b"a layer that is shared" * 10, b"a layer of its own" * 10
SHARED = digest_of(LAYER)


class Scene:
    """A cache with the images A, which goes, and B, which has nothing in common with it.

    The upstream has both as well.
    """

    def __init__(self, root: Path) -> None:
        self.root = CacheBuilder(root).root
        self.server = AskedServer(self.root)
        upstream = self.server.upstream
        self.a = upstream.image(A, layers=[LAYER])
        self.b = upstream.image(B, layers=[OWN])
        self.server.pull(A)
        self.server.pull(B)
        age(self.root)

    def offer(self, url: str) -> str:
        """Adds an image that has the layer of A to the upstream."""
        return self.server.upstream.image(url, layers=[LAYER], config=f"of {url}".encode())

    def prune(self, policy: Policy = ONLY_A, run: int = 0) -> PruneReport:
        return prune_beside(self.root, self.server, policy, run=run)

    def has(self, path: str) -> bool:
        return path in files(self.root)

    def check_whole(self, *urls: str) -> None:
        """Each of these can be pulled whole, now and after a restart."""
        for url in urls:
            assert self.server.whole(url), url
        self.server.restart()
        for url in urls:
            assert self.server.whole(url), url


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "cache")


def test_an_image_goes_with_its_blobs(scene: Scene) -> None:
    report = scene.prune()
    assert len(report.images) == 1
    assert scene.server.asked == [[A]]
    assert report.asked is not None
    assert (report.asked.requests, report.asked.moved) == (1, 0)
    assert not scene.has(f"blobs/{SHARED}")
    assert set_aside(scene.root) == set()
    assert report.bytes_freed > len(LAYER)
    assert report.exit_code == 0
    scene.check_whole(A, B)


def test_an_image_that_was_pulled_since_the_plan_stays(scene: Scene) -> None:
    plan = plan_of(scene.root, scene.server, ONLY_A)
    scene.server.pull(A)
    report = ask(plan, scene.server)
    assert report.changed == (f"img/{scene.a}",)
    assert report.exit_code == 3
    assert scene.server.asked == []
    assert set_aside(scene.root) == set()
    scene.check_whole(A, B)


def test_what_was_pulled_again_during_the_request_stays(scene: Scene) -> None:
    plan = plan_of(scene.root, scene.server, ONLY_A)
    scene.server.after = at_first("prune", lambda: scene.server.pull(A))
    report = ask(plan, scene.server)
    assert report.changed == (f"img/{scene.a}",)
    assert len(report.images) == len(report.blobs) == 0
    scene.check_whole(A, B)


def test_a_tag_that_moved_since_the_plan_is_not_named(scene: Scene) -> None:
    """The server would remove the other image, to which the tag leads now."""
    server = AskedServer(scene.root, always_latest=True)
    latest = "r.example/a:latest"
    old = server.upstream.image(latest, layers=[LAYER])
    server.pull(latest)
    age(scene.root)
    plan = plan_of(scene.root, server, Policy(patterns=("^r.example/a:latest",)))
    # The old image has another tag of this folder as well, so the move leaves its file.
    new = server.upstream.image(latest, layers=[OWN], config=b"new")
    server.pull(latest)
    assert not scene.has(f"lts/{old}")
    report = ask(plan, server)
    assert server.asked == []
    assert report.already_gone == 1
    assert scene.has(f"lts/{new}")
    assert server.whole(latest)


def test_of_two_manifests_with_one_url_only_the_one_that_is_listed_is_named(
    scene: Scene,
) -> None:
    """A list and its image, as `load` writes them: the last one that was read has the tag."""
    builder = CacheBuilder(scene.root)
    layer = builder.blob(b"loaded" * 50)
    image = builder.image("r.example/a:2", layers=[layer])
    builder.index("r.example/a:2", children=[image])
    age(scene.root)
    scene.server.restart()
    report = scene.prune(Policy(patterns=("^r.example/a:2",)))
    assert scene.server.asked == [["r.example/a:2"]]
    assert (len(report.lists), len(report.images)) == (1, 1)
    assert report.exit_code == 0
    # What the server may still give by digest it gives whole, also after the next run.
    scene.prune(Policy(orphans_only=True), run=1)
    by_digest = f"r.example/a@sha256:{image}"
    if scene.server.memory.serve(of_url(by_digest)):
        assert scene.server.whole(by_digest)
        (scene.root / "img" / image).unlink()
    scene.server.restart()
    scene.prune(Policy(orphans_only=True), run=2)
    scene.prune(Policy(orphans_only=True), run=3)
    assert not scene.has(f"blobs/{layer}")
    assert set_aside(scene.root) == set()
    scene.check_whole(A, B)


def test_a_pull_under_way_keeps_the_image_whose_blob_it_has_found(scene: Scene) -> None:
    scene.offer(NEW)
    pull = PausedPull(scene.server, NEW, Point.PULLED_BLOB, SHARED)
    report = scene.prune()
    assert report.asked is not None
    assert report.asked.shared == (f"img/{scene.a}",)
    assert scene.server.asked == []
    assert report.exit_code == 3
    assert pull.finish().error is None
    scene.check_whole(A, B, NEW)


def test_a_pull_that_begins_after_the_last_look_gets_the_blob_back(scene: Scene) -> None:
    new, pulls = scene.offer(NEW), list[PausedPull]()

    def begin() -> None:
        pulls.append(PausedPull(scene.server, NEW, Point.PULLED_BLOB, SHARED))

    scene.server.before = at_first("prune", begin)
    report = scene.prune()
    assert len(report.images) == 1
    assert scene.has(f"blobs/{SHARED}")
    assert report.asked is not None
    assert report.asked.disturbed == (f"img/{new}",)
    assert report.asked.put_back == 1
    assert pulls[0].finish().error is None
    assert SHARED not in [report.plan.index.blob_name(blob) for blob in report.blobs]
    scene.check_whole(B, NEW)


def test_a_pull_that_ends_while_its_blob_is_away_is_named_and_whole_after_a_restart(
    scene: Scene,
) -> None:
    """The window that is left: the server counts wrongly, but nothing is lost."""
    new, pulls = scene.offer(NEW), list[PausedPull]()

    def begin() -> None:
        pulls.append(PausedPull(scene.server, NEW, Point.BEFORE_ADDING))

    scene.server.before = at_first("prune", begin)
    scene.server.after = at_first("prune", lambda: [pull.finish() for pull in pulls])
    report = scene.prune()
    assert isinstance(pulls[0].error, PullError)
    assert report.asked is not None
    assert report.asked.disturbed == (f"img/{new}",)
    assert scene.has(f"blobs/{SHARED}")
    scene.server.restart()
    scene.check_whole(B, NEW)


def test_an_image_whose_blobs_the_server_counts_wrongly_stays_until_its_start(
    scene: Scene,
) -> None:
    """Its counts are too low since a pull has failed: it would take a blob from another image."""
    scene.offer(NEW)
    scene.server.pull(NEW)
    age(scene.root)
    scene.server.memory.counts[SHARED] = 1
    report = scene.prune()
    assert [one.path for one in report.failures] == [f"img/{scene.a}"]
    assert "start the server again" in report.failures[0].message
    assert scene.server.asked == []
    scene.server.restart()
    assert len(scene.prune(run=1).images) == 1
    scene.check_whole(A, B, NEW)


def test_a_pull_by_another_tag_while_the_image_goes_is_named(scene: Scene) -> None:
    """The server removes the file by its digest, and knows it by that tag afterwards."""
    scene.server.upstream.tag("r.example/x:9", scene.a)
    pulls: list[PausedPull] = []

    def begin() -> None:
        pulls.append(PausedPull(scene.server, "r.example/x:9", Point.BEFORE_ADDING))

    scene.server.before = at_first("prune", begin)
    scene.server.after = at_first("prune", lambda: [pull.finish() for pull in pulls])
    report = scene.prune()
    assert isinstance(pulls[0].error, PullError)
    assert len(report.images) == 1
    assert report.asked is not None
    assert report.asked.disturbed == (f"img/{scene.a}",)
    scene.server.restart()
    scene.check_whole(A, B, "r.example/x:9")


def test_a_pull_that_begins_after_the_blob_went_fetches_it(scene: Scene) -> None:
    scene.offer(NEW)
    scene.server.after = at_first("prune", lambda: scene.server.pull(NEW))
    report = scene.prune()
    assert len(report.images) == 1
    assert report.asked is not None
    assert report.asked.put_back == 0
    scene.check_whole(B, NEW)


def test_a_blob_of_a_manifest_that_the_server_did_not_load_is_put_back(scene: Scene) -> None:
    """Its counts do not know that manifest, so it removes the blob with the other image."""
    scene.offer("r.example/c:1")
    scene.server.pull("r.example/c:1")
    config = scene.root / "blobs" / digest_of(b"of r.example/c:1")
    config.unlink()
    age(scene.root)
    scene.server.restart()
    report = scene.prune()
    assert len(report.images) == 1
    assert scene.has(f"blobs/{SHARED}")
    assert report.asked is not None
    assert report.asked.put_back == 1
    scene.check_whole(B, "r.example/c:1")


def test_a_manifest_that_the_server_did_not_load_is_moved_with_its_blobs(scene: Scene) -> None:
    (scene.root / "blobs" / SHARED).unlink()
    scene.server.restart()
    report = scene.prune()
    assert scene.server.asked == []
    assert len(report.images) == 1
    assert report.asked is not None
    # The manifest and its config.
    assert report.asked.moved == 2
    assert report.bytes_freed == 0
    assert report.asked.bytes_moved > 0
    assert f"img/{scene.a}" not in files(scene.root)
    assert len(set_aside(scene.root)) == 2
    later = scene.prune(Policy(orphans_only=True), run=1)
    assert later.asked is not None
    assert (later.asked.emptied, later.asked.bytes_emptied) == (2, report.asked.bytes_moved)
    assert set_aside(scene.root) == set()
    scene.check_whole(A, B)


@pytest.mark.parametrize("when", ["checked", "before", "after"])
def test_a_manifest_that_is_pulled_while_it_is_moved_stays(when: str, scene: Scene) -> None:
    (scene.root / "blobs" / SHARED).unlink()
    scene.server.restart()
    plan = plan_of(scene.root, scene.server, ONLY_A)
    waiting = [True]

    def pull(_: object) -> None:
        if waiting:
            waiting.pop()
            scene.server.pull(A)

    wrapped = partial(Watched, **{when: pull})  # type: ignore[arg-type]
    report = ask(plan, scene.server, wrapped=wrapped)
    assert report.changed == (f"img/{scene.a}",)
    assert len(report.images) == len(report.blobs) == 0
    scene.check_whole(A, B)


def test_a_manifest_whose_pull_is_under_way_while_it_is_moved_stays(scene: Scene) -> None:
    (scene.root / "blobs" / SHARED).unlink()
    scene.server.restart()
    plan, pulls = plan_of(scene.root, scene.server, ONLY_A), list[PausedPull]()

    def begin(_: object) -> None:
        pulls.append(PausedPull(scene.server, A, Point.PULLED_MANIFEST))

    report = ask(plan, scene.server, wrapped=partial(Watched, checked=begin))
    assert report.changed == (f"img/{scene.a}",)
    assert pulls[0].finish().error is None
    scene.check_whole(A, B)


def test_an_orphan_that_a_pull_has_found_is_put_back(scene: Scene) -> None:
    (scene.root / "img" / scene.a).unlink()
    scene.server.restart()
    age(scene.root)
    new, pulls = scene.offer(NEW), list[PausedPull]()

    def begin(_: object) -> None:
        pulls.append(PausedPull(scene.server, NEW, Point.PULLED_BLOB, SHARED))

    plan = plan_of(scene.root, scene.server, Policy(orphans_only=True))
    assert len(plan.blobs) == 2
    report = ask(plan, scene.server, wrapped=partial(Watched, before=begin))
    assert len(report.blobs) == 1
    assert report.asked is not None
    assert report.asked.disturbed == (f"img/{new}",)
    assert scene.has(f"blobs/{SHARED}")
    assert pulls[0].finish().error is None
    scene.check_whole(B, NEW)


def test_an_orphan_that_is_young_by_now_stays(scene: Scene) -> None:
    (scene.root / "img" / scene.a).unlink()
    scene.server.restart()
    plan = plan_of(scene.root, scene.server, Policy(orphans_only=True))
    (scene.root / "blobs" / SHARED).write_bytes(LAYER)
    report = ask(plan, scene.server)
    assert len(report.blobs) == 1
    assert report.exit_code == 0
    assert scene.has(f"blobs/{SHARED}")
    assert len(report.plan.spared_blobs) == 1


def test_an_orphan_that_the_server_counts_stays(scene: Scene) -> None:
    """A manifest lives in memory only, as its file was removed behind the server's back."""
    (scene.root / "img" / scene.a).unlink()
    plan = plan_of(scene.root, scene.server, Policy(orphans_only=True))
    report = ask(plan, scene.server)
    assert report.asked is not None
    assert (len(report.blobs), report.asked.counted, report.exit_code) == (0, 2, 0)
    scene.check_whole(A, B)


def test_a_blob_that_the_plan_spares_stays_although_the_server_removes_it(scene: Scene) -> None:
    plan = plan_of(scene.root, scene.server, ONLY_A)
    spared = [blob for blob in plan.blobs.tolist() if plan.index.blob_name(blob) == SHARED]
    report = ask(plan.sparing(plan.blobs[plan.blobs == spared[0]]), scene.server)
    assert len(report.images) == len(report.blobs) == 1
    assert scene.has(f"blobs/{SHARED}")
    assert set_aside(scene.root) == set()


def test_a_blob_that_is_a_link_keeps_its_image(scene: Scene) -> None:
    """The server would remove the link."""
    blob = scene.root / "blobs" / SHARED
    elsewhere = scene.root.parent / "elsewhere"
    blob.rename(elsewhere)
    blob.symlink_to(elsewhere)
    report = scene.prune()
    assert blob.is_symlink()
    assert [one.path for one in report.failures] == [f"img/{scene.a}"]
    assert scene.server.asked == []
    assert set_aside(scene.root) == set()
    scene.check_whole(A, B)


def test_a_manifest_that_appears_and_can_not_be_read_ends_the_run(scene: Scene) -> None:
    """It may need any blob, so what the server has removed comes back."""
    other = digest_of("other")
    scene.server.before = at_first(
        "prune", lambda: (scene.root / "img" / other).symlink_to("nowhere")
    )
    report = scene.prune()
    assert "can't be read" in report.stopped
    assert f"img/{other}" in report.stopped
    assert len(report.images) == 1
    assert scene.has(f"blobs/{SHARED}")
    assert len(report.blobs) == 0
    assert report.exit_code == 3


def test_what_the_server_does_not_remove_is_named(scene: Scene) -> None:
    plan = plan_of(scene.root, scene.server, ONLY_A)
    scene.server.memory.prune = lambda holders: None  # type: ignore[method-assign]
    report = ask(plan, scene.server)
    assert [(one.path, one.message) for one in report.failures] == [
        (f"img/{scene.a}", "the server did not remove it")
    ]
    assert report.exit_code == 3
    assert set_aside(scene.root) == set()
    scene.check_whole(A, B)


def test_a_list_goes_before_its_image_and_both_by_their_urls(scene: Scene) -> None:
    child = scene.offer("r.example/a:3")
    index = scene.server.upstream.index("r.example/a:4", children=[child])
    scene.server.pull("r.example/a:4")
    scene.server.pull(f"r.example/a@sha256:{child}")
    age(scene.root)
    report = scene.prune(Policy(patterns=(":4$",)))
    assert scene.server.asked == [["r.example/a:4"], [f"r.example/a@sha256:{child}"]]
    assert (len(report.lists), len(report.images)) == (1, 1)
    assert not scene.has(f"img/{index}")
    scene.check_whole(A, B)


def test_if_a_list_stays_its_image_does(scene: Scene) -> None:
    child = scene.offer("r.example/c:3")
    scene.server.upstream.index("r.example/a:4", children=[child])
    scene.server.pull("r.example/a:4")
    scene.server.pull(f"r.example/a@sha256:{child}")
    age(scene.root)
    plan = plan_of(scene.root, scene.server, Policy(patterns=(":4$",)))
    scene.server.after = at_first("prune", lambda: scene.server.pull("r.example/a:4"))
    report = ask(plan, scene.server)
    assert scene.server.asked == [["r.example/a:4"]]
    assert len(report.lists) == len(report.images) == 0
    assert scene.has(f"img/{child}")


def test_a_run_of_the_user_in_the_trash_is_never_touched(scene: Scene) -> None:
    run = scene.root / ".fastprune" / "trash" / "20200101T000000Z-000001" / "blobs"
    (run.parent / "img").mkdir(parents=True)
    run.mkdir()
    (run / digest_of("old")).write_bytes(b"old")
    scene.prune(EVERYTHING)
    scene.prune(Policy(orphans_only=True), run=1)
    assert set_aside(scene.root) == {f"20200101T000000Z-000001/blobs/{digest_of('old')}"}
