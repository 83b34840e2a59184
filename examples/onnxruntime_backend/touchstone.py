"""The adapter: ``pytest suites/ --adapter examples.onnxruntime_backend.touchstone:OnnxRuntimeAdapter``."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from examples.onnxruntime_backend.operations import OPERATIONS, OTHERWISE
from touchstone.adapters.interface import (
    FLOATS,
    LIBRARY_SCHEMES,
    Adapter,
    Capabilities,
    Layer,
    Method,
    Operand,
    Unsupported,
)

if TYPE_CHECKING:
    from examples.onnxruntime_backend.graphs import Node

_DENSE = "an ONNX tensor is dense: the runtime copies whatever has other strides"
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider", "cpu": "CPUExecutionProvider"}
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def embedding(adapter: OnnxRuntimeAdapter, weight: Any) -> Layer:
    """The table is part of the model."""
    nodes = {"call": adapter.graphs.LOOKUP, "as_linear": adapter.graphs.HEAD}
    return OnnxLayer(adapter, {"weight": _plain(weight)}, nodes)


def raw_lookup(adapter: OnnxRuntimeAdapter, weight: Any) -> Layer:
    """The table is an input of the graph, beside the ids."""
    return OnnxLayer(adapter, {"weight": _plain(weight)}, {"call": adapter.graphs.LOOKUP}, fed=("weight",))


def linear(adapter: OnnxRuntimeAdapter, weight: Any, bias: np.ndarray | None = None) -> Layer:
    """Holds ``Wᵀ [in, out]``, as exported linear layers do."""
    values = {"weight": np.ascontiguousarray(_plain(weight).T)} | ({} if bias is None else {"bias": bias})
    nodes = adapter.graphs.LINEAR if bias is None else adapter.graphs.LINEAR_WITH_BIAS
    roles = {"weight": ("weight", True), "bias": ("bias", False)}
    return OnnxLayer(adapter, values, {"call": nodes}, roles=roles)


class OnnxRuntimeAdapter(Adapter):
    name = "onnxruntime"
    distributions = ("onnxruntime", "onnx")
    module = "onnxruntime"
    devices = tuple(_PROVIDERS)
    corrupts_memory = False
    layers = {"embedding": embedding, "raw_lookup": raw_lookup, "linear": linear}
    capabilities = Capabilities(
        layers=frozenset(layers),
        dtypes=FLOATS,
        id_dtypes=frozenset({"int32", "int64"}),
        operations=frozenset(OPERATIONS),
        gradients=False,
        optimizer=False,
        construction=False,
        absent={
            "layer": "MatMulNBits and GatherBlockQuantized have formats of their own",
            "scheme": LIBRARY_SCHEMES,
            "layout": _DENSE,
            "id_dtype": "Gather takes int32 and int64 ids (ONNX operators, Gather: Tind)",
            "compiler": "a session is optimized when it is made, and there is no second compiler",
            "gradients": "ONNX Runtime infers; training is another build of it",
            "optimizer": "ONNX Runtime infers; training is another build of it",
            "construction": "a model file holds weights: nothing initialises them",
            "conversion": "models are quantized as files, by tools beside the runtime",
            "exercise": "the exercise is written for Flax",
            "operation": OTHERWISE,
            "option": "an operator's attributes are part of the model",
        },
        together={
            ("layer:linear", "dtype:bfloat16"): "the CPU provider has no MatMul of bfloat16 (OperatorKernels.md)",
            **{
                (f"operation:{name}", f"dtype:{dtype}"): "the CPU provider has it in float32 alone (OperatorKernels.md)"
                for name in OPERATIONS
                for dtype in ("float16", "bfloat16")
            },
        },
    )

    def __init__(self, device: str) -> None:
        import onnxruntime

        from examples.onnxruntime_backend import graphs

        self.runtime, self.graphs, self.device = onnxruntime, graphs, device
        self.provider = _PROVIDERS[device]
        if self.provider not in onnxruntime.get_available_providers():
            raise RuntimeError(f"onnxruntime has no {device} device here")
        onnxruntime.set_default_logger_severity(4)  # a failed run is an exception here, and a line on stderr besides

    @classmethod
    def probe(cls) -> dict[str, str]:
        import onnxruntime

        here = onnxruntime.get_available_providers()
        return {device: provider for device, provider in _PROVIDERS.items() if provider in here}

    def precision(self) -> dict[str, str]:
        return {"provider": self.provider, "graph_optimization_level": "all (default)"}

    def session(self, model: Any) -> Any:
        return self.runtime.InferenceSession(model.SerializeToString(), providers=[self.provider])

    def place(self, value: np.ndarray) -> Any:
        """An OrtValue; NumPy has no bfloat16 that ONNX Runtime knows, so its bits travel."""
        value = np.ascontiguousarray(value).reshape(value.shape)  # ascontiguousarray makes rank 0 rank 1
        if value.dtype == _BFLOAT16:
            number = self.graphs.element_type(_BFLOAT16)
            return self.runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(value.view(np.uint16), number)
        return self.runtime.OrtValue.ortvalue_from_numpy(value)

    def fetch(self, value: Any) -> np.ndarray:
        if value.data_type() != "tensor(bfloat16)":
            return np.asarray(value.numpy())
        raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
        return np.frombuffer(raw, _BFLOAT16).reshape(value.shape())

    def operation(self, name: str, operands: Sequence[Any], **options: Any) -> np.ndarray:
        """A model of one operator, without a weight."""
        placed = [self.place(np.asarray(_plain(one))) for one in operands]
        kind = self.graphs.element_type(np.asarray(_plain(operands[0])).dtype)
        session = self.session(self.graphs.function(*OPERATIONS[name], kind))
        return self.fetch(session.run_with_ort_values(None, {self.graphs.INPUT: placed[0]})[0])


def _plain(value: Any) -> Any:
    """The array of an operand without a view; ids that are no array pass through."""
    if not isinstance(value, Operand):
        return value
    if value.view:
        raise Unsupported(_DENSE)
    return value.base


class OnnxLayer(Layer):
    """A model per method and dtype of the input, made when it is first asked, and its session."""

    def __init__(
        self,
        adapter: OnnxRuntimeAdapter,
        values: Mapping[str, np.ndarray],
        nodes: Mapping[str, tuple[Node, ...]],
        *,
        roles: Mapping[str, tuple[str, bool]] | None = None,
        fed: tuple[str, ...] = (),
    ) -> None:
        self.adapter, self._values, self._nodes, self._fed = adapter, dict(values), nodes, fed
        self.roles = roles or {"weight": ("weight", False)}
        self._sessions: dict[tuple[str, int], Any] = {}

    @property
    def native(self) -> Any:
        """The model of the call, for an input of the weight's dtype, or of int64 ids."""
        graphs = self.adapter.graphs
        looks_up = self._nodes["call"] is graphs.LOOKUP
        return self._model("call", graphs.element_type(np.dtype("i8") if looks_up else self._values["weight"].dtype))

    def _model(self, method: Method, input_type: int) -> Any:
        return self.adapter.graphs.model(self._nodes[method], self._values, input_type, self._fed)

    def _run(self, inputs: Any, method: Method) -> np.ndarray:
        inputs = _plain(inputs)
        graphs, adapter = self.adapter.graphs, self.adapter
        is_array = isinstance(inputs, np.ndarray | np.generic)
        kind = graphs.element_type(inputs.dtype if is_array else np.dtype("i8"))
        if (method, kind) not in self._sessions:
            self._sessions[method, kind] = adapter.session(self._model(method, kind))
        session = self._sessions[method, kind]
        feeds = {name: adapter.place(self._values[name]) for name in self._fed}
        if not is_array:  # lists, tuples, numbers: the runtime's own answer to them
            return np.asarray(session.run(None, {graphs.INPUT: inputs, **feeds})[0])
        feeds[graphs.INPUT] = adapter.place(np.asarray(inputs))
        return adapter.fetch(session.run_with_ort_values(None, feeds)[0])

    def __call__(self, inputs: Any) -> np.ndarray:
        return self._run(inputs, "call")

    def as_linear(self, inputs: Any) -> np.ndarray:
        if "as_linear" not in self._nodes:
            return super().as_linear(inputs)
        return self._run(inputs, "as_linear")

    def parameters(self) -> dict[str, np.ndarray]:
        return dict(self._values)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        self._values.update(values)
        self._sessions.clear()

    def cast(self, dtype: str) -> None:
        """A model with its initializers in another dtype."""
        self.set_parameters({name: value.astype(dtype) for name, value in self._values.items()})

    def save(self, path: Path) -> None:
        import onnx

        onnx.save_model(self.native, path.with_suffix(".onnx"))

    def load(self, path: Path, *, strict: bool = True, assign: bool = False) -> None:
        import onnx
        from onnx import numpy_helper

        stored = onnx.load_model(path.with_suffix(".onnx")).graph.initializer
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in stored}
        if {n: v.shape for n, v in values.items()} != {n: v.shape for n, v in self._values.items()}:
            raise ValueError(f"{path}: its initializers are not those of the layer, by name and shape")
        self.set_parameters(values)
