"""Does an answer depend on what is given in that call alone, whatever the layer was asked before, and how?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from touchstone.adapters.interface import Layer, Method
from touchstone.golden.cases import sequences
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import rounded_once
from touchstone.suites.requirements import requirement

OTHER_DTYPE = {"float32": "bfloat16", "float16": "float32", "bfloat16": "float32"}


def _takes_ids(assay: Assay) -> bool:
    return assay.params["method"] == "call" and not assay.params["layer"].endswith("linear")


def _parts(assay: Assay) -> dict[str, Any]:
    """What the layer is made of besides its weight."""
    return {"bias": assay.bias, "scheme": assay.scheme if assay.params["layer"].startswith("quantized") else None}


def inputs(assay: Assay) -> dict[str, np.ndarray]:
    """What is given, by name: other values, ranks, an empty one, and another dtype."""
    if _takes_ids(assay):
        ids = assay.golden("ids")
        return {
            "rank 2": ids,
            "other ids": np.ascontiguousarray(ids[::-1, ::-1]),
            "scalar": np.array(ids[0, 1]),
            "rank 1": ids[0],
            "empty": ids[:0],
            "int64": ids.astype(np.int64),
        }
    x = assay.golden("x")
    return {
        "rank 3": x,
        "other values": -x,
        "rank 2": x[0],
        "rank 1": x[0, 0],
        "empty": x[:0],
        "other dtype": x.astype(DTYPES[OTHER_DTYPE[assay.params["dtype"]]]),
    }


def _answered(assay: Assay) -> dict[str, np.ndarray]:
    """The inputs that every framework answers to; QNT-LOOKUP-1 says who refuses single ids and empty ones."""
    left = ("other dtype", *(("scalar", "empty") * (assay.params["layer"] == "quantized_embedding")))
    return {name: one for name, one in inputs(assay).items() if name not in left}


def order(count: int) -> list[int]:
    """Numbers below `count` in an order that has every pair of them, each with itself too, as neighbours."""
    out: list[int] = []
    for first in range(count):
        out.append(first)
        for second in range(first + 1, count):
            out += [first, second]
    return [*out, 0]


def _asked(assay: Assay, **how: Any) -> None:
    """Every answer of a tour through the inputs is that of a new layer, and of exact arithmetic."""
    given, method = inputs(assay), assay.params["method"]
    names, tour = list(given), order(len(given))
    parts = _parts(assay)
    outcome = assay.ask(
        probes.tour,
        layer=assay.params["layer"],
        weight=assay.golden("weight"),
        inputs=list(given.values()),
        order=tour,
        method=method,
        **how,
        **parts,
    )
    alone, answers = assay.value(outcome)
    for name, answer in zip(names, alone, strict=True):
        if (want := exact(assay, given[name], method)) is None:
            continue
        if isinstance(answer, str):
            assay.behaves(answer, conforms=False, message=name)
        assay.same_bits(answer, want, signed_zero=False)
    for place, (number, answer) in enumerate(zip(tour, answers, strict=True)):
        if not same(answer, alone[number]):
            before = f"after {names[tour[place - 1]]}" if place else "at first"
            message = f"call {place + 1}, {names[number]} {before}: {_told(answer)}, alone {_told(alone[number])}"
            assay.behaves(answer if isinstance(answer, str) else "another answer", conforms=False, message=message)
    assay.behaves("as alone")


def exact(assay: Assay, given: np.ndarray, method: Method) -> np.ndarray | None:
    """The one right answer; None for quantized weights, and for two dtypes, whose result dtype is a choice."""
    if assay.params["layer"].startswith("quantized"):
        return None
    weight = assay.golden("weight")
    if _takes_ids(assay):
        return weight[given]
    if given.dtype != weight.dtype:
        return None
    product = given.astype(np.float64) @ weight.astype(np.float64).T
    return rounded_once(product, assay.bias, assay.params["dtype"])


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same error, or arrays of the same bits."""
    if isinstance(one, str) or isinstance(other, str):
        return bool(type(one) is type(other) and one == other)
    return (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


def _told(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    return f"{answer.dtype} {answer.shape} {answer.reshape(-1)[:4]}"


@requirement("AGAIN-1", sequences.CALL_CASES)
def test_every_pair_of_calls(assay: Assay) -> None:
    _asked(assay)


@requirement("AGAIN-2", sequences.COMPILED_CASES)
def test_every_pair_of_compiled_calls(assay: Assay) -> None:
    _asked(assay, compiler="default")


@requirement("AGAIN-3", sequences.THREAD_CASES)
def test_calls_from_another_thread(assay: Assay) -> None:
    _asked(assay, thread=True)


@requirement("KEEP-1", sequences.KEPT_CASES)
def test_nothing_that_was_given_changes(assay: Assay) -> None:
    made = assay.adapter.layer(assay.params["layer"], assay.golden("weight"), **_parts(assay))
    before = made.parameters()
    for name, one in _answered(assay).items():
        _, after = made.call_keeping(one, assay.params["method"])
        kept = after.astype(one.dtype) if one.dtype.kind == "i" else after  # an int64 that JAX holds as int32
        if not same(kept, one):
            assay.behaves("changes its inputs", conforms=False, message=f"{name}: {_told(after)}, given {_told(one)}")
    _keeps_parameters(assay, made, before)


def _keeps_parameters(assay: Assay, layer: Layer, before: Mapping[str, np.ndarray]) -> None:
    for name, value in layer.parameters().items():
        if not same(value, before[name]):
            assay.behaves("changes its parameters", conforms=False, message=f"{name}: {_told(value)}")
    assay.behaves("kept")


@requirement("KEEP-2", sequences.OVERWRITTEN_CASES)
def test_answers_are_no_views_of_parameters(assay: Assay) -> None:
    made = assay.adapter.layer(assay.params["layer"], assay.golden("weight"), **_parts(assay))
    before = made.parameters()
    for one in _answered(assay).values():
        made.overwrite_answer(one, assay.params["method"])
    _keeps_parameters(assay, made, before)
