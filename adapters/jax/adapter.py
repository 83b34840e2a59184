"""JAX behind the interface: Flax NNX layers and bare `jax.numpy` indexing, on any JAX platform."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np

from touchstone.adapters.calls import fetched, options_of
from touchstone.adapters.interface import (
    FLOATS,
    INTEGERS,
    LIBRARY_SCHEMES,
    MLX_SCHEMES,
    Adapter,
    Capabilities,
    Layer,
    Operand,
    Unsupported,
    dtype_named,
)
from touchstone.adapters.jax import (
    array_files,
    array_members,
    array_operations,
    initializers,
    layer_calls,
    module_answers,
)
from touchstone.adapters.jax.layer import JaxLayer
from touchstone.adapters.jax.layers import LAYERS
from touchstone.adapters.jax.operations import ABSENT, OPERATIONS
from touchstone.adapters.jax.spellings import SPELLINGS
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights
from touchstone.adapters.tracing import Traceable

_CONSTRUCTED: Mapping[str, tuple[str, Mapping[str, tuple[str, bool]]]] = {
    "embedding": ("Embed", {"weight": ("embedding", False)}),
    "linear": ("Linear", {"weight": ("kernel", True), "bias": ("bias", False)}),
    "rms_norm": ("RMSNorm", {"weight": ("scale", False)}),
}
"""Layer -> its class of Flax, and where its parameters are: (name, whether transposed)."""
_DENSE = "JAX arrays have no strides: every slice or transpose is a new dense array"


class JaxAdapter(Adapter):
    name = "jax"
    distributions: ClassVar[tuple[str, ...]] = ("flax", "jax", "jaxlib")
    convention = "flax"
    module = "flax"
    devices = ("tpu", "cuda", "rocm", "mps", "cpu")
    environment = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    double_environment = {"JAX_ENABLE_X64": "1"}
    corrupts_memory = False
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
        dtypes=FLOATS,
        id_dtypes=INTEGERS,
        schemes=MLX_SCHEMES,
        models=frozenset({"llama"}),
        compilers=frozenset({"default", "none"}),
        exercises=frozenset({"nnx", "linen"}),
        modes=True,
        doubles=frozenset({"cuda", "rocm", "cpu"}),
        copying=frozenset({"deepcopy", "clone", "clone of arrays", "split and merge"}),
        operations=frozenset(OPERATIONS),
        array_dtypes=array_operations.DTYPES,
        second_derivatives=True,
        module_questions=frozenset(module_answers.ANSWERS),
        array_questions=array_members.QUESTIONS | frozenset(array_files.ANSWERS),
        initializers=initializers.DECLARED,
        spellings=frozenset(f"{layer} {name}" for layer, names in SPELLINGS.items() for name in names),
        options=frozenset(
            [f"{layer} {name}" for layer in ("embedding", "linear") for name in ("dtype", "param_dtype", "init")]
            + ["linear precision", "linear preferred_element_type"]
            + ["embedding promote_dtype", "linear promote_dtype"]
            + [f"{function} preferred_element_type" for function in ("matmul", "dot", "einsum", "dot_general")]
        )
        | options_of(OPERATIONS),
        together=layer_calls.TOGETHER,
        absent={
            **ABSENT,
            **module_answers.ABSENT,
            **array_members.ABSENT,
            **array_files.ABSENT,
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
        value = self.base(value)
        return self.jax.device_put(value, self.native_device) if isinstance(value, np.ndarray) else value

    @staticmethod
    def base(value: Any) -> Any:
        """The array of an operand, anything else as it is. Raises Unsupported for an operand with a view."""
        if not isinstance(value, Operand):
            return value
        if value.view:
            raise Unsupported(_DENSE)
        return value.base

    def fetch(self, value: Any) -> np.ndarray:
        return np.asarray(value)

    def given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with dtypes as JAX has them, and a dtype to promote to as the function that does it."""
        named = ("dtype", "param_dtype", "preferred_element_type")
        given = {n: self.dtypes[v] if n in named else v for n, v in options.items()}
        if "promote_dtype" in options:
            given["promote_dtype"] = partial(_promoted, self.dtypes[options["promote_dtype"]])
        return given

    def operation(self, name: str, operands: Sequence[Any], **options: Any) -> Any:
        made = _compiled_operation(name, tuple(options.items()))
        with nullcontext() if operands else self.jax.default_device(self.native_device):
            return fetched(self.fetch, made(*map(self.place, operands)))

    def result_dtype(self, name: str, dtypes: Sequence[str]) -> str:
        """By abstract evaluation, which compiles nothing."""
        operands = [self.jax.ShapeDtypeStruct((2, 2), dtype_named(one)) for one in dtypes]
        return str(self.jax.eval_shape(OPERATIONS[name].function(), *operands).dtype.name)

    def compiled_operation(
        self, name: str, operands: Sequence[Any], compiler: str, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        if compiler == "default":
            return self.operation(name, operands, **options), self.operation(name, operands, **options)
        function, placed = OPERATIONS[name].function(**options), [self.place(one) for one in operands]
        return self.fetch(function(*placed)), self.fetch(function(*placed))

    def operation_gradient(
        self, name: str, operands: Sequence[Any], place: int, cotangent: np.ndarray, **options: Any
    ) -> np.ndarray:
        made = _compiled_gradients(name, tuple(options.items()))
        return self.fetch(made(self.place(cotangent), *map(self.place, operands))[place])

    def second_derivative(self, name: str, x: np.ndarray) -> np.ndarray:
        function = OPERATIONS[name].function()
        twice = self.jax.vmap(self.jax.grad(self.jax.grad(function)))
        return self.fetch(self.jax.jit(twice)(self.place(x)))

    def initialize(
        self, name: str, shapes: Sequence[Sequence[int]], dtype: str | None, seed: int, **options: Any
    ) -> list[np.ndarray]:
        with self.jax.default_device(self.native_device):
            keys = self.jax.random.split(self.jax.random.key(seed), len(shapes))
            draw = initializers.drawing(self, name, dtype, options)
            return [self.fetch(draw(key, shape)) for key, shape in zip(keys, shapes, strict=True)]

    def module_answer(self, question: str, **given: Any) -> Any:
        with self.jax.default_device(self.native_device):
            return module_answers.ANSWERS[question](self, **given)

    def array_answer(self, question: str, **given: Any) -> Any:
        with self.jax.default_device(self.native_device):
            return {**array_members.ANSWERS, **array_files.ANSWERS}[question](self, **given)

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
        given = {"use_bias" if n == "bias" else n: v for n, v in self.given(options).items() if n != "init"}
        inits = {}
        if "init" in options:
            names = {"embedding": ("embedding_init",), "linear": ("kernel_init", "bias_init")}
            init = getattr(self.nnx.initializers, options["init"])
            init = init() if options["init"] == "normal" else init
            inits = {layer: dict.fromkeys(names[layer], init) for layer, _ in plan}
        with self.jax.default_device(self.native_device):
            rngs, made = self.nnx.Rngs(seed), list[Layer]()
            for layer, sizes in plan:
                roles: Mapping[str, tuple[str, bool]] = {}
                if layer in layer_calls.CONSTRUCTED:
                    name, order = layer_calls.CONSTRUCTED[layer]
                    sizes = order(*sizes)
                elif layer in _CONSTRUCTED:
                    name, roles = _CONSTRUCTED[layer]
                else:
                    raise Unsupported(f"{self.name} constructs no {layer}")
                given_rngs = {} if name == "PReLU" else {"rngs": rngs}
                native = getattr(self.nnx, name)(*sizes, **given_rngs, **given, **inits.get(layer, {}))
                made.append(JaxLayer(self, native, roles))
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
def _compiled_operation(name: str, options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Under jax.jit: made once, for each would be compiled again."""
    import jax

    return jax.jit(OPERATIONS[name].function(**dict(options)))


@cache
def _compiled_gradients(name: str, options: tuple[tuple[str, Any], ...]) -> Callable[..., dict[int, Any]]:
    """What every floating operand gets of a cotangent, by its place: one program for all of them."""
    import jax
    import jax.numpy as jnp

    function = OPERATIONS[name].function(**dict(options))

    def gradients(cotangent: Any, *operands: Any) -> dict[int, Any]:
        floating = {n: one for n, one in enumerate(operands) if jnp.issubdtype(one.dtype, jnp.floating)}

        def of(given: dict[int, Any]) -> Any:
            return function(*(given.get(n, one) for n, one in enumerate(operands)))

        return jax.vjp(of, floating)[1](cotangent)[0]

    return jax.jit(gradients)
