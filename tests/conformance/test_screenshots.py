"""The pictures of the program in a terminal show what it prints."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.support.examples import assert_shows
from tools.screenshots import FOLDER, ROOT, SHOTS, make_cache, take

# Width of a character, as rich draws it.
CHARACTER = 12.2
STABLE = [name for name, shot in SHOTS.items() if shot.stable]


def text_of(picture: str) -> list[str]:
    """The lines that a picture shows, without empty ones."""
    lines: dict[str, str] = {}
    for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"):
        line = element.get("clip-path")
        if line is not None:
            column = round(float(element.get("x", "0")) / CHARACTER)
            lines[line] = lines.get(line, "").ljust(column) + (element.text or "")
    texts = (line.replace("\xa0", " ").rstrip() for line in lines.values())
    return [text for text in texts if text]


@pytest.mark.parametrize("name", STABLE)
def test_a_picture_shows_what_the_program_prints(name: str, tmp_path: Path) -> None:
    shot = SHOTS[name]
    printed = take(shot, make_cache(shot, tmp_path / "cache")).plain.splitlines()
    shown = text_of((FOLDER / f"{name}.svg").read_text(encoding="utf-8"))
    lines = [line for line in printed if line.strip()]
    assert_shows(shown, lines, f"{name}: run 'make screenshots' and commit what it writes")


def test_every_picture_is_there_and_in_a_page() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert {path.stem for path in FOLDER.iterdir()} == set(SHOTS)
    for name in SHOTS:
        assert f"images/terminal/{name}.svg)" in text


@pytest.mark.parametrize("name", SHOTS)
def test_a_picture_fetches_nothing(name: str) -> None:
    picture = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert "url(http" not in picture
    assert "@import" not in picture
