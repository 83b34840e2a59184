"""Recording the operations of a Flax NNX module: calls of its submodules, and of an embedding's `attend`.

What a submodule is given while JAX traces (inside `jit`, `scan` or `grad`) has no values, and is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from touchstone.adapters.tracing import Change, Known, Log, Recording, patched

METHODS = ("__call__", "attend")


class JaxTraceable:
    def __init__(self, adapter: Any, module: Any) -> None:
        self.adapter, self.module, self.jax, self.nnx = adapter, module, adapter.jax, adapter.nnx
        self._log = self._new_log()

    def _new_log(self) -> Log:
        jax = self.jax
        return Log(lambda v: isinstance(v, jax.Array) and not isinstance(v, jax.core.Tracer), self.adapter.fetch)

    def record(self, *inputs: Any) -> dict[str, Recording]:
        log = self._new_log()
        modules = [(".".join(map(str, path)), module) for path, module in self.nnx.iter_modules(self.module)]
        with patched(modules, METHODS, log):
            self.module(*map(self.adapter.place, inputs))
        self._log = log
        return dict(log.recordings)

    def apply(self, operation: str, inputs: tuple[np.ndarray, ...], change: Change | None = None) -> np.ndarray:
        with self._changed(self._log.calls[operation].module, change):
            return self._log.again(operation, map(self.adapter.place, inputs))

    @contextmanager
    def _changed(self, module: Any, change: Change | None) -> Iterator[None]:
        if change is None:
            yield
            return
        jnp, nnx = self.adapter.jnp, self.nnx
        held = {path: value[...] for path, value in nnx.to_flat_state(nnx.state(module, nnx.Param))}
        floating = {path: value for path, value in held.items() if jnp.issubdtype(value.dtype, jnp.floating)}

        def put(values: dict[Any, Any]) -> None:
            nnx.update(module, nnx.from_flat_state([(path, nnx.Param(value)) for path, value in values.items()]))

        try:
            put(
                {
                    path: self.adapter.place(change(".".join(map(str, path)), np.array(self.adapter.fetch(value))))
                    for path, value in floating.items()
                }
            )
            yield
        finally:
            put(floating)

    def known(self, operation: str) -> Known | None:
        call, nnx = self._log.calls[operation], self.nnx
        module = call.module
        if type(module) is nnx.RMSNorm:
            plain = module.use_scale and module.reduction_axes == -1 and module.feature_axes == -1
            return Known("rms_norm", self._fetch(module.scale), eps=module.epsilon) if plain else None
        if type(module) is nnx.Embed:
            if call.method == "attend":
                return Known("linear", self._fetch(module.embedding))
            return Known("embedding", self._fetch(module.embedding)) if module.num_embeddings > 1 else None
        if type(module) is nnx.Linear:
            bias = None if module.bias is None else self._fetch(module.bias)
            return Known("linear", np.ascontiguousarray(self._fetch(module.kernel).T), bias)
        return None

    def _fetch(self, variable: Any) -> np.ndarray:
        return np.array(self.adapter.fetch(variable[...]))
