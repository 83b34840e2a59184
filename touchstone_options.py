"""The suites' options, as a plugin that pytest loads before any conftest.

Otherwise pytest would take the value of ``--source A`` for a path of tests, and load a ``conftest.py`` that lies beside
the checkpoint. The installed package registers this module (pyproject.toml, pytest11); without it conftest.py does. It
stands alone, so that loading it this early fixes no other module to the checkout that is installed.
"""

from __future__ import annotations

import pytest

NAME = "touchstone-options"
OPTIONS = {
    "--adapter": ("NAME[@DEVICE]", "a target to run, or package.module:Class (default: all on their best device)"),
    "--table": ("FILE:KEY", "run the embedding, tied-output and quantization requirements on this table"),
    "--linear": ("FILE:KEY", "run the linear and quantization requirements on this weight [out, in]"),
    "--bootstrap": ("TARGET", "a target never reviewed before: what has no pin yet is listed as unreviewed"),
}
CHECKPOINT_OPTIONS = {
    "--source": ("PATH", "check a converted checkpoint: the one it was made from"),
    "--target": ("PATH", "check a converted checkpoint: the one to check"),
    "--map": ("FILE", "pairs of names that no convention knows, a TOML file (docs/migration.md)"),
    "--shard": ("I/N", "check only share I of N of the tensors; `reports merge` puts the reports together"),
    "--source-adapter": ("NAME[@DEVICE]", "whose layers the source's weights go through (default: by its format)"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("touchstone")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(name, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")
    for name, (metavar, text) in CHECKPOINT_OPTIONS.items():
        group.addoption(name, metavar=metavar, help=text)
    group.addoption("--tensors-only", action="store_true", help="put no tensor of a checkpoint through layers")
    group.addoption(
        "--fuzz-examples",
        type=int,
        default=10,
        metavar="N",
        help="examples per generated case, a quarter of it of quantized layers (default 10)",
    )
    group.addoption("--fuzz-seed", default="0", metavar="S", help="seed of generated cases, or fresh (default 0)")
    group.addoption("--fuzz-shrink", action="store_true", help="make a generated case that fails smaller: takes long")
    group.addoption("--large", action="store_true", help="ask CPUs too what takes up to 22 GB of memory a case")
    group.addoption(
        "--in-process",
        action="store_true",
        help="call frameworks in pytest's own process, to debug an adapter: a crash ends the run",
    )
    group.addoption("--report", metavar="DIR", help="write records, and report.html made of them, to this folder")
