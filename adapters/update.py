"""``python -m adapters update DIR``: bring the files of known deviations in line with a run."""

from __future__ import annotations


class UpdateError(Exception):
    """The run cannot be used; the message says why."""


def update(report: object) -> str:
    raise UpdateError("not yet")
