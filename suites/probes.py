"""Questions to an adapter, as plain functions that also run in the isolated worker: they take and return data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.adapters.checked import checked_lookup
from touchstone.adapters.interface import Adapter, Layer, Method, Packed, Scheme
from touchstone.adapters.isolation.outcome import attempt, settled


def call(adapter: Adapter, layer: str, weight: Any, inputs: Any, **parts: Any) -> np.ndarray:
    """The layer's answer to ids or activations; parts as `Adapter.layer` takes them."""
    return adapter.layer(layer, weight, **parts)(inputs)


def as_linear(adapter: Adapter, layer: str, weight: Any, inputs: Any, **parts: Any) -> np.ndarray:
    """Inputs ``[..., dims]`` times the table of an embedding transposed, its tied head."""
    return adapter.layer(layer, weight, **parts).as_linear(inputs)


def operation(adapter: Adapter, name: str, operands: Sequence[Any], **options: Any) -> Any:
    """A function of arrays: an array, or a list of them."""
    return adapter.operation(name, operands, **options)


def module_answer(adapter: Adapter, question: str, **given: Any) -> Any:
    """What a nested model shows (`Adapter.module_answer`)."""
    return adapter.module_answer(question, **given)


def array_answer(adapter: Adapter, question: str, **given: Any) -> Any:
    """What an array or a file of arrays shows (`Adapter.array_answer`)."""
    return adapter.array_answer(question, **given)


