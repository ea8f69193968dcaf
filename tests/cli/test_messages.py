"""What is said: as text with colours where they mean something, and as lines of JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastprune.cli.messages import facts, log, notice, say_error, set_up_messages
from fastprune.cli.options import Color, GlobalOptions, LogFormat
from fastprune.cli.refusals import in_our_words
from fastprune.cli.terminal import wants_color
from fastprune.errors import NoCacheError, UnreadableManifestsError, UsageError

RED, MAGENTA, OFF = "\x1b[1;31m", "\x1b[1;35m", "\x1b[0m"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


Said = Callable[[], str]


@pytest.fixture
def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], str]]:
    """Gives what was said on stderr since it was last asked."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    yield lambda: capsys.readouterr().err
    set_up_messages(GlobalOptions())


@pytest.mark.parametrize(
    ("choice", "variables", "terminal", "wanted"),
    [
        (None, {}, True, True),
        (None, {}, False, False),
        (Color.auto, {"TERM": "dumb"}, True, False),
        (Color.auto, {"NO_COLOR": "1"}, True, False),
        # As https://no-color.org has it: empty is not set.
        (Color.auto, {"NO_COLOR": ""}, True, True),
        (Color.auto, {"FORCE_COLOR": "1"}, False, True),
        (Color.auto, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        (Color.always, {"NO_COLOR": "1"}, False, True),
        (Color.never, {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colours_are_wanted_where_they_should_be(
    choice: Color | None,
    variables: dict[str, str],
    terminal: bool,
    wanted: bool,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wants_color(choice, Tty() if terminal else io.StringIO()) is wanted


def test_only_the_level_is_coloured(said: Said) -> None:
    set_up_messages(GlobalOptions(color=Color.always))
    log.error("%s is wrong", "it")
    log.warning("mind %s", "the gap")
    assert said().splitlines() == [
        f"fastprune: {RED}error:{OFF} it is wrong",
        f"fastprune: {MAGENTA}warning:{OFF} mind the gap",
    ]


def test_an_error_comes_with_what_to_do(said: Said) -> None:
    set_up_messages(GlobalOptions())
    say_error(NoCacheError("no cache at /x"))
    error, hint = said().splitlines()
    assert error == "fastprune: error: no cache at /x"
    assert hint == f"fastprune: hint: {NoCacheError.hint}"


def test_text_from_a_cache_can_not_act_on_a_terminal(said: Said) -> None:
    set_up_messages(GlobalOptions())
    log.warning("%s changed", "\x1b[2J\n\u202e")
    assert said() == "fastprune: warning: \\x1b[2J\\x0a\\u202e changed\n"


def test_each_message_is_a_line_of_json_with_its_facts(said: Said) -> None:
    set_up_messages(GlobalOptions(log_format=LogFormat.json))
    log.warning("%s changed", "a\n\x1b\x7f\udc80", extra=facts(path="a\n", nothing=None))
    say_error(UnreadableManifestsError([("img/0", "empty")]))
    text = said()
    assert "\x7f" not in text
    warning, error = map(json.loads, text.splitlines())
    assert str(warning.pop("time")).endswith("Z")
    assert warning == {"level": "warning", "message": "a\n\x1b\x7f\udc80 changed", "path": "a\n"}
    assert error["level"] == "error"
    assert error["exit_code"] == 4
    assert error["corrupt"] == [{"path": "img/0", "reason": "empty"}]
    assert "verify --repair" in str(error["hint"])


@pytest.mark.parametrize("form", LogFormat)
def test_a_notice_is_said_whatever_the_level_but_not_if_quiet(
    form: LogFormat, said: Said, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    options = {"log_format": form, "log_file": str(file)}
    set_up_messages(GlobalOptions(**options))  # type: ignore[arg-type]
    notice("%s is done", "half")
    assert "half is done" in said()
    set_up_messages(GlobalOptions(**options, quiet=True))  # type: ignore[arg-type]
    notice("the rest")
    log.warning("no")
    assert said() == ""
    # What nobody looks at now can be looked at later.
    assert [word in file.read_text() for word in ("half is done", "the rest", "no")] == [True] * 3


def test_a_log_file_that_can_not_be_opened_is_a_usage_error(said: Said) -> None:
    with pytest.raises(UsageError, match="--log-file /missing/log"):
        set_up_messages(GlobalOptions(log_file="/missing/log"))


@pytest.mark.parametrize(
    ("parsed", "shown"),
    [
        ("No such option: --dryrun", "no such option: --dryrun"),
        ("Missing argument 'RUN'.", "missing argument 'RUN'"),
        ("No such command 'lst'. Did you mean 'list'?", None),
        (
            "Invalid value: 'x' is not a valid int range.",
            "invalid value: 'x' is not a whole number",
        ),
        ("0.0 is not in the range 1<=x<=3600.", "0.0 is not from 1 to 3600"),
        ("-1 is not in the range x>=0.", "-1 is less than 0"),
        (
            "Got unexpected extra argument(s) (foo bar)",
            "got arguments that do not belong there: foo bar",
        ),
        ("Got unexpected extra argument (foo)", "got arguments that do not belong there: foo"),
    ],
)
def test_the_parser_speaks_as_the_rest_does(parsed: str, shown: str | None) -> None:
    assert in_our_words(parsed) == (shown or parsed[0].lower() + parsed[1:])
