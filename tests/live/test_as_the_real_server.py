"""The stand-in answers, and leaves files, as the real server does: whatever is asked of both.

Skipped unless the environment names the program of a real server.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest
from tests.property.profile import TIMES
from tests.support.cachebuilder import CacheBuilder, files
from tests.support.stand_in import Client, Settings, StandIn
from tests.support.stand_in.real import PROGRAM, REASON, RealServer
from tests.support.stand_in.registry import Registry

pytestmark = pytest.mark.skipif(not PROGRAM, reason=REASON)

_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_KEPT_HEADERS = ("content-type", "content-length", "docker-content-digest")


class Both:
    """A stand-in and a real server, each on its own cache, with one upstream.

    Attributes:
        seed: Of what is asked.
    """

    def __init__(self, folder: Path, seed: int, *, air_gapped: bool) -> None:
        self._stack = ExitStack()
        self._random = random.Random(seed)
        self._registry = self._stack.enter_context(Registry())
        self.roots = [folder / "stand-in", folder / "real"]
        self._fill_upstream()
        for root in self.roots:
            self._fill_cache(root)
        upstream = self._registry.upstream
        self._servers: list[StandIn | RealServer] = [
            StandIn(Settings(self.roots[0], upstream, air_gapped=air_gapped)),
            RealServer(self.roots[1], self._registry.host, air_gapped=air_gapped),
        ]
        for server in self._servers:
            self._stack.enter_context(server)
        self._clients = [self._stack.enter_context(Client(one.url)) for one in self._servers]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def check(self, steps: int) -> None:
        """Asks both the same, so many times, and compares answers and files."""
        for _ in range(steps):
            said = self._step()
            on_disk = [files(root) for root in self.roots]
            assert on_disk[0] == on_disk[1], said
        for name in files(self.roots[0]):
            ours, theirs = ((root / name).read_bytes() for root in self.roots)
            assert _TIME.sub(b"", ours) == _TIME.sub(b"", theirs)

    def _step(self) -> str:
        draw = self._random
        kind = draw.choice(["pull"] * 6 + ["ask"] * 2 + ["list"] * 4 + ["prune"] * 5 + ["odd"] * 2)
        if kind == "pull":
            pulled = draw.choice(self._urls())
            return self._same([client.pull(pulled) for client in self._clients])
        if kind == "ask":
            url = draw.choice(self._urls())
            name, separator, rest = url.partition("@")
            if not separator:
                name, _, rest = url.rpartition(":")
            return self._asked(draw.choice(["HEAD", "GET"]), f"/v2/{name}/manifests/{rest}")
        if kind == "list":
            path = draw.choice(["/cmd/manifest/list", "/cmd/image/list"])
            query = draw.choice(["", f"&pattern={self._expressions()}"])
            self._asked("GET", "/cmd/blob/list?count=-1")
            return self._asked("GET", f"{path}?count=-1{query}")
        if kind == "prune":
            query = f"type=pattern&count=-1&dryRun=false&expr={self._expressions()}"
            return self._asked("DELETE", f"/cmd/prune?{query}")
        return self._odd()

    def _odd(self) -> str:
        """What happens behind the backs of both."""
        draw = self._random
        there = sorted(files(self.roots[0]))
        if there and draw.random() < 0.6:
            name = draw.choice(there)
            for root in self.roots:
                (root / name).unlink()
            return f"unlinked {name}"
        for server in self._servers:
            server.restart()
        return "restarted"

    def _asked(self, method: str, path: str) -> str:
        answers = []
        for client in self._clients:
            status, body, headers = client.request(method, path)
            kept = {name: headers.get(name) for name in _KEPT_HEADERS if status == 200}
            answers.append((status, _TIME.sub(b"", body) if status == 200 else b"", kept))
        return f"{method} {path}: {self._same(answers)}"

    def _same(self, answers: Sequence[object]) -> str:
        assert answers[0] == answers[1]
        return str(answers[0])

    def _urls(self) -> list[str]:
        upstream = self._registry.upstream
        digests = sorted(upstream.manifests)
        host = self._registry.host
        by_digest = [f"{host}/{name}@sha256:{one}" for one in digests[:6] for name in ("a", "b")]
        return [*sorted(upstream.tags), *by_digest, f"{host}/a:unknown"]

    def _expressions(self) -> str:
        draw = self._random
        urls = draw.sample(self._urls(), draw.randrange(1, 4))
        exact = [f"^{re.escape(url)}$" for url in urls]
        sloppy = draw.choice(["latest", "/a", "sha256", "b:[12]", ""])
        return quote(",".join(exact) if draw.random() < 0.7 else sloppy, safe="")

    def _fill_upstream(self) -> None:
        draw, upstream, host = self._random, self._registry.upstream, self._registry.host
        layers = [f"layer {number}".encode() * 20 for number in range(5)]
        images = [
            upstream.image(
                layers=draw.choices(layers, k=draw.randrange(1, 4)),
                config=f"config {number // 2}".encode(),
                media=draw.choice(["docker", "oci"]),
            )
            for number in range(6)
        ]
        lists = [
            upstream.index(children=draw.sample(images, 2), media=draw.choice(["docker", "oci"]))
            for _ in range(2)
        ]
        for repository in "ab":
            for tag in ("1", "2", "3", "latest"):
                upstream.tag(f"{host}/{repository}:{tag}", draw.choice(images + lists))

    def _fill_cache(self, root: Path) -> None:
        """Twins of one URL, and a tag in both folders: what no pull makes."""
        builder, host = CacheBuilder(root), self._registry.host
        child = builder.image(f"{host}/twins:1", layers=[builder.blob(b"twin")])
        builder.index(f"{host}/twins:1", children=[child])
        builder.tag(child, f"{host}/twins:latest")
        builder.image(f"{host}/half:1", layers=["0" * 64])


@pytest.mark.parametrize("seed", range(6 * TIMES))
@pytest.mark.parametrize("air_gapped", [False, True])
def test_the_same_answers_and_files(tmp_path: Path, seed: int, air_gapped: bool) -> None:
    with Both(tmp_path, seed, air_gapped=air_gapped) as both:
        both.check(60)
