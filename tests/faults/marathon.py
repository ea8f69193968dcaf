"""Kills a prune at random moments, again and again, and checks whether anything was lost.

    python -m tests.faults.marathon --kills 500 --seed 1

Each kill is a SIGKILL of the real program: of its main process alone, or of it and its workers.
After each kill, the slow oracle reads the cache. No image that is left may have lost a blob, and no
list a child. Nothing may be gone that should stay. With the trash, every file must be in the cache
or in the trash. Then the same prune starts again, and may be killed again, until one prune
completes. Then the cache must hold exactly what the oracle says, and the next round begins with
a fresh cache. The exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.cli.program import command, environment
from tests.faults.scenes import MODES, PATTERN, Mode, in_trash, losses
from tests.support.cachebuilder import FOLDERS, CacheBuilder, files
from tests.support.oracle import expected, load

_WAIT = 60
# The share of kills that wait until the deletion begins. The others come at any time.
_AIMED = 0.8


class Marathon:
    """One cache that is pruned, and what has happened so far.

    Attributes:
        counts: How often each thing happened.
        wrong: What was lost, and when; empty if nothing was.
    """

    def __init__(self, folder: Path, mode: Mode, images: int, seed: int) -> None:
        """Makes the cache.

        Args:
            folder: Where the cache is made; its file system must support hard links.
            mode: delete or trash.
            images: About how many image manifests there are; there are half as many lists.
            seed: Equal seeds make equal caches and choose equal moments.
        """
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._random = random.Random(f"{mode} {seed}")
        self._mode, self._folder = mode, folder
        self._original, self._root = folder / "original", folder / "cache"
        _build(self._original, images, self._random)
        self._before = load(self._original)
        self._outcome = expected(self._before, patterns=[PATTERN])
        # How long a run takes, and how long the deletion in it: moments are chosen within these.
        self._seconds = self._deleting = 0.0

    @property
    def manifests(self) -> int:
        """How many manifests the cache has."""
        return len(self._before.manifests)

    def run(self, kills: int) -> None:
        """Prunes until there have been so many kills."""
        self._finish(self._fresh())
        while self.counts["kills"] < kills and not self.wrong:
            root = self._fresh()
            while self._killed(root):
                self._check(f"kill {self.counts['kills']}")
                if self.counts["kills"] == kills or self.wrong:
                    break
            self._finish(root)

    def _fresh(self) -> Path:
        shutil.rmtree(self._root, ignore_errors=True)
        # A prune changes no file, so the cache may share them with the original.
        shutil.copytree(self._original, self._root, copy_function=os.link)
        return self._root

    def _start(self, root: Path) -> subprocess.Popen[bytes]:
        options = ["--pattern", PATTERN, "--summary", "--lock-wait", "60s"]
        options += ["--jobs", self._random.choice("123")]
        options += ["--concurrency", self._random.choice(("1", "4", "16"))]
        # At full speed or slower. When slower, more kills come in the middle of the deletion.
        pace = self._random.choice(("1000000", "10000", "3000"))
        options += ["--max-deletes-per-second", pace]
        options += ["--trash"] if self._mode == "trash" else []
        return subprocess.Popen(
            command("prune", *options, cache=root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )

    def _killed(self, root: Path) -> bool:
        """Starts a prune and kills it, unless it ends first."""
        before = len(files(root))
        with self._start(root) as process:
            if self._random.random() < _AIMED:
                self._wait_for_a_change(process, root)
                time.sleep(self._deleting * self._random.random())
            else:
                time.sleep(self._seconds * self._random.random())
            whole = self._random.random() < 0.5
            # If it has ended meanwhile, the kill came too late. That is no error.
            with suppress(ProcessLookupError):
                (os.killpg if whole else os.kill)(process.pid, signal.SIGKILL)
            _, message = process.communicate(timeout=_WAIT)
        if process.returncode == 0:
            self.counts["too late"] += 1
            return False
        if process.returncode != -signal.SIGKILL:
            self.wrong.append(f"exit code {process.returncode}: {message.decode()}")
            return False
        self.counts["kills"] += 1
        self.counts["of the whole group" if whole else "of the main process"] += 1
        self.counts["in the middle of the deletion"] += (
            before > len(files(root)) > len(self._outcome.left)
        )
        return True

    def _wait_for_a_change(self, process: subprocess.Popen[bytes], root: Path) -> None:
        """Waits until the first file is removed, or the process ends."""
        before = _changed_at(root)
        while process.poll() is None and _changed_at(root) == before:
            time.sleep(0.001)

    def _finish(self, root: Path) -> None:
        """Lets a prune complete, and checks what is left."""
        started = time.monotonic()
        with self._start(root) as process:
            self._wait_for_a_change(process, root)
            changed = time.monotonic()
            _, message = process.communicate(timeout=_WAIT)
        if not self._seconds:
            self._seconds = time.monotonic() - started
            self._deleting = time.monotonic() - changed
        self._check("the end")
        if process.returncode != 0:
            self.wrong.append(f"exit code {process.returncode}: {message.decode()}")
        if files(root) != self._outcome.left:
            self.wrong.append("the end is not what the oracle says")
        self.counts["runs to the end"] += 1

    def _check(self, when: str) -> None:
        wrong = losses(self._before, self._root, self._outcome)
        if self._mode == "trash":
            nowhere = self._before.paths - files(self._root) - in_trash(self._root)
            wrong += [f"{path} is nowhere" for path in sorted(nowhere)]
        self.wrong += [f"{when}: {line}" for line in wrong]
        self.counts["checks"] += 1


def _changed_at(root: Path) -> list[int]:
    return [(root / folder).stat().st_mtime_ns for folder in FOLDERS]


def _build(root: Path, images: int, chance: random.Random) -> None:
    """Lists with children in both folders, layers that many share, and images that stay."""
    builder = CacheBuilder(root)
    shared = [builder.blob(10 + number) for number in range(20)]
    for number in range(images):
        name = chance.choice(("a", "a", "a", "kept", "other"))
        layers = chance.sample(shared, 2)
        if chance.random() < 0.5:
            layers.append(builder.blob(100))
        tag = chance.choice((f":{number}", f"{number}:latest", f"@sha256:{number:064x}"))
        image = builder.image(f"{name}{tag}", layers=layers)
        if tag.startswith("@"):
            also = chance.choice(("latest", str(number), str(number)))
            builder.index(f"{name}{number}:{also}", children=[image, f"{number:064x}"])
        if chance.random() < 0.1:
            builder.index(f"kept{number}:1", children=[image])
    for _ in range(images // 20):
        builder.blob(50)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Kills prunes at random moments.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args(arguments)
    total: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fastprune-marathon-") as folder:
        for turn, mode in enumerate(MODES):
            marathon = Marathon(Path(folder, mode), mode, options.images, options.seed)
            marathon.run((options.kills + 1 - turn) // 2)
            print(f"{mode}: {marathon.manifests} manifests; {_told(marathon.counts)}", flush=True)
            total += marathon.counts
            wrong += [f"{mode}: {line}" for line in marathon.wrong]
    print(f"kills: {total['kills']}; losses: {len(wrong)}")
    for line in wrong[:20]:
        print(f"  {line}")
    print("something was lost" if wrong else "nothing was lost")
    return 1 if wrong else 0


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
