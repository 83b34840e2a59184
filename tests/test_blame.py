"""Is a slip in the project's own code told apart from what a framework, or an adapter on purpose, raises?"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import hazards
from touchstone.adapters.isolation import remote
from touchstone.adapters.isolation.blame import answered
from touchstone.adapters.isolation.outcome import SlipError, attempt, settled
from touchstone.adapters.isolation.process import Isolation
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
    "a third party's adapter": ("mine.adapter", "None.missing", False),
}


def function(module: str, body: str) -> Callable[..., Any]:
    """A function of a module of this name."""
    made: dict[str, Any] = {"__name__": module}
    exec(f"def probe(adapter):\n  {body}\n", made)  # the bodies above
    found: Callable[..., Any] = made["probe"]
    return found


IN_AN_ADAPTER: dict[str, tuple[str, bool]] = {
    "a name that is not there": ("missing", True),
    "an attribute of nothing": ("None.missing", True),
    "an attribute of an array on the host": ("np.zeros(2).missing", True),
    "an attribute of the framework": ("mx.missing", False),
    "an attribute of its array": ("array.missing", False),
    "a key": ("{'weight': 1}['rows']", True),
    "a row of its array": ("array['rows']", False),
    "a number that is none": ("int('x', 10)", True),
    "a call of our own": ("own(1, 2)", True),
    "a call of the framework": ("mx.take(array)", False),
    "its method": ("array.astype(1, 2, 3, 4)", False),
    "a method of a string": ("'x'.join([1])", True),
    "a shape": ("array.shape[7]", True),
    "NumPy, given the host's values": ("np.frombuffer(b'123', 'int32')", True),
    "NumPy, given the framework's array": ("np.frombuffer(array, 'int31')", False),
    "a list of its arrays": ("[array][0] + ''", False),
    "an inner call, whose answer is not known": ("own(array) + ''", False),
    "a slip over two lines": ("{'a':\n 1}['b']", True),
    "a package that is not there": ("__import__('no_such_package')", True),
}
"""Expression -> whether it is a slip where it stands in a module that calls MLX."""


@pytest.mark.parametrize("name", IN_AN_ADAPTER)
def test_slips_in_a_module_that_calls_a_framework(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlx.core")
    expression, expected = IN_AN_ADAPTER[name]
    imports = "import mlx.core as mx\nimport numpy as np\narray = mx.zeros((2, 3))\ndef own(given): return given\n"
    path = tmp_path / "adapter.py"
    path.write_text(f"{imports}def probe(adapter):\n    return ({expression})\n")
    spec = importlib.util.spec_from_file_location("touchstone.adapters.mlx.planted", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.own.__module__ = module.__name__
    outcome = attempt(module.probe, object(), {})
    assert outcome.kind == "raised"
    assert bool(outcome.slip) == expected, outcome


def test_a_statement_that_cannot_import_its_framework_is_an_answer() -> None:
    outcome = attempt(function(ASKS, "from no_such_framework import nothing"), object(), {})
    assert not outcome.slip


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
