"""A Flax NNX module as a layer of the interface: calls, gradients, steps, copies and files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters.interface import Layer, Method

if TYPE_CHECKING:
    from touchstone.adapters.jax.adapter import JaxAdapter


class JaxLayer(Layer):
    def __init__(self, adapter: JaxAdapter, module: Any, roles: Mapping[str, tuple[str, bool]]) -> None:
        self.adapter, self.native, self.roles = adapter, module, roles
        self._gradients: Any = None
        self._frozen: tuple[str, ...] = ()

    @staticmethod
    def _apply(module: Any, inputs: Any, method: Method) -> Any:
        from touchstone.adapters.jax import modules as jax_modules

        return jax_modules.apply(module, inputs, method)

    def _run(self, inputs: Any, method: Method) -> np.ndarray:
        return self.adapter.fetch(self._apply(self.native, self.adapter.place(inputs), method))

    def __call__(self, inputs: Any) -> np.ndarray:
        return self._run(inputs, "call")

    def as_linear(self, inputs: Any) -> np.ndarray:
        return self._run(inputs, "as_linear")

    def call_keeping(self, inputs: Any, method: Method = "call") -> tuple[np.ndarray, np.ndarray]:
        placed = self.adapter.place(inputs)
        return self.adapter.fetch(self._apply(self.native, placed, method)), self.adapter.fetch(placed)

    def _state(self, kind: Any) -> Any:
        return self.adapter.nnx.state(self.native, kind)

    def _trained(self) -> Any:
        """The filter that an optimizer is given: every Param, but for those of frozen modules."""
        nnx = self.adapter.nnx
        return nnx.All(nnx.Param, *(nnx.Not(nnx.PathContains(module)) for module in self._frozen))

    def parameters(self) -> dict[str, np.ndarray]:
        return {name: self.adapter.fetch(value) for name, value in self._flat(self._state(self.adapter.nnx.Variable))}

    def _flat(self, state: Any) -> list[tuple[str, Any]]:
        """Arrays by dotted path."""
        from flax.traverse_util import flatten_dict

        flat = flatten_dict(self.adapter.nnx.to_pure_dict(state))
        return [(".".join(map(str, path)), value) for path, value in flat.items()]

    def trainable(self) -> frozenset[str]:
        return frozenset(name for name, _ in self._flat(self._state(self._trained())))

    def freeze(self, module: str = "") -> None:
        if not module:
            raise self._unsupported("state that an optimizer would ask for")
        self._frozen = (*self._frozen, module)

    def unfreeze(self, module: str = "") -> None:
        self._frozen = tuple(name for name in self._frozen if name != module)

    def set_training(self, training: bool) -> None:
        if training:
            self.native.train()
        else:
            self.native.eval()

    def copied(self, how: str) -> Layer:
        from touchstone.adapters.jax import releases as jax_releases

        nnx = self.adapter.nnx
        copies: dict[str, Callable[[Any], Any]] = {
            "deepcopy": copy.deepcopy,
            "clone": nnx.clone,
            "clone of arrays": lambda module: nnx.clone(module, arrays=True),
            "split and merge": jax_releases.split_and_merged,
        }
        other = JaxLayer(self.adapter, copies[how](self.native), self.roles)
        other._frozen = self._frozen
        return other

    def _assign(self, values: Mapping[str, Any]) -> None:
        from flax.traverse_util import unflatten_dict

        nnx, state = self.adapter.nnx, self._state(self.adapter.nnx.Variable)
        nnx.replace_by_pure_dict(state, nnx.restore_int_paths(unflatten_dict(dict(values), sep=".")))
        nnx.update(self.native, state)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        self._assign({name: self.adapter.place(value) for name, value in values.items()})

    def vjp(self, inputs: Any, cotangent: np.ndarray, method: Method = "call") -> dict[str, np.ndarray]:
        from touchstone.adapters.jax import modules as jax_modules

        nnx, jnp = self.adapter.nnx, self.adapter.jnp
        placed, seed = self.adapter.place(inputs), self.adapter.place(cotangent)
        graph, params, rest = nnx.split(self.native, self._trained(), ...)
        floating = bool(jnp.issubdtype(placed.dtype, jnp.floating))
        gradients, dx = jax_modules.vjp(graph, method, floating, params, rest, placed, seed)
        self._gradients = gradients
        out = {name: self.adapter.fetch(g) for name, g in self._flat(gradients)}
        if dx is not None:
            out["x"] = self.adapter.fetch(dx)
        return out

    def sgd_step(self, learning_rate: float) -> None:
        import optax

        from touchstone.adapters.jax import releases as jax_releases

        optimizer = self.adapter.nnx.Optimizer(self.native, optax.sgd(learning_rate), wrt=self._trained())
        jax_releases.update(optimizer, self.native, self._gradients)

    def momentum_steps(
        self, inputs: Any, cotangent: np.ndarray, steps: int, learning_rate: float, momentum: float
    ) -> None:
        import optax

        from touchstone.adapters.jax import releases as jax_releases

        optimizer = self.adapter.nnx.Optimizer(self.native, optax.sgd(learning_rate, momentum), wrt=self._trained())
        for _ in range(steps):
            self.vjp(inputs, cotangent)
            jax_releases.update(optimizer, self.native, self._gradients)

    def cast(self, dtype: str) -> None:
        jax, jnp, nnx = self.adapter.jax, self.adapter.jnp, self.adapter.nnx
        target = self.adapter.dtypes[dtype]

        def convert(value: Any) -> Any:
            return value.astype(target) if jnp.issubdtype(value.dtype, jnp.floating) else value

        nnx.update(self.native, jax.tree.map(convert, self._state(nnx.Variable)))

    def compiled(self, compiler: str, method: Method = "call") -> Callable[[Any], np.ndarray]:
        function = self.adapter.nnx.jit(lambda module, inputs: self._apply(module, inputs, method))
        return lambda inputs: self.adapter.fetch(function(self.native, self.adapter.place(inputs)))

    def save(self, path: Path) -> None:
        from flax import serialization

        path.write_bytes(serialization.msgpack_serialize(self.parameters()))

    def load(self, path: Path, *, strict: bool = True, assign: bool = False) -> None:
        from flax import serialization

        self.set_parameters(serialization.msgpack_restore(path.read_bytes()))
