"""Cases for freshly constructed layers."""

from __future__ import annotations

from touchstone.golden.catalogue import Case

_NEEDS = ("construction",)
SHAPE_CASES = [
    Case({"layer": layer, "sizes": f"{a}x{b}", "bias": bias}, {}, _NEEDS)
    for layer, bias in (("embedding", False), ("linear", True), ("linear", False))
    for a, b in ((7, 5), (1, 1), (128, 3))
]
DISTRIBUTION_CASES = [
    Case({"layer": layer, "parameter": parameter, "sizes": sizes}, {}, _NEEDS)
    for layer, parameter, sizes in (
        ("embedding", "weight", "2048x100"),
        ("embedding", "weight", "512x512"),
        ("linear", "weight", "100x2048"),
        ("linear", "weight", "512x512"),
        ("linear", "bias", "64x131072"),
    )
]
ROW_CASES = [
    Case({"layer": layer, "sizes": sizes}, {}, _NEEDS)
    for layer, sizes in (("embedding", "70000x4"), ("linear", "4x70000"))
]
"""More rows than 2**16."""
SEED_CASES = [Case({"layer": layer}, {}, _NEEDS) for layer in ("embedding", "linear")]
HIGH_BITS = (16, 31, 32)
"""Seeds 7 and 7 + 2**bits are asked for: half of a word, its sign, and beyond one."""
SEED_BITS_CASES = [
    Case({"layer": layer, "bits": bits}, {}, _NEEDS) for layer in ("embedding", "linear") for bits in HIGH_BITS
]
APART_CASES = [
    Case({"layers": "+".join(layers)}, {}, _NEEDS)
    for layers in (("embedding", "embedding"), ("linear", "linear"), ("embedding", "linear"), ("linear", "embedding"))
]
DRAWN_CASES = [
    Case({**case.params, "init": "normal"}, {}, (*case.needs, "option:linear init", "option:embedding init"))
    for case in APART_CASES
]
"""Every parameter drawn, biases too."""
STORED_CASES = [
    Case({**case.params, "dtype": dtype}, {}, (*_NEEDS, f"dtype:{dtype}", f"option:{case.params['layer']} param_dtype"))
    for case in DISTRIBUTION_CASES
    for dtype in ("float16", "bfloat16")
    if case.params["sizes"] != "512x512"
]
REPR_CASES = [
    Case({"layer": layer, "sizes": sizes}, {}, _NEEDS)
    for layer in ("embedding", "linear")
    for sizes in ("7x5", "31x64")
]


BIAS_REPR_CASES = [Case({"layer": "linear", "bias": bias}, {}, _NEEDS) for bias in (True, False)]


def sizes(case: Case) -> tuple[int, int]:
    """(num_embeddings, dims) or (in, out) of a case."""
    first, second = case.params["sizes"].split("x")
    return int(first), int(second)
