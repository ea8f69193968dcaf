"""Clients pull at random while policies run: whatever the server lists can be pulled whole."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from tests.live.auditing import broken_images, damaged_files, listed_by, without_files
from tests.live.driving import prune_live
from tests.live.servers import KINDS, Scene, scene_of
from tests.live.world import World, clients_at_work, pull_all
from tests.property.profile import TIMES

_CLIENTS = 4
_PRUNES = 3


def policy(draw: random.Random, world: World) -> list[str]:
    """Criteria of a prune."""
    repository = draw.choice(world.urls).rpartition(":")[0]
    tag = draw.choice(world.urls).rpartition(":")[2]
    return draw.choice(
        [
            ["--pattern", f"^{repository}[:@]"],
            ["--pattern", f":{tag}$"],
            ["--pattern", f":{tag}$,^{repository}@"],
            ["--pattern", "."],
            ["--pattern", ".", "--exclude", f"^{repository}:"],
            ["--dangling"],
            ["--pattern", ".", "--keep-last", "1"],
            ["--pattern", ".", "--count", "3"],
            ["--pattern", ".", "--not-pulled-for", "1s"],
        ]
    )


def make_blobs_old(root: Path) -> None:
    """Lets blobs look as if they were very old: younger ones are spared."""
    for path in (root / "blobs").iterdir():
        with suppress(FileNotFoundError):
            os.utime(path, (0, 0))


def check(scene: Scene) -> None:
    """Everything that the server lists can be pulled whole, now and after a restart."""
    assert broken_images(scene.server.url) == []
    assert damaged_files(scene.root) == []
    before = {(one.url, one.digest) for one in listed_by(scene.client)}
    scene.server.restart()
    assert broken_images(scene.server.url) == []
    # A restart forgets tags that no file shows, and invents none.
    after = {(one.url, one.digest) for one in listed_by(scene.client)}
    assert after <= before
    assert {digest for _, digest in before} == {digest for _, digest in after}


@pytest.mark.parametrize("seed", range(4 * TIMES))
@pytest.mark.parametrize("kind", KINDS)
def test_one_after_the_other(tmp_path: Path, kind: str, seed: int) -> None:
    """Clients pull, then a policy runs, and so on: nothing that is kept is ever broken."""
    draw = random.Random(seed)
    with scene_of(kind, tmp_path) as scene:
        world = World(scene.upstream, scene.host, seed)
        for _ in range(_PRUNES):
            pulled = pull_all(scene.server.url, draw.choices(world.urls, k=8))
            assert [one for one in pulled if not one.is_whole] == []
            make_blobs_old(scene.root)
            result = prune_live(scene.root, scene.server.url, *policy(draw, world))
            assert result.code == 0, result.err
            assert without_files(scene.client, scene.root) == []
            assert broken_images(scene.server.url) == []
            assert damaged_files(scene.root) == []
            world.move_tags(3)
        check(scene)


@pytest.mark.parametrize("seed", range(4 * TIMES))
@pytest.mark.parametrize("kind", KINDS)
def test_at_the_same_time(tmp_path: Path, kind: str, seed: int) -> None:
    """Clients pull while policies run. What they get is whole, or gone, and no error lasts.

    `test_pulls_meanwhile` says which errors there may be.
    """
    draw = random.Random(seed)
    with scene_of(kind, tmp_path) as scene:
        world = World(scene.upstream, scene.host, seed)
        pull_all(scene.server.url, draw.choices(world.urls, k=12))
        url = scene.server.url
        with clients_at_work(url, world.urls, seed=seed, clients=_CLIENTS) as results:
            disturbed: list[str] = []
            for _ in range(_PRUNES):
                # What came to a client in the window of a request needs a restart.
                if not disturbed:
                    make_blobs_old(scene.root)
                    result = prune_live(scene.root, url, *policy(draw, world))
                    assert result.code in (0, 3), result.err
                    disturbed = result.document["asked"]["disturbed"]
        failed = [one for one in results if one.status not in (200, 404)]
        assert {one.status for one in failed} <= {500}
        if disturbed:
            scene.server.restart()
        # An error came in the moment in which something went, or the report names its image.
        again = [scene.client.pull(one.url) for one in failed]
        assert [one for one in again if not one.is_whole] == []
        check(scene)
