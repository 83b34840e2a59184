"""The page of a night without a report, so that the site never shows an old night as tonight's. Needs Python alone."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

TITLE = "No report tonight"
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}: Touchstone</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 45rem; margin: 3rem auto; padding: 0 1rem;
overflow-wrap: anywhere }}</style>
<main>
<h1>{title}</h1>
<p>Touchstone, {when:%Y-%m-%d %H:%M} UTC</p>
<ul>
{reasons}
</ul>
{trend}</main>
</html>
"""


def write(site: Path, reasons: Iterable[str], trend: str = "") -> None:
    """Write ``index.html``. trend: what it links to as the nights before."""
    page = _PAGE.format(
        title=TITLE,
        when=datetime.now(UTC),
        reasons="\n".join(f"<li>{html.escape(reason)}</li>" for reason in reasons),
        trend=f'<p><a href="{html.escape(trend)}">The nights before</a></p>\n' if trend else "",
    )
    site.mkdir(parents=True, exist_ok=True)
    (site / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")
