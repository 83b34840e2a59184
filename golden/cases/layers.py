"""Cases of layers: values in every region, with options, and gradients by inputs and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from touchstone.golden.cases import operations
from touchstone.golden.catalogue import Case
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.operations.layers import LAYERS
from touchstone.golden.operations.layers.attention import ATTENTION
from touchstone.golden.operations.layers.convolution import CONVOLUTIONS
from touchstone.golden.operations.layers.making import ALL
from touchstone.golden.operations.layers.pooling import POOLS
from touchstone.golden.operations.layers.positions import POSITIONS
from touchstone.golden.operations.layers.recurrent import RECURRENT
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Sample

OF_WINDOWS = (*CONVOLUTIONS, *POOLS)
OF_TOKENS = (*RECURRENT, *ATTENTION, *POSITIONS)
CRASHING = (("GroupNorm of neighbours", "two axes"),)
"""Operation and sample whose gradients have ended a framework's process."""


def chapter(one: Operation) -> str:
    """Of golden keys, whose first part is a file's name."""
    return "windows" if one in OF_WINDOWS else "sequences of tokens" if one in OF_TOKENS else "layers"


def dtypes(sample: Sample) -> tuple[str, ...]:
    """That a sample is asked in."""
    return sample.dtypes or operations.DTYPES


def _values(one: Operation) -> Iterator[tuple[Sample, Case]]:
    for sample in one.samples:
        for dtype, region in product(dtypes(sample), sample.regions):
            yield sample, operations.case(chapter(one), one, sample, dtype, region, sample.options)


def gradient(one: Operation, sample: Sample, dtype: str, argument: str) -> Case:
    """Of the whole result by one operand."""
    return operations.case(chapter(one), one, sample, dtype, ALL, sample.options, argument)


def _gradients(one: Operation) -> Iterator[Case]:
    """By every operand of the first sample in its dtypes; of the others in float32."""
    for sample in one.samples:
        if list(sample.regions) != [ALL]:
            continue
        those = dtypes(sample) if sample is one.sample else ("float32",)
        for dtype, argument in product(those, one.slopes):
            if argument in sample.arguments:
                case = gradient(one, sample, dtype, argument)
                yield replace(case, hazard="reads") if (one.name, sample.name) in CRASHING else case


_EACH = [pair for one in LAYERS.values() for pair in _values(one)]
VALUE_CASES = [case for sample, case in _EACH if not sample.options]
OPTION_CASES = [case for sample, case in _EACH if sample.options]
GRADIENT_CASES = [case for one in LAYERS.values() for case in _gradients(one)]
ACTIVATIONS = {
    "CELU": "celu",
    "ELU": "elu",
    "GELU": "gelu",
    "GLU": "glu",
    "HardShrink": "hard_shrink",
    "HardTanh": "hard_tanh",
    "Hardswish": "hardswish",
    "LeakyReLU": "leaky_relu",
    "LogSigmoid": "log_sigmoid",
    "LogSoftmax": "log_softmax",
    "Mish": "mish",
    "PReLU": "prelu",
    "ReLU": "relu",
    "ReLU2": "relu2",
    "ReLU6": "relu6",
    "SELU": "selu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softmin": "softmin",
    "Softplus": "softplus",
    "Softshrink": "softshrink",
    "Softsign": "softsign",
    "Step": "step",
    "Tanh": "tanh",
}
"""Layer -> the function that it applies by default."""


def _activation(name: str, function: Operation, dtype: str, region: str) -> Case:
    case = operations.case("functions", function, function.sample, dtype, region)
    return replace(
        case,
        params={**case.params, "operation": name},
        needs=(f"operation:{name}", *case.needs[1:]),
    )


ACTIVATION_CASES = [
    _activation(name, FUNCTIONS[of], dtype, region)
    for name, of in ACTIVATIONS.items()
    for dtype in ("float32", "float16")
    for region in ("ordinary", *(["knots"] if "knots" in FUNCTIONS[of].sample.regions and dtype == "float32" else []))
]
