"""JAX behind the interface: Flax NNX layers and bare `jax.numpy` indexing, on any JAX platform."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from touchstone.adapters.calls import options_of
from touchstone.adapters.interface import (
    FLOATS,
    INTEGERS,
    LAYERS,
    LIBRARY_SCHEMES,
    MLX_SCHEMES,
    MODELS_OF_LAYERS,
    Capabilities,
    Layer,
    Method,
    Operand,
    Packed,
    Scheme,
    Unsupported,
)
from touchstone.adapters.jax import initializers
from touchstone.adapters.jax.operations import ABSENT, OPERATIONS
from touchstone.adapters.jax.spellings import SPELLINGS
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights
from touchstone.adapters.packed import HoldsPacked
from touchstone.adapters.tracing import Traceable

_CONSTRUCTED: Mapping[str, tuple[str, Mapping[str, tuple[str, bool]]]] = {
    "embedding": ("Embed", {"weight": ("embedding", False)}),
    "linear": ("Linear", {"weight": ("kernel", True), "bias": ("bias", False)}),
    "rms_norm": ("RMSNorm", {"weight": ("scale", False)}),
}
"""Layer -> its class of Flax, and where its parameters are: (name, whether transposed)."""
_DENSE = "JAX arrays have no strides: every slice or transpose is a new dense array"


class JaxAdapter(HoldsPacked):
    name = "jax"
    distributions: ClassVar[tuple[str, ...]] = ("flax", "jax", "jaxlib")
    convention = "flax"
    module = "flax"
    devices = ("tpu", "cuda", "rocm", "mps", "cpu")
    environment = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    double_environment = {"JAX_ENABLE_X64": "1"}
    corrupts_memory = False
    capabilities = Capabilities(
        layers=LAYERS | MODELS_OF_LAYERS,
        dtypes=FLOATS,
        id_dtypes=INTEGERS,
        schemes=MLX_SCHEMES,
        models=frozenset({"llama"}),
        compilers=frozenset({"default"}),
        exercises=frozenset({"nnx", "linen"}),
        modes=True,
        doubles=frozenset({"cuda", "rocm", "cpu"}),
        copying=frozenset({"deepcopy", "clone", "clone of arrays", "split and merge"}),
        operations=frozenset(OPERATIONS),
        initializers=initializers.DECLARED,
        spellings=frozenset(f"{layer} {name}" for layer, names in SPELLINGS.items() for name in names),
        options=frozenset(
            [f"{layer} {name}" for layer in ("embedding", "linear") for name in ("dtype", "param_dtype", "init")]
            + ["linear precision", "linear preferred_element_type"]
            + ["embedding promote_dtype", "linear promote_dtype"]
            + [f"{function} preferred_element_type" for function in ("matmul", "dot", "einsum", "dot_general")]
        )
        | options_of(OPERATIONS),
        absent={
            **ABSENT,
            **initializers.ABSENT,
            "scheme": LIBRARY_SCHEMES,
            "conversion": "Flax has no layers in MLX's quantized formats: this adapter makes its own from parts",
            "layout": _DENSE,
            "freezing": "Flax freezes by the filter given to an optimizer (nnx.Optimizer, wrt), not by a layer's state",
            "lenient": "nnx.replace_by_pure_dict replaces what it is given, and knows no strictness",
            "overwriting": "JAX arrays are immutable",
            "doubles": "XLA has no float64 there",
            "assigning": "nnx.update always holds the arrays that it is given",
            "compiler": "JAX compiles with jax.jit only",
            "spelling": "no function of jax.numpy has this name",
            "option": "flax.nnx.Embed has no padding, norm, frequency or sparse gradient",
        },
    )

    def __init__(self, device: str) -> None:
        import jax
        import jax.numpy as jnp
        from flax import nnx

        self.jax, self.jnp, self.nnx = jax, jnp, nnx
        self.device = device
        if (cache := os.environ.get("TOUCHSTONE_JAX_CACHE")) and not jax.config.jax_compilation_cache_dir:
            jax.config.update("jax_compilation_cache_dir", cache)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        jax.config.update("jax_traceback_in_locations_limit", 0)  # a tenth of lowering, for lines that nobody reads
        self.native_device = jax.devices(device)[0]
        self.rngs = nnx.Rngs(0)
        self.dtypes = {"float32": jnp.float32, "float16": jnp.float16, "bfloat16": jnp.bfloat16}

    @classmethod
    def probe(cls) -> dict[str, str]:
        import jax
        from jax.extend.backend import backends

        found = {name: backend.devices()[0].device_kind for name, backend in backends().items()}
        default = jax.devices()[0].client.platform
        return dict(sorted(found.items(), key=lambda item: item[0] != default))

    def precision(self) -> dict[str, str]:
        return {
            "jax_default_matmul_precision": str(self.jax.config.jax_default_matmul_precision),
            "jax_enable_x64": str(self.jax.config.jax_enable_x64),
        }

    def device_memory(self) -> int | None:
        """Bytes free on the device, None where it does not count them, as a CPU."""
        stats = self.native_device.memory_stats() or {}
        return int(stats["bytes_limit"] - stats["bytes_in_use"]) if "bytes_limit" in stats else None

    def place(self, value: Any) -> Any:
        """A JAX array on this device; anything that is neither operand nor array passes through."""
        if isinstance(value, Operand):
            if value.view:
                raise Unsupported(_DENSE)
            value = value.base
        if isinstance(value, np.ndarray):
            return self.jax.device_put(value, self.native_device)
        return value

    def fetch(self, value: Any) -> np.ndarray:
        return np.asarray(value)

    def _constant(self, value: Any) -> Callable[..., Any]:
        placed = self.place(value)
        return lambda key, shape, dtype: placed

    def embedding(self, weight: Any, **options: Any) -> Layer:
        value = weight.base if isinstance(weight, Operand) else weight
        init = self._constant(weight)
        return JaxLayer(
            self,
            self.nnx.Embed(
                *value.shape, param_dtype=value.dtype, embedding_init=init, rngs=self.rngs, **self._given(options)
            ),
            {"weight": ("embedding", False)},
        )

    def _given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with dtypes as JAX has them, and a dtype to promote to as the function that does it."""
        named = ("dtype", "param_dtype", "preferred_element_type")
        given = {n: self.dtypes[v] if n in named else v for n, v in options.items()}
        if "promote_dtype" in options:
            given["promote_dtype"] = partial(_promoted, self.dtypes[options["promote_dtype"]])
        return given

    def raw_lookup(self, weight: Any) -> Layer:
        from touchstone.adapters.jax import modules as jax_modules

        return JaxLayer(self, jax_modules.RawLookup(self.place(weight)), {"weight": ("embedding", False)})

    def linear(self, weight: Any, bias: np.ndarray | None = None, **options: Any) -> Layer:
        value = weight.base if isinstance(weight, Operand) else weight
        if isinstance(weight, Operand) and weight.view:
            raise Unsupported(_DENSE)
        module = self.nnx.Linear(
            value.shape[1],
            value.shape[0],
            use_bias=bias is not None,
            param_dtype=value.dtype,
            kernel_init=self._constant(np.ascontiguousarray(value.T)),
            bias_init=self._constant(bias),
            rngs=self.rngs,
            **self._given(options),
        )
        return JaxLayer(self, module, {"weight": ("kernel", True), "bias": ("bias", False)})

    def tied_model(self, weights: Mapping[str, np.ndarray]) -> Layer:
        from touchstone.adapters.jax import tied

        layer = JaxLayer(self, tied.TiedModel(*weights["embed"].shape), tied.ROLES)
        layer.set_parameters(
            {path: weights[role].T if transposed else weights[role] for role, (path, transposed) in tied.ROLES.items()}
        )
        return layer

    def stack(self, weights: Sequence[np.ndarray]) -> Layer:
        from touchstone.adapters.jax import tied

        layer = JaxLayer(self, tied.Stack(len(weights), len(weights[0])), {})
        layer.set_parameters({f"layers.{number}.kernel": weight.T for number, weight in enumerate(weights)})
        return layer

    def spelled(self, layer: str, spelling: str, weight: Any, bias: np.ndarray | None = None, **options: Any) -> Layer:
        from touchstone.adapters.jax import modules as jax_modules

        values = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        placed = {name: self.place(value) for name, value in values.items()}
        roles = {"weight": ("weight", False), "bias": ("bias", False)}
        function = partial(SPELLINGS[layer][spelling], **self._given(options))
        return JaxLayer(self, jax_modules.Spelled(function, **placed), roles)

    def operation(self, name: str, operands: Sequence[Any], **options: Any) -> np.ndarray:
        made = _compiled_operation(name, tuple(options.items()))
        return self.fetch(made(*map(self.place, operands)))

    def compiled_operation(self, name: str, operands: Sequence[Any], compiler: str) -> tuple[np.ndarray, np.ndarray]:
        return self.operation(name, operands), self.operation(name, operands)

    def operation_gradient(
        self, name: str, operands: Sequence[Any], place: int, cotangent: np.ndarray, **options: Any
    ) -> np.ndarray:
        made = _compiled_operation(name, tuple(options.items()), place)
        return self.fetch(made(self.place(cotangent), *map(self.place, operands)))

    def initialize(
        self, name: str, shapes: Sequence[Sequence[int]], dtype: str | None, seed: int, **options: Any
    ) -> list[np.ndarray]:
        with self.jax.default_device(self.native_device):
            keys = self.jax.random.split(self.jax.random.key(seed), len(shapes))
            draw = initializers.drawing(self, name, dtype, options)
            return [self.fetch(draw(key, shape)) for key, shape in zip(keys, shapes, strict=True)]

    def _quantized(self, kind: str, weight: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        from touchstone.adapters.jax import packing as jax_packing

        return self._hold(kind, jax_packing.quantize(self.place(weight), scheme), scheme, bias)

    def _parts(self, packed: Packed) -> tuple[Any, Any, Any]:
        return self.place(packed.weight), self.place(packed.scales), self.place(packed.biases)

    def _hold(self, kind: str, parts: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        from touchstone.adapters.jax import modules as jax_modules

        roles = {"weight": ("weight", False), "bias": ("bias", False)}
        words, scales, biases = parts
        if kind == "embedding":
            return JaxLayer(self, jax_modules.QuantizedEmbed(words, scales, biases, scheme), roles)
        placed = None if bias is None else self.place(bias)
        return JaxLayer(self, jax_modules.QuantizedLinear(words, scales, biases, scheme, placed), roles)

    @classmethod
    def device_of(cls, module: Any) -> str:
        import jax
        from flax import nnx

        found = [value for value in jax.tree.leaves(nnx.state(module)) if isinstance(value, jax.Array)]
        return next(iter(found[0].devices())).platform if found else jax.devices()[0].platform

    def traceable(self, module: Any) -> Traceable:
        from touchstone.adapters.jax import hooks as jax_hooks

        return jax_hooks.JaxTraceable(self, module)

    def llama(self, config: LlamaConfig, weights: Weights) -> LanguageModel:
        from touchstone.adapters.jax import llama as jax_llama

        return jax_llama.JaxLlama(self, config, weights)

    def construct_several(self, plan: Sequence[tuple[str, Sequence[int]]], seed: int, **options: Any) -> list[Layer]:
        given = {"use_bias" if n == "bias" else n: v for n, v in self._given(options).items() if n != "init"}
        inits = {}
        if "init" in options:
            names = {"embedding": ("embedding_init",), "linear": ("kernel_init", "bias_init")}
            init = getattr(self.nnx.initializers, options["init"])
            init = init() if options["init"] == "normal" else init
            inits = {layer: dict.fromkeys(names[layer], init) for layer, _ in plan}
        with self.jax.default_device(self.native_device):
            rngs, made = self.nnx.Rngs(seed), list[Layer]()
            for layer, sizes in plan:
                if layer not in _CONSTRUCTED:
                    raise Unsupported(f"{self.name} constructs no {layer}")
                name, roles = _CONSTRUCTED[layer]
                made.append(
                    JaxLayer(self, getattr(self.nnx, name)(*sizes, rngs=rngs, **given, **inits.get(layer, {})), roles)
                )
            return made

    def exercise(self, style: str, seed: int, num_embeddings: int, dims: int) -> Layer:
        from touchstone.adapters.jax import exercise as jax_exercise

        with self.jax.default_device(self.native_device):
            module = jax_exercise.build(style, seed, num_embeddings, dims)
            return JaxLayer(self, module, {"weight": ("embedding", False)})


def _promoted(to: Any, arrays: tuple[Any, ...], *, dtype: Any = None, **how: Any) -> tuple[Any, ...]:
    """What `promote_dtype` of a Flax layer does: its operands in one dtype, None where an operand is."""
    return tuple(None if array is None else array.astype(to) for array in arrays)


@cache
def _compiled_operation(
    name: str, options: tuple[tuple[str, Any], ...], place: int | None = None
) -> Callable[..., Any]:
    """Under jax.jit, the operation or its gradient: made once, for each would be compiled again."""
    import jax

    function = OPERATIONS[name].function(**dict(options))
    if place is None:
        return jax.jit(function)
    number = place

    def gradient(cotangent: Any, *operands: Any) -> Any:
        before, after = operands[:number], operands[number + 1 :]
        _, pull = jax.vjp(lambda x: function(*before, x, *after), operands[number])
        return pull(cotangent)[0]

    return jax.jit(gradient)


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
