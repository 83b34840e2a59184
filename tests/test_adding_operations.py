"""Does docs/operations.md hold: a record and a spelling are all that a new operation takes?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.targets import on_cpu
from touchstone.adapters.calls import Composition
from touchstone.adapters.torch import operations as torch_operations
from touchstone.golden.cases import operations as cases
from touchstone.golden.catalogue import CATALOGUE, Case
from touchstone.golden.operations import functions, precise
from touchstone.golden.operations.arithmetic import Number, most, sqrt, where
from touchstone.golden.operations.catalogue import OPERATIONS
from touchstone.golden.operations.losses import PAIRS
from touchstone.golden.operations.record import NO_OPTIONS, Operation
from touchstone.golden.recipes import Derived
from touchstone.suites import judging, requirements
from touchstone.suites.assay import Assay, Bench
from touchstone.verdict.observation import Deviates

ONE_LINE = functions._of(
    "hinge", "max(1 - x, 0)", lambda x: most(1 - x, 0), lambda x: where(x < 1, -1, 0), kinks=(1.0,)
)


def _pseudo_huber(x: Number, y: Number) -> Number:
    return sqrt(1 + (x - y) * (x - y)) - 1


def _pseudo_huber_slope(cotangent: Number, x: Number, y: Number) -> Number:
    return cotangent * (x - y) / sqrt(1 + (x - y) * (x - y))


COMPOSITE = Operation(
    "pseudo_huber",
    "sqrt(1 + (x - y)**2) - 1",
    "https://en.wikipedia.org/wiki/Huber_loss#Pseudo-Huber_loss_function",
    _pseudo_huber,
    (PAIRS,),
    {"predictions": _pseudo_huber_slope},
)


def _hinge(x: Any) -> Any:
    return (1 - x).relu()


def _of_pairs(x: Any, y: Any) -> Any:
    apart = (x - y).double()  # of float32, torch.sqrt is a unit off on some processors
    return ((apart**2 + 1).sqrt() - 1).to(x.dtype)


SPELLED: dict[str, tuple[Operation, Callable[..., Any], Callable[..., Any]]] = {
    "hinge": (ONE_LINE, _hinge, lambda x: (1 - x).relu() * 1.01),
    "pseudo_huber": (COMPOSITE, _of_pairs, lambda x, y: ((x - y) ** 2 + 0.75).sqrt() - 1),
}
"""The record, how PyTorch computes it, and how it does not."""


class Arrays(dict[str, np.ndarray]):
    """Golden arrays that are made for a case."""

    def where(self, key: str) -> str:
        """For messages."""
        return key


@pytest.fixture
def made(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Operation, Arrays, list[Case]]]:
    """A new record, its cases, and what is right in them."""
    record, right, _ = SPELLED[request.param]
    monkeypatch.setitem(OPERATIONS, record.name, record)  # type: ignore[arg-type]
    monkeypatch.setitem(torch_operations.OPERATIONS, record.name, Composition(right))  # type: ignore[arg-type]
    before, arrays = dict(CATALOGUE), Arrays()
    found = [*cases.values("new", [record], NO_OPTIONS), *cases.gradients("new", [record])]
    for key, how in CATALOGUE.items():
        if key in before:
            continue
        if isinstance(how, Derived):
            what, _, of = how.function.partition(" of ")
            argument = next(iter(record.slopes)) if of.startswith("gradient") else ""
            operands = (arrays[name] for name in how.inputs)
            arrays[key] = precise.made((record.name, argument, 0), what, *operands)
        else:
            arrays[key] = how.make(key)
    yield record, arrays, found
    for key in CATALOGUE.keys() - before.keys():
        del CATALOGUE[key]


def beyond(made: tuple[Operation, Arrays, list[Case]]) -> set[str]:
    """Dtype and region of the cases in which PyTorch does not conform."""
    record, arrays, found = made
    bench = Bench(arrays, [])  # type: ignore[arg-type]
    target = on_cpu("torch")
    red = set()
    for case in found:
        of = judging.gradient if "cotangent" in case.arrays else judging.value
        try:
            of(Assay(target, case, requirements.load()["FUN-VALUES-1"], bench), record)
        except Deviates:
            red.add(f"{case.params['dtype']} {case.params['region']}")
    bench.close()
    return red


@pytest.mark.parametrize("made", SPELLED, indirect=True)
def test_a_new_operation_is_asked_and_answered(made: tuple[Operation, Arrays, list[Case]]) -> None:
    record, _, found = made
    dtypes, regions = len(cases.DTYPES), len(record.sample.regions)
    judged = regions - ("special" in record.sample.regions and not record.sample.limits)
    assert len(found) == dtypes * (regions + judged)
    assert beyond(made) == set()


@pytest.mark.parametrize("made", SPELLED, indirect=True)
def test_a_wrong_answer_of_it_is_red(
    made: tuple[Operation, Arrays, list[Case]], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _, _ = made
    wrong = Composition(SPELLED[record.name][2])
    monkeypatch.setitem(torch_operations.OPERATIONS, record.name, wrong)  # type: ignore[arg-type]
    assert "float32 ordinary" in beyond(made)
