"""Does an adapter that lies about its framework turn the suites red, however plausible its answers look?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.test_planted_defects import QUANTIZED, red_requirements, wrap_layers
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites.assay import Bench

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def every_layer(adapter: Any, change: Change) -> None:
    wrap_layers(adapter, ("embedding", "raw_lookup", "linear", *QUANTIZED), change)


def answering(adapter: Any, answer: Callable[[Any, Callable[[Any], np.ndarray], Any], Any]) -> None:
    """Every layer's call, and its head, say what `answer(layer, the real one, inputs)` says."""

    def change(layer: Any) -> None:
        real = type(layer)

        class Lying(real):  # type: ignore[misc, valid-type]
            def __call__(self, inputs: Any) -> Any:
                return answer(self, super().__call__, inputs)

            def as_linear(self, inputs: Any) -> Any:
                return answer(self, super().as_linear, inputs)

        layer.__class__ = Lying

    every_layer(adapter, change)


def returns_its_inputs(adapter: Any) -> None:
    answering(adapter, lambda layer, real, inputs: inputs if isinstance(inputs, np.ndarray) else real(inputs))


def returns_zeros_of_the_right_shape(adapter: Any) -> None:
    answering(adapter, lambda layer, real, inputs: np.zeros_like(real(inputs)))


def swallows_errors(adapter: Any) -> None:
    def answer(layer: Any, real: Callable[[Any], np.ndarray], inputs: Any) -> Any:
        try:
            return real(inputs)
        except Exception:
            return np.zeros((*np.shape(inputs), 5), np.float32)

    answering(adapter, answer)


def computes_in_float64(adapter: Any) -> None:
    """Correct numbers, but more of them than the dtype holds."""
    answering(adapter, lambda layer, real, inputs: real(inputs).astype(np.float64))


def rounds_to_float16(adapter: Any) -> None:
    def answer(layer: Any, real: Callable[[Any], np.ndarray], inputs: Any) -> Any:
        found = real(inputs)
        with np.errstate(over="ignore"):
            return found.astype(np.float16).astype(found.dtype)

    answering(adapter, answer)


def mutates_its_inputs(adapter: Any) -> None:
    def answer(layer: Any, real: Callable[[Any], np.ndarray], inputs: Any) -> Any:
        found = real(inputs)
        if isinstance(inputs, np.ndarray) and inputs.size:
            inputs[...] = 0
        return found

    answering(adapter, answer)


def mutates_its_weights(adapter: Any) -> None:
    """The table given is written to after it was copied to the device."""
    original = adapter.layer

    def made(name: str, weight: Any, **parts: Any) -> Any:
        layer = original(name, weight, **parts)
        if name in ("embedding", "linear"):
            np.asarray(weight)[...] = 0
        return layer

    adapter.layer = made


def returns_views_of_its_parameters(adapter: Any) -> None:
    """What `parameters` gave changes when the layer does: "before" and "after" are one array."""

    def change(layer: Any) -> None:
        kept: dict[str, np.ndarray] = {}
        parameters = layer.parameters

        def views() -> dict[str, np.ndarray]:
            for name, value in parameters().items():
                if name in kept and kept[name].shape == value.shape and kept[name].dtype == value.dtype:
                    kept[name][...] = value
                else:
                    kept[name] = np.array(value)
            return kept

        layer.parameters = views

    every_layer(adapter, change)


def returns_one_buffer(adapter: Any) -> None:
    """Every answer of a layer is written into the array of its first one of that shape."""

    def answer(layer: Any, real: Callable[[Any], np.ndarray], inputs: Any) -> Any:
        buffers = layer.__dict__.setdefault("buffers", {})
        found = real(inputs)
        buffer = buffers.setdefault((found.shape, found.dtype), np.array(found))
        buffer[...] = found
        return buffer

    answering(adapter, answer)


def answers_from_memory(adapter: Any) -> None:
    """The first answer for a shape of inputs is the answer to all inputs of that shape, in every layer."""
    memory: dict[Any, np.ndarray] = {}

    def answer(layer: Any, real: Callable[[Any], np.ndarray], inputs: Any) -> Any:
        found = real(inputs)
        return memory.setdefault((found.shape, found.dtype), found)

    answering(adapter, answer)


def gives_no_gradients(adapter: Any) -> None:
    def change(layer: Any) -> None:
        vjp = layer.vjp
        layer.vjp = lambda *args, **more: {k: np.zeros_like(v) for k, v in vjp(*args, **more).items()}

    every_layer(adapter, change)


LIES: dict[Change, set[str]] = {
    returns_its_inputs: {"EMB-SHAPE-1", "LIN-ERROR-1"},
    returns_zeros_of_the_right_shape: {"EMB-SHAPE-1", "LIN-EXACT-1", "TIED-EXACT-1", "QNT-LINEAR-1"},
    swallows_errors: {"EMB-OOR-1"},
    computes_in_float64: {"EMB-SHAPE-1", "LIN-ERROR-1", "TIED-ERROR-1"},
    rounds_to_float16: {"EMB-SIZE-1", "LIN-EXACT-1"},
    mutates_its_inputs: {"EMB-SHAPE-1", "LIN-ERROR-1"},
    mutates_its_weights: {"EMB-SHAPE-1", "LIN-ERROR-1"},
    returns_views_of_its_parameters: {"TIED-OWN-1"},
    returns_one_buffer: {"TIED-OWN-1"},
    answers_from_memory: {"EMB-SIZE-1", "TIED-UPDATE-1"},
    gives_no_gradients: {"GRAD-TABLE-1", "GRAD-LINEAR-1"},
}
"""Each lie, and requirements that have to turn red by it."""


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_adapter_is_red(lie: Change, bench: Bench) -> None:
    red = red_requirements("torch", bench, lie, LIES[lie])
    assert {name for names in red.values() for name in names} == LIES[lie]


def test_an_honest_adapter_is_not(bench: Bench) -> None:
    assert red_requirements("torch", bench, None, {name for names in LIES.values() for name in names}) == {}
