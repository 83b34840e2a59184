"""The templates of the pages: escaped, strict about names, with scripts that a policy in the page pins by hash."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from touchstone.reports.page.headline import when
from touchstone.reports.page.looks import LOOKS
from touchstone.reports.page.speed_table import spell_time
from touchstone.reports.page.visible import visible, web_address

FOLDER = Path(__file__).with_name("templates")


def environment() -> jinja2.Environment:
    """Everything that a template prints is made visible, then escaped."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "when": when,
        "web": web_address,
        "number": lambda n: f"{n:,}",
        "three": lambda x: f"{x:.3g}",
        "time": spell_time,
    }
    env.globals |= {"LOOKS": LOOKS, "style": Markup(asset("style.css"))}
    return env


def asset(name: str) -> str:
    """The text of a file that lies beside the templates: a style sheet or a script."""
    return (FOLDER / name).read_text(encoding="utf-8")


def policy(*scripts: str) -> str:
    """A content security policy under which these inline scripts run, nothing else does, and nothing is fetched."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{d}'" for d in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def render(template: str, scripts: dict[str, str], **context: object) -> str:
    """The page `template`; `scripts` by the names under which it includes them."""
    return (
        environment()
        .get_template(template)
        .render(policy=policy(*scripts.values()), **{name: Markup(text) for name, text in scripts.items()}, **context)
    )
