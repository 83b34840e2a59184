"""Drives a night: legs of targets, one process each, and the report made of their records (docs/nightly.md)."""

from touchstone.errors import InputError

GREEN, RED, BROKEN = 0, 1, 2
"""Exit status: every case conforms or is registered; some verdict is red; a required target answered no case, a process
did not come to its end, or a command could not do what it was asked."""
MINUTES = 45.0
"""What the suites of one target of a leg may take; its benchmarks a third of it."""


class NightlyError(InputError):
    """A command cannot do what it was asked; the message says why."""


NEW_NAMES = "unclassified.txt"
"""Of a leg's records: public names that nobody has classified (`tools.coverage`), a line each."""
