"""A pull meets a live prune at a given point: what clients get, and what is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.live.auditing import broken_images, damaged_files, listed_by, without_files
from tests.live.driving import report_live
from tests.support.cachebuilder import digest_of, files
from tests.support.stand_in import Client, Point, Pulled, Settings, StandIn, Upstream

X, Y, Z = (f"registry.example/{name}:1" for name in "xyz")
SHARED = b"shared"


class Meeting:
    """A server whose upstream has X and Y, which share a layer, and Z, which stays; X is cached."""

    def __init__(self, server: StandIn, upstream: Upstream) -> None:
        self.server, self.upstream = server, upstream
        self.root = server.settings.root
        self.halted: list[threading.Event] = []
        self.x = upstream.image(X, layers=[SHARED], config=b"x")
        self.y = upstream.image(Y, layers=[SHARED, b"y's"], config=b"y")
        upstream.image(Z, layers=[b"y's"], config=b"z")
        for url in (X, Z):
            assert self.pull(url).is_whole

    def pull(self, url: str) -> Pulled:
        """Pulls an image by a client of its own."""
        with Client(self.server.url) as client:
            return client.pull(url)

    def pull_halted(self, point: Point, url: str) -> Callable[[], Pulled]:
        """Begins to pull an image and halts it at a point.

        Returns:
            What lets it go on, and gives what came of it.
        """
        there, go = threading.Event(), threading.Event()
        self.halted.append(go)
        results: list[Pulled] = []

        def halt() -> None:
            there.set()
            assert go.wait(60)

        self.server.hooks.once(point, halt)
        thread = threading.Thread(target=lambda: results.append(self.pull(url)))
        thread.start()
        assert there.wait(60)

        def finish() -> Pulled:
            go.set()
            thread.join(60)
            return results[0]

        return finish

    def whole(self) -> None:
        """All that is listed can be pulled whole, now and after a restart."""
        assert broken_images(self.server.url) == []
        assert damaged_files(self.root) == []
        self.server.restart()
        assert broken_images(self.server.url) == []


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    upstream = Upstream()
    with StandIn(Settings(tmp_path / "cache", upstream)) as server:
        one = Meeting(server, upstream)
        try:
            yield one
        finally:
            for go in one.halted:
                go.set()


PULLING = (Point.PULLED_MANIFEST, Point.PULLED_BLOB, Point.HALF_A_BLOB, Point.BEFORE_ADDING)


@pytest.mark.parametrize("point", PULLING)
def test_a_pull_that_began_before(meeting: Meeting, point: Point) -> None:
    """What shares a blob with an image that is being pulled stays for this time."""
    finish = meeting.pull_halted(point, Y)
    report = report_live(meeting.root, meeting.server.url, "/x:")
    assert len(report.images) == 0
    assert finish().is_whole
    assert meeting.pull(X).is_whole
    meeting.whole()
    report = report_live(meeting.root, meeting.server.url, "/x:")
    assert len(report.images) == 1
    meeting.whole()


def prune_with_a_pull_inside(meeting: Meeting, point: Point, *, ends: bool) -> list[Pulled]:
    """Prunes X while Y is pulled, from after the last look of fastprune on.

    Args:
        meeting: The server.
        point: How far the pull is when the server begins to remove files.
        ends: Whether it ends before the server has answered; else it ends when all is done.

    Returns:
        What came of the pull; and what the report says was disturbed is as it should be.
    """
    finish: list[Callable[[], Pulled]] = []
    results: list[Pulled] = []
    hooks = meeting.server.hooks
    hooks.once(Point.MATCHED, lambda: finish.append(meeting.pull_halted(point, Y)))
    if ends:
        hooks.once(Point.BEFORE_ANSWER, lambda: results.append(finish[0]()), "/cmd/prune")
    report = report_live(meeting.root, meeting.server.url, "/x:")
    if not ends:
        results.append(finish[0]())
    assert len(report.images) == 1
    assert report.asked is not None
    if results[0].is_whole:
        assert report.asked.put_back <= 1
    else:
        assert report.asked.disturbed == (f"img/{meeting.y}",)
    assert f"blobs/{digest_of(SHARED)}" in files(meeting.root)
    assert damaged_files(meeting.root) == []
    return results


@pytest.mark.parametrize("point", PULLING)
def test_a_pull_that_begins_after_the_last_look(meeting: Meeting, point: Point) -> None:
    """It is under way while the server removes what it needs: the blob is back before it ends."""
    (pulled,) = prune_with_a_pull_inside(meeting, point, ends=False)
    assert pulled.is_whole
    meeting.whole()


def test_a_pull_that_begins_and_ends_in_the_window(meeting: Meeting) -> None:
    """It has seen the blob, and ends while that is away: its client gets 500; the report says so.

    The server has counted its blobs wrongly then, so it can be pulled whole after a restart.
    """
    (pulled,) = prune_with_a_pull_inside(meeting, Point.BEFORE_ADDING, ends=True)
    assert [step.status for step in pulled.steps] == [500]
    assert meeting.pull(Z).is_whole
    meeting.server.restart()
    assert meeting.pull(Y).is_whole
    meeting.whole()


def test_an_image_whose_blobs_were_counted_wrongly(meeting: Meeting) -> None:
    """A later prune of it must not take a blob from an image that stays."""
    prune_with_a_pull_inside(meeting, Point.BEFORE_ADDING, ends=True)
    report_live(meeting.root, meeting.server.url, "/y:")
    assert meeting.pull(Z).is_whole, "the server does not give a blob of an image that stays"
    meeting.server.restart()
    meeting.whole()
    assert len(report_live(meeting.root, meeting.server.url, "/y:").images) == 1
    meeting.whole()


def test_one_of_two_tags_is_pulled_again_between_them(meeting: Meeting) -> None:
    """The server removes by digest: the file of the new pull goes with the second tag.

    It is in memory then, without a file. That is set right at once, not left to a repair.
    """
    other = X.replace(":1", ":2")
    meeting.upstream.tag(other, meeting.x)
    assert meeting.pull(other).is_whole
    meeting.server.hooks.once(Point.BEFORE_MANIFEST, lambda: meeting.pull(X), other)
    report = report_live(meeting.root, meeting.server.url, "/x:")
    with Client(meeting.server.url) as client:
        assert without_files(client, meeting.root) == []
    assert meeting.pull(X).is_whole
    meeting.whole()
    assert report.failures == ()
    assert len(report_live(meeting.root, meeting.server.url, "/x:").images) == 1
    meeting.whole()


@pytest.mark.parametrize("point", [Point.PULLED_MANIFEST, Point.BEFORE_ADDING])
def test_another_tag_is_pulled_while_the_file_goes(meeting: Meeting, point: Point) -> None:
    """Its pull has written the file that the server removes then; it is written again."""
    other = X.replace(":1", ":2")
    meeting.upstream.tag(other, meeting.x)
    finish: list[Callable[[], Pulled]] = []
    results: list[Pulled] = []
    hooks = meeting.server.hooks
    hooks.once(Point.MATCHED, lambda: finish.append(meeting.pull_halted(point, other)))
    hooks.once(Point.BEFORE_ANSWER, lambda: results.append(finish[0]()), "/cmd/prune")
    report = report_live(meeting.root, meeting.server.url, "/x:")
    assert report.asked is not None
    assert report.asked.disturbed == (f"img/{meeting.x}",)
    with Client(meeting.server.url) as client:
        assert without_files(client, meeting.root) == []
    # If all of it was pulled by then, its blobs went with its file: the next pull after a restart
    # brings them back.
    assert results[0].is_whole == (point is not Point.BEFORE_ADDING)
    if not results[0].is_whole:
        meeting.server.restart()
    assert meeting.pull(other).is_whole
    meeting.whole()


def test_what_is_pulled_again_between_two_looks(meeting: Meeting) -> None:
    """A manifest that a client asked for since the scan stays."""
    meeting.server.hooks.once(Point.BEFORE_MATCHING, lambda: meeting.pull(X), "/cmd/manifest/list")
    with Client(meeting.server.url) as client:
        before = {one.url for one in listed_by(client)}
        report = report_live(meeting.root, meeting.server.url, "/x:")
        assert {one.url for one in listed_by(client)} <= before
    assert len(report.images) <= 1
    meeting.whole()
