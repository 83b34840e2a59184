"""The NumPy reference adapter: the case's dtype with float32 accumulation; never counts as coverage.

It shares no code with the golden oracle, so that each can show a fault in the other. Ids are checked:
one outside ``[-num_embeddings, num_embeddings)`` raises IndexError, negative ids count from the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

from adapters.interface import Adapter, Capabilities, Layer, Method, Operand, Packed, Scheme, Unsupported

_DTYPES = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})


def _plain(value: Any) -> Any:
    return value.value() if isinstance(value, Operand) else value


def _widest(*arrays: np.ndarray) -> np.dtype:
    """Promotion among the floating dtypes; float16 with bfloat16 gives float32, integers never widen."""
    floating = {a.dtype for a in arrays if a.dtype in _DTYPES.values()}
    return floating.pop() if len(floating) == 1 else np.dtype("f4")


def _matmul(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """``x @ weight.T + bias`` accumulated in float32 and rounded once."""
    if x.ndim == 0:
        raise ValueError("x must have at least one dimension")
    operands = (x, weight) if bias is None else (x, weight, bias)
    out = np.matmul(x.astype("f4"), weight.astype("f4").T)
    if bias is not None:
        out = out + bias.astype("f4")
    return out.astype(_widest(*operands))


def _rows(table: np.ndarray, ids: Any) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"ids must be integers, not {ids.dtype}")
    if ids.size and (int(ids.max()) >= len(table) or int(ids.min()) < -len(table)):
        raise IndexError(f"id outside [-{len(table)}, {len(table)})")
    return table[ids.astype(np.int64)]


def pack_affine(weight: np.ndarray, scheme: Scheme) -> Packed:
    """Quantize ``[rows, columns]`` by MLX's affine algorithm in float32 (mlx/backend/cpu/quantized.cpp).

    The end of larger magnitude becomes the bias and the scale is refitted so that zero is exact.
    """
    rows, columns = weight.shape
    if columns % scheme.group_size:
        raise ValueError(f"the last dimension, {columns}, does not divide by group_size {scheme.group_size}")
    groups = weight.astype("f4").reshape(rows, -1, scheme.group_size)
    low, high = groups.min(-1), groups.max(-1)
    bins = np.float32(2**scheme.bits - 1)
    scale = np.maximum((high - low) / bins, np.float32(1e-7))
    lower_edge = np.abs(low) > np.abs(high)
    scale = np.where(lower_edge, scale, -scale)
    edge = np.where(lower_edge, low, high)
    steps = np.rint(edge / scale)
    exact = steps != 0
    scale = np.where(exact, edge / np.where(exact, steps, 1), scale)
    bias = np.where(exact, edge, np.float32(0))
    codes = np.clip(np.rint((groups - bias[..., None]) / scale[..., None]), 0, bins).astype(np.uint32)
    lanes = codes.reshape(rows, -1, 32 // scheme.bits) << (np.arange(32 // scheme.bits, dtype=np.uint32) * scheme.bits)
    words = np.bitwise_or.reduce(lanes, axis=-1)
    return Packed(words, scale.astype(weight.dtype), bias.astype(weight.dtype), scheme)


def unpack_affine(packed: Packed) -> np.ndarray:
    """``scale * code + bias`` per element, the product and the sum each rounded to the table's dtype."""
    bits, dtype = packed.scheme.bits, packed.scales.dtype
    shifts = np.arange(32 // bits, dtype=np.uint32) * bits
    codes = (packed.weight[..., None] >> shifts) & np.uint32(2**bits - 1)
    codes = codes.reshape(*packed.scales.shape, packed.scheme.group_size).astype(dtype)
    out = packed.scales[..., None] * codes + packed.biases[..., None]
    return out.reshape(*packed.scales.shape[:-1], packed.scales.shape[-1] * packed.scheme.group_size)


class ReferenceAdapter(Adapter):
    name = "reference"
    distributions = ("numpy", "ml_dtypes")
    module = "numpy"
    devices = ("cpu",)
    is_framework = False
    corrupts_memory = False
    capabilities = Capabilities(
        layers=frozenset({"embedding", "raw_lookup", "linear", "quantized_embedding", "quantized_linear"}),
        dtypes=frozenset(_DTYPES),
        id_dtypes=_INTEGERS,
        layouts=frozenset({"offset", "step", "reverse", "permute", "broadcast"}),
        schemes=frozenset(f"affine{b}g{g}" for b in (4, 8) for g in (32, 64, 128)),
        construction=False,
        absent={
            "compiler": "NumPy has no compiler",
            "construction": "NumPy has no layer constructors of its own",
            "exercise": "the exercise is written for Flax",
        },
    )

    def __init__(self, device: str) -> None:
        self.device = device

    @classmethod
    def probe(cls) -> dict[str, str]:
        return {"cpu": "cpu"}

    def precision(self) -> dict[str, str]:
        return {"accumulation": "float32"}

    def embedding(self, weight: Any) -> Layer:
        return ReferenceLayer({"weight": _plain(weight)}, lambda p, ids: _rows(p["weight"], ids))

    raw_lookup = embedding

    def linear(self, weight: Any, bias: np.ndarray | None = None) -> Layer:
        values = {"weight": _plain(weight)} | ({} if bias is None else {"bias": bias})
        return ReferenceLayer(values, lambda p, x: _matmul(x, p["weight"], p.get("bias")))

    def quantized_embedding(self, weight: np.ndarray, scheme: Scheme) -> Layer:
        return self.load_quantized_embedding(pack_affine(_plain(weight), scheme))

    def load_quantized_embedding(self, packed: Packed) -> Layer:
        def lookup(p: Mapping[str, np.ndarray], ids: Any) -> np.ndarray:
            words, scales, biases = (_rows(p[name], ids) for name in ("weight", "scales", "biases"))
            return unpack_affine(Packed(words, scales, biases, packed.scheme))

        return ReferenceLayer(_parts(packed), lookup, packed.scheme)

    def quantized_linear(self, weight: np.ndarray, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        return self.load_quantized_linear(pack_affine(_plain(weight), scheme), bias)

    def load_quantized_linear(self, packed: Packed, bias: np.ndarray | None = None) -> Layer:
        values = _parts(packed) | ({} if bias is None else {"bias": bias})
        return ReferenceLayer(values, lambda p, x: _matmul(x, _table(p, packed.scheme), p.get("bias")), packed.scheme)

    def construct(self, layer: str, sizes: Sequence[int], seed: int, **options: Any) -> Layer:
        raise Unsupported("NumPy has no layer constructors of its own")


def _parts(packed: Packed) -> dict[str, np.ndarray]:
    return {name: _plain(getattr(packed, name)) for name in ("weight", "scales", "biases")}


def _table(values: Mapping[str, np.ndarray], scheme: Scheme | None) -> np.ndarray:
    if scheme is None:
        return values["weight"]
    return unpack_affine(Packed(values["weight"], values["scales"], values["biases"], scheme))


class ReferenceLayer(Layer):
    roles = {"weight": ("weight", False), "bias": ("bias", False)}

    def __init__(
        self,
        values: dict[str, np.ndarray],
        call: Callable[[Mapping[str, np.ndarray], Any], np.ndarray],
        scheme: Scheme | None = None,
    ) -> None:
        self._values, self._forward, self._scheme = values, call, scheme
        self._gradients: dict[str, np.ndarray] = {}
        self.native = SimpleNamespace(**values)

    def __call__(self, inputs: Any) -> np.ndarray:
        return self._forward(self._values, _plain(inputs))

    def as_linear(self, inputs: Any) -> np.ndarray:
        return _matmul(_plain(inputs), _table(self._values, self._scheme))

    def parameters(self) -> dict[str, np.ndarray]:
        return dict(self._values)

    def trainable(self) -> frozenset[str]:
        return frozenset() if self._scheme else frozenset(self._values)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        self._values.update(values)

    def vjp(self, inputs: Any, cotangent: np.ndarray, method: Method = "call") -> dict[str, np.ndarray]:
        """Gradients in float32, rounded once to the dtype of what they belong to."""
        x = _plain(inputs)
        out: dict[str, np.ndarray] = {}
        weight = _table(self._values, self._scheme)
        wide, g = weight.astype("f4"), cotangent.astype("f4")
        total = np.zeros(wide.shape, "f4")
        if method == "tied":
            hidden = _rows(weight, x).astype("f4").reshape(-1, wide.shape[1])
            flat = g.reshape(-1, wide.shape[0])
            total += flat.T @ hidden
            g = (flat @ wide).reshape(*np.shape(x), wide.shape[1])
        if method == "tied" or np.asarray(x).dtype.kind in "iu":
            _rows(weight, x)
            np.add.at(total, np.asarray(x).reshape(-1), g.reshape(-1, wide.shape[1]))
        else:
            flat_x, flat_g = x.astype("f4").reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
            total += flat_g.T @ flat_x
            out["x"] = (flat_g @ wide).reshape(x.shape).astype(x.dtype)
            if "bias" in self._values and method == "call":
                out["bias"] = flat_g.sum(0).astype(self._values["bias"].dtype)
        out["weight"] = total.astype(weight.dtype)
        if self._scheme:
            out = {k: v for k, v in out.items() if k == "x"}
        self._gradients = out
        return dict(out)

    def sgd_step(self, learning_rate: float) -> None:
        for name in self.trainable() & self._gradients.keys():
            value = self._values[name]
            step = np.float32(learning_rate) * self._gradients[name].astype("f4")
            self._values[name] = (value.astype("f4") - step).astype(value.dtype)

    def cast(self, dtype: str) -> None:
        for name, value in self._values.items():
            if value.dtype in _DTYPES.values():
                self._values[name] = value.astype(_DTYPES[dtype])

    def compiled(self, compiler: str, method: Method = "call") -> Callable[[Any], np.ndarray]:
        raise Unsupported("NumPy has no compiler")

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".partial")
        save_file({k: np.ascontiguousarray(v) for k, v in self._values.items()}, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        self._values.update(load_file(path))
