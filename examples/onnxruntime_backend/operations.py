"""How ONNX spells the operations of `touchstone.golden.operations`: an operator, and its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPERATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "softsign": ("Softsign", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "tanh": ("Tanh", {}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_approx": ("Gelu", {"approximate": "tanh"}),
    "elu": ("Elu", {"alpha": 1.0}),
    "softmax": ("Softmax", {"axis": -1}),
}
OTHERWISE = "offers ten functions, and layers"
"""Why every other operation is absent."""
