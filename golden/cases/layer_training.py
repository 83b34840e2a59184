"""Cases of layers in training: one step of SGD, and what the modes of training and evaluation change."""

from __future__ import annotations

from dataclasses import replace

from touchstone.golden.cases import functions, layer_choices, layers, operations
from touchstone.golden.catalogue import Case
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.operations.layers import LAYERS
from touchstone.golden.operations.layers.making import ALL
from touchstone.golden.operations.record import Operation

RATE = 0.1
_INPUTS = ("x", "ids", "queries", "keys", "values", "memory", "hidden", "cell", "scores")
_FUNCTIONS = (
    *("SwiGLU", "scaled_dot_product_attention", "attention where a mask is true", "attention with a mask added"),
    *(f"running {statistic} of BatchNorm" for statistic in ("mean", "variance", "biased variance")),
    *(f"running {statistic} of InstanceNorm" for statistic in ("mean", "variance")),
    *(f"cumulative {statistic} of BatchNorm" for statistic in ("mean", "variance")),
    *("cells of LSTM", "weights of MultiHeadAttention"),
)
"""Records that are no layer of their own: functions, and what else the call of a layer gives."""


def parameters(one: Operation) -> list[str]:
    """The operands of a layer's first sample that are trained."""
    return [name for name in one.sample.arguments if name in one.slopes and name not in _INPUTS]


STEPPED = [one for one in LAYERS.values() if one.name not in _FUNCTIONS and parameters(one)]


def _step(one: Operation, dtype: str) -> Case:
    """On the gradients that LAYER-GRADIENT-1 stores."""
    found = {name: layers.gradient(one, one.sample, dtype, name) for name in parameters(one)}
    params = {"operation": one.name, "dtype": dtype, "rate": RATE}
    needs = (f"operation:{one.name}", f"dtype:{dtype}", "gradients", "optimizer", "module:step of a layer")
    return Case(params, operations.choices(found), needs)


_HAVING = {
    **{name: LAYERS[name] for name in LAYERS if name not in (*_FUNCTIONS, "BatchNorm in training")},
    **{name: FUNCTIONS[of] for name, of in layers.ACTIVATIONS.items()},
}
"""Layer -> the record of what it computes in evaluation."""
OF_STATISTICS = ("BatchNorm", "InstanceNorm with statistics")


def record(case: Case) -> Operation | None:
    """What a layer computes in evaluation, None of those that draw."""
    return _HAVING.get(case.params["operation"])


def is_moded(case: Case) -> bool:
    """Whether documentation says that the layer does something else in training than in evaluation."""
    name = case.params["operation"]
    return name in (*layer_choices.DROPOUTS, *OF_STATISTICS) or "dropout" in case.params


def _layer(name: str, question: str, **options: float) -> Case:
    """In float32; of a function of activation its ordinary numbers."""
    needs = [f"operation:{name}", "dtype:float32", *(f"option:{name} {option}" for option in options)]
    params = {"operation": name, "dtype": "float32"}
    if name in layer_choices.DROPOUTS:
        arrays = {"x": layer_choices.DROPPED[name]}
    else:
        one = _HAVING[name]
        sample = one.sample
        region = next(iter(sample.regions)) if ALL in sample.regions else "ordinary"
        chapter = "functions" if name in layers.ACTIVATIONS else layers.chapter(one)
        of = operations.case(chapter, one, sample, "float32", region)
        params, arrays = {**of.params, **params}, dict(of.arrays)
    return Case({**params, **options}, arrays, (*needs, f"module:{question} of a layer"))


_NAMES = (*_HAVING, *layer_choices.DROPOUTS)
MODE_CASES = [
    *(_layer(name, "modes") for name in _NAMES),
    *(_layer(f"Transformer{half}Layer", "modes", dropout=0.5) for half in ("Encoder", "Decoder")),
]
MOVED_CASES = [case for case in MODE_CASES if is_moded(case)]
NOTHING_CASES = [
    _layer(name, "parameters")
    for name in _NAMES
    if name in layer_choices.DROPOUTS
    or (name not in OF_STATISTICS and name != "PReLU" and not parameters(_HAVING[name]))
]
"""Layers without parameters that are trained."""
STEP_CASES = [_step(one, dtype) for one in STEPPED for dtype in layers.dtypes(one.sample)]
BIAS_CASES = [_step(LAYERS[name], "float32") for name in ("RNN", "LSTM")]
"""Not of a GRU, whose second bias of the new gate is multiplied before it is added."""
SLOPE_CASES = [
    replace(
        case,
        params={"operation": "PReLU", "dtype": "float32", "rate": RATE},
        needs=("operation:PReLU", "dtype:float32", "gradients", "optimizer", "module:step of a layer"),
    )
    for case in functions.SLOPE_CASES
]
"""Of the slopes of a PReLU, whose gradient is a sum of products."""
