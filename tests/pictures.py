"""``python -m tests.pictures REPORT [TREND]``: the pictures of docs/images, from the pages of real runs."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page

from tests.browser import Watched, launched
from tests.command import ROOT

IMAGES = ROOT / "docs" / "images"
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 780}
LARGEST = 300_000
"""Bytes of a picture."""


def take(page: Page, name: str, section: str = "") -> None:
    """A picture of what the window shows, from `section` on."""
    if section:
        page.evaluate("id => document.getElementById(id).scrollIntoView()", section)
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes{', too large' * (size > LARGEST)}")


def main(arguments: list[str]) -> None:
    report = Path(arguments[0])
    IMAGES.mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        watched = Watched(browser)
        take(watched.open(report, viewport=DESKTOP), "report")
        take(watched.open(report, viewport=DESKTOP), "report-matrix", "matrix")
        take(watched.open(report, "cell=EMB-OOR-1~mlx@cpu", viewport=DESKTOP, color_scheme="dark"), "report-cell")
        take(watched.open(report, "from=torch@cpu&to=mlx@cpu", viewport=DESKTOP), "report-moving", "moving")
        take(watched.open(report, viewport=DESKTOP), "report-headroom", "headroom")
        take(watched.open(report, viewport=PHONE), "report-phone")
        for trend in arguments[1:]:
            take(watched.open(Path(trend), viewport=DESKTOP), "trend")
        watched.close()


if __name__ == "__main__":
    main(sys.argv[1:])
