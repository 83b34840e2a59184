"""Cases for a framework's own conversion of layers and models to quantized ones, and for what it must refuse."""

from __future__ import annotations

from itertools import product
from typing import Any

from touchstone.golden.cases.quantized import DIMS, LAYERS, ROWS, ordinary
from touchstone.golden.catalogue import Case, add
from touchstone.golden.packing import BLOCK, FORMATS, Format, format_of
from touchstone.golden.recipes import Recipe

DENSE = ("embedding", "linear")
WAYS = ("method", "class", "model")
DEFAULTS = {"affine": (4, 64), "mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
"""mode -> (bits, group_size) where neither is given (the table of `mlx.core.quantize`)."""
_SOME = (*BLOCK, *(f for f in FORMATS if (f.bits, f.group_size) in ((4, 32), (3, 64), (8, 128)) and f.mode == "affine"))
BIAS = add("quantized/float32/linear bias", Recipe("uniform", "float32", (ROWS,)))


def _needs(layer: str, form: Format | None = None) -> tuple[str, ...]:
    return (f"layer:quantized_{layer}", "conversion", *([f"scheme:{form.name}"] if form else []))


def _arrays(layer: str) -> dict[str, str]:
    return {"table": ordinary("float32"), **({"bias": BIAS} if layer == "linear" else {})}


SAME_CASES = [
    Case({"layer": layer, "how": how, **f.params}, _arrays(layer), _needs(layer, f))
    for layer, how, f in product(DENSE, WAYS, _SOME)
]
DEFAULT_CASES = [
    Case({"layer": layer, "how": how, "mode": mode}, _arrays(layer), _needs(layer))
    for layer, how, mode in product(DENSE, WAYS, DEFAULTS)
]
REPR_CASES = [Case({"layer": layer, **f.params}, _arrays(layer), _needs(layer, f)) for layer in DENSE for f in _SOME]
FROZEN_CASES = [
    Case({"layer": layer, "how": how, "bias": bias}, _arrays(layer), _needs(layer))
    for layer, how, bias in product(DENSE, WAYS, (False, True))
    if layer == "linear" or not bias
]

MODEL = {"embed": "embedding", "blocks.first.proj": "linear", "blocks.second.proj": "linear", "head": "linear"}
"""Path -> layer of the model that is quantized."""
CHOICES: dict[str, dict[str, Any]] = {
    "none": {},
    "all but head": {"head": False},
    "only embed": {path: path == "embed" for path in MODEL},
    "settings by path": {"head": {"bits": 8, "group_size": 32}, "embed": {"mode": "mxfp4"}},
    "part of the settings": {"head": {"bits": 8}},
}
_MODEL_NEEDS = ("layer:quantized_embedding", "layer:quantized_linear", "conversion")
_MODEL_ARRAYS = {"table": ordinary("float32")}
PREDICATE_CASES = [Case({"predicate": name}, _MODEL_ARRAYS, _MODEL_NEEDS) for name in list(CHOICES)[:-1]]
PARTIAL_CASES = [Case({"predicate": "part of the settings"}, _MODEL_ARRAYS, _MODEL_NEEDS)]
REFUSED_MODEL_CASES = [
    Case({"fault": fault}, _MODEL_ARRAYS, _MODEL_NEEDS)
    for fault in ("a predicate that answers yes", "an unknown setting", "a layer that does not divide")
]
TIED_CASES = [Case({"mode": mode}, _MODEL_ARRAYS, _MODEL_NEEDS) for mode in DEFAULTS]

WRONG_SCHEMES: tuple[tuple[str, str, int, int], ...] = (
    *(("bits", "affine", bits, 64) for bits in (7, 9, 0, -4)),
    *(("group_size", "affine", 4, group) for group in (16, 48, 256, 0, -32)),
    ("mode", "int4", 4, 32),
    ("bits", "mxfp4", 8, 32),
    ("group_size", "mxfp4", 4, 64),
    ("bits", "mxfp8", 4, 32),
    ("group_size", "mxfp8", 8, 16),
    ("group_size", "nvfp4", 4, 32),
    ("bits", "nvfp4", 8, 16),
)
"""(which is wrong, mode, bits, group_size): no scheme of MLX has these."""
WRONG_SCHEME_CASES = [
    # A division by such a size may end the process: asked in the isolated worker.
    Case(
        {"layer": layer, "wrong": wrong, "mode": mode, "bits": bits, "group_size": group},
        {"table": ordinary("float32")},
        (f"layer:{layer}", "dtype:float32", "scheme:affine4g32"),
        hazard="reads",
    )
    for layer, (wrong, mode, bits, group) in product(LAYERS, WRONG_SCHEMES)
]
WRONG_PARTS = ("fewer scale rows", "fewer scale columns", "fewer words", "other bits", "no biases")
WRONG_PARTS_CASES = [
    Case(
        {"layer": layer, "parts": fault, **f.params},
        {"table": ordinary("float32")},
        (f"layer:{layer}", "dtype:float32", f"scheme:{f.name}"),
        hazard="reads",
    )
    for layer, fault, f in product(LAYERS, WRONG_PARTS, (format_of("mxfp4", 4, 32), format_of("affine", 4, 32)))
    if f.mode == "affine" or fault not in ("other bits", "no biases")
]
assert DIMS % 128 == 0
