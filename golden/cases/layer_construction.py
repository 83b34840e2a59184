"""Cases of freshly made layers: which parameters they have, of which shapes, and how those are drawn."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.golden.catalogue import Case

SIZES: Mapping[str, tuple[int, ...]] = {
    "Conv1d": (64, 128, 3),
    "Conv2d": (64, 96, 3),
    "Conv3d": (16, 64, 3),
    "ConvTranspose1d": (64, 128, 3),
    "ConvTranspose2d": (64, 96, 3),
    "ConvTranspose3d": (16, 64, 3),
    "LayerNorm": (256,),
    "RMSNorm": (256,),
    "GroupNorm": (4, 256),
    "InstanceNorm": (256,),
    "BatchNorm": (256,),
    "RNN": (96, 128),
    "LSTM": (96, 128),
    "GRU": (96, 128),
    "MultiHeadAttention": (128, 4),
    "PReLU": (16,),
    "TransformerEncoderLayer": (64, 4),
}
"""Layer -> sizes of its constructor in MLX's order: inputs, outputs and kernel; groups and features; dims and heads."""
_PROOF = {"GroupNorm": "GroupNorm of neighbours", "GRU": "GRU without bhn", "PReLU": "Conv1d"}
"""Layer -> an operation that a framework has where it has the layer, if that is not the layer's own."""


def _case(name: str) -> Case:
    return Case({"operation": name}, needs=(f"operation:{_PROOF.get(name, name)}", "construction"))


CASES = [_case(name) for name in SIZES]
CONVOLUTIONS = [case for case in CASES if case.params["operation"].startswith("Conv")]
DRAWN_CASES = [
    *CONVOLUTIONS,
    *(_case(name) for name in ("RNN", "LSTM", "GRU", "MultiHeadAttention")),
]
