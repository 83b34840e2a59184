"""Cases of what documentation leaves open of a layer: its defaults, masks, ties, and what it cannot compute."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import Recipe


def _case(operation: str, *needs: str, **params: str) -> Case:
    return Case({"operation": operation, **params}, needs=(f"operation:{operation}", "dtype:float32", *needs))


EPSILON_CASES = [_case(f"{name} by default") for name in ("LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm")]
GROUPING_CASES = [_case("GroupNorm by default")]
PADDING_CASES = [_case("Conv1d by default")]
MOMENTUM_CASES = [_case("running mean of BatchNorm by default")]
VARIANCE_CASES = [_case("running variance of BatchNorm by default")]
ORDER_CASES = [_case("TransformerEncoderLayer by default")]
CAUSAL_CASES = [_case("scaled_dot_product_attention", "option:scaled_dot_product_attention causal")]
MASK_CASES = [_case("MultiHeadAttention where a mask is true")]
UNSEEN_CASES = [_case(f"attention {how}") for how in ("where a mask is true", "with a mask added")]
SIZE_CASES = [_case("Upsample by a fraction")]
FRACTION = (9, 1.15)
"""Elements, and a factor that makes no whole number of them, under which every way of laying a grid shows."""
GRID_CASES = [_case("Upsample", "option:Upsample mode", mode="linear"), _case("Upsample by cubics", mode="cubic")]
NEAREST_CASES = [_case("Upsample", mode="nearest", of=of) for of in ("larger", "smaller")]
CUBIC_CASES = [_case("Upsample by cubics by default")]
UNBATCHED = {"Dropout2d without a batch": (60, 8, 64), "Dropout3d without a batch": (60, 3, 4, 64)}
"""Operation -> the shape of what it drops from, in which any axis may be the channels'."""
UNBATCHED_CASES = [_case(name) for name in UNBATCHED]
TIE_CASES = [_case(f"MaxPool{n}d", "gradients") for n in (1, 2, 3)]

DROPOUTS = {"Dropout": (64, 96), "Dropout2d": (12, 3, 2, 96), "Dropout3d": (12, 3, 2, 2, 96)}
"""Layer -> the shape of what it drops from; of the others whole channels, (batch, *space, channels)."""
SHARES = (0.1, 0.5, 0.75)
DROPPED = {name: add(f"layers/{name}/x", Recipe("bell", "float32", shape)) for name, shape in DROPOUTS.items()}


def _dropout(name: str, **params: float | str) -> Case:
    needs = (f"operation:{name}", "dtype:float32", f"option:{name} p")
    return Case({"operation": name, **params}, {"x": DROPPED[name]}, needs)


DROPOUT_CASES = [_dropout(name, p=p) for name, p in product(DROPOUTS, SHARES)]
IDENTITY_CASES = [_dropout(name, of=of) for name, of in product(DROPOUTS, ("evaluation", "nothing dropped"))]

EMPTY: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "Linear": ((0, 24), (10, 24), (10,)),
    "Conv1d": ((0, 9, 4), (6, 3, 4), (6,)),
    "Conv2d": ((0, 7, 6, 4), (6, 3, 2, 4), (6,)),
    "Conv3d": ((0, 5, 4, 6, 4), (6, 2, 3, 2, 4), (6,)),
    "ConvTranspose1d": ((0, 9, 4), (6, 3, 4), (6,)),
    "ConvTranspose2d": ((0, 7, 6, 4), (6, 3, 2, 4), (6,)),
    "MaxPool1d": ((0, 10, 3),),
    "MaxPool2d": ((0, 7, 6, 3),),
    "AvgPool1d": ((0, 10, 3),),
    "AvgPool2d": ((0, 7, 6, 3),),
    "LayerNorm": ((0, 24), (24,), (24,)),
    "RMSNorm": ((0, 24), (24,)),
    "GroupNorm of neighbours": ((0, 5, 24), (24,), (24,)),
    "GroupNorm": ((0, 5, 24), (24,), (24,)),
    "InstanceNorm": ((0, 5, 24), (24,), (24,)),
    "BatchNorm": ((0, 24), (24,), (24,), (24,), (24,)),
    "LSTM": ((0, 6, 5), (16, 5), (16, 4), (16,), (0, 4), (0, 4)),
    "RNN": ((0, 6, 5), (4, 5), (4, 4), (4,), (0, 4)),
    "GRU without bhn": ((0, 6, 5), (12, 5), (12, 4), (12,), (0, 4)),
    "scaled_dot_product_attention": ((0, 4, 5, 8), (0, 4, 7, 8), (0, 4, 7, 8)),
    "MultiHeadAttention": (*[(0, 5, 8)] * 3, *[(8, 8)] * 4),
    "Upsample": ((0, 5, 4, 3),),
}
"""Operation -> shapes of operands of a batch of no entry."""
EMPTY_CASES = [
    Case({"operation": name}, needs=(f"operation:{name}", "dtype:float32"), hazard="reads") for name in EMPTY
]

