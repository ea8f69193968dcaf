"""A headless Chromium, for the browser tests and the screenshots.

It needs Debian's packages chromium and chromium-driver, and the Python package selenium.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.webdriver import WebDriver

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


@contextmanager
def chromium() -> Iterator[WebDriver]:
    """Starts Chromium with a profile of its own; ends it and removes the profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="fastprune-browser-") as profile:
        for option in (*_OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        service = webdriver.ChromeService(_program("chromedriver"))
        browser = webdriver.Chrome(options=options, service=service)
        try:
            yield browser
        finally:
            browser.quit()


def look(browser: WebDriver, *, width: int, height: int, theme: str = "light") -> None:
    """Sets the size of the window, and the theme of the system.

    Args:
        browser: The browser.
        width: In CSS pixels; below 500 it is a phone.
        height: In CSS pixels.
        theme: light or dark.
    """
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def show(browser: WebDriver, page: Path) -> None:
    """Opens a file, and clears the messages of the console."""
    browser.get_log("browser")
    browser.get(page.resolve().as_uri())


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f"there is no {name}: install chromium and chromium-driver")
    return path
