"""An `mlx.nn` module as a layer of the interface: calls, gradients, steps, copies and files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters.interface import Layer, Method, Scheme

if TYPE_CHECKING:
    from touchstone.adapters.mlx.adapter import MLXAdapter


def _call(module: Any, inputs: Any) -> Any:
    return module(inputs)


class MLXLayer(Layer):
    roles: Mapping[str, tuple[str, bool]] = {"weight": ("weight", False), "bias": ("bias", False)}

    def __init__(
        self,
        adapter: MLXAdapter,
        module: Any,
        call: Callable[[Any, Any], Any] = _call,
        roles: Mapping[str, tuple[str, bool]] | None = None,
    ) -> None:
        self.adapter, self.native, self._call = adapter, module, call
        self.roles = roles or self.roles
        self._gradients: Any = None
        if "scales" in module and "sizes" not in module:
            self.scheme = Scheme(module.bits, module.group_size, getattr(module, "mode", "affine"))

    def _apply(self, module: Any, inputs: Any, method: Method) -> Any:
        if method == "call":
            return self._call(module, inputs)
        return module.as_linear(inputs if method == "as_linear" else self._call(module, inputs))

    def _run(self, inputs: Any, method: Method) -> np.ndarray:
        with self.adapter.mx.stream(self.adapter.native_device):
            return self.adapter.fetch(self._apply(self.native, self.adapter.place(inputs), method))

    def call_keeping(self, inputs: Any, method: Method = "call") -> tuple[np.ndarray, np.ndarray]:
        with self.adapter.mx.stream(self.adapter.native_device):
            placed = self.adapter.place(inputs)
            answer = self.adapter.fetch(self._apply(self.native, placed, method))
            return answer, self.adapter.fetch(placed)

    def overwrite_answer(self, inputs: Any, method: Method = "call") -> None:
        mx = self.adapter.mx
        with mx.stream(self.adapter.native_device):
            answer = self._apply(self.native, self.adapter.place(inputs), method)
            answer[...] = 0
            mx.eval(answer)

    def __call__(self, inputs: Any) -> np.ndarray:
        return self._run(inputs, "call")

    def as_linear(self, inputs: Any) -> np.ndarray:
        return self._run(inputs, "as_linear")

    def parameters(self) -> dict[str, np.ndarray]:
        with self.adapter.mx.stream(self.adapter.native_device):
            flat = self.adapter.tree_flatten(self.native.parameters())
            return {name: self.adapter.fetch(value) for name, value in flat}

    def trainable(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.adapter.tree_flatten(self.native.trainable_parameters()))

    def freeze(self, module: str = "") -> None:
        (self.native[module] if module else self.native).freeze()

    def unfreeze(self, module: str = "") -> None:
        (self.native[module] if module else self.native).unfreeze()

    def set_training(self, training: bool) -> None:
        self.native.train(training)

    def modes(self) -> dict[str, bool]:
        return {name: module.training for name, module in self.native.named_modules()}

    def copied(self, how: str) -> Layer:
        return MLXLayer(self.adapter, copy.deepcopy(self.native), self._call, self.roles)

    def _update(self, values: Mapping[str, Any]) -> None:
        self.native.update(self.adapter.tree_unflatten(list(values.items())))

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        with self.adapter.mx.stream(self.adapter.native_device):
            self._update({name: self.adapter.place(value) for name, value in values.items()})

    def vjp(self, inputs: Any, cotangent: np.ndarray, method: Method = "call") -> dict[str, np.ndarray]:
        mx = self.adapter.mx
        with mx.stream(self.adapter.native_device):
            placed, seed = self.adapter.place(inputs), self.adapter.place(cotangent)
            held = dict(sorted(self.adapter.tree_flatten(self.native.trainable_parameters())))
            differentiable = mx.issubdtype(placed.dtype, mx.floating)

            def forward(*primals: Any) -> list[Any]:
                self._update(dict(zip(held, primals, strict=False)))
                return [self._apply(self.native, primals[-1] if differentiable else placed, method)]

            primals = [*held.values(), placed] if differentiable else [*held.values()]
            try:
                _, gradients = mx.vjp(forward, primals, [seed])
            finally:
                self._update(held)
            self._gradients = dict(zip(held, gradients, strict=False))
            keys = [*held, "x"] if differentiable else [*held]
            return {k: self.adapter.fetch(g) for k, g in zip(keys, gradients, strict=True)}

    def sgd_step(self, learning_rate: float) -> None:
        with self.adapter.mx.stream(self.adapter.native_device):
            gradients = self.adapter.tree_unflatten(list(self._gradients.items()))
            self.adapter.optimizers.SGD(learning_rate).update(self.native, gradients)

    def momentum_steps(
        self, inputs: Any, cotangent: np.ndarray, steps: int, learning_rate: float, momentum: float
    ) -> None:
        optimizer = self.adapter.optimizers.SGD(learning_rate, momentum)
        for _ in range(steps):
            self.vjp(inputs, cotangent)
            with self.adapter.mx.stream(self.adapter.native_device):
                optimizer.update(self.native, self.adapter.tree_unflatten(list(self._gradients.items())))

    def cast(self, dtype: str) -> None:
        self.native.set_dtype(self.adapter.dtypes[dtype])

    def quantized(self, scheme: Scheme) -> Layer:
        with self.adapter.mx.stream(self.adapter.native_device):
            return MLXLayer(self.adapter, self.native.to_quantized(*self.adapter.sizes(scheme)))

    def convert(self, module: str, scheme: Scheme) -> None:
        with self.adapter.mx.stream(self.adapter.native_device):
            sizes = self.adapter.sizes_by_name(scheme)
            self.adapter.nn.quantize(self.native, class_predicate=lambda path, _: path == module, **sizes)

    def compiled(self, compiler: str, method: Method = "call") -> Callable[[Any], np.ndarray]:
        function = self.adapter.mx.compile(lambda inputs: self._apply(self.native, inputs, method))

        def run(inputs: Any) -> np.ndarray:
            with self.adapter.mx.stream(self.adapter.native_device):
                return self.adapter.fetch(function(self.adapter.place(inputs)))

        return run

    def save(self, path: Path) -> None:
        self.native.save_weights(str(path.with_suffix(".safetensors")))

    def load(self, path: Path, *, strict: bool = True, assign: bool = False) -> None:
        self.native.load_weights(str(path.with_suffix(".safetensors")), strict=strict)
