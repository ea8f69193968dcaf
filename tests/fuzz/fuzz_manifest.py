"""Fuzzes the reading of manifest files, for a given time.

    python -m tests.fuzz.fuzz_manifest [--seconds 60] [--seed N] [--findings DIR]

If atheris is installed (`pip install atheris`), libFuzzer chooses alterations that reach new
code. Otherwise a plain loop makes them. `tests.fuzz.checking` says what must hold. The first
file that fails is written to the folder of findings, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path
from random import Random

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None:
    # The code that guides libFuzzer must be imported first, while atheris instruments imports.
    with atheris.instrument_imports(include=["fastprune", "tests.support.oracle"]):
        import fastprune.layouts.ociregistry
        import fastprune.reading.chunks  # noqa: F401

from tests.fuzz.checking import Checker
from tests.fuzz.mutations import mutated, seeds

_IN_MEMORY = Path("/dev/shm")
_MOST_BYTES = 1 << 16
_PER_CLOCK = 500


class Run:
    """Counts, and keeps what was found."""

    def __init__(self, checker: Checker, findings: Path) -> None:
        self._checker, self._findings = checker, findings
        self.checked = self.understood = 0

    def check(self, content: bytes) -> None:
        """Checks one file; see `Checker.check`."""
        try:
            self.understood += self._checker.check(content)
        except BaseException:
            name = hashlib.sha256(content).hexdigest()[:16]
            Path(self._findings, f"manifest-{name}").write_bytes(content)
            raise
        self.checked += 1

    def __str__(self) -> str:
        return f"{self.checked} files checked, {self.understood} of them understood"


def run_loop(run: Run, seconds: float, seed: int) -> None:
    """Alters seeds, and altered files again, until the time is over."""
    random, end = Random(seed), time.monotonic() + seconds
    pool = list(seeds())
    while time.monotonic() < end:
        for _ in range(_PER_CLOCK):
            content = mutated(random, random.choice(pool))[:_MOST_BYTES]
            before = run.understood
            run.check(content)
            # A file that is still understood can be altered further.
            if run.understood > before and random.random() < 0.05:
                pool.append(content)
        if len(pool) > 1_000:
            pool = [*seeds(), *random.sample(pool, 500)]


def run_atheris(run: Run, seconds: float, seed: int, findings: Path) -> None:
    """Lets libFuzzer choose. It ends the process itself."""

    def alter(content: bytes, most: int, number: int) -> bytes:
        random = Random(number)
        if random.random() < 0.3:
            return bytes(atheris.Mutate(content, most))
        return mutated(random, content)[:most]

    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(content)
        options = [f"-max_total_time={int(seconds)}", f"-seed={seed}", f"-max_len={_MOST_BYTES}"]
        options += ["-print_final_stats=1", f"-artifact_prefix={findings}/", corpus]
        atheris.Setup([sys.argv[0], *options], run.check, custom_mutator=alter)
        atheris.Fuzz()


def main() -> int:
    """Runs until the time is over or something is found."""
    parser = argparse.ArgumentParser(description="Fuzz the reading of manifest files.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--engine", choices=["auto", "atheris", "loop"], default="auto")
    options = parser.parse_args()
    options.findings.mkdir(parents=True, exist_ok=True)
    folder = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as root:
        run = Run(Checker(Path(root)), options.findings)
        if options.engine == "atheris" or (options.engine == "auto" and atheris):
            run_atheris(run, options.seconds, options.seed, options.findings)
        else:
            run_loop(run, options.seconds, options.seed)
        print(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
