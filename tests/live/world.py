"""A small world: an upstream with images that share layers, and clients that pull them at random.

The upstream speaks HTTP for a real server; the stand-in uses it directly. Everything is drawn
from a seed. Which client comes first is not.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.stand_in import Client, Pulled, Upstream

LAYERS = 9


class World:
    """What clients may pull.

    Attributes:
        upstream: The images.
        urls: The tags that clients pull.
    """

    def __init__(self, upstream: Upstream, host: str, seed: int, *, repositories: int = 4) -> None:
        """Fills an upstream.

        Args:
            upstream: The upstream.
            host: The registry of all URLs.
            seed: Of what is in it.
            repositories: How many there are; each has five tags.
        """
        self.upstream = upstream
        self._draw = random.Random(seed)
        layers = [f"layer {number} ".encode() * (1 + number * 7) for number in range(LAYERS)]
        self._choices: dict[str, list[str]] = {}
        for repository in range(repositories):
            images = [self._image(layers) for _ in range(4)]
            lists = [self._list(images) for _ in range(2)]
            for tag in ("1", "2", "3", "4", "latest"):
                # An image of `latest` that is asked for by digest as well is never forgotten by
                # the server: see `test_defects_of_the_real_server`. So it is no child of a list.
                choices = lists if tag == "latest" else images + lists
                self._choices[f"{host}/team/r{repository}:{tag}"] = choices
        self.urls = sorted(self._choices)
        for url in self.urls:
            upstream.tag(url, self._draw.choice(self._choices[url]))

    def move_tags(self, count: int) -> None:
        """Lets some tags lead to other manifests of the same repository."""
        for url in self._draw.sample(self.urls, count):
            self.upstream.tag(url, self._draw.choice(self._choices[url]))

    def _image(self, layers: Sequence[bytes]) -> str:
        return self.upstream.image(
            layers=self._draw.choices(layers, k=self._draw.randrange(1, 4)),
            config=f"config {self._draw.randrange(40)}".encode(),
            media=self._draw.choice(["docker", "oci"]),
        )

    def _list(self, images: Sequence[str]) -> str:
        children = self._draw.sample(images, self._draw.randrange(1, 4))
        return self.upstream.index(children=children, media=self._draw.choice(["docker", "oci"]))


def pull_all(server_url: str, urls: Sequence[str]) -> list[Pulled]:
    """One client pulls these images, one after the other."""
    with Client(server_url) as client:
        return [client.pull(url) for url in urls]


@contextmanager
def clients_at_work(
    server_url: str, urls: Sequence[str], *, seed: int, clients: int, pause: float = 0
) -> Iterator[list[Pulled]]:
    """Clients pull at random, each in a thread of its own, while the context lasts.

    Args:
        server_url: The server.
        urls: What they choose from.
        seed: Of what they choose.
        clients: How many there are.
        pause: Seconds between two pulls of a client.

    Yields:
        What came of each pull, complete at the end.
    """
    results: list[Pulled] = []
    done = threading.Event()

    def work(number: int) -> None:
        draw = random.Random(f"{seed} {number}")
        with Client(server_url) as client:
            while not done.wait(pause):
                results.append(client.pull(draw.choice(urls)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
