"""ONNX models of one layer each: the operators that PyTorch's exporter writes for embedding, head and linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

INPUT, OUTPUT = "input", "output"
OPSET, IR_VERSION = 21, 10
"""Versions of the operators and of the file format; ONNX Runtime 1.31 reads both."""

Node = tuple[str, tuple[str, ...], str, Mapping[str, Any]]
"""(operator, inputs, output, attributes)."""

LOOKUP: tuple[Node, ...] = (("Gather", ("weight", INPUT), OUTPUT, {"axis": 0}),)
HEAD: tuple[Node, ...] = (
    ("Transpose", ("weight",), "transposed", {"perm": (1, 0)}),
    ("MatMul", (INPUT, "transposed"), OUTPUT, {}),
)
LINEAR: tuple[Node, ...] = (("MatMul", (INPUT, "weight"), OUTPUT, {}),)
LINEAR_WITH_BIAS: tuple[Node, ...] = (
    ("MatMul", (INPUT, "weight"), "product", {}),
    ("Add", ("product", "bias"), OUTPUT, {}),
)


def element_type(dtype: np.dtype) -> int:
    """ONNX's number for a dtype, ml_dtypes' bfloat16 among them. Raises KeyError for one that ONNX does not have."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def _tensor(name: str, value: np.ndarray) -> TensorProto:
    return helper.make_tensor(name, element_type(value.dtype), value.shape, value.tobytes(), raw=True)


def model(
    nodes: tuple[Node, ...], parameters: Mapping[str, np.ndarray], input_type: int, fed: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """The model of a layer over `parameters`; those in `fed` are inputs of the graph, the others are stored in it.

    input_type: ONNX's number for the dtype of the input. The result has the dtype of the weight, and any shape.
    """
    weight = element_type(parameters["weight"].dtype)
    stored = [_tensor(name, value) for name, value in parameters.items() if name not in fed]
    inputs = [helper.make_tensor_value_info(INPUT, input_type, None)]
    inputs += [helper.make_tensor_value_info(name, weight, None) for name in fed]
    made = [helper.make_node(op, names, [output], **attributes) for op, names, output, attributes in nodes]
    graph = helper.make_graph(made, "layer", inputs, [helper.make_tensor_value_info(OUTPUT, weight, None)], stored)
    out = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    out.ir_version = IR_VERSION
    return out


def function(operator: str, attributes: Mapping[str, Any], kind: int) -> onnx.ModelProto:
    """The model of one operator of one input, whose dtype is `kind` by ONNX's number; so is that of the result."""
    inputs, outputs = ([helper.make_tensor_value_info(name, kind, None)] for name in (INPUT, OUTPUT))
    made = [helper.make_node(operator, [INPUT], [OUTPUT], **attributes)]
    out = helper.make_model(
        helper.make_graph(made, "function", inputs, outputs), opset_imports=[helper.make_opsetid("", OPSET)]
    )
    out.ir_version = IR_VERSION
    return out
