"""One call of a cross: a layer that was brought to its parameters in some way, its answer, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from touchstone.adapters.interface import Adapter, Layer, Method, Operand, Packed
from touchstone.adapters.isolation.outcome import attempt, settled
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes

OTHER_DTYPE = {"float32": "bfloat16", "float16": "float32", "bfloat16": "float32"}


@dataclass(frozen=True)
class Call:
    """What is asked of which layer.

    weight: ``[rows, columns]``, an array, an `Operand` or `Packed`; it and bias are what the layer holds when it is
    asked, in `dtype`. how: a key of `HOW`. unlike: inputs of another shape. cotangent: an `Operand`, None where no
    gradient is asked. gradients: those of the call, by role, float64, which a step subtracts from other parameters to
    get to these.
    """

    layer: str
    method: Method
    spelling: str | None
    weight: Any
    dtype: str
    bias: np.ndarray | None
    options: Mapping[str, Any]
    how: str
    inputs: Any
    unlike: np.ndarray
    cotangent: Any
    gradients: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Answer:
    """What came of a call; error: the class of what was raised, with its message."""

    value: np.ndarray | None = None
    gradients: Mapping[str, np.ndarray] = field(default_factory=dict)
    error: str = ""


def ask(adapter: Adapter, calls: Sequence[Call]) -> list[Answer]:
    """The answer to each call, of a layer of its own."""
    return [_answer(adapter, call) for call in calls]


def _answer(adapter: Adapter, call: Call) -> Answer:
    outcome = settled(attempt(lambda adapter: _asked(adapter, call), adapter, {}))
    if outcome.kind == "value":
        answer: Answer = outcome.value
        return answer
    return Answer(error=f"{outcome.behaviour}: {outcome.message}")


def _asked(adapter: Adapter, call: Call) -> Answer:
    layer = HOW[call.how](adapter, call)
    compiled = call.how == "compiled"
    value = np.array((layer.compiled("default", call.method) if compiled else _method(layer, call))(call.inputs))
    if call.cotangent is None or not owed(call):
        return Answer(value)
    # After a cast, or where the layer computes in another dtype, results are of that one.
    cotangent: Any = Operand(call.cotangent.base.astype(value.dtype), call.cotangent.view)
    found = layer.vjp(call.inputs, cotangent, call.method)
    return Answer(value, {role: np.array(g) for role, g in probes.by_role(layer, found).items()})


def owed(call: Call) -> set[str]:
    """Roles whose gradient the call has to give."""
    return set(call.gradients) & {"x"} if call.how == "frozen" else set(call.gradients)


def _method(layer: Layer, call: Call) -> Callable[[Any], np.ndarray]:
    return probes.method_of(layer, call.method)


def _made(adapter: Adapter, call: Call) -> Layer:
    return adapter.layer(call.layer, call.weight, bias=call.bias, spelling=call.spelling, **call.options)


def _changed(value: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """An array, or an operand with its base changed, in the same layout; None as it is."""
    if isinstance(value, Operand):
        return Operand(change(value.base), value.view)
    return None if value is None else change(value)


def _other(adapter: Adapter, call: Call) -> Layer:
    """A layer of other parameters."""
    if isinstance(call.weight, Packed):
        weight: Any = replace(call.weight, scales=_changed(call.weight.scales, np.zeros_like))
    else:
        weight = _changed(call.weight, lambda base: (1 - base.astype(np.float32)).astype(base.dtype))
    return _made(adapter, replace(call, weight=weight, bias=_changed(call.bias, np.zeros_like)))


def _asked_before(adapter: Adapter, call: Call) -> Layer:
    layer = _made(adapter, call)
    _method(layer, call)(call.unlike)
    return layer


def _values(call: Call) -> dict[str, np.ndarray]:
    """What a layer that is not quantized holds, by role."""
    weight = call.weight.value() if isinstance(call.weight, Operand) else call.weight
    return {"weight": np.array(weight, order="C")} | ({} if call.bias is None else {"bias": call.bias})


def _replaced(adapter: Adapter, call: Call) -> Layer:
    layer = _other(adapter, call)
    _method(layer, call)(call.inputs)
    layer.set_parameters(probes.by_name(layer, _values(call)))
    return layer


def _loaded(adapter: Adapter, call: Call) -> Layer:
    layer = _other(adapter, call)
    _method(layer, call)(call.inputs)
    probes.hand_over(_made(adapter, call), layer)
    return layer


def _cast(adapter: Adapter, call: Call) -> Layer:
    """From another dtype, in which the same integers are exact too."""
    other = DTYPES[OTHER_DTYPE[call.dtype]]

    def wide(base: np.ndarray) -> np.ndarray:
        return base if base.dtype.kind == "u" else base.astype(np.float32).astype(other)

    weight = call.weight
    if isinstance(weight, Packed):
        weight = replace(weight, scales=_changed(weight.scales, wide), biases=_changed(weight.biases, wide))
    else:
        weight = _changed(weight, wide)
    layer = _made(adapter, replace(call, weight=weight, bias=_changed(call.bias, wide)))
    layer.cast(call.dtype)
    return layer


def _stepped(adapter: Adapter, call: Call) -> Layer:
    """By one step of the whole gradient, from where that leads here."""
    start = {
        role: (value.astype(np.float64) + call.gradients[role]).astype(np.float32).astype(value.dtype)
        for role, value in _values(call).items()
    }
    layer = _made(adapter, replace(call, weight=start["weight"], bias=start.get("bias")))
    layer.vjp(call.inputs, call.cotangent, call.method)
    layer.sgd_step(1.0)
    return layer


def _frozen(adapter: Adapter, call: Call) -> Layer:
    layer = _made(adapter, call)
    layer.freeze()
    return layer


HOW: Mapping[str, Callable[[Adapter, Call], Layer]] = {
    "new": _made,
    "compiled": _made,
    "asked before": _asked_before,
    "replaced": _replaced,
    "cast": _cast,
    "loaded": _loaded,
    "stepped": _stepped,
    "frozen": _frozen,
}
"""How a layer came to its parameters."""
