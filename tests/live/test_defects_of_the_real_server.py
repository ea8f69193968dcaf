"""What goes wrong in the server when a prune and a pull meet: the same in both.

With the environment naming the program of a real server, each test runs against it as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.auditing import damaged_files, listed_by, orphans
from tests.live.servers import KINDS, Scene, scene_of
from tests.support.cachebuilder import digest_of, files
from tests.support.test_stand_in import blob_counts
from tests.support.test_stand_in_prunes import prune_exactly


@pytest.fixture(params=KINDS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with scene_of(request.param, tmp_path) as one:
        yield one


def statuses(scene: Scene, url: str) -> list[int]:
    return [step.status for step in scene.client.pull(url).steps]


def pull_and_prune(scene: Scene, url: str, blob: bytes, pruned: str) -> int:
    """Pulls an image, and prunes another one while a blob of the first is fetched.

    Returns:
        The status of the pull.
    """
    there, go = threading.Event(), threading.Event()

    def halt(digest: str) -> None:
        if digest == digest_of(blob):
            there.set()
            assert go.wait(60)

    scene.upstream.before_blob = halt
    results: list[int] = []

    def pull() -> None:
        name, _, tag = url.rpartition(":")
        with scene.new_client() as client:
            results.append(client.request("GET", f"/v2/{name}/manifests/{tag}")[0])

    thread = threading.Thread(target=pull)
    thread.start()
    assert there.wait(60)
    prune_exactly(scene.client, pruned)
    go.set()
    thread.join(60)
    return results[0]


def test_a_pull_that_shares_a_layer_with_what_is_pruned(scene: Scene) -> None:
    """It ends in 500, its image is listed but not whole, and a prune of it does not heal it."""
    x, y = scene.url("x:1"), scene.url("y:1")
    scene.upstream.image(x, layers=[b"shared"], config=b"x")
    scene.upstream.image(y, layers=[b"shared", b"own"], config=b"y")
    assert statuses(scene, x) == [200, 200, 200]
    assert pull_and_prune(scene, y, b"own", pruned=x) == 500
    assert [one.url for one in listed_by(scene.client)] == [y]
    assert blob_counts(scene.client) == {digest_of(b"shared"): 1}
    # The config is there, but was not counted.
    assert statuses(scene, y) == [200, 404]
    shared = f"/v2/{y.rpartition(':')[0]}/blobs/sha256:{digest_of(b'shared')}"
    assert scene.client.get(shared)[0] == 500
    prune_exactly(scene.client, y)
    assert blob_counts(scene.client) == {digest_of(b"own"): -1}
    assert statuses(scene, y) == [200, 200, 200, 404], "no pull makes the count of one layer 1"
    scene.server.restart()
    assert statuses(scene, y) == [200, 200, 200, 200]
    assert damaged_files(scene.root) == []


def test_what_was_not_counted_is_counted_down(scene: Scene) -> None:
    """A prune of the image whose pull ended in 500 takes a blob from one that needs it."""
    x, y, z = scene.url("x:1"), scene.url("y:1"), scene.url("z:1")
    scene.upstream.image(x, layers=[b"shared"], config=b"x")
    scene.upstream.image(y, layers=[b"shared", b"other"], config=b"y")
    scene.upstream.image(z, layers=[b"other"], config=b"z")
    for url in (x, z):
        assert set(statuses(scene, url)) == {200}
    assert pull_and_prune(scene, y, b"y", pruned=x) == 500
    assert set(statuses(scene, z)) == {200}
    prune_exactly(scene.client, y)
    assert statuses(scene, z) == [200, 200, 404]
    assert f"blobs/{digest_of(b'other')}" not in files(scene.root)


def test_a_digest_that_is_pulled_before_its_tag_is_counted_for_ever(scene: Scene) -> None:
    x = scene.url("x:1")
    digest = scene.upstream.image(x, layers=[b"layer"], config=b"config")
    assert statuses(scene, f"{scene.url('x')}@sha256:{digest}") == [200, 200, 200]
    assert statuses(scene, x) == [200, 200, 200]
    prune_exactly(scene.client, x)
    assert listed_by(scene.client) == []
    assert set(blob_counts(scene.client).values()) == {1}
    assert orphans(scene.root) == files(scene.root) != set()


def test_latest_that_is_pulled_by_digest_as_well_comes_back(scene: Scene) -> None:
    """A prune does not find its entry by digest: whoever asks for it gets a manifest, no blobs."""
    x = scene.url("x:latest")
    digest = scene.upstream.image(x, layers=[b"layer"], config=b"config")
    by_digest = f"{scene.url('x')}@sha256:{digest}"
    assert statuses(scene, x) == statuses(scene, by_digest) == [200, 200, 200]
    prune_exactly(scene.client, x)
    assert (listed_by(scene.client), files(scene.root)) == ([], set())
    assert statuses(scene, by_digest) == [200, 404]
    assert files(scene.root) == {f"lts/{digest}"}
    # Only a pull of the tag, or a restart, heals that.
    assert statuses(scene, x) == [200, 200, 200]
    assert statuses(scene, by_digest) == [200, 200, 200]


def test_one_of_two_tags(scene: Scene) -> None:
    """The file goes, and is there again when the other tag is asked for; its blobs stay."""
    one, two = scene.url("x:1"), scene.url("x:2")
    digest = scene.upstream.image(one, two, layers=[b"layer"])
    for url in (one, two):
        assert statuses(scene, url) == [200, 200, 200]
    prune_exactly(scene.client, one)
    assert f"img/{digest}" not in files(scene.root)
    assert statuses(scene, two) == [200, 200, 200]
    assert f"img/{digest}" in files(scene.root)


def by_url(scene: Scene) -> dict[str, str]:
    return {one.url: one.digest for one in listed_by(scene.client)}


def test_a_tag_that_moved_takes_the_other_image(scene: Scene) -> None:
    """The file of the old image shows the tag. A prune of the tag removes the new one."""
    x = scene.url("x:1")
    old = scene.upstream.image(x, layers=[b"old"])
    assert set(statuses(scene, x)) == {200}
    (scene.root / "img" / old).rename(scene.root / "aside")
    prune_exactly(scene.client, x)
    new = scene.upstream.image(x, layers=[b"new"])
    assert set(statuses(scene, x)) == {200}
    (scene.root / "aside").rename(scene.root / "img" / old)
    assert by_url(scene) == {x: new}
    prune_exactly(scene.client, x)
    assert f"img/{old}" in files(scene.root)
    assert f"img/{new}" not in files(scene.root)
