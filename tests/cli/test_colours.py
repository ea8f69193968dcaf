"""Colours: when they are used, and that they change nothing else."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.inprocess import invoke
from tests.support.realcaches import unpack

from fastprune.cli.terminal import WIDTH_ELSEWHERE, terminal_width
from fastprune.text.style import Style, colored

CODES = re.compile(r"\x1b\[[0-9;]*m")
COMMANDS = {
    "prune": ("prune", "-n", "--pattern", "typha"),
    "too much": ("prune", "-n", "--pattern", "."),
    "explain": ("explain", "typha:v3.27.0", "--pattern", "typha"),
    "trash": ("trash", "list"),
    "list": ("list", "--format", "table"),
    "du": ("du",),
}
TIMES = re.compile(r"(?m)^(Time|Estimated).*|\([^()]* ago\)")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = unpack("pulled", tmp_path_factory.mktemp("colours"))
    invoke("prune", "--pattern", "cilium", "--trash", cache=root)
    return root


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_without_its_codes_the_text_is_the_same(arguments: tuple[str, ...], cache: Path) -> None:
    bare = invoke(*arguments, cache=cache)
    painted = invoke(*arguments, "--color", "always", cache=cache)
    assert "\x1b" not in bare.out + bare.err
    assert painted.out.count("\x1b[0m") * 2 == painted.out.count("\x1b[") > 0
    assert TIMES.sub("", CODES.sub("", painted.out)) == TIMES.sub("", bare.out)
    assert CODES.sub("", painted.err) == bare.err


def test_what_goes_is_red_and_what_stays_is_not(cache: Path) -> None:
    for pattern, style in (("typha", Style.GOES), ("nginx", Style.STAYS)):
        output = invoke(
            "explain", "typha:v3.27.0", "--pattern", pattern, "--color", "always", cache=cache
        )
        assert output.out.splitlines()[-1].startswith(f"This prune: \x1b[{style.value}m")


def test_every_colour_can_be_read_on_white_and_on_black() -> None:
    bold, red, magenta, usual = "1", "31", "35", "39"
    for style in Style:
        assert set(style.value.split(";")) <= {bold, red, magenta, usual}


def test_what_went_wrong_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1")
    builder.image("b:1")

    def failing(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.unlink", failing)
    output = invoke("prune", "--pattern", "a", "--color", "always", cache=builder.root)
    assert output.code == 3
    assert colored(Style.ERROR, "Failed: 1") in output.out.splitlines()


@pytest.mark.parametrize(
    ("variable", "size", "width"),
    [
        (None, 42, 42),
        ("77", 42, 77),
        ("0", 42, 42),
        ("wide", 42, 42),
        (None, 0, WIDTH_ELSEWHERE),
        (None, None, WIDTH_ELSEWHERE),
    ],
)
def test_the_width_is_that_of_stdout_even_if_it_was_replaced(
    variable: str | None, size: int | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if variable is not None:
        monkeypatch.setenv("COLUMNS", variable)

    def ask(descriptor: int) -> os.terminal_size:
        if size is None:
            raise OSError("no terminal")
        return os.terminal_size((size, 24))

    monkeypatch.setattr(os, "get_terminal_size", ask)
    # As PYTHONUNBUFFERED leaves it, when stdout has got a buffer of its own.
    monkeypatch.setattr(sys, "__stdout__", None)
    assert terminal_width() == width


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "NO_COLOR"])
def test_a_variable_that_is_set_is_heard(
    variable: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    output = invoke("list", "--format", "table", "--limit", "1", cache=cache)
    assert ("\x1b" in output.out) == (variable == "FORCE_COLOR")
