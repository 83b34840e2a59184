"""The golden cases, one module per family of data; importing this package fills the catalogue."""

from touchstone.golden.cases import (
    construction,
    conversion,
    elsewhere,
    exercise,
    extents,
    generated,
    gradients,
    linear,
    llama,
    lookup,
    quantized,
    refusals,
    regressions,
    sequences,
    sizes,
    specials,
)

__all__ = [
    "construction",
    "conversion",
    "elsewhere",
    "exercise",
    "extents",
    "generated",
    "gradients",
    "linear",
    "llama",
    "lookup",
    "quantized",
    "refusals",
    "regressions",
    "sequences",
    "sizes",
    "specials",
]
