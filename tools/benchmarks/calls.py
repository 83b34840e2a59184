"""Synchronised calls of a framework's own layers, on inputs that are already on its device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from touchstone.adapters.interface import Adapter, Layer, Packed, Scheme

FRAMEWORKS = ("mlx", "jax", "torch")
"""Whose results this module can wait for."""
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16)}


def packed(rows: int, columns: int, scheme: Scheme, dtype: Any = np.float32) -> Packed:
    """Random codes with scales and biases as of weights around 0; nothing is quantized, which would cost memory."""
    words = np.random.default_rng(0).integers(0, 2**32, (rows, columns * scheme.bits // 32), dtype=np.uint32)
    per_group = (rows, columns // scheme.group_size)
    if scheme.mode != "affine":
        # 2**-5 as E4M3 and as E8M0; words without the codes that are NaN in E4M3
        scale = 16 if scheme.mode == "nvfp4" else 122
        return Packed(words & np.uint32(0xBFBFBFBF), np.full(per_group, scale, np.uint8), None, scheme)
    step = 2.0**-4 / 2**scheme.bits
    scales = np.full(per_group, step, np.float32).astype(dtype)
    return Packed(words, scales, (scales.astype(np.float32) * -(2.0 ** (scheme.bits - 1))).astype(dtype), scheme)


def synchronised(adapter: Adapter, function: Callable[[Any], Any], inputs: Any) -> Callable[[], Any]:
    """A call of a framework's own function on inputs that are on the device, which returns when the result is there."""
    placed = adapter.place(inputs)  # type: ignore[attr-defined]
    if adapter.name == "mlx":
        import mlx.core as mx

        def run() -> Any:
            with mx.stream(adapter.native_device):  # type: ignore[attr-defined]
                out = function(placed)
                mx.eval(out)
            return out
    elif adapter.name == "jax":

        def run() -> Any:
            return function(placed).block_until_ready()
    else:
        import torch

        def run() -> Any:
            with torch.no_grad():
                out = function(placed)
            if adapter.device != "cpu":
                getattr(torch, adapter.device).synchronize()
            return out

    return run


def native_call(layer: Layer) -> Callable[[Any], Any]:
    """The framework's own call of a layer; `raw_lookup` has no module that can be called."""
    native: Any = layer.native
    if callable(native) and type(native).__name__ != "Module":
        return lambda x: native(x)
    return lambda x: native.weight[x]


def jitted(module: Any, method: str = "__call__") -> Callable[[Any], Any]:
    """A Flax module's method under `jax.jit`, its state an argument."""
    import jax
    from flax import nnx

    graph, state = nnx.split(module)
    function = jax.jit(lambda state, x: getattr(nnx.merge(graph, state), method)(x))
    return lambda x: function(state, x)


def as_used(adapter: Adapter, layer: Layer, tied: bool = False) -> Callable[[Any], Any]:
    """The call, or the tied head, as a program would make it: JAX's under `jax.jit`, the others' eagerly."""
    native: Any = layer.native
    if adapter.name == "jax":
        return jitted(native, "attend" if tied else "__call__")
    if not tied:
        return native_call(layer)
    if adapter.name == "torch":  # nn.Embedding has no head: models share its Parameter with an nn.Linear
        return layer._tied_head()  # type: ignore[attr-defined]
    return native.as_linear
