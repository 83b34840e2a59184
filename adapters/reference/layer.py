"""A layer of NumPy arrays: what it computes, in float32 with one rounding at the end, and its gradients and steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

from touchstone import files
from touchstone.adapters.interface import Layer, Method, Operand, Scheme, Unsupported
from touchstone.adapters.reference.packing import dequantize

_DTYPES = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def plain(value: Any) -> Any:
    """The array of an operand; anything else as it is."""
    return value.value() if isinstance(value, Operand) else value


def _widest(*arrays: np.ndarray) -> np.dtype:
    """Promotion among the floating dtypes; float16 with bfloat16 gives float32, integers never widen."""
    floating = {a.dtype for a in arrays if a.dtype in _DTYPES.values()}
    return floating.pop() if len(floating) == 1 else np.dtype("f4")


def matmul(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """``x @ weight.T + bias`` accumulated in float32 and rounded once."""
    if x.ndim == 0:
        raise ValueError("x must have at least one dimension")
    operands = (x, weight) if bias is None else (x, weight, bias)
    out = np.matmul(x.astype("f4"), weight.astype("f4").T)
    if bias is not None:
        out = out + bias.astype("f4")
    return out.astype(_widest(*operands))


def rows(table: np.ndarray, ids: Any) -> np.ndarray:
    """Rows by ids. Raises TypeError for ids of another kind, IndexError for one outside of the table."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"ids must be integers, not {ids.dtype}")
    if ids.size and (int(ids.max()) >= len(table) or int(ids.min()) < -len(table)):
        raise IndexError(f"id outside [-{len(table)}, {len(table)})")
    return table[ids.astype(np.int64)]


def _table(values: Mapping[str, np.ndarray], scheme: Scheme | None) -> np.ndarray:
    return values["weight"] if scheme is None else dequantize(values, scheme)


def product(
    values: Mapping[str, np.ndarray], x: np.ndarray, scheme: Scheme | None, bias: np.ndarray | None = None
) -> np.ndarray:
    """Block modes compute in the dtype of x, as `mlx.core.quantized_matmul`; their table has none of its own."""
    table = _table(values, scheme)
    return matmul(x, table.astype(x.dtype) if scheme and scheme.mode != "affine" else table, bias)


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
        return self._forward(self._values, plain(inputs))

    def as_linear(self, inputs: Any) -> np.ndarray:
        return product(self._values, plain(inputs), self._scheme)

    def overwrite_answer(self, inputs: Any, method: Method = "call") -> None:
        (self(inputs) if method == "call" else self.as_linear(inputs))[...] = 0

    def parameters(self) -> dict[str, np.ndarray]:
        return dict(self._values)

    def trainable(self) -> frozenset[str]:
        return frozenset() if self._scheme else frozenset(self._values)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        self._values.update(values)

    def vjp(self, inputs: Any, cotangent: np.ndarray, method: Method = "call") -> dict[str, np.ndarray]:
        """Gradients in float32, rounded once to the dtype of what they belong to."""
        x = plain(inputs)
        out: dict[str, np.ndarray] = {}
        weight = _table(self._values, self._scheme)
        wide, g = weight.astype("f4"), plain(cotangent).astype("f4")
        total = np.zeros(wide.shape, "f4")
        if method == "tied":
            hidden = rows(weight, x).astype("f4").reshape(-1, wide.shape[1])
            flat = g.reshape(-1, wide.shape[0])
            total += flat.T @ hidden
            g = (flat @ wide).reshape(*np.shape(x), wide.shape[1])
        if method == "tied" or np.asarray(x).dtype.kind in "iu":
            rows(weight, x)
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

    def momentum_steps(
        self, inputs: Any, cotangent: np.ndarray, steps: int, learning_rate: float, momentum: float
    ) -> None:
        velocity: dict[str, np.ndarray] = {}
        for _ in range(steps):
            gradients = self.vjp(inputs, cotangent)
            for name in self.trainable() & gradients.keys():
                velocity[name] = np.float32(momentum) * velocity.get(name, np.float32(0)) + gradients[name].astype("f4")
                self._gradients[name] = velocity[name]
            self.sgd_step(learning_rate)

    def cast(self, dtype: str) -> None:
        for name, value in self._values.items():
            if value.dtype in _DTYPES.values():
                self._values[name] = value.astype(_DTYPES[dtype])

    def compiled(self, compiler: str, method: Method = "call") -> Callable[[Any], np.ndarray]:
        raise Unsupported("NumPy has no compiler")

    def save(self, path: Path) -> None:
        with files.replacing(path) as temporary:
            save_file({k: np.ascontiguousarray(v) for k, v in self._values.items()}, temporary)

    def load(self, path: Path, *, strict: bool = True, assign: bool = False) -> None:
        found = load_file(path)
        if strict and {n: v.shape for n, v in found.items()} != {n: v.shape for n, v in self._values.items()}:
            raise ValueError(f"{path}: its parameters are not those of the layer, by name and shape")
        self._values.update(found)
