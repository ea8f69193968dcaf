"""Generates a realistic ociregistry cache from a seed, and the answers a prune of it must give.

Usage: ``python benchmarks/generate.py DIR --manifests 100000 [--seed 1] [--blob-size sparse|tiny]``

The cache is the same whatever the number of processes, and memory stays flat: a repository is
worked out, written and forgotten. Beside the cache (never inside it) goes ``DIR.json``: the
counts, and what a prune removes for a few patterns.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from answers import BIGGEST_REPOSITORY, SMALL_ORGANISATION, Totals, describe, tally
from content import (
    TINY,
    ManifestFile,
    Repository,
    RepositoryBuilder,
    Settings,
    base_layer,
    manifest_bytes,
)

FOLDERS = ("img", "lts", "blobs")
TINY_BLOB = hashlib.sha256(b"blob").digest() * (TINY // 32)
LISTS_SHARE = 0.68  # of the repositories publish lists, the others single images
# Measured, for a repository of lists (True) or of single images (False).
MANIFESTS_PER_TAG = {True: 2.16, False: 1.04}
MANIFESTS_PER_REPOSITORY = {True: 0.6, False: 0.36}
MAX_TAGS = 400  # of one repository
REPOSITORIES_PER_TASK = 32
SMALL_SHARE = 0.001  # of the tags are in repositories of the small organisation

REGISTRIES = {  # and how many repositories of a hundred each holds
    "docker.io": 43,
    "quay.io": 20,
    "ghcr.io": 20,
    "registry.k8s.io": 12,
    "registry.example.org:5000": 5,
}
ORGANISATIONS = (
    "library",
    "bitnami",
    "grafana",
    "prom",
    "kubernetesui",
    "curlimages",
    "hashicorp",
    "minio",
    "argoproj",
    "jetstack",
    "cilium",
    "fluxcd",
    "istio",
    "linkerd",
    "keycloak",
    "strimzi",
    "coreos",
    "ceph",
    "rook",
    "velero",
    "longhornio",
    "rancher",
    "traefik",
    "elastic",
    "sig-storage",
    "ingress-nginx",
    "metrics-server",
    "external-dns",
    "platform/team-a",
)
NAMES = (
    "api",
    "operator",
    "controller",
    "proxy",
    "server",
    "agent",
    "exporter",
    "gateway",
    "scheduler",
    "webhook",
    "dashboard",
    "worker",
    "collector",
    "backup",
    "sidecar",
    "router",
    "cache",
    "queue",
    "auth",
    "ui",
    "runner",
    "builder",
    "sync",
    "node",
    "csi",
)


class CacheWriter:
    """Creates the files of a cache; every name is created once, or the run fails."""

    def __init__(self, root: str, tiny: bool) -> None:
        self._tiny = tiny
        flags = os.O_RDONLY | os.O_DIRECTORY
        self._folders = {name: os.open(f"{root}/{name}", flags) for name in FOLDERS}

    @contextlib.contextmanager
    def alone_in(self, folder: str) -> Iterator[None]:
        """Keeps other processes of this run out of a folder.

        Two processes that create files in one folder spin on its lock in the kernel, and take
        several times as long as one; in two folders they do not disturb each other.
        """
        fcntl.flock(self._folders[folder], fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._folders[folder], fcntl.LOCK_UN)

    def manifest(self, file: ManifestFile) -> int:
        """Writes a manifest file; returns its length."""
        content = manifest_bytes(file)
        descriptor = self._create(file.document.digest, self._folders[file.folder])
        os.write(descriptor, content)
        os.close(descriptor)
        return len(content)

    def blob(self, digest: str, size: int) -> None:
        """Creates a blob: 4 KiB of content, or a sparse file of the given size."""
        descriptor = self._create(digest, self._folders["blobs"])
        if self._tiny:
            os.write(descriptor, TINY_BLOB)
        else:
            os.ftruncate(descriptor, size)
        os.close(descriptor)

    @staticmethod
    def _create(name: str, folder: int) -> int:
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755, dir_fd=folder)


@functools.cache
def process_writer(root: str, tiny: bool) -> CacheWriter:
    """The writer of this process."""
    return CacheWriter(root, tiny)


def generate_batch(root: str, settings: Settings, repositories: list[Repository]) -> Totals:
    """Works out and writes some repositories; runs in a worker process."""
    writer = process_writer(root, settings.tiny)
    totals = Totals()
    builders = [RepositoryBuilder(settings, repository) for repository in repositories]
    for builder in builders:
        builder.build()
        tally(builder, totals)
    with writer.alone_in("img"):  # lts/ is small and goes with it
        for file in (file for builder in builders for file in builder.files):
            totals.counts["manifest_bytes"] += writer.manifest(file)
    with writer.alone_in("blobs"):
        for digest, size in (blob for builder in builders for blob in builder.blobs.items()):
            writer.blob(digest, size)
    return totals


def plan_repositories(settings: Settings) -> Iterator[Repository]:
    """Names repositories until they hold about as many manifests as wanted."""
    rng = random.Random(f"{settings.seed}/plan")
    hosts, weights = list(REGISTRIES), list(REGISTRIES.values())
    tags = small = number = 0
    planned = 0.0
    while planned < settings.manifests:
        lists = rng.random() < LISTS_SHARE or number == 0
        count = min(
            # Zipf: a repository has at least n tags with probability 1 / n.
            MAX_TAGS if number == 0 else int(1 / (1 - rng.random())),
            MAX_TAGS,
            1 + settings.manifests // 100,
            1 + int((settings.manifests - planned) / MANIFESTS_PER_TAG[lists]),
        )
        name = BIGGEST_REPOSITORY
        if number > 0:
            host = rng.choices(hosts, weights)[0]
            organisation = rng.choice(ORGANISATIONS)
            if small + count <= SMALL_SHARE * (tags + count):
                organisation = SMALL_ORGANISATION
                small += count
            name = f"{host}/{organisation}/{rng.choice(NAMES)}-{number}"
        yield Repository(number, name, count, lists)
        planned += MANIFESTS_PER_REPOSITORY[lists] + count * MANIFESTS_PER_TAG[lists]
        tags += count
        number += 1


def batches(settings: Settings) -> Iterator[list[Repository]]:
    """The plan in pieces for the worker processes."""
    batch: list[Repository] = []
    for repository in plan_repositories(settings):
        batch.append(repository)
        if len(batch) == REPOSITORIES_PER_TASK:
            yield batch
            batch = []
    if batch:
        yield batch


def generate(root: Path, settings: Settings, jobs: int = os.cpu_count() or 1) -> dict[str, Any]:
    """Writes a cache and its description.

    Args:
        root: A new or empty folder.
        settings: What to write.
        jobs: Number of worker processes; makes no difference to the content.

    Returns:
        The description, as written beside the folder.

    Raises:
        FileExistsError: The folder is not empty.
    """
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty")
    for name in FOLDERS:
        (root / name).mkdir()
    totals = Totals()
    work = functools.partial(generate_batch, str(root), settings)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for part in pool.imap_unordered(work, batches(settings)):
            totals.add(part)
    writer = CacheWriter(str(root), settings.tiny)
    for code in totals.base:
        writer.blob(*base_layer(settings.seed, code))
    description = describe(settings, totals)
    description_path(root).write_text(json.dumps(description, indent=2) + "\n")
    return description


def description_path(root: Path) -> Path:
    """Where the description of a generated cache is."""
    return root.with_name(f"{root.name}.json")


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Generate an ociregistry cache from a seed.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="new or empty folder")
    parser.add_argument("--manifests", type=int, default=100_000, help="about so many (100000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blob-size", choices=("sparse", "tiny"), default="sparse")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    arguments = parser.parse_args()
    settings = Settings(
        seed=arguments.seed,
        manifests=arguments.manifests,
        tiny=arguments.blob_size == "tiny",
    )
    start = time.perf_counter()
    try:
        description = generate(arguments.directory, settings, max(1, arguments.jobs))
    except FileExistsError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - start
    print(
        f"{arguments.directory}: {description['manifests']} manifests, "
        f"{description['blobs']} blobs in {seconds:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
