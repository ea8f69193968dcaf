"""Thousands of manifests go while 20 clients pull: no error that would not come without a prune.

`FASTPRUNE_TEST_MANIFESTS=10000` says how many there are.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.cli.program import command, environment
from tests.live.auditing import broken_images, damaged_files, orphans
from tests.live.servers import KINDS, STAND_IN
from tests.live.test_as_offline import make_old
from tests.live.world import clients_at_work
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.stand_in import server_process
from tests.support.stand_in.real import RealServer

_MANIFESTS = int(os.environ.get("FASTPRUNE_TEST_MANIFESTS", "2000"))
_MOST_SECONDS = 600
_CLIENTS = 20
_PAUSE = 0.02


def fill(root: Path) -> dict[bool, list[str]]:
    """Writes old images, half of which are to go; each shares a layer with some of both halves.

    Returns:
        The URLs of those that go, and of those that stay.
    """
    builder = CacheBuilder(root)
    shared = [builder.blob(20 + number) for number in range(50)]
    urls: dict[bool, list[str]] = {True: [], False: []}
    for number in range(_MANIFESTS):
        goes = number % 2 == 0
        url = f"registry.example/{'old' if goes else 'new'}/r{number % 40}:{number}"
        builder.image(url, layers=[shared[number // 2 % 50]])
        urls[goes].append(url)
    make_old(root)
    return urls


@pytest.mark.timeout(_MOST_SECONDS)
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_go_while_clients_pull(tmp_path: Path, kind: str) -> None:
    """All but what the clients have pulled meanwhile goes, and each image with all of it."""
    root = tmp_path / "cache"
    urls = fill(root)
    before = files(root)
    wanted = urls[False] + urls[True][::20]
    with ExitStack() as stack:
        if kind == STAND_IN:
            server_url = stack.enter_context(server_process(root, "--air-gapped")).url
        else:
            server_url = stack.enter_context(RealServer(root, air_gapped=True)).url
        with clients_at_work(server_url, wanted, seed=1, clients=_CLIENTS, pause=_PAUSE) as results:
            options = ["--server", server_url, "--yes", "--format", "json"]
            result = subprocess.run(
                command("prune", *options, "--pattern", "/old/", cache=root),
                env=environment(),
                capture_output=True,
                check=False,
                timeout=_MOST_SECONDS,
            )
        assert result.returncode in (0, 3), result.stderr.decode()
        document = json.loads(result.stdout)
        gone = set(urls[True])
        wrong = [one for one in results if not one.is_whole and one.url not in gone]
        assert wrong == [], "an image that stays"
        # 500 only for what goes: the server looks for it twice, and it can go in between.
        assert set(Counter(one.status for one in results)) <= {200, 404, 500}
        assert broken_images(server_url) == []
    assert damaged_files(root) == []
    removed = len(document["manifests"])
    assert len(urls[True]) * 0.95 <= removed <= len(urls[True])
    # Each has a config of its own; the layers are needed by others.
    assert len(before) - len(files(root)) == 2 * removed
    assert orphans(root) == set()
