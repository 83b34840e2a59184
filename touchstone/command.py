"""The command ``touchstone``: its parts, each imported when it is asked for.

Exit status: 0 where everything conforms, 1 where something deviates, 2 for everything else.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from touchstone import __version__
from touchstone.errors import InputError


@dataclass(frozen=True)
class Part:
    """summary: one line; example: a command that works where its files are there. Its module has ``main``."""

    summary: str
    example: str


PARTS = {
    "run": Part("the conformance suites, on every installed framework", "touchstone run --adapter torch --report DIR"),
    "check": Part("is a converted checkpoint what its source says?", "touchstone check model.safetensors mlx_model/"),
    "guide": Part("what behaves differently in another framework", "touchstone guide torch mlx"),
    "report": Part("what is made of the records of runs", "touchstone report diff OLD NEW"),
    "targets": Part("frameworks and devices that can be run here", "touchstone targets"),
    "expectations": Part(
        "what frameworks are known to do, brought in line with a run", "touchstone expectations update DIR"
    ),
    "golden": Part("the golden arrays: verify, generate, record", "touchstone golden verify"),
}


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, PARTS))
    parts = "\n".join(f"  {name:<{width}}  {part.summary}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="touchstone",
        usage="touchstone PART …",
        description="Holds machine-learning frameworks to stored golden arrays, and checks converted checkpoints.",
        epilog=f"parts:\n{parts}\n\nexample: {PARTS['check'].example}\ntouchstone PART --help says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"touchstone {__version__}")
    parser.add_argument("part", choices=PARTS, metavar="PART", help=argparse.SUPPRESS)
    return parser


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of a part; its help ends with the part's example."""
    return argparse.ArgumentParser(
        prog=f"touchstone {name}",
        description=description,
        epilog=f"example: {PARTS[name].example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def find_adapters_here(specs: Iterable[str]) -> None:
    """Let a ``package.module:Class`` among these be found in the current folder too, after all that is installed."""
    if any(":" in spec for spec in specs):
        sys.path.append(os.getcwd())


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of the part that `arguments` (those of the process where None) begin with."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = _parser().parse_args(given[:1]).part
    try:
        return int(importlib.import_module(f"touchstone.commands.{name}").main(given[1:]))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    except Exception:  # a fault of the command: Python's own exit status, 1, would say that something deviates
        traceback.print_exc()
    return 2
