"""Completion in bash, zsh and fish: the scripts, and the answers that they get."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.program import environment

# A shell completes the command of this name, not `python -m fastprune`.
PROGRAM = shutil.which("fastprune", path=str(Path(sys.executable).parent)) or "fastprune"

SHELLS = {
    "bash": "complete -o default -F _fastprune_completion fastprune",
    "zsh": "#compdef fastprune",
    "fish": "complete --command fastprune",
}
LINE = "fastprune prune --max-d"
QUESTIONS = {
    "bash": {"COMP_WORDS": LINE, "COMP_CWORD": "2"},
    "zsh": {"_TYPER_COMPLETE_ARGS": LINE},
    "fish": {"_TYPER_COMPLETE_ARGS": LINE, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


def answer(**variables: str) -> str:
    """The answer of the program to a shell, which asks through environment variables."""
    done = subprocess.run([PROGRAM], env=environment(variables), capture_output=True, check=False)
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_shown(shell: str) -> None:
    assert SHELLS[shell] in answer(_FASTPRUNE_COMPLETE=f"source_{shell}")


@pytest.mark.parametrize("shell", QUESTIONS)
def test_a_shell_is_told_the_options_of_the_command(shell: str) -> None:
    text = answer(_FASTPRUNE_COMPLETE=f"complete_{shell}", **QUESTIONS[shell])
    assert "--max-duration" in text
    assert "--max-manifest-size" not in text


def test_the_own_options_are_offered_before_the_global_ones() -> None:
    line = {"COMP_WORDS": "fastprune prune --", "COMP_CWORD": "2"}
    offered = answer(_FASTPRUNE_COMPLETE="complete_bash", **line).split()
    assert offered.index("--pattern") < offered.index("--summary") < offered.index("--image-path")
