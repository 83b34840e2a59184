"""pytest's plugin: the suites' options, and a `Session` where a run is asked for cases of the suites.

Loaded by an entry point before any conftest: otherwise pytest would take the value of ``--source A`` for a path of
tests, and load a ``conftest.py`` that lies beside the checkpoint. In every other run it does nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from touchstone.places import IN_CHECKOUT, SUITES

NAME = __name__
"""Of the entry point too, so that the plugin is registered once, whoever loads it."""

MARKERS = (
    "requirement(id, cases): the requirement a test asks about, and its cases",
    "inductor: needs g++ and minutes: torch.compile with its code generator",
    "wide: takes seconds each, and runs by -m alone: in the nightly, and by -m wide",
    "fuzz: generated cases (--fuzz-examples, --fuzz-seed, --fuzz-shrink)",
)
"""Of the suites' tests, where they are part of a run."""

OPTIONS: dict[str, dict[str, Any]] = {
    "--adapter": {
        "action": "append",
        "default": [],
        "metavar": "NAME[@DEVICE]",
        "help": "a target to run, or package.module:Class (default: all on their best device); repeatable",
    },
    "--table": {
        "action": "append",
        "default": [],
        "metavar": "FILE:KEY",
        "help": "run the embedding, tied-output and quantization requirements on this table; repeatable",
    },
    "--linear": {
        "action": "append",
        "default": [],
        "metavar": "FILE:KEY",
        "help": "run the linear and quantization requirements on this weight [out, in]; repeatable",
    },
    "--bootstrap": {
        "action": "append",
        "default": [],
        "metavar": "TARGET",
        "help": "a target never reviewed before: what has no pin yet is listed as unreviewed; repeatable",
    },
    "--source": {"metavar": "PATH", "help": "check a converted checkpoint: the one it was made from"},
    "--target": {"metavar": "PATH", "help": "check a converted checkpoint: the one to check"},
    "--map": {"metavar": "FILE", "help": "pairs of names that no convention knows, a TOML file (docs/migration.md)"},
    "--key": {"default": "", "metavar": "KEY", "help": "where a PyTorch file keeps the weights: params_ema, or a.b.c"},
    "--lora": {"metavar": "PATH", "help": "a LoRA adapter: the target must be its sum with the source"},
    "--shard": {
        "metavar": "I/N",
        "help": "check only share I of N of the tensors; `touchstone report merge` puts the reports together",
    },
    "--source-adapter": {
        "metavar": "NAME[@DEVICE]",
        "help": "whose layers the source's weights go through (default: by its format)",
    },
    "--tensors-only": {"action": "store_true", "help": "put no tensor of a checkpoint through layers"},
    "--fuzz-examples": {
        "type": int,
        "default": 10,
        "metavar": "N",
        "help": "examples per generated case, a quarter of it of quantized layers (default 10)",
    },
    "--fuzz-seed": {"default": "0", "metavar": "S", "help": "seed of generated cases, or fresh (default 0)"},
    "--fuzz-shrink": {"action": "store_true", "help": "make a generated case that fails smaller: takes long"},
    "--large": {"action": "store_true", "help": "ask CPUs too what takes up to 22 GB of memory a case"},
    "--in-process": {
        "action": "store_true",
        "help": "call frameworks in pytest's own process, to debug an adapter: a crash ends the run",
    },
    "--time-limit": {
        "type": float,
        "default": 60.0,
        "metavar": "SECONDS",
        "help": "how long a framework may take to answer one call before its process is ended (default 60)",
    },
    "--report": {"metavar": "DIR", "help": "write records, and report.html made of them, to this folder"},
}


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Only where a run may ask the suites: another project may have options of the same names."""
    config = pluginmanager.get_plugin("pytestconfig")
    if not (isinstance(config, pytest.Config) and _may_ask(config.invocation_params)):
        return
    group = parser.getgroup("touchstone")
    for name, settings in OPTIONS.items():
        group.addoption(name, **settings)


def _may_ask(given: pytest.Config.InvocationParams) -> bool:
    """Whether any word names the package, or a place in or above the suites; or the run begins inside a checkout."""
    words = [str(word).partition("::")[0] for word in given.args]
    own = SUITES.parent if IN_CHECKOUT else SUITES
    named = [Path(given.dir, word).resolve() for word in words if not word.startswith("-")]
    return (
        any(word.partition(".")[0] == "touchstone" for word in words)
        or any(place == own or own in place.parents or (IN_CHECKOUT and place in own.parents) for place in named)
        or (IN_CHECKOUT and own in (given.dir, *given.dir.parents))
    )


def places(config: pytest.Config) -> list[Path]:
    """The files and folders that a run is asked for."""
    names = [argument.partition("::")[0] for argument in config.args]
    return [_place(config, name).resolve() for name in names]


def _place(config: pytest.Config, name: str) -> Path:
    if config.option.pyargs and name.partition(".")[0] == "touchstone":
        found = importlib.util.find_spec(name)
        if found and (found.submodule_search_locations or found.origin):
            return Path((found.submodule_search_locations or [str(found.origin)])[0])
    return Path(config.invocation_params.dir, name)


def asks_the_suites(config: pytest.Config) -> bool:
    """Whether any argument lies in the suites, or is a checkout's folder above them.

    Not a folder above the installed package: a project's environment often lies in the project's folder.
    """
    return any(p == SUITES or SUITES in p.parents or (IN_CHECKOUT and p in SUITES.parents) for p in places(config))


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """A wrapper, so that it comes before pytest-xdist reads its options, whichever was loaded first."""
    if asks_the_suites(config):
        from touchstone import distribution

        distribution.spread(config, SUITES, places(config))
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Register a `Session` where the suites are asked; only then are frameworks looked for and golden arrays read."""
    if asks_the_suites(config):
        from touchstone.session import Session

        config.pluginmanager.register(Session.of(config), f"{NAME}.session")
