"""The markers of the suites, which some tests import, and a browser for the tests of the pages, one per module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from touchstone import plugin


def pytest_configure(config: pytest.Config) -> None:
    """Make a warning in a test of the project an error; a case of the suites has a filter of its own."""
    config.addinivalue_line("filterwarnings", "error")
    for marker in plugin.MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.browser import launched

    with launched() as found:
        yield found


@pytest.fixture
def watched(browser: Any) -> Iterator[Any]:
    """Opens pages; no test that uses it passes with an error in the console or a request."""
    from tests.browser import Watched

    found = Watched(browser)
    yield found
    found.close()
    assert found.log.errors == []
    assert found.log.requests == []
