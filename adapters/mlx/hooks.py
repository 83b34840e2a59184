"""Recording the operations of an MLX module: calls of its submodules, and of an embedding as a linear layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from touchstone.adapters.tracing import Change, Known, Log, Recording, patched

METHODS = ("__call__", "as_linear")


class MLXTraceable:
    def __init__(self, adapter: Any, module: Any) -> None:
        self.adapter, self.module, self.mx, self.nn = adapter, module, adapter.mx, adapter.nn
        self._log = self._new_log()

    def _new_log(self) -> Log:
        return Log(lambda value: isinstance(value, self.mx.array), self.adapter.fetch)

    def record(self, *inputs: Any) -> dict[str, Recording]:
        log = self._new_log()
        with self.mx.stream(self.adapter.native_device), patched(list(self.module.named_modules()), METHODS, log):
            self.module(*map(self.adapter.place, inputs))
        self._log = log
        return dict(log.recordings)

    def apply(self, operation: str, inputs: tuple[np.ndarray, ...], change: Change | None = None) -> np.ndarray:
        module = self._log.calls[operation].module
        with self.mx.stream(self.adapter.native_device), self._changed(module, change):
            return self._log.again(operation, map(self.adapter.place, inputs))

    @contextmanager
    def _changed(self, module: Any, change: Change | None) -> Iterator[None]:
        from mlx.utils import tree_flatten, tree_unflatten

        if change is None:
            yield
            return
        held = tree_flatten(module.parameters())
        floating = [(name, value) for name, value in held if self.mx.issubdtype(value.dtype, self.mx.floating)]
        try:
            changed = [(name, self.adapter.place(change(name, self.adapter.fetch(value)))) for name, value in floating]
            module.update(tree_unflatten(changed))
            yield
        finally:
            module.update(tree_unflatten(floating))

    def known(self, operation: str) -> Known | None:
        call, nn = self._log.calls[operation], self.nn
        module = call.module
        if type(module) not in (nn.Embedding, nn.Linear, nn.RMSNorm):
            return None
        weight = self.adapter.fetch(module.weight)
        if type(module) is nn.RMSNorm:
            return Known("rms_norm", weight, eps=module.eps)
        if type(module) is nn.Embedding and call.method == "__call__":
            return Known("embedding", weight)
        return Known("linear", weight, self.adapter.fetch(module.bias) if "bias" in module else None)