def compiled_operation(
    adapter: Adapter, name: str, operands: Sequence[Any], compiler: str, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second answer of a compiled function."""
    return adapter.compiled_operation(name, operands, compiler, **options)


def result_dtype(adapter: Adapter, name: str, dtypes: Sequence[str]) -> str:
    """The dtype of a function's result of two elements of each of these dtypes."""
    return adapter.result_dtype(name, dtypes)


def operation_gradient(
    adapter: Adapter, name: str, operands: Sequence[Any], place: int, cotangent: np.ndarray, **options: Any
) -> np.ndarray:
    """What one operand gets of a cotangent."""
    return adapter.operation_gradient(name, operands, place, cotangent, **options)


def second_derivative(adapter: Adapter, name: str, x: np.ndarray) -> np.ndarray:
    """Of a function of one number, at each element."""
    return adapter.second_derivative(name, x)


def compiled_call(adapter: Adapter, layer: str, weight: Any, inputs: np.ndarray, compiler: str) -> np.ndarray:
    """The compiled call's answer to its second call, after other ids of the same shape."""
    function = adapter.layer(layer, weight).compiled(compiler)
    function(np.zeros_like(inputs))
    return function(inputs)


def recompiled_call(adapter: Adapter, layer: str, weight: Any, inputs: np.ndarray, compiler: str) -> np.ndarray:
    """The compiled call's answer after other ids of the same shape and of another shape."""
    function = adapter.layer(layer, weight).compiled(compiler)
    function(np.zeros_like(inputs))
    function(np.zeros((2, *inputs.shape), inputs.dtype))
    return function(inputs)


def tour(
    adapter: Adapter,
    layer: str,
    weight: Any,
    inputs: Sequence[Any],
    order: Sequence[int],
    method: Method = "call",
    compiler: str = "",
    thread: bool = False,
    **parts: Any,
) -> tuple[list[Any], list[Any]]:
    """(each input's answer of a layer of its own, the answers of one layer in this order); errors by their class.

    compiler: the one layer is compiled. thread: it is asked from another thread than the one that made it.
    """
    alone = [_answer(adapter, method_of(adapter.layer(layer, weight, **parts), method), one) for one in inputs]
    made = adapter.layer(layer, weight, **parts)
    ask = made.compiled(compiler, method) if compiler else method_of(made, method)
    if thread:
        with ThreadPoolExecutor(1) as other:
            return alone, [other.submit(_answer, adapter, ask, inputs[number]).result() for number in order]
    return alone, [_answer(adapter, ask, inputs[number]) for number in order]


def method_of(layer: Layer, method: Method) -> Callable[[Any], np.ndarray]:
    """What is called: the layer, or its tied head."""
    return layer if method == "call" else layer.as_linear


def _answer(adapter: Adapter, ask: Callable[[Any], np.ndarray], given: Any) -> Any:
    outcome = settled(attempt(lambda adapter: np.array(ask(given)), adapter, {}))
    return outcome.value if outcome.kind == "value" else str(outcome.behaviour)


def hand_over(saved: Layer, into: Layer, **how: Any) -> None:
    """Save one layer into a file, and load it into another; how: as `Layer.load` takes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer"
        saved.save(path)
        into.load(path, **how)


def vjp(
    adapter: Adapter, layer: str, weight: Any, inputs: Any, cotangent: np.ndarray, method: Any = "call", **parts: Any
) -> dict[str, np.ndarray]:
    """Gradients by role ("weight", "bias", "x"), with the weight as ``[out, in]`` whatever the framework stores."""
    found = adapter.layer(layer, weight, **parts)
    return by_role(found, found.vjp(inputs, cotangent, method))


def answer_and_gradients(
    adapter: Adapter,
    layer: str,
    weight: Any,
    inputs: Any,
    cotangent: np.ndarray | None,
    method: Method = "call",
    **parts: Any,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The answer, and the gradients by role, none without a cotangent."""
    made = adapter.layer(layer, weight, **parts)
    answer = method_of(made, method)(inputs)
    return answer, {} if cotangent is None else by_role(made, made.vjp(inputs, cotangent, method))


def by_role(layer: Layer, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values under the framework's names -> values under roles, transposed where the framework stores Wᵀ."""
    out = {"x": values["x"]} if "x" in values else {}
    for role, (name, transposed) in layer.roles.items():
        if name in values:
            out[role] = np.ascontiguousarray(values[name].T) if transposed else values[name]
    return out


def by_name(layer: Layer, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `by_role`, for parameters."""
    out = {}
    for role, value in values.items():
        name, transposed = layer.roles[role]
        out[name] = np.ascontiguousarray(value.T) if transposed else value
    return out


def weight_of(layer: Layer) -> np.ndarray:
    """The weight that the layer holds now: a table ``[num_embeddings, dims]``, or ``[out, in]`` of a linear layer."""
    return by_role(layer, layer.parameters())["weight"]


def packed_of(layer: Layer, scheme: Scheme) -> Packed:
    """The parts that a quantized layer holds under MLX's names; biases None where it has none."""
    parts = layer.parameters()
    return Packed(parts["weight"], parts["scales"], parts.get("biases"), scheme)


def rows(adapter: Adapter, layer: str, weight: Any, scheme: Scheme, columns: int) -> np.ndarray:
    """The weights ``[rows, columns]`` as the layer gives them out: every row, or its product with the identity."""
    found = adapter.layer(layer, weight, scheme=scheme)
    if layer == "quantized_linear":
        dtype = weight.scales.dtype if isinstance(weight, Packed) else weight.dtype
        return np.ascontiguousarray(found(np.eye(columns, dtype=dtype)).T)
    return found(np.arange(len(weight.weight if isinstance(weight, Packed) else weight), dtype=np.int32))


def parts(adapter: Adapter, layer: str, weight: np.ndarray, scheme: Scheme) -> Packed:
    """What a library's own scheme stores, by role; see adapters/libraries/conversion.py for the layouts."""
    found = adapter.layer(layer, weight, scheme=scheme)
    held = by_role(found, found.parameters())
    return Packed(held["weight"], held.get("scales"), held.get("biases"), scheme)


def quantize(adapter: Adapter, layer: str, weight: np.ndarray, scheme: Scheme) -> Packed:
    """The parts that the layer makes of a float weight ``[rows, columns]``."""
    return packed_of(adapter.layer(layer, weight, scheme=scheme), scheme)


def converted(adapter: Adapter, layer: str, weight: np.ndarray, how: str, settings: Any, bias: Any = None) -> Any:
    """What the framework's own conversion made: parameters by name, scheme, trainable names, repr."""
    return _told(adapter.converted(layer, weight, how, settings, bias))


def quantized_model(adapter: Adapter, weights: Any, choices: Any, settings: Any) -> dict[str, Any]:
    """The same, by path, of every layer of a model that the framework quantized."""
    return {path: _told(layer) for path, layer in adapter.quantized_model(weights, choices, settings).items()}


def _told(layer: Layer) -> dict[str, Any]:
    return {
        "parts": layer.parameters(),
        "scheme": layer.scheme,
        "trainable": sorted(layer.trainable()),
        "repr": repr(layer.native),
    }


def described(adapter: Adapter, layer: str, sizes: tuple[int, int], seed: int, **options: Any) -> tuple[str, str]:
    """The class's name and the repr of a freshly made layer."""
    native = adapter.construct(layer, sizes, seed, **options).native
    return type(native).__name__, repr(native)


def constructed(
    adapter: Adapter, plan: Sequence[tuple[str, tuple[int, int]]], seed: int, **options: Any
) -> list[dict[str, np.ndarray]]:
    """Parameters by role of layers that were made one after the other from one seeded generator."""
    return [by_role(layer, layer.parameters()) for layer in adapter.construct_several(plan, seed, **options)]


def new_parameters(adapter: Adapter, layer: str, sizes: Sequence[int], seed: int) -> dict[str, np.ndarray]:
    """Parameters of a freshly made layer under the framework's own names."""
    return adapter.construct(layer, sizes, seed).parameters()


def kept_answers(
    adapter: Adapter, table: np.ndarray, other: np.ndarray, ids: np.ndarray, x: np.ndarray, cotangent: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Whatever an embedding gave out, beside copies made before a step, an update and the same calls again."""
    layer = adapter.layer("embedding", table)

    def answers() -> list[np.ndarray]:
        gradients = layer.vjp(ids, cotangent, "tied")
        return [layer(ids), layer.as_linear(x), *layer.parameters().values(), *gradients.values()]

    given = answers()
    before = [np.array(answer) for answer in given]
    layer.sgd_step(0.5)
    layer.set_parameters(by_name(layer, {"weight": other}))
    answers()
    return list(zip(given, before, strict=True))


def exercise(adapter: Adapter, style: str, seed: int, sizes: tuple[int, int], ids: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of the from-scratch module and of the framework's own embedding over the same table."""
    layer = adapter.exercise(style, seed, *sizes)
    table = weight_of(layer)
    own = adapter.layer("embedding", table)(ids.astype(np.int32))
    one_hot = (ids.astype(np.int32)[:, None] == np.arange(len(table))).astype(table.dtype)
    product = adapter.layer("linear", np.ascontiguousarray(table.T))(one_hot)
    return {"rows": layer(ids), "own": own, "table": table, "one_hot": product}


def transposed_exercise(adapter: Adapter, style: str, seed: int, size: int, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of the from-scratch module after its square table was replaced by the transposed one."""
    layer = adapter.exercise(style, seed, size, size)
    table = weight_of(layer)
    layer.set_parameters(by_name(layer, {"weight": np.ascontiguousarray(table.T)}))
    return {"rows": layer(ids), "table": table}


def checked(adapter: Adapter, weight: np.ndarray, ids: Any) -> dict[str, Any]:
    """A checked lookup on a layer that counts how often the framework is called."""
    calls = []
    inner = adapter.layer("embedding", weight)

    class Counting:
        def __call__(self, given: Any) -> np.ndarray:
            calls.append(given)
            return inner(given)

    try:
        rows = checked_lookup(Counting(), ids, len(weight))  # type: ignore[arg-type]
    except IndexError as error:
        return {"error": str(error), "calls": len(calls)}
    return {"rows": rows, "calls": len(calls)}


def call_with_defaults(adapter: Adapter, **arguments: Any) -> np.ndarray:
    """`call`, after the adapter took its own precision settings back."""
    adapter.default_precision()
    return call(adapter, **arguments)


def vjp_repeated(adapter: Adapter, times: int, **arguments: Any) -> dict[str, np.ndarray]:
    """`vjp`, `times` over: a write beside an array that one call survives is found by the allocator sooner or later."""
    kept = [vjp(adapter, **arguments) for _ in range(times)]
    return kept[-1]
