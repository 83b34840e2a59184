"""Is a slip in the project's own code told apart from what a framework, or an adapter on purpose, raises?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import hazards
from touchstone.adapters import remote
from touchstone.adapters.blame import answered
from touchstone.adapters.isolation import Isolation, SlipError, attempt, settled
from touchstone.adapters.reference.adapter import ReferenceAdapter
from touchstone.suites import probes

ASKS_NOTHING = "touchstone.adapters.packed"
ASKS = "touchstone.adapters.jax.adapter"
BODIES: dict[str, tuple[str, str, bool]] = {
    "an attribute that is not there": (ASKS_NOTHING, "None.missing", True),
    "a key that is not there": (ASKS_NOTHING, "{}['rows']", True),
    "a call with the wrong arguments": (ASKS_NOTHING, "len()", True),
    "an assertion": (ASKS_NOTHING, "assert adapter is None", True),
    "a probe of the suites": ("touchstone.suites.probes", "None.missing", True),
    "conversion between libraries": ("touchstone.adapters.libraries.conversion", "None.missing", True),
    "a refusal": (ASKS_NOTHING, "raise ValueError('dims do not divide')", False),
    "a refusal because of another error": (
        ASKS_NOTHING,
        "try: None.missing\n  except Exception as error: raise ValueError('no rows') from error",
        False,
    ),
    "a slip that is passed on": (ASKS_NOTHING, "try: None.missing\n  except Exception: raise", True),
    "a framework's attribute": (ASKS, "None.missing", False),
    "a third party's adapter": ("mine.adapter", "None.missing", False),
}


def function(module: str, body: str) -> Callable[..., Any]:
    """A function of a module of this name."""
    made: dict[str, Any] = {"__name__": module}
    exec(f"def probe(adapter):\n  {body}\n", made)  # the bodies above
    found: Callable[..., Any] = made["probe"]
    return found


@pytest.mark.parametrize("name", BODIES)
def test_slips(name: str) -> None:
    module, body, expected = BODIES[name]
    outcome = attempt(function(module, body), object(), {})
    assert outcome.kind == "raised"
    assert bool(outcome.slip) == expected
    if expected:
        with pytest.raises(SlipError):
            settled(outcome)


def test_what_a_framework_raises_below_our_code_is_its_answer() -> None:
    """The innermost frame counts, and not one that it passed through."""
    inner = function("mlx.nn", "None.missing")
    made: dict[str, Any] = {"__name__": ASKS_NOTHING, "inner": inner}
    exec("def probe(adapter): return inner(adapter)", made)
    assert not attempt(made["probe"], object(), {}).slip


@pytest.fixture
def isolation() -> Iterator[Isolation]:
    made = Isolation("reference", "cpu")
    yield made
    made.close()


def test_a_slip_in_a_target_s_process_is_no_outcome(isolation: Isolation) -> None:
    with pytest.raises(SlipError, match=r"^AttributeError: 'str' object has no attribute 'rows' \(remote\.py, line"):
        isolation.run(remote._attribute, {"owner": "text", "name": "rows"})
    assert isolation.run(hazards.target, {}).value == "reference@cpu", "the process goes on"


def caught(function: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as error:  # noqa: PT011  any: whose it is, is asked of it
        function()
    return error.value


def test_in_one_process_an_answer_has_passed_through_the_adapter() -> None:
    adapter = ReferenceAdapter("cpu")
    assert answered(caught(lambda: probes.call(adapter, "raw_lookup", None, "ids")), ReferenceAdapter)
    assert not answered(caught(lambda: os.environ["NO_SUCH_VARIABLE"]), ReferenceAdapter)
    assert not answered(caught(lambda: function(ASKS_NOTHING, "None.missing")(adapter)), ReferenceAdapter)
