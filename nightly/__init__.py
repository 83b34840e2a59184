"""Drives a night: legs of targets, one process each, and the report made of their records (docs/nightly.md)."""

GREEN, RED, BROKEN = 0, 1, 2
"""Exit status: every case conforms or is registered; some verdict is red; a required target answered no case, a process
did not come to its end, or a command could not do what it was asked."""


class NightlyError(Exception):
    """A command cannot do what it was asked; the message says why."""
