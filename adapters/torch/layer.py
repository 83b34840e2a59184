"""A PyTorch module as a layer of the interface: calls, gradients, steps, copies and files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters.interface import Layer, Method

if TYPE_CHECKING:
    from touchstone.adapters.torch.adapter import TorchAdapter

BACKENDS = {"default": "aot_eager", "inductor": "inductor"}
"""Compiler, as `Capabilities.compilers` names it -> what torch.compile calls it."""


def _call(module: Any, inputs: Any) -> Any:
    return module(inputs)


class TorchLayer(Layer):
    roles: Mapping[str, tuple[str, bool]] = {"weight": ("weight", False), "bias": ("bias", False)}

    def __init__(
        self,
        adapter: TorchAdapter,
        module: Any,
        call: Callable[[Any, Any], Any] = _call,
        roles: Mapping[str, tuple[str, bool]] | None = None,
    ) -> None:
        self.adapter, self.native, self._call = adapter, module, call
        self.roles = roles or self.roles
        self._head: Any = None

    def _tied_head(self) -> Any:
        """The module's own head, or for `nn.Embedding` an `nn.Linear` that shares its Parameter, as models do."""
        if hasattr(self.native, "as_linear"):
            return self.native.as_linear
        if self._head is None:
            self._head = self.adapter.torch.nn.Linear(1, 1, bias=False, device="meta")
        self._head.weight = self.native.weight
        return self._head

    def _apply(self, inputs: Any, method: Method) -> Any:
        if method == "call":
            return self._call(self.native, inputs)
        return self._tied_head()(inputs if method == "as_linear" else self._call(self.native, inputs))

    def __call__(self, inputs: Any) -> np.ndarray:
        with self.adapter.torch.no_grad():
            return self.adapter.fetch(self._apply(self.adapter.place(inputs), "call"))

    def as_linear(self, inputs: Any) -> np.ndarray:
        with self.adapter.torch.no_grad():
            return self.adapter.fetch(self._apply(self.adapter.place(inputs), "as_linear"))

    def call_keeping(self, inputs: Any, method: Method = "call") -> tuple[np.ndarray, np.ndarray]:
        placed = self.adapter.place(inputs)
        with self.adapter.torch.no_grad():
            return self.adapter.fetch(self._apply(placed, method)), self.adapter.fetch(placed)

    def overwrite_answer(self, inputs: Any, method: Method = "call") -> None:
        with self.adapter.torch.no_grad():
            self._apply(self.adapter.place(inputs), method).zero_()

    def parameters(self) -> dict[str, np.ndarray]:
        # Copies: on the CPU what is fetched shares its memory with the parameter, which later steps write to.
        state = {name: np.array(self.adapter.fetch(value)) for name, value in self.native.state_dict().items()}
        if "scales" in state:
            state["weight"] = state["weight"].view(np.uint32)
        return state

    def trainable(self) -> frozenset[str]:
        return frozenset(name for name, value in self.native.named_parameters() if value.requires_grad)

    def freeze(self, module: str = "") -> None:
        self.native.get_submodule(module).requires_grad_(False)

    def unfreeze(self, module: str = "") -> None:
        self.native.get_submodule(module).requires_grad_(True)

    def set_training(self, training: bool) -> None:
        self.native.train(training)

    def copied(self, how: str) -> Layer:
        return TorchLayer(self.adapter, copy.deepcopy(self.native), self._call, self.roles)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        with self.adapter.torch.no_grad():
            for name, value in values.items():
                self.native.get_parameter(name).copy_(self.adapter.place(value))

    def vjp(self, inputs: Any, cotangent: np.ndarray, method: Method = "call") -> dict[str, np.ndarray]:
        placed, seed = self.adapter.place(inputs), self.adapter.place(cotangent)
        wanted = {name: value for name, value in self.native.named_parameters() if value.requires_grad}
        if placed.is_floating_point():
            wanted["x"] = placed.requires_grad_()
        out = self._apply(placed, method)
        gradients = self.adapter.torch.autograd.grad(out, list(wanted.values()), seed, allow_unused=True)
        found = {name: g for name, g in zip(wanted, gradients, strict=True) if g is not None}
        for name, gradient in found.items():
            if name != "x":
                wanted[name].grad = gradient
        return {name: self.adapter.fetch(gradient) for name, gradient in found.items()}

    def sgd_step(self, learning_rate: float) -> None:
        self.adapter.torch.optim.SGD(self.native.parameters(), lr=learning_rate).step()

    def momentum_steps(
        self, inputs: Any, cotangent: np.ndarray, steps: int, learning_rate: float, momentum: float
    ) -> None:
        optimizer = self.adapter.torch.optim.SGD(self.native.parameters(), lr=learning_rate, momentum=momentum)
        for _ in range(steps):
            self.vjp(inputs, cotangent)
            optimizer.step()

    def cast(self, dtype: str) -> None:
        self.native.to(self.adapter.dtypes[dtype])

    def compiled(self, compiler: str, method: Method = "call") -> Callable[[Any], np.ndarray]:
        # Without a reset, the ninth compilation of this one line would silently run uncompiled (recompile_limit).
        self.adapter.torch.compiler.reset()
        function = self.adapter.torch.compile(lambda inputs: self._apply(inputs, method), backend=BACKENDS[compiler])

        def run(inputs: Any) -> np.ndarray:
            with self.adapter.torch.no_grad():
                return self.adapter.fetch(function(self.adapter.place(inputs)))

        return run

    def save(self, path: Path) -> None:
        self.adapter.torch.save(self.native.state_dict(), path)

    def load(self, path: Path, *, strict: bool = True, assign: bool = False) -> None:
        state = self.adapter.torch.load(path, weights_only=True)
        self.native.load_state_dict(state, strict=strict, assign=assign)
