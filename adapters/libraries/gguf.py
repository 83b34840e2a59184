"""GGUF files behind the interface: tables of Q4_1 and Q8_0 blocks, written and read back by the `gguf` package.

Blocks of 32 weights (llama.cpp, ggml-common.h): Q4_1 is d * q + m with float16 d and m and 4-bit q, Q8_0 is d * q with
float16 d and int8 q. The package quantizes, reads and dequantizes to float32, in NumPy; it multiplies nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from touchstone.adapters.interface import FLOATS, INTEGERS, Adapter, Capabilities, Layer, Packed, Scheme
from touchstone.adapters.libraries.elsewhere import ABSENT

SCHEMES = [Scheme(4, 32, "q4_1"), Scheme(8, 32, "q8_0")]
TENSOR = "token_embd.weight"
"""The name of the token embedding in GGUF files (llama.cpp, gguf-py/gguf/constants.py)."""


def quantized_embedding(adapter: GGUFAdapter, weight: Any, scheme: Scheme | None = None) -> Layer:
    """Blocks as they are given, or quantized by the package."""
    if isinstance(weight, Packed):
        kind, blocks = adapter.type_of(weight.scheme), weight.weight
    else:
        assert scheme is not None
        kind = adapter.type_of(scheme)
        blocks = adapter.gguf.quants.quantize(np.ascontiguousarray(weight, np.float32), kind)
    return GGUFLayer(adapter, adapter.through_a_file(blocks, kind), kind)


LAYERS: Mapping[str, Callable[..., Layer]] = {"quantized_embedding": quantized_embedding}


class GGUFAdapter(Adapter):
    name = "gguf"
    distributions = ("gguf",)
    module = "gguf"
    devices = ("cpu",)
    corrupts_memory = False
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
        dtypes=FLOATS,
        id_dtypes=INTEGERS,
        schemes=frozenset(map(str, SCHEMES)),
        gradients=False,
        optimizer=False,
        persistence=False,
        construction=False,
        absent={
            **ABSENT,
            "layer": "the gguf package reads and dequantizes tensors; it has no layer and multiplies nothing",
            "layout": "a GGUF tensor is dense",
            "compiler": "the gguf package is NumPy",
            "gradients": "the gguf package has no gradients",
            "optimizer": "the gguf package does not train",
            "persistence": "every layer here was written to a GGUF file and read back already",
        },
    )

    def __init__(self, device: str) -> None:
        import gguf

        self.gguf, self.device = gguf, device
        if device != "cpu":
            raise RuntimeError(f"the gguf package runs on the CPU, not on {device}")

    @classmethod
    def probe(cls) -> dict[str, str]:
        return {"cpu": "NumPy"}

    def precision(self) -> dict[str, str]:
        return {"dequantization": "float32"}

    def type_of(self, scheme: Scheme) -> Any:
        """Raises ValueError for a scheme other than the two."""
        if str(scheme) not in self.capabilities.schemes:
            raise ValueError(f"the adapter of gguf has no scheme {scheme}")
        return self.gguf.GGMLQuantizationType[scheme.mode.upper()]

    def through_a_file(self, blocks: np.ndarray, kind: Any) -> np.ndarray:
        """uint8 ``[rows, bytes]`` written to a GGUF file and read back, with its type and shape checked."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.gguf"
            writer = self.gguf.GGUFWriter(path, "touchstone")
            writer.add_tensor(TENSOR, blocks, raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            (tensor,) = self.gguf.GGUFReader(path).tensors
            columns = self.gguf.quant_shape_from_byte_shape(blocks.shape, kind)[1]
            if (tensor.tensor_type, tuple(tensor.shape)) != (kind, (columns, len(blocks))):
                raise RuntimeError(f"wrote {kind} {blocks.shape}, read {tensor.tensor_type} {tuple(tensor.shape)}")
            return np.array(tensor.data)


class GGUFLayer(Layer):
    """Rows of blocks, dequantized when they are looked up."""

    roles = {"weight": ("weight", False)}

    def __init__(self, adapter: GGUFAdapter, blocks: np.ndarray, kind: Any) -> None:
        self.adapter, self.native = adapter, SimpleNamespace(weight=blocks, kind=kind)

    def __call__(self, inputs: Any) -> np.ndarray:
        rows = self.native.weight[np.asarray(inputs)]
        return self.adapter.gguf.quants.dequantize(rows, self.native.kind)

    def parameters(self) -> dict[str, np.ndarray]:
        return {"weight": self.native.weight}

    def trainable(self) -> frozenset[str]:
        return frozenset()

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        self.native.weight = values["weight"]
