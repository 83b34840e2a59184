"""Does a quantized layer keep its parts, and compute what they say, after casts, files, modes and copies?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from touchstone.adapters.interface import Layer, Packed
from touchstone.golden.cases import sequences
from touchstone.golden.streams import DTYPES
from touchstone.suites import codes, probes, states
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement
from touchstone.suites.states import Tracked


@dataclass
class State(Tracked):
    """The layer, and what it should be: its parts, and whether it is frozen."""

    parts: Packed
    frozen: bool = False


def _made(assay: Assay, parts: Packed) -> Layer:
    return assay.adapter.layer(assay.params["layer"], parts)


def _answers(assay: Assay, layer: Layer) -> list[np.ndarray]:
    x = assay.golden("x")
    if assay.params["layer"] == "quantized_linear":
        return [layer(x)]
    return [layer(assay.golden("ids")), layer.as_linear(x)]


def use(assay: Assay, state: State) -> None:
    """The call and the tied head, as a new layer of the same parts has them."""
    for got, want in zip(_answers(assay, state.layer), _answers(assay, _made(assay, state.parts)), strict=True):
        assay.same_bits(got, want)


def compiled(assay: Assay, state: State) -> None:
    """The compiled call."""
    state.layer.compiled("default")(assay.golden("x" if assay.params["layer"] == "quantized_linear" else "ids"))


def cast(assay: Assay, state: State) -> None:
    """To float16: what is floating is rounded to it, words and encoded scales stay."""

    def converted(part: np.ndarray | None) -> np.ndarray | None:
        return part if part is None or part.dtype.kind == "u" else part.astype(DTYPES["float16"])

    state.layer.cast("float16")
    state.parts = replace(state.parts, scales=converted(state.parts.scales), biases=converted(state.parts.biases))


def _unlike(state: State) -> Packed:
    """Parts of other weights, of the same shapes and dtypes."""
    return replace(state.parts, weight=np.roll(state.parts.weight, 1, axis=0))


def save(assay: Assay, state: State) -> None:
    """Into a file, and from there into a new layer, which takes its place."""
    other = _made(assay, _unlike(state))
    probes.hand_over(state.layer, other)
    state.layer, state.frozen = other, False


def load(assay: Assay, state: State) -> None:
    """What another layer saved."""
    state.parts = _unlike(state)
    probes.hand_over(_made(assay, state.parts), state.layer)


def freeze(assay: Assay, state: State) -> None:
    """Nothing is trained from here on."""
    state.layer.freeze()
    state.frozen = True


def copy(assay: Assay, state: State) -> None:
    """A copy takes the layer's place, which then holds other parts."""
    for original in states.copies(assay, state):
        probes.hand_over(_made(assay, _unlike(state)), original)


DO: dict[str, Callable[[Assay, State], None]] = {
    "use": use,
    "compile": compiled,
    "cast": cast,
    "save": save,
    "load": load,
    "freeze": freeze,
    "evaluate": states.evaluate,
    "copy": copy,
}


@requirement("STATE-QUANTIZED-2", sequences.PACKED_STATE_CASES)
def test_every_pair_of_operations(assay: Assay) -> None:
    parts = codes.recorded(assay)
    state = State(_made(assay, parts), parts)
    DO[assay.params["first"]](assay, state)
    DO[assay.params["then"]](assay, state)
    held = state.layer.parameters()
    for name in ("weight", "scales", "biases"):
        part = getattr(state.parts, name)
        if part is not None:
            assay.same_bits(held.get(name), part)
    due = frozenset() if state.frozen else _made(assay, state.parts).trainable()
    states.assay_trained(assay, state.layer.trainable(), due)
    use(assay, state)
