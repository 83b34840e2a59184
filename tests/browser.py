"""Pages of the project in a real browser: headless Chromium, watched for errors and requests, checked by axe-core."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
VARIABLE = "TOUCHSTONE_BROWSER"


class BrowserError(Exception):
    """TOUCHSTONE_BROWSER names no program."""


def executable() -> str | None:
    """A Chromium of this machine: what TOUCHSTONE_BROWSER names, else the first that is found, else None.

    Raises BrowserError where the variable is set and names nothing that can be run.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        found = shutil.which(chosen)
        if not found:
            raise BrowserError(f"{VARIABLE}={chosen}: no such program")
        return found
    return next((path for name in (*NAMES, *MAC) if (path := shutil.which(name))), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser; skips where there is none, unless TOUCHSTONE_BROWSER asks for one, as continuous integration does."""
    path = executable()
    if path is None:
        pytest.skip(f"no Chromium found ({', '.join(NAMES)}); set {VARIABLE} to one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Log:
    """What went wrong while a page was open: errors it reported, and requests for anything but itself."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Watched:
    """Opens pages in one browser and logs what they do."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.log = Log()
        self._contexts: list[Any] = []

    def open(self, path: Path, fragment: str = "", **options: Any) -> Page:
        """The page at `path`, with `fragment` behind its "#"; options of `Browser.new_context`."""
        options = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"} | options
        context = self.browser.new_context(**options)
        self._contexts.append(context)
        page = context.new_page()
        address = path.resolve().as_uri()
        page.on("console", lambda m: self.log.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.log.errors.append(str(error)))
        page.on("dialog", self._dismiss)
        page.on("request", lambda r: self.log.requests.append(r.url) if r.url.partition("#")[0] != address else None)
        page.goto(f"{address}#{fragment}" if fragment else address)
        return page

    def _dismiss(self, dialog: Dialog) -> None:
        self.log.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()


def findings(page: Page) -> list[str]:
    """What axe-core finds on the page as it is now, one line each: impact, rule, the first element."""
    violations = Axe().run(page).response["violations"]
    return [f"{v['impact']} {v['id']}: {v['nodes'][0]['html'][:200]} ({len(v['nodes'])})" for v in violations]


def serious(found: list[str]) -> list[str]:
    return [line for line in found if line.startswith(("serious ", "critical "))]


def open_everything(page: Page) -> None:
    """Open every part of the page that can be unfolded."""
    page.evaluate("for (const part of document.querySelectorAll('main details')) part.open = true")
