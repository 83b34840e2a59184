"""MLX behind the interface: `mlx.nn` layers with their own methods, on Metal, CUDA or the CPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ml_dtypes
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
    Scheme,
    Unsupported,
)
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights
from touchstone.adapters.mlx import (
    array_files,
    array_members,
    array_operations,
    initializers,
    layer_calls,
    module_answers,
)
from touchstone.adapters.mlx.layer import MLXLayer
from touchstone.adapters.mlx.layers import LAYERS
from touchstone.adapters.mlx.operations import ABSENT, OPERATIONS
from touchstone.adapters.mlx.spellings import SPELLINGS
from touchstone.adapters.tracing import Traceable


class MLXAdapter(Adapter):
    name = "mlx"
    distributions = ("mlx", "mlx-metal", "mlx-cpu", "mlx-cuda-12", "mlx-cuda-13")
    convention = "mlx"
    module = "mlx"
    devices = ("gpu", "cpu")
    # On recent Apple and NVIDIA GPUs float32 matmul is TF32-class unless this is 0 (ml-explore/mlx#3534).
    environment = {"MLX_ENABLE_TF32": "0"}
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
        dtypes=FLOATS,
        id_dtypes=INTEGERS,
        layouts=frozenset({"offset", "step", "reverse", "permute", "broadcast"}),
        schemes=MLX_SCHEMES,
        models=frozenset({"llama"}),
        compilers=frozenset({"default"}),
        operations=frozenset(OPERATIONS),
        array_dtypes=array_operations.DTYPES,
        second_derivatives=True,
        module_questions=frozenset(module_answers.ANSWERS),
        array_questions=array_members.QUESTIONS | frozenset(array_files.ANSWERS),
        options=options_of(OPERATIONS),
        initializers=initializers.DECLARED,
        spellings=frozenset(f"{layer} {name}" for layer, names in SPELLINGS.items() for name in names),
        freezing=True,
        modes=True,
        doubles=frozenset({"cpu"}),
        overwriting=True,
        copying=frozenset({"deepcopy"}),
        lenient=True,
        conversion=True,
        absent={
            **ABSENT,
            **module_answers.ABSENT,
            **array_members.ABSENT,
            **array_files.ABSENT,
            "scheme": LIBRARY_SCHEMES,
            "doubles": "float64 is computed on the CPU only (mlx.core data types)",
            "assigning": "mlx.nn.Module.load_weights always holds the loaded arrays",
            "compiler": "MLX compiles with mx.compile only",
            "exercise": "the exercise is written for Flax",
            "spelling": "no function of mlx.core has this name",
            "option": "mlx.nn.Embedding and mlx.nn.Linear have sizes, and whether there is a bias, and no other option",
        },
    )

    def __init__(self, device: str) -> None:
        import mlx.core as mx
        import mlx.nn as nn
        import mlx.optimizers as optimizers
        from mlx.utils import tree_flatten, tree_unflatten

        self.mx, self.nn, self.optimizers = mx, nn, optimizers
        self.tree_flatten, self.tree_unflatten = tree_flatten, tree_unflatten
        self.device = device
        self.native_device = mx.Device({"gpu": mx.gpu, "cpu": mx.cpu}[device])
        if not _is_available(mx, self.native_device):
            raise RuntimeError(f"mlx has no {device} device here")
        self.has_modes = "mode" in inspect.signature(nn.Embedding.to_quantized).parameters
        self.dtypes = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}

    @classmethod
    def probe(cls) -> dict[str, str]:
        import mlx.core as mx

        found = {}
        if _is_available(mx, mx.Device(mx.gpu)):
            info = mx.device_info(mx.gpu) if hasattr(mx, "device_info") else mx.metal.device_info()
            found["gpu"] = str(info.get("device_name", "gpu"))
        found["cpu"] = "cpu"
        return found

    def precision(self) -> dict[str, str]:
        import os

        return {"MLX_ENABLE_TF32": os.environ.get("MLX_ENABLE_TF32", "unset (framework default)")}

    def device_memory(self) -> int | None:
        """Bytes of the largest buffer and of the working set that Metal recommends, the smaller; None off the GPU."""
        if self.device == "cpu":
            return None
        info = self.mx.device_info(self.native_device) if hasattr(self.mx, "device_info") else {}
        limits = [info[name] for name in ("max_buffer_length", "max_recommended_working_set_size") if name in info]
        return int(min(limits)) if limits else None

    def place(self, value: Any) -> Any:
        """An MLX array on this device; anything that is neither operand nor array passes through."""
        mx = self.mx
        if isinstance(value, np.ndarray):
            return mx.array(value, mx.float64) if value.dtype == np.float64 else mx.array(value)
        if not isinstance(value, Operand):
            return value
        out = mx.array(value.base)
        for kind, spec in value.view:
            if kind == "slice":
                out = out[tuple(slice(*s) for s in spec)]  # type: ignore[misc]
            elif kind == "permute":
                out = mx.transpose(out, spec)
            else:
                out = mx.broadcast_to(out, spec)
        return out

    def fetch(self, value: Any) -> np.ndarray:
        mx = self.mx
        if value.dtype == mx.bfloat16:
            return np.array(value.view(mx.uint16)).view(ml_dtypes.bfloat16)
        return np.array(value)

    def sizes(self, scheme: Scheme) -> tuple[Any, ...]:
        """What quantizing methods are given.

        Releases before 0.29.0 have no modes: affine goes without its name there, and any other is what they refuse.
        """
        sizes = (scheme.group_size, scheme.bits)
        return (*sizes, scheme.mode) if self.has_modes or scheme.mode != "affine" else sizes

    def sizes_by_name(self, scheme: Scheme) -> dict[str, Any]:
        return dict(zip(("group_size", "bits", "mode"), self.sizes(scheme), strict=False))

    def layer(self, name: str, weight: Any, **parts: Any) -> Layer:
        with self.mx.stream(self.native_device):
            return super().layer(name, weight, **parts)

    def operation(self, name: str, operands: Sequence[Any], **options: Any) -> Any:
        with self._uncompiled():
            return fetched(self.fetch, OPERATIONS[name].function(**options)(*map(self.place, operands)))

    def compiled_operation(
        self, name: str, operands: Sequence[Any], compiler: str, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        with self.mx.stream(self.native_device):
            function = self.mx.compile(OPERATIONS[name].function(**options))
            placed = [self.place(one) for one in operands]
            return self.fetch(function(*placed)), self.fetch(function(*placed))

    def operation_gradient(
        self, name: str, operands: Sequence[Any], place: int, cotangent: np.ndarray, **options: Any
    ) -> np.ndarray:
        with self._uncompiled():
            function, placed = OPERATIONS[name].function(**options), [self.place(one) for one in operands]
            before, after = placed[:place], placed[place + 1 :]
            seed = [self.place(cotangent)]
            _, (found,) = self.mx.vjp(lambda x: function(*before, x, *after), [placed[place]], seed)
            return self.fetch(found)

    def second_derivative(self, name: str, x: np.ndarray) -> np.ndarray:
        with self._uncompiled():
            function = OPERATIONS[name].function()
            slope = self.mx.grad(lambda y: function(y).sum())
            return self.fetch(self.mx.grad(lambda y: slope(y).sum())(self.place(x)))

    @contextmanager
    def _uncompiled(self) -> Iterator[None]:
        """MLX builds each of its functions with a C++ compiler, which takes seconds and changes no bit."""
        with self.mx.stream(self.native_device):
            self.mx.disable_compile()
            try:
                yield
            finally:
                self.mx.enable_compile()

    def initialize(
        self, name: str, shapes: Sequence[Sequence[int]], dtype: str | None, seed: int, **options: Any
    ) -> list[np.ndarray]:
        with self.mx.stream(self.native_device):
            self.mx.random.seed(seed)
            return [self.fetch(draw) for draw in map(initializers.drawing(self, name, dtype, options), shapes)]

    def converted(
        self, layer: str, weight: np.ndarray, how: str, settings: Mapping[str, Any], bias: np.ndarray | None = None
    ) -> Layer:
        with self.mx.stream(self.native_device):
            dense = self.layer(layer, weight, bias=bias).native
            if how == "method":
                return MLXLayer(self, dense.to_quantized(**settings))
            if how == "class" and layer == "embedding":
                return MLXLayer(self, self.nn.QuantizedEmbedding.from_embedding(dense, **settings))
            if how == "class":
                return MLXLayer(self, self.nn.QuantizedLinear.from_linear(dense, **settings))
            model = self.nn.Module()
            model.layer = dense
            self.nn.quantize(model, **settings)
            return MLXLayer(self, model.layer)

    def quantized_model(
        self,
        weights: Mapping[str, tuple[str, np.ndarray | str]],
        choices: Mapping[str, Any] | None,
        settings: Mapping[str, Any],
    ) -> dict[str, Layer]:
        with self.mx.stream(self.native_device):
            root, made = self.nn.Module(), dict[str, Any]()
            for path, (kind, weight) in weights.items():
                made[path] = self.layer(kind, made[weight].weight if isinstance(weight, str) else weight).native
                *parents, name = path.split(".")
                parent = root
                for step in parents:
                    if step not in parent:
                        setattr(parent, step, self.nn.Module())
                    parent = parent[step]
                setattr(parent, name, made[path])
            predicate = None if choices is None else lambda path, module: choices.get(path, True)
            self.nn.quantize(root, class_predicate=predicate, **settings)
            return {path: MLXLayer(self, dict(root.named_modules())[path]) for path in weights}

    def module_answer(self, question: str, **given: Any) -> Any:
        with self._uncompiled():
            return module_answers.ANSWERS[question](self, **given)

    def array_answer(self, question: str, **given: Any) -> Any:
        with self._uncompiled():
            return {**array_members.ANSWERS, **array_files.ANSWERS}[question](self, **given)

    @classmethod
    def device_of(cls, module: Any) -> str:
        """MLX's arrays live in memory that its devices share: the one it runs on by default."""
        import mlx.core as mx

        return "gpu" if mx.default_device() == mx.Device(mx.gpu) else "cpu"

    def traceable(self, module: Any) -> Traceable:
        from touchstone.adapters.mlx import hooks as mlx_hooks

        return mlx_hooks.MLXTraceable(self, module)

    def llama(self, config: LlamaConfig, weights: Weights) -> LanguageModel:
        from touchstone.adapters.mlx import llama as mlx_llama

        return mlx_llama.MLXLlama(self, config, weights)

    def construct_several(self, plan: Sequence[tuple[str, Sequence[int]]], seed: int, **options: Any) -> list[Layer]:
        constructors = _constructors(self.nn)
        with self.mx.stream(self.native_device):
            self.mx.random.seed(seed)
            made: list[Layer] = []
            for layer, sizes in plan:
                if layer not in constructors:
                    raise Unsupported(f"{self.name} constructs no {layer}")
                made.append(MLXLayer(self, constructors[layer](*sizes, **options)))
            return made


def _is_available(mx: Any, device: Any) -> bool:
    """Whether the device works here; releases before 0.26.2 can say so of Metal alone."""
    if hasattr(mx, "is_available"):
        return bool(mx.is_available(device))
    return device == mx.Device(mx.cpu) or bool(mx.metal.is_available())


def _constructors(nn: Any) -> dict[str, Callable[..., Any]]:
    others = {name: getattr(nn, name) for name in layer_calls.CONSTRUCTED}
    return {"embedding": nn.Embedding, "linear": nn.Linear, "rms_norm": nn.RMSNorm, **others}
