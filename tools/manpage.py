"""The man page: the help of the program as roff (man(7)).

Input: the command tree and the exit codes. Output: the text of `docs/man/fastprune.1`,
which the wheel installs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from fastprune import __version__
from fastprune.cli.options import DEFAULT_IMAGE_PATH, IMAGE_PATH_VARIABLE
from fastprune.cli.state_folder import ROOTS_FOLDER, STATE_VARIABLE
from fastprune.errors import EXIT_CODES
from tools.command_tree import GLOBAL_PANEL, Command, Option

_ESCAPES = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    "^": "\\(ha",
    "~": "\\(ti",
    "`": "\\(ga",
}
_ENVIRONMENT = {
    IMAGE_PATH_VARIABLE: "The image cache, if --image-path is not given.",
    STATE_VARIABLE: "Where scans are remembered, if --state-dir is not given; empty for nowhere.",
    "XDG_CACHE_HOME": "The folder with fastprune/, where scans are remembered if neither says "
    "where. Default: ~/.cache.",
    "XDG_CONFIG_HOME": "The folder with fastprune/tuned.json, which 'tune --save' writes. "
    "Default: ~/.config.",
}
_FILES = {
    DEFAULT_IMAGE_PATH: "The image cache, if nothing else says where it is.",
    f"{ROOTS_FOLDER}, ~/.cache/fastprune": "What root, and another user, remember of the caches "
    "that they have scanned. It may be deleted at any time.",
    "DIR/.fastprune/trash": "What 'prune --trash' moved aside.",
}
_EXAMPLES = {
    "fastprune list --pattern dashboard": "What is there.",
    "fastprune prune --not-pulled-for 30d --dry-run": "Exactly what would go.",
    "fastprune prune --not-pulled-for 30d": "Asks once on a terminal, then removes it.",
    "fastprune explain calico/typha:v3.27.0": "What holds this image, and what it holds.",
}


def man_page(program: Command) -> str:
    """The whole page, as roff."""
    leaves = tuple(program.leaves())
    shared = [option for option in leaves[0].options if option.panel == GLOBAL_PANEL]
    known = {option.names for option in shared}
    first = [option for option in program.options if option.names not in known]
    lines = [
        ".\\\" Made from the program by 'make reference': change the program, not this file.",
        f'.TH FASTPRUNE 1 "" "fastprune {__version__}" "User Commands"',
        ".SH NAME",
        "fastprune \\- list and prune the image cache of ociregistry",
        ".SH SYNOPSIS",
        ".B fastprune",
        "[GLOBAL OPTIONS] COMMAND [OPTIONS]",
        ".SH DESCRIPTION",
        *_paragraphs(program.paragraphs),
        f".SH {GLOBAL_PANEL.upper()}",
        "They work before and after the command; after it wins.",
        *_options(shared),
        ".PP",
        "These work before the command only:",
        *_options(first),
        ".SH COMMANDS",
    ]
    for leaf in leaves:
        lines += _command(leaf)
    lines += [".SH EXIT STATUS", *_terms({str(code): text for code, text in EXIT_CODES.items()})]
    lines += [".SH ENVIRONMENT", *_terms(_ENVIRONMENT), ".SH FILES", *_terms(_FILES)]
    lines += [".SH EXAMPLES", *_terms(_EXAMPLES)]
    return "\n".join(lines) + "\n"


def _command(leaf: Command) -> Iterator[str]:
    yield f".SS fastprune {leaf.name}"
    yield f".B fastprune {leaf.name}"
    yield _text(" ".join(["[OPTIONS]", *(one.metavar for one in leaf.arguments)]))
    yield from (line for text in leaf.paragraphs for line in (".PP", _text(text)))
    yield from _terms({one.metavar: one.text for one in leaf.arguments})
    for heading, options in leaf.own_headings().items():
        yield from (".PP", _text(f"{heading}:"))
        yield from _options(options)
    if leaf.examples:
        yield from (".PP", "Examples:", ".PP", ".nf", *map(_line, leaf.examples), ".fi")


def _options(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        names = ", ".join(f"\\fB{_line(name)}\\fR" for name in option.names)
        value = f" \\fI{_line(option.metavar)}\\fR" if option.metavar else ""
        default = f" Default: {option.default}." if option.default else ""
        yield from (".TP", names + value, _text(option.text + default))


def _terms(terms: dict[str, str]) -> Iterator[str]:
    for term, text in terms.items():
        yield from (".TP", f"\\fB{_line(term)}\\fR", _text(text))


def _paragraphs(paragraphs: Iterable[str]) -> list[str]:
    lines = [line for text in paragraphs for line in (".PP", _text(text))]
    return lines[1:]


def _text(text: str) -> str:
    """Lines that roff shows as this text: no escapes, no requests, hyphens that can be copied."""
    lines = textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_line, lines))


def _line(text: str) -> str:
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return f"\\&{text}" if text.startswith(".") else text
