"""Registers Touchstone's plugin, unless the installed package has done so."""

from __future__ import annotations

from pathlib import Path

import pytest

from touchstone import plugin

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin. Raises UsageError where touchstone is loaded from elsewhere than this folder."""
    loaded = Path(plugin.__file__).parents[1]
    if loaded != HERE:
        raise pytest.UsageError(
            f"these are the suites of {HERE}, but touchstone is loaded from {loaded}: run `python -m pytest` here"
        )
    if not pluginmanager.is_registered(plugin):
        pluginmanager.register(plugin, plugin.NAME)
