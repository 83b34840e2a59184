"""Recording the operations of a PyTorch module, by its forward hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from touchstone.adapters.tracing import Call, Change, Known, Log, Recording


class TorchTraceable:
    def __init__(self, adapter: Any, module: Any) -> None:
        self.adapter, self.module, self.torch = adapter, module, adapter.torch
        self._log = self._new_log()

    def _new_log(self) -> Log:
        return Log(lambda value: isinstance(value, self.torch.Tensor), self.adapter.fetch)

    def record(self, *inputs: Any) -> dict[str, Recording]:
        log, begun, handles = self._new_log(), list[tuple[Call, Any]](), []

        def before(module: Any, args: Any, kwargs: Any) -> None:
            call = Call(module, "__call__", args, kwargs)
            begun.append((call, log.inputs(call)))  # copies: an operation may work in place

        def after(path: str) -> Any:
            def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
                log.add(path, *begun.pop(), output)

            return hook

        try:
            for path, module in self.module.named_modules():
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                handles.append(module.register_forward_hook(after(path), with_kwargs=True))
            with self.torch.no_grad():
                self.module(*map(self.adapter.place, inputs))
        finally:
            for handle in handles:
                handle.remove()
        self._log = log
        return dict(log.recordings)

    def apply(self, operation: str, inputs: tuple[np.ndarray, ...], change: Change | None = None) -> np.ndarray:
        with self.torch.no_grad(), self._changed(self._log.calls[operation].module, change):
            return self._log.again(operation, map(self.adapter.place, inputs))

    @contextmanager
    def _changed(self, module: Any, change: Change | None) -> Iterator[None]:
        floating = {n: p for n, p in module.named_parameters() if p.is_floating_point()} if change else {}
        before = {name: value.detach().clone() for name, value in floating.items()}
        try:
            for name, value in floating.items():
                assert change is not None
                value.copy_(self.adapter.place(change(name, np.array(self.adapter.fetch(value)))))
            yield
        finally:
            for name, value in floating.items():
                value.copy_(before[name])

    def known(self, operation: str) -> Known | None:
        module, nn = self._log.calls[operation].module, self.torch.nn
        # Subclasses may compute anything.
        if type(module) not in (nn.Embedding, nn.Linear, nn.RMSNorm) or module.weight is None:
            return None
        weight = np.array(self.adapter.fetch(module.weight))
        if type(module) is nn.Embedding:
            return Known("embedding", weight) if module.max_norm is None else None
        if type(module) is nn.RMSNorm:
            eps = self.torch.finfo(self.torch.float32).eps if module.eps is None else module.eps
            return Known("rms_norm", weight, eps=eps) if weight.ndim == 1 else None
        return Known("linear", weight, None if module.bias is None else np.array(self.adapter.fetch(module.bias)))
