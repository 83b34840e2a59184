"""Does a layer that quantizes its input hold the weights that it was given, in training and in evaluation?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from touchstone.adapters.interface import Layer, Packed, Scheme
from touchstone.golden.cases import input_quantized
from touchstone.golden.streams import DTYPES
from touchstone.suites import codes, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

SCHEMES = {"nvfp4": Scheme(4, 16, "nvfp4"), "mxfp8": Scheme(8, 32, "mxfp8")}


@dataclass
class State:
    """The layer, the weights that it stands for, and whether it holds them packed."""

    layer: Layer
    weight: np.ndarray
    packed: bool = False


def _made(assay: Assay, weight: np.ndarray) -> Layer:
    settings = {"mode": assay.params["mode"], "quantize_input": True}
    return assay.adapter.converted("linear", weight, "model", settings)


def _do(assay: Assay, state: State, operation: str) -> None:
    """Packed weights are not replaced."""
    if operation in ("evaluate", "train"):
        state.layer.set_training(operation == "train")
        state.packed = operation == "evaluate"
    elif operation == "cast":
        state.layer.cast("bfloat16")
        state.weight = state.weight.astype(DTYPES["bfloat16"])
    elif operation == "replace" and not state.packed:
        state.weight = assay.golden("other").astype(state.weight.dtype)
        state.layer.set_parameters({"weight": state.weight})
    elif operation == "save":
        other = _made(assay, np.zeros_like(state.weight))
        other.set_training(not state.packed)
        probes.hand_over(state.layer, other)
        state.layer = other


@requirement("STATE-QUANTIZED-3", input_quantized.CASES)
def test_every_three_operations(assay: Assay) -> None:
    """The weights are those that its format holds exactly, so that packing and unpacking change nothing."""
    state = State(_made(assay, assay.golden("weight")), assay.golden("weight"))
    for name in ("first", "then", "last"):
        _do(assay, state, assay.params[name])
    _assay_weights(assay, state)
    _do(assay, state, "evaluate")
    _assay_weights(assay, state)


def _assay_weights(assay: Assay, state: State) -> None:
    held = state.layer.parameters()
    found = held["weight"]
    if state.packed:
        dtypes = found.dtype.name, held["scales"].dtype.name
        if dtypes != ("uint32", "uint8"):
            assay.behaves("wrong dtype", conforms=False, message=f"words and scales are {' and '.join(dtypes)}")
        found = codes.dequantized(Packed(found, held["scales"], None, SCHEMES[assay.params["mode"]]))
    assay.same_bits(found.astype(np.float32), state.weight.astype(np.float32), signed_zero=False)
