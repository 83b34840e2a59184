"""How verdicts and states look: a tone, which is a colour, and an icon, so that nothing is told by colour alone."""

from __future__ import annotations

LOOKS: dict[str, tuple[str, str]] = {
    "conforms": ("ok", "check"),
    "known deviation": ("known", "triangle"),
    "unsupported": ("none", "dash"),
    "not run": ("none", "ring"),
    "deviates": ("red", "cross"),
    "crashed": ("red", "bolt"),
    "timed out": ("red", "clock"),
    "stale deviation": ("red", "loop"),
    "unreviewed": ("unreviewed", "question"),
    "in flight": ("incomplete", "hourglass"),
    "no record": ("incomplete", "dots"),
    "incomplete": ("incomplete", "dots"),
    "empty": ("incomplete", "ring"),
    "": ("none", "ring"),
}
"""Verdict, what stands in for one, or state of a run -> (tone, icon)."""

STATES = {
    "conforms": "conforms",
    "deviates": "deviates",
    "unreviewed": "unreviewed",
    "incomplete": "incomplete",
    "empty": "empty",
    "unsupported": "unsupported",
    "not run": "not run",
    "": "did not run",
}
