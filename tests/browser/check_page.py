"""The HTML report in a real browser; `make browser-test` runs this, `make test` does not.

Installing a browser takes longer than running all other tests. tests/usage/test_html_page.py
tests what can be tested without a browser.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from tests.cli.program import run
from tests.support.cachebuilder import CacheBuilder
from tests.support.realcaches import unpack
from tests.usage.test_html_page import HOSTILE
from tools.chromium import chromium, look, show

THEMES = ("light", "dark")
LEAST_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    cache = unpack("pulled", folder)
    written = folder / "page.html"
    selection = ("--pattern", "calico|cilium", "--dry-run")
    assert run("prune", *selection, "--html", written, cache=cache).code == 0
    return written


@pytest.fixture
def opened(browser: WebDriver, page: Path) -> Iterator[WebDriver]:
    look(browser, width=1280, height=900)
    show(browser, page)
    yield browser
    assert browser.get_log("browser") == []


def report_of(browser: WebDriver) -> Any:
    text = browser.execute_script("return document.getElementById('report').textContent")
    return json.loads(text)


def cells(browser: WebDriver, kind: str = ".cell") -> list[WebElement]:
    found: list[WebElement] = browser.find_elements(By.CSS_SELECTOR, f"#map {kind}")
    return found


def where(browser: WebDriver) -> list[str]:
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#path button")]


def text_of(browser: WebDriver, name: str) -> str:
    return str(browser.find_element(By.ID, name).text)


def test_it_loads_nothing_and_draws_everything(opened: WebDriver) -> None:
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    report = report_of(opened)
    frames = {one.text.split("\n")[0] for one in cells(opened, ".frame")}
    assert frames == {node["n"] for node in report["tree"]["c"] if "c" in node}
    assert len(cells(opened)) > 15
    assert cells(opened, ".goes")
    assert opened.find_elements(By.CSS_SELECTOR, "#curve path.line")
    assert len(opened.find_elements(By.CSS_SELECTOR, "#ages .track")) == len(report["ages"])


def test_areas_are_bytes(opened: WebDriver) -> None:
    report = report_of(opened)
    names = {node["n"]: node["b"] for node in report["tree"]["c"]}
    sizes = {
        str(cell.get_attribute("aria-label")).split(": ")[0]: cell.size["width"]
        * cell.size["height"]
        for cell in cells(opened)
    }
    whole = opened.find_element(By.ID, "map").size
    for name, size in names.items():
        share = size / report["tree"]["b"]
        if share > 0.05:
            shown = sizes[name] / (whole["width"] * whole["height"])
            assert shown == pytest.approx(share, rel=0.03)


def test_the_mouse_opens_and_the_path_leads_back(opened: WebDriver) -> None:
    frame = cells(opened, ".frame")[0]
    name = frame.text.split("\n")[0]
    ActionChains(opened).move_to_element_with_offset(
        frame, 0, 10 - frame.size["height"] // 2
    ).click().perform()
    assert where(opened) == ["All", name]
    opened.find_elements(By.CSS_SELECTOR, "#path button")[0].click()
    assert where(opened) == ["All"]


def test_the_keyboard_moves_opens_and_goes_back(opened: WebDriver) -> None:
    opened.execute_script("document.querySelector('#map .cell[tabindex=\"0\"]').focus()")

    def focused() -> str:
        return str(opened.switch_to.active_element.get_attribute("aria-label"))

    def press(key: str) -> None:
        ActionChains(opened).send_keys(key).perform()

    seen = {focused()}
    for key in (Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_RIGHT):
        press(key)
        seen.add(focused())
        assert text_of(opened, "details").split(" ")[0] in focused()
    assert len(seen) >= 4
    assert len(cells(opened, '.cell[tabindex="0"]')) == 1
    press(Keys.HOME)
    press(Keys.ENTER)
    assert len(where(opened)) == 2
    press(Keys.ENTER)
    assert len(where(opened)) == 3
    press(Keys.ESCAPE)
    press(Keys.ESCAPE)
    assert where(opened) == ["All"]
    # Focus is still in the treemap, so that the keyboard can go on.
    press(Keys.ARROW_RIGHT)
    assert focused()


def test_the_slider_answers_what_the_report_says(opened: WebDriver) -> None:
    points = report_of(opened)["what_if"]
    slider = opened.find_element(By.ID, "what-if")
    slider.send_keys(Keys.HOME)
    assert text_of(opened, "what-if-days") == "1 day"
    slider.send_keys(Keys.END)
    last = points[-1]
    assert text_of(opened, "what-if-days") == f"{last['days']} days"
    assert f"in {last['images_left']} images would be left" in text_of(opened, "what-if-answer")


def rows(browser: WebDriver) -> list[str]:
    found = browser.find_elements(By.CSS_SELECTOR, "#savings tbody td:first-child")
    return [one.text for one in found]


def test_the_table_is_sorted_searched_and_switched(opened: WebDriver) -> None:
    report = report_of(opened)

    def heading(name: str) -> WebElement:
        buttons = opened.find_elements(By.CSS_SELECTOR, "#savings th button")
        return next(one for one in buttons if one.text.startswith(name))

    by_what_goes = sorted(report["savings"]["repositories"]["rows"], key=lambda row: -row[3])
    assert rows(opened)[0] == by_what_goes[0][0]
    heading("Name").click()
    assert rows(opened) == sorted(rows(opened))
    heading("Name").click()
    assert rows(opened) == sorted(rows(opened), reverse=True)
    sorted_by = opened.find_elements(By.CSS_SELECTOR, '#savings th[aria-sort="descending"]')
    assert [one.text for one in sorted_by] == ["Name ↓"]
    search = opened.find_element(By.ID, "search")
    search.send_keys("Cilium")
    assert rows(opened)
    assert all("cilium" in name for name in rows(opened))
    search.clear()
    search.send_keys("no such name")
    assert rows(opened) == []
    assert text_of(opened, "found").startswith("0 found")
    search.send_keys(Keys.CONTROL + "a", Keys.DELETE)
    opened.find_element(By.CSS_SELECTOR, '[data-table="images"]').click()
    assert len(rows(opened)) == 25
    opened.find_element(By.ID, "more").click()
    assert len(rows(opened)) == report["savings"]["images"]["count"]


def rgb(browser: WebDriver, script: str) -> tuple[float, ...]:
    """The computed colour in RGB, in whatever way it was written: it is drawn on a canvas."""
    return tuple(
        browser.execute_script(
            "const context = document.createElement('canvas').getContext('2d');"
            f"context.fillStyle = {script};"
            "context.fillRect(0, 0, 1, 1);"
            "return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);"
        )
    )


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(color: tuple[float, ...]) -> float:
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in (value / 255 for value in color)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_can_be_read_in_both_themes(theme: str, browser: WebDriver, page: Path) -> None:
    look(browser, width=1280, height=900, theme=theme)
    show(browser, page)
    # A cell in every colour, whatever ages the images have.
    names = [f"age-{age}" for age in (*range(6), "unknown", "none")]
    for name in names:
        browser.execute_script(
            "document.querySelector('.cell:not(.frame)').className = `cell ${arguments[0]}`", name
        )
        cell = "getComputedStyle(document.querySelector('.cell:not(.frame)'))"
        ink, paint = (rgb(browser, f"{cell}.{which}") for which in ("color", "backgroundColor"))
        assert contrast(ink, paint) >= LEAST_CONTRAST, (theme, name)
    for selector in ("#subject", "#details", "td.going", ".total.going b", "#path button"):
        style = f"getComputedStyle(document.querySelector('{selector}'))"
        card = "getComputedStyle(document.querySelector('.card')).backgroundColor"
        assert contrast(rgb(browser, f"{style}.color"), rgb(browser, card)) >= LEAST_CONTRAST


def test_the_button_beats_the_theme_of_the_system(opened: WebDriver) -> None:
    script = "getComputedStyle(document.body).backgroundColor"
    light = rgb(opened, script)
    button = opened.find_element(By.ID, "theme")
    shades = []
    for _ in range(3):
        button.click()
        shades.append((button.text, rgb(opened, script)))
    assert [name for name, _ in shades] == ["Theme: light", "Theme: dark", "Theme: system"]
    assert shades[0][1] == shades[2][1] == light
    assert sum(shades[1][1]) < sum(light) / 4


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_phone(width: int, browser: WebDriver, page: Path) -> None:
    look(browser, width=width, height=844)
    show(browser, page)
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
    whole = browser.find_element(By.ID, "map").rect
    for cell in cells(browser):
        assert cell.rect["x"] + cell.rect["width"] <= whole["x"] + whole["width"] + 1
        assert cell.rect["y"] + cell.rect["height"] <= whole["y"] + whole["height"] + 1


def test_the_map_follows_the_size_of_the_window(opened: WebDriver) -> None:
    look(opened, width=390, height=844)
    whole = opened.find_element(By.ID, "map").rect
    right = max(cell.rect["x"] + cell.rect["width"] for cell in cells(opened))
    assert right == pytest.approx(whole["x"] + whole["width"], abs=3)


def test_hostile_names_run_nothing(browser: WebDriver, tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    for name in HOSTILE:
        builder.image(f"{name}/repository:1", layers=[builder.blob(100)], folder="img")
        builder.image(f"registry.example/{name}:1", folder="img")
    page = tmp_path / "page.html"
    assert run("du", "--html", page, cache=builder.root).code == 0
    look(browser, width=1280, height=900)
    show(browser, page)
    browser.find_element(By.CSS_SELECTOR, '[data-table="images"]').click()
    assert browser.execute_script("return document.scripts.length") == 2
    assert browser.find_elements(By.CSS_SELECTOR, "img, iframe, b b") == []
    assert "<img src=x onerror=alert(1)>" in browser.find_element(By.ID, "savings").text
    for cell in cells(browser):
        browser.execute_script("arguments[0].focus()", cell)
    # An alert would make this fail. The console must be empty.
    assert browser.title.startswith("fastprune: ")
    assert browser.get_log("browser") == []


def test_even_a_script_that_got_in_would_not_run(browser: WebDriver, page: Path) -> None:
    show(browser, page)
    ran = browser.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'window.ran = true';"
        "document.body.append(script);"
        "return window.ran === true;"
    )
    assert not ran
    said = [line["message"] for line in browser.get_log("browser")]
    assert any("Content Security Policy" in line for line in said)
