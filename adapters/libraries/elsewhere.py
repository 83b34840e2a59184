"""Reasons that adapters of single quantization libraries share: they quantize, and have no other layer to show."""

from __future__ import annotations

OWN_SCHEMES = "this library has quantization schemes of its own; parts of MLX's are converted (conversion.py)"
ABSENT = {
    "scheme": OWN_SCHEMES,
    "conversion": "layers are quantized one at a time here, from given weights",
    "construction": "quantization starts from given weights",
    "exercise": "the exercise is written for Flax",
}
"""Reasons that hold for every such library, for `Capabilities.absent`."""
