"""PyTorch behind the interface: `nn.Embedding`, `nn.Linear`, bare indexing, on MPS, CUDA or the CPU."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from touchstone.adapters.calls import options_of
from touchstone.adapters.interface import (
    FLOATS,
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
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights
from touchstone.adapters.packed import HoldsPacked
from touchstone.adapters.torch import initializers
from touchstone.adapters.torch.operations import ABSENT, OPERATIONS
from touchstone.adapters.torch.spellings import SPELLINGS
from touchstone.adapters.tracing import Traceable

_BACKENDS = {"default": "aot_eager", "inductor": "inductor"}
"""Compiler, as `Capabilities.compilers` names it -> what torch.compile calls it."""


class TorchAdapter(HoldsPacked):
    name = "torch"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    module = "torch"
    devices = ("mps", "cuda", "cpu")
    # NVIDIA_TF32_OVERRIDE would beat every setting made below; PyTorch's CUDA notes name it.
    environment = {"NVIDIA_TF32_OVERRIDE": "0"}
    corrupts_memory = False
    capabilities = Capabilities(
        layers=LAYERS | MODELS_OF_LAYERS,
        dtypes=FLOATS,
        id_dtypes=frozenset({"int32", "int64"}),
        layouts=frozenset({"offset", "step", "permute", "broadcast"}),
        schemes=MLX_SCHEMES,
        models=frozenset({"llama"}),
        compilers=frozenset({"default", "inductor"}),
        options=frozenset(
            [f"embedding {n}" for n in ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")]
            + [f"functional {n}" for n in ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")]
            + ["embedding param_dtype", "linear param_dtype", "embedding from_pretrained"]
        )
        | options_of(OPERATIONS),
        operations=frozenset(OPERATIONS),
        initializers=initializers.DECLARED,
        spellings=frozenset(f"{layer} {name}" for layer, names in SPELLINGS.items() for name in names),
        freezing=True,
        modes=True,
        doubles=frozenset({"cuda", "cpu"}),
        overwriting=True,
        copying=frozenset({"deepcopy"}),
        assigning=True,
        lenient=True,
        absent={
            **ABSENT,
            "scheme": LIBRARY_SCHEMES,
            "conversion": "PyTorch has no layers in MLX's quantized formats: this adapter makes its own from parts",
            "layout:reverse": "PyTorch tensors have no negative strides (Tensor.view documentation)",
            "doubles": "PyTorch has no float64 on MPS (its MPS notes)",
            "exercise": "the exercise is written for Flax",
            "spelling": "no function of torch has this name",
            "option": "PyTorch's layers have no such option: they compute in the dtype that they store",
            "id_dtype": "PyTorch looks up int32 and int64 ids only (torch.nn.functional.embedding)",
        },
    )

    def __init__(self, device: str) -> None:
        import torch

        self.torch, self.device = torch, device
        if device not in self.probe():
            raise RuntimeError(f"torch has no {device} device here")
        self._defaults = self._set_precision("highest", False, False)
        self.dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

    @classmethod
    def probe(cls) -> dict[str, str]:
        import torch

        found = {}
        if torch.backends.mps.is_available():
            found["mps"] = "Apple GPU"
        if torch.cuda.is_available():
            found["cuda"] = torch.cuda.get_device_name()
        found["cpu"] = torch.backends.cpu.get_cpu_capability()
        return found

    def precision(self) -> dict[str, str]:
        return {
            "float32_matmul_precision": self.torch.get_float32_matmul_precision(),
            "PYTORCH_ENABLE_MPS_FALLBACK": os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK", "unset"),
        }

    def device_memory(self) -> int | None:
        """Bytes free on a CUDA device, or that Metal recommends and nothing holds; None where the host's count."""
        torch = self.torch
        if self.device == "cuda":
            return int(torch.cuda.mem_get_info()[0])
        if self.device == "mps":
            return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
        return None

    def _set_precision(self, float32: str, float16_reduction: Any, bfloat16_reduction: Any) -> tuple[str, Any, Any]:
        """Set PyTorch's matmul precision (its CUDA notes name all three); the previous settings."""
        torch, matmul = self.torch, self.torch.backends.cuda.matmul
        before = (
            torch.get_float32_matmul_precision(),
            matmul.allow_fp16_reduced_precision_reduction,
            matmul.allow_bf16_reduced_precision_reduction,
        )
        torch.set_float32_matmul_precision(float32)
        matmul.allow_fp16_reduced_precision_reduction = float16_reduction
        matmul.allow_bf16_reduced_precision_reduction = bfloat16_reduction
        return before

    def default_precision(self) -> None:
        self._set_precision(*self._defaults)

    def place(self, value: Any) -> Any:
        """A tensor on this device; anything that is neither operand nor array passes through."""
        torch = self.torch
        if isinstance(value, np.ndarray):
            owned = np.array(value, order="C")
            if owned.dtype == ml_dtypes.bfloat16:
                return torch.from_numpy(owned.view(np.int16)).view(torch.bfloat16).to(self.device)
            return torch.from_numpy(owned).to(self.device)
        if not isinstance(value, Operand):
            return value
        out = self.place(value.base)
        for kind, spec in value.view:
            if kind == "slice":
                out = out[tuple(slice(*s) for s in spec)]  # type: ignore[misc]
            elif kind == "permute":
                out = out.permute(spec)
            else:
                out = out.expand(spec)
        return out

    def fetch(self, value: Any) -> np.ndarray:
        torch = self.torch
        value = value.detach().to("cpu")
        value = value.to_dense() if value.is_sparse else value
        if value.dtype == torch.bfloat16:
            return value.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return value.numpy()

    def _parameter(self, value: Any) -> Any:
        return self.torch.nn.Parameter(self.place(value))

    def embedding(self, weight: Any, **options: Any) -> Layer:
        placed = self._parameter(weight)
        if options.pop("from_pretrained", False):
            return TorchLayer(self, self.torch.nn.Embedding.from_pretrained(placed.detach(), **options))
        module = self.torch.nn.Embedding(*placed.shape, device="meta", **options)
        module.weight = placed
        return TorchLayer(self, module)

    def raw_lookup(self, weight: Any) -> Layer:
        module = self.torch.nn.Module()
        module.weight = self._parameter(weight)
        return TorchLayer(self, module, call=lambda module, ids: module.weight[ids])

    def linear(self, weight: Any, bias: np.ndarray | None = None, **options: Any) -> Layer:
        placed = self._parameter(weight)
        module = self.torch.nn.Linear(placed.shape[1], placed.shape[0], bias=bias is not None, device="meta")
        module.weight = placed
        if bias is not None:
            module.bias = self._parameter(bias)
        return TorchLayer(self, module)

    def tied_model(self, weights: Mapping[str, np.ndarray]) -> Layer:
        from touchstone.adapters.torch import tied

        native = tied.TiedModel(*weights["embed"].shape).to(self.device, self.place(weights["embed"]).dtype)
        layer = TorchLayer(self, native, roles=tied.ROLES)
        layer.set_parameters({tied.ROLES[role][0]: value for role, value in weights.items()})
        return layer

    def stack(self, weights: Sequence[np.ndarray]) -> Layer:
        from touchstone.adapters.torch import tied

        layer = TorchLayer(self, tied.Stack(len(weights), len(weights[0])).to(self.device))
        layer.set_parameters({f"{number}.weight": weight for number, weight in enumerate(weights)})
        return layer

    def spelled(self, layer: str, spelling: str, weight: Any, bias: np.ndarray | None = None, **options: Any) -> Layer:
        module, function = self.torch.nn.Module(), partial(SPELLINGS[layer][spelling], self.torch, **options)
        module.weight = self._parameter(weight)
        if bias is not None:
            module.bias = self._parameter(bias)
        return TorchLayer(self, module, call=function)

    def operation(self, name: str, operands: Sequence[Any], **options: Any) -> np.ndarray:
        return self.fetch(OPERATIONS[name].function(**options)(*map(self.place, operands)))

    def compiled_operation(self, name: str, operands: Sequence[Any], compiler: str) -> tuple[np.ndarray, np.ndarray]:
        self.torch.compiler.reset()
        function = self.torch.compile(OPERATIONS[name].function(), backend=_BACKENDS[compiler])
        placed = [self.place(one) for one in operands]
        with self.torch.no_grad():
            return self.fetch(function(*placed)), self.fetch(function(*placed))

    def operation_gradient(
        self, name: str, operands: Sequence[Any], place: int, cotangent: np.ndarray, **options: Any
    ) -> np.ndarray:
        placed = [self.place(one) for one in operands]
        placed[place].requires_grad_()
        with self.torch.enable_grad():
            made = OPERATIONS[name].function(**options)(*placed)
            (found,) = self.torch.autograd.grad(made, placed[place], self.place(cotangent))
        return self.fetch(found)

    def initialize(
        self, name: str, shapes: Sequence[Sequence[int]], dtype: str | None, seed: int, **options: Any
    ) -> list[np.ndarray]:
        with self.torch.random.fork_rng():
            self.torch.manual_seed(0 if "generator" in options else seed)
            if "generator" in options:
                options["generator"] = self.torch.Generator(self.device).manual_seed(seed)
            draw = initializers.drawing(self, name, dtype, options)
            return [self.fetch(draw(shape)) for shape in shapes]

    def _quantized(self, kind: str, weight: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        from touchstone.adapters.torch import packing as torch_packing

        return self._hold(kind, torch_packing.quantize(self.place(weight), scheme), scheme, bias)

    def _parts(self, packed: Packed) -> tuple[Any, Any, Any]:
        given = packed.weight if isinstance(packed.weight, Operand) else Operand(packed.weight)
        words = Operand(given.base.view(np.int32), given.view)
        return self.place(words), self.place(packed.scales), self.place(packed.biases)

    def _hold(self, kind: str, parts: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        from touchstone.adapters.torch import quantized as torch_quantized

        words, scales, biases = parts
        if kind == "embedding":
            return TorchLayer(self, torch_quantized.QuantizedEmbedding(words, scales, biases, scheme))
        placed = None if bias is None else self.place(bias)
        return TorchLayer(self, torch_quantized.QuantizedLinear(words, scales, biases, scheme, placed))

    @classmethod
    def device_of(cls, module: Any) -> str:
        return next((p.device.type for p in (*module.parameters(), *module.buffers())), "cpu")

    def traceable(self, module: Any) -> Traceable:
        from touchstone.adapters.torch import hooks as torch_hooks

        return torch_hooks.TorchTraceable(self, module)

    def llama(self, config: LlamaConfig, weights: Weights) -> LanguageModel:
        from touchstone.adapters.torch import llama as torch_llama

        return torch_llama.TorchLlama(self, config, weights)

    def construct_several(self, plan: Sequence[tuple[str, Sequence[int]]], seed: int, **options: Any) -> list[Layer]:
        nn = self.torch.nn
        constructors = {"embedding": nn.Embedding, "linear": nn.Linear, "rms_norm": nn.RMSNorm}
        given = {n: v for n, v in options.items() if n != "param_dtype"}
        given |= {"dtype": self.dtypes[options["param_dtype"]]} if "param_dtype" in options else {}
        with self.torch.random.fork_rng():
            self.torch.manual_seed(seed)
            made: list[Layer] = []
            for layer, sizes in plan:
                if layer not in constructors:
                    raise Unsupported(f"{self.name} constructs no {layer}")
                made.append(TorchLayer(self, constructors[layer](*sizes, device=self.device, **given)))
            return made


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
        function = self.adapter.torch.compile(lambda inputs: self._apply(inputs, method), backend=_BACKENDS[compiler])

        def run(inputs: Any) -> np.ndarray:
            with self.adapter.torch.no_grad():
                return self.adapter.fetch(function(self.adapter.place(inputs)))

        return run

    def save(self, path: Path) -> None:
        self.adapter.torch.save(self.native.state_dict(), path)

    def load(self, path: Path, *, strict: bool = True, assign: bool = False) -> None:
        state = self.adapter.torch.load(path, weights_only=True)
        self.native.load_state_dict(state, strict=strict, assign=assign)
