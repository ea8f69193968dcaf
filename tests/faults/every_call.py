"""Lets each call of small prunes and of the trash fail: with a kill, and with each error.

    python -m tests.faults.every_call

`make test` does this for the calls that change something, and for some of the others. The exit
code is 1 if anything was lost, or if a run ended in a way that is not documented.
"""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tests.cli.program import Result
from tests.faults.injection import Fault, run_with
from tests.faults.scenes import MODES, NUMBERS, Scene, prune_of
from tests.faults.trash_scenes import TASKS, TrashScene, words_of


class Struck(Protocol):
    """A cache and its checks, as `Scene` and `TrashScene` are."""

    def fresh(self) -> Path: ...

    def losses(self) -> list[str]: ...

    def complaints(self, result: Result, number: int) -> list[str]: ...


def strike_every_call(scene: Struck, words: list[str], number: int) -> tuple[int, list[str]]:
    """Runs a command once for each of its calls, and lets that call fail.

    Args:
        scene: The cache.
        words: Command and options.
        number: The errno with which the call fails; 0 for a kill instead.

    Returns:
        How many calls failed, and what was wrong.
    """
    wrong: list[str] = []
    at = 0
    while True:
        at += 1
        fault = Fault(first=at, error=number, kill="" if number else "process")
        outcome = run_with(fault, *words, cache=scene.fresh())
        if not outcome.struck:
            return at - 1, wrong
        if number:
            found = scene.complaints(outcome.result, number)
        else:
            found = scene.losses()
            if outcome.result.code != -signal.SIGKILL:
                found.append(f"exit code {outcome.result.code}")
        wrong += [f"{fault} ({outcome.calls[at - 1]}): {line}" for line in found]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Strikes every call of small commands.")
    names = [errno.errorcode[number] for number in NUMBERS]
    parser.add_argument("--errors", default=",".join(names), help="which, by name; none: only kill")
    parser.add_argument("--only", choices=(*MODES, *TASKS), action="append", help="of these")
    options = parser.parse_args(arguments)
    numbers = [getattr(errno, name) for name in options.errors.split(",") if name]
    total, wrong = 0, list[str]()
    with tempfile.TemporaryDirectory(prefix="fastprune-every-call-") as folder:
        scenes: dict[str, tuple[Struck, list[str]]] = {
            **{mode: (Scene(Path(folder, mode)), prune_of(mode)) for mode in MODES},
            **{task: (TrashScene(Path(folder, task), task), words_of(task)) for task in TASKS},
        }
        for what in options.only or scenes:
            scene, words = scenes[what]
            for number in (0, *numbers):
                struck, found = strike_every_call(scene, words, number)
                fault = errno.errorcode[number] if number else "SIGKILL"
                print(f"{what}: {fault} at each of {struck} calls; wrong: {len(found)}", flush=True)
                for line in found:
                    print(f"  {line}")
                total += struck
                wrong += found
    print(f"calls that were struck: {total}; wrong: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
