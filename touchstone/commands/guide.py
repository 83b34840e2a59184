"""What behaves differently after a move from one framework to another, from recorded observations."""

from __future__ import annotations

from collections.abc import Sequence

from touchstone import command
from touchstone.migration import guide


def main(arguments: Sequence[str]) -> int:
    """Print the guide as Markdown; the exit status is 0. Raises GuideError and ObservationsError."""
    parser = command.parser_of("guide", __doc__)
    parser.add_argument("source", metavar="FROM", help="mlx, jax, torch or reference, or NAME@DEVICE")
    parser.add_argument("target", metavar="TO")
    options = parser.parse_args(arguments)
    print(guide.guide(options.source, options.target).render(), end="")
    return 0
