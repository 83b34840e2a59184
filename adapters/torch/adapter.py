"""PyTorch behind the interface: `nn.Embedding`, `nn.Linear`, bare indexing, on MPS, CUDA or the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from touchstone.adapters.calls import fetched, options_of
from touchstone.adapters.interface import (
    FLOATS,
    LIBRARY_SCHEMES,
    MLX_SCHEMES,
    Adapter,
    Capabilities,
    Layer,
    Operand,
    Unsupported,
)
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights
from touchstone.adapters.torch import (
    array_files,
    array_members,
    array_operations,
    initializers,
    layer_calls,
    module_answers,
)
from touchstone.adapters.torch.layer import BACKENDS, TorchLayer
from touchstone.adapters.torch.layers import LAYERS
from touchstone.adapters.torch.operations import ABSENT, OPERATIONS
from touchstone.adapters.torch.spellings import SPELLINGS
from touchstone.adapters.tracing import Traceable


class TorchAdapter(Adapter):
    name = "torch"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    module = "torch"
    devices = ("mps", "cuda", "cpu")
    # NVIDIA_TF32_OVERRIDE would beat every setting made below; PyTorch's CUDA notes name it.
    environment = {"NVIDIA_TF32_OVERRIDE": "0"}
    corrupts_memory = False
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
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
        array_dtypes=array_operations.DTYPES,
        second_derivatives=True,
        module_questions=frozenset(module_answers.ANSWERS),
        array_questions=array_members.QUESTIONS | frozenset(array_files.ANSWERS),
        initializers=initializers.DECLARED,
        spellings=frozenset(f"{layer} {name}" for layer, names in SPELLINGS.items() for name in names),
        freezing=True,
        modes=True,
        doubles=frozenset({"cuda", "cpu"}),
        overwriting=True,
        copying=frozenset({"deepcopy"}),
        assigning=True,
        lenient=True,
        together=layer_calls.TOGETHER,
        absent={
            **ABSENT,
            **module_answers.ABSENT,
            **array_members.ABSENT,
            **array_files.ABSENT,
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
        value = value.to_dense() if value.is_sparse else value.resolve_conj()
        if value.dtype == torch.bfloat16:
            return value.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return value.numpy()

    def parameter(self, value: Any) -> Any:
        return self.torch.nn.Parameter(self.place(value))

    def operation(self, name: str, operands: Sequence[Any], **options: Any) -> Any:
        with nullcontext() if operands else self.torch.device(self.device):
            return fetched(self.fetch, OPERATIONS[name].function(**options)(*map(self.place, operands)))

    def compiled_operation(
        self, name: str, operands: Sequence[Any], compiler: str, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        self.torch.compiler.reset()
        function = self.torch.compile(OPERATIONS[name].function(**options), backend=BACKENDS[compiler])
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

    def second_derivative(self, name: str, x: np.ndarray) -> np.ndarray:
        placed = self.place(x).requires_grad_()
        with self.torch.enable_grad():
            (slope,) = self.torch.autograd.grad(OPERATIONS[name].function()(placed).sum(), placed, create_graph=True)
            (found,) = self.torch.autograd.grad(slope.sum(), placed)
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

    def module_answer(self, question: str, **given: Any) -> Any:
        return module_answers.ANSWERS[question](self, **given)

    def array_answer(self, question: str, **given: Any) -> Any:
        return {**array_members.ANSWERS, **array_files.ANSWERS}[question](self, **given)

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
        constructors |= {name: getattr(nn, of) for name, of in layer_calls.CONSTRUCTED.items()}
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