IMPOSSIBLE: Mapping[tuple[str, str], tuple[tuple[int, ...], ...]] = {
    ("Conv1d", "no input channels"): ((1, 9, 0), (6, 3, 0), (6,)),
    ("Conv2d", "no input channels"): ((1, 7, 6, 0), (6, 3, 2, 0), (6,)),
    ("Conv1d", "no output channels"): ((1, 9, 4), (0, 3, 4), (0,)),
    ("Conv2d", "no output channels"): ((1, 7, 6, 4), (0, 3, 2, 4), (0,)),
    ("Conv1d", "a kernel larger than x"): ((1, 2, 4), (6, 5, 4), (6,)),
    ("Conv2d", "a kernel larger than x"): ((1, 2, 2, 4), (6, 3, 4, 4), (6,)),
    ("Conv1d", "channels that do not match"): ((1, 9, 5), (6, 3, 4), (6,)),
    ("Conv2d", "channels that do not match"): ((1, 7, 6, 5), (6, 3, 2, 4), (6,)),
    ("ConvTranspose1d", "channels that do not match"): ((1, 9, 5), (6, 3, 4), (6,)),
    ("MaxPool1d", "a window larger than x"): ((1, 1, 3),),
    ("MaxPool2d", "a window larger than x"): ((1, 1, 1, 3),),
    ("AvgPool1d", "a window larger than x"): ((1, 1, 3),),
    ("AvgPool2d", "a window larger than x"): ((1, 1, 1, 3),),
    ("LayerNorm", "features that do not match"): ((3, 8), (5,), (5,)),
    ("RMSNorm", "features that do not match"): ((3, 8), (5,)),
    ("BatchNorm in training", "one row"): ((1, 24), (24,), (24,)),
    ("LSTM", "no steps"): ((3, 0, 5), (16, 5), (16, 4), (16,), (3, 4), (3, 4)),
    ("RNN", "no steps"): ((3, 0, 5), (4, 5), (4, 4), (4,), (3, 4)),
    ("scaled_dot_product_attention", "no keys"): ((2, 4, 5, 8), (2, 4, 0, 8), (2, 4, 0, 8)),
    ("scaled_dot_product_attention", "no queries"): ((2, 4, 0, 8), (2, 4, 7, 8), (2, 4, 7, 8)),
    ("scaled_dot_product_attention", "dims that do not match"): ((2, 4, 5, 8), (2, 4, 7, 6), (2, 4, 7, 6)),
    ("MultiHeadAttention", "features that do not match"): ((2, 5, 8), (2, 5, 6), (2, 5, 6), *[(8, 8)] * 4),
}
"""(Operation, what is wrong) -> shapes of its operands."""
IMPOSSIBLE_CASES = [
    Case({"operation": name, "given": what}, needs=(f"operation:{name}", "dtype:float32"), hazard="writes")
    for name, what in IMPOSSIBLE
]

WITHOUT_RECORD = (
    *DROPOUTS,
    *sorted({case.params["operation"] for case in (*EPSILON_CASES, *PADDING_CASES, *MOMENTUM_CASES)}),
    *sorted({case.params["operation"] for case in (*VARIANCE_CASES, *ORDER_CASES, *MASK_CASES)}),
    *sorted({case.params["operation"] for case in (*SIZE_CASES, *CUBIC_CASES, *UNBATCHED_CASES)}),
)
"""Operations of which no array says what is right: they draw, or are asked what documentation leaves open."""
