"""Pictures of the program in a terminal: real runs on a pseudo terminal, drawn as SVG.

    python -m tools.screenshots          # all of them: make screenshots
    python -m tools.screenshots du list  # some

Input: the sample cache of the tests and one that benchmarks/generate.py makes from a seed.
Output: docs/images/terminal/NAME.svg. A test runs the same commands and compares the text.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios
from dataclasses import dataclass
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images" / "terminal"
WIDTH = 96

_HEIGHT = 60
# The path of the cache in the pictures.
_SHOWN = "/var/lib/ociregistry"
_FONT = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture.

    Attributes:
        commands: The arguments of `fastprune` in each run; a question is answered with yes.
        generated: Number of manifests of the generated cache; 0 for the sample cache.
        lines: How many lines of the output to show; None for all.
        stable: Whether another run prints the same, apart from times.
    """

    commands: tuple[str, ...]
    generated: int = 0
    lines: int | None = None
    stable: bool = True


SHOTS = {
    "readme": Shot(
        (
            "du --top 5",
            "prune --pulled-before 2025-01-01 --dry-run --summary",
        ),
        generated=3000,
        lines=13,
    ),
    "list": Shot(("list --pattern 'calico|cilium' --limit 14",)),
    "prune": Shot(
        (
            "prune --pattern calico/typha:v3.27.0 --dry-run",
            "prune --pattern calico/typha:v3.27.0 --summary",
        )
    ),
    # The ages below the first table change every day.
    "du": Shot(("du --top 9",), generated=3000, lines=16),
    "tune": Shot(("tune",), generated=20_000, stable=False),
}


def main() -> int:
    """Takes the pictures."""
    with tempfile.TemporaryDirectory(prefix="fastprune-screenshots-") as folder:
        for name in sys.argv[1:] or SHOTS:
            shot = SHOTS[name]
            text = take(shot, make_cache(shot, Path(folder) / name))
            FOLDER.mkdir(parents=True, exist_ok=True)
            (FOLDER / f"{name}.svg").write_text(draw(name, text), encoding="utf-8")
    return 0


def make_cache(shot: Shot, path: Path) -> Path:
    """Makes the cache that a picture is of."""
    if shot.generated:
        generate = [sys.executable, str(ROOT / "benchmarks" / "generate.py"), str(path)]
        size = ["--manifests", str(shot.generated), "--jobs", "1"]
        subprocess.run([*generate, *size], check=True, stdout=subprocess.DEVNULL)
    else:
        with tarfile.open(ROOT / "tests" / "data" / "pulled.tar.gz") as archive:
            archive.extractall(path, filter="data")
    return path


def take(shot: Shot, cache: Path) -> Text:
    """Runs the commands of a picture.

    Returns:
        The text on the terminal, with its colours.
    """
    text = Text()
    for command in shot.commands:
        output = _run(shlex.split(command), cache).replace(str(cache), _SHOWN)
        lines = output.replace("\r\n", "\n").rstrip("\n").split("\n")[: shot.lines]
        text.append(f"$ fastprune {command}\n", style="bold")
        text.append(Text.from_ansi("\n".join(lines)))
        text.append("\n\n")
    text.rstrip()
    return text


def _run(words: list[str], cache: Path) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _HEIGHT, WIDTH, 0, 0))
    quiet = ("--no-progress", "--image-path", str(cache))
    environment = {
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "XDG_CONFIG_HOME": os.devnull,
        "FASTPRUNE_STATE_DIR": "",
        "PYTHONPATH": str(ROOT / "src"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fastprune", *quiet, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # EIO: the program has ended.
            break
        if not block:
            break
        output += block
        if output.endswith(b"[y/N] "):
            os.write(ours, b"y\n")
    os.close(ours)
    process.wait()
    return output.decode()


def draw(name: str, text: Text) -> str:
    """Draws a terminal with a text, as SVG that fetches nothing."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(text, soft_wrap=True, highlight=False)
    template = _FONT.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", "monospace")
    return console.export_svg(title="fastprune", code_format=template, unique_id=f"t-{name}")


if __name__ == "__main__":
    sys.exit(main())
