"""The interface every adapter implements: what a suite may ask of a framework.

NumPy arrays come out. What goes in is an `Operand` (a base array and a view that the adapter applies
with its framework's own operations), a NumPy array, or, for ids, any Python object.
bfloat16 travels as `ml_dtypes.bfloat16`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights
    from touchstone.adapters.tracing import Traceable

Method = Literal["call", "as_linear", "tied"]
"""What `Layer.vjp` differentiates: the layer's call, its tied head, or the head applied to the call."""

Slice = tuple[int | None, int | None, int | None]
Step = tuple[Literal["slice"], tuple[Slice, ...]] | tuple[Literal["permute", "broadcast"], tuple[int, ...]]


class Unsupported(Exception):
    """Raised by an adapter for something its declared capabilities exclude."""


@dataclass(frozen=True)
class Operand:
    """A base array and the steps that turn it into the logical value.

    Steps, applied in order: ``("slice", ((start, stop, step), ...))`` one entry per leading axis,
    ``("permute", axes)``, ``("broadcast", shape)``.
    """

    base: np.ndarray
    view: tuple[Step, ...] = ()

    def value(self) -> np.ndarray:
        """The logical array, by NumPy's own slicing, transposition and broadcasting."""
        out = self.base
        for kind, spec in self.view:
            if kind == "slice":
                out = out[tuple(slice(*s) for s in spec)]  # type: ignore[misc]
            elif kind == "permute":
                out = out.transpose(spec)  # type: ignore[arg-type]
            else:
                out = np.broadcast_to(out, spec)  # type: ignore[arg-type]
        return out

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value().shape

    @property
    def dtype(self) -> np.dtype:
        return self.base.dtype


FLOATS = frozenset({"float32", "float16", "bfloat16"})
INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
AFFINE_BITS = (1, 2, 3, 4, 5, 6, 8)
AFFINE_GROUPS = (32, 64, 128)
BLOCK_MODES: Mapping[str, tuple[int, int]] = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
"""Modes with one size each -> (bits, group_size), without biases, their scales one byte (`mlx.core.quantize`)."""
ONE_SIZE = ("q4_1", "q8_0")
"""GGUF's block types, whose name says their size."""


def dtype_named(name: str) -> np.dtype:
    """NumPy's dtype, or that of ml_dtypes: "bfloat16".

    >>> dtype_named("bfloat16").itemsize
    2
    """
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@dataclass(frozen=True)
class Scheme:
    """A quantization scheme by MLX's vocabulary (`mlx.core.quantize`): bits, group_size, mode.

    Other libraries' modes are "intx" (torchao), "keras", "keras_rows", "qwix", "q4_1" and "q8_0" (GGUF).
    """

    bits: int
    group_size: int
    mode: str = "affine"

    def __str__(self) -> str:
        return self.mode if self.mode in (*BLOCK_MODES, *ONE_SIZE) else f"{self.mode}{self.bits}g{self.group_size}"

    def check(self, columns: int) -> None:
        """Raises ValueError, naming what is wrong, for a scheme MLX does not define or columns it cannot split."""
        if self.mode != "affine" and self.mode not in BLOCK_MODES:
            raise ValueError(f"mode {self.mode!r} is none of affine, {', '.join(BLOCK_MODES)}")
        bits: tuple[int, ...] = AFFINE_BITS
        groups: tuple[int, ...] = AFFINE_GROUPS
        if self.mode in BLOCK_MODES:
            bits, groups = ((size,) for size in BLOCK_MODES[self.mode])
        if self.bits not in bits:
            raise ValueError(f"{self.mode} has bits {bits}, not {self.bits}")
        if self.group_size not in groups:
            raise ValueError(f"{self.mode} has group_size {groups}, not {self.group_size}")
        if columns % self.group_size:
            raise ValueError(f"the last dimension, {columns}, does not divide by group_size {self.group_size}")


LIBRARY_SCHEMES = "a scheme of another library's: targets torchao, keras, qwix and gguf show those"
"""Why an adapter of MLX's schemes has no other."""

MLX_SCHEMES = frozenset(
    [str(Scheme(bits, group)) for bits in AFFINE_BITS for group in AFFINE_GROUPS]
    + [str(Scheme(*sizes, mode)) for mode, sizes in BLOCK_MODES.items()]
)


@dataclass(frozen=True)
class Packed:
    """A quantized matrix in MLX's packed format (docs/packed-format.md); each part an array or an `Operand`.

    weight: uint32 ``[rows, columns * bits / 32]``, low bits first; scales: ``[rows, columns / group_size]``, in the
    dtype of the original matrix for mode "affine", else uint8; biases: like the scales for mode "affine", else None.
    Other libraries' modes have parts of their own layout: see adapters/libraries/conversion.py.
    """

    weight: Any
    scales: Any
    biases: Any
    scheme: Scheme

    def check(self) -> None:
        """Raises ValueError where shapes or dtypes of the parts do not fit the scheme and each other."""
        scales, biases = np.dtype(self.scales.dtype), None if self.biases is None else np.dtype(self.biases.dtype)
        if np.dtype(self.weight.dtype) != np.uint32:
            raise ValueError(f"words are uint32, not {self.weight.dtype}")
        if self.scheme.mode in BLOCK_MODES and scales != np.uint8:
            raise ValueError(f"scales of {self.scheme} are uint8, not {scales}")
        if self.scheme.mode not in BLOCK_MODES and (scales.name not in FLOATS or biases not in (None, scales)):
            raise ValueError(f"scales and biases of {self.scheme} have one floating dtype, not {scales} and {biases}")
        rows, groups = self.scales.shape
        self.scheme.check(groups * self.scheme.group_size)
        words = (rows, groups * self.scheme.group_size * self.scheme.bits // 32)
        if tuple(self.weight.shape) != words:
            raise ValueError(f"{self.scheme} with scales {(rows, groups)} has words {words}, not {self.weight.shape}")
        if (self.biases is None) != (self.scheme.mode in BLOCK_MODES):
            raise ValueError(f"{self.scheme} has {'no ' * (self.biases is not None)}biases")
        if self.biases is not None and tuple(self.biases.shape) != (rows, groups):
            raise ValueError(f"biases {self.biases.shape} do not fit scales {(rows, groups)}")


_OPTIONAL = {
    "layer:tied_model": "this adapter builds layers, and no models of them",
    "layer:stack": "this adapter builds layers, and no models of them",
    "model": "this adapter builds layers, not whole models",
    "freezing": "this adapter's layers are not frozen",
    "compiler:none": "functions are asked uncompiled in every other case",
    "spelling": "this adapter has layers, and no function beside them",
    "operation": "this adapter has layers, and no function beside them",
    "array_dtype": "this adapter has layers, and no function beside them",
    "initializer": "this adapter has layers, and no initializer beside them",
    "module": "this adapter builds layers, and no nested modules of them",
    "array": "this adapter has layers, and no arrays beside them",
    "option": "this adapter's layers are made without options",
    "second_derivatives": "this adapter differentiates once",
    "lenient": "this adapter loads what fits and nothing else",
    "assigning": "this adapter's layers copy what they load",
    "modes": "this adapter's layers know no training and no evaluation",
    "copying": "this adapter's layers are not copied",
    "doubles": "this adapter computes in no float64",
    "overwriting": "this adapter's answers are written to nowhere",
}
"""Reasons that hold for whoever declares nothing of the kind."""


@dataclass(frozen=True)
class Capabilities:
    """What an adapter can express, declared once; everything else is *unsupported*, with its reason.

    `absent` maps a need such as ``"layout:step"`` or ``"scheme:affine2g32"`` (or its kind, ``"layout"``)
    to the reason it cannot be met.
    """

    layers: frozenset[str]
    """Names of `Adapter.layers`."""
    dtypes: frozenset[str]
    id_dtypes: frozenset[str]
    layouts: frozenset[str] = frozenset()
    schemes: frozenset[str] = frozenset()
    compilers: frozenset[str] = frozenset()
    """Their names; "none" of an adapter that compiles every operation, and can leave it."""
    exercises: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    """Functions of arrays, by the names of `touchstone.golden.operations`, that `Adapter.operation` computes."""
    array_dtypes: frozenset[str] = frozenset()
    """Dtypes of the operands of such functions, beside those of floats (`dtypes`): integers, "bool", "complex64"."""
    initializers: frozenset[str] = frozenset()
    """Initializers, "normal", and options of theirs, "normal mean", that `Adapter.initialize` takes by name."""
    spellings: frozenset[str] = frozenset()
    """Other functions of the framework for a lookup or a product, "raw_lookup take", that `Adapter.layer` takes."""
    options: frozenset[str] = frozenset()
    """Options of constructors, "embedding padding_idx", that `Adapter.layer` or `construct` takes by name."""
    models: frozenset[str] = frozenset()
    """Whole models that it builds: "llama". An adapter of layers alone declares none."""
    module_questions: frozenset[str] = frozenset()
    """What `Adapter.module_answer` answers about nested models."""
    array_questions: frozenset[str] = frozenset()
    """What `Adapter.array_answer` answers about arrays and their files."""
    gradients: bool = True
    second_derivatives: bool = False
    """Whether the gradient of a gradient is to be had."""
    optimizer: bool = True
    persistence: bool = True
    doubles: frozenset[str] = frozenset()
    """Devices on which its dense layers compute in float64."""
    lenient: bool = False
    """Whether a file that does not fit can be loaded in part."""
    assigning: bool = False
    """Whether a layer can be told to hold the loaded arrays themselves."""
    freezing: bool = False
    """Whether a layer itself can be told that training must leave it alone."""
    modes: bool = False
    """Whether a layer can be told that it is being trained, or evaluated."""
    overwriting: bool = False
    """Whether arrays that it gives out can be written to."""
    copying: frozenset[str] = frozenset()
    """Ways to copy a layer or a model, by the framework's name of each."""
    construction: bool = True
    conversion: bool = False
    """Whether the framework turns its own layers and whole models into quantized ones."""
    absent: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Needs that are met one by one, and not in the same case -> the reason: ("layer:linear", "dtype:bfloat16")."""

    def unmet(self, needs: Sequence[str]) -> str | None:
        """The reason why a case with these needs cannot be asked, None where it can; empty where none is given."""
        for need in needs:
            if (reason := self.missing(need)) is not None:
                return reason
        return next((reason for each, reason in self.together.items() if set(each) <= set(needs)), None)

    def missing(self, need: str) -> str | None:
        """The reason why `need` ("layout:step", "dtype:float16", "gradients") is not met, None where it is.

        Empty where the adapter gives no reason, which fails the case.
        """
        kind, _, name = need.partition(":")
        plural = {
            "layer": self.layers,
            "dtype": self.dtypes,
            "array_dtype": self.array_dtypes,
            "id_dtype": self.id_dtypes,
            "layout": self.layouts,
            "scheme": self.schemes,
            "compiler": self.compilers,
            "exercise": self.exercises,
            "option": self.options,
            "spelling": self.spellings,
            "operation": self.operations,
            "initializer": self.initializers,
            "model": self.models,
            "module": self.module_questions,
            "array": self.array_questions,
            "doubles": self.doubles,
        }
        met = name in plural[kind] if kind in plural else bool(getattr(self, kind))
        if met:
            return None
        return self.absent.get(need) or _OPTIONAL.get(need) or self.absent.get(kind, _OPTIONAL.get(kind, ""))


class Layer(abc.ABC):
    """One layer of one framework, holding parameters on the target's device.

    Arrays that it gives out are the caller's own: nothing that is asked of the layer later changes them.
    """

    native: Any
    """The framework's own object, for what only it can show, such as its repr."""
    roles: Mapping[str, tuple[str, bool]]
    """Role ("weight", "bias") -> the framework's own parameter name, and whether it stores the transpose."""

    scheme: Scheme | None = None
    """How a quantized layer says that it is quantized."""

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"{type(self).__name__} has no {what}")

    @abc.abstractmethod
    def __call__(self, inputs: Any) -> np.ndarray:
        """Lookup of ids (``ids.shape + (dims,)``) or ``x @ W.T + b`` (``x.shape[:-1] + (out,)``)."""

    def as_linear(self, inputs: Any) -> np.ndarray:
        """The tied head ``x @ W.T`` of an embedding layer: ``x.shape[:-1] + (num_embeddings,)``."""
        raise self._unsupported("tied head")

    @abc.abstractmethod
    def parameters(self) -> dict[str, np.ndarray]:
        """Every stored array under the framework's own name."""

    def call_keeping(self, inputs: Any, method: Method = "call") -> tuple[np.ndarray, np.ndarray]:
        """The answer, and the inputs as they are afterwards, on the device where the adapter holds them there."""
        answer = self(inputs) if method == "call" else self.as_linear(inputs)
        return answer, inputs.value() if isinstance(inputs, Operand) else np.asarray(inputs)

    def overwrite_answer(self, inputs: Any, method: Method = "call") -> None:
        """Ask, and set every element of the answer to zero where it lies (`Capabilities.overwriting`)."""
        raise self._unsupported("answers that can be written to")

    def trainable(self) -> frozenset[str]:
        """Names of the parameters that the framework would update in training."""
        return frozenset()

    def freeze(self, module: str = "") -> None:
        """Have training leave every parameter alone, or those of one module of a model, by the framework's means."""
        raise self._unsupported("freezing")

    def unfreeze(self, module: str = "") -> None:
        """Take `freeze` back, for every parameter or for those of one module."""
        raise self._unsupported("freezing")

    def set_training(self, training: bool) -> None:
        """Tell the layer that it is being trained, or evaluated (`Capabilities.modes`)."""
        raise self._unsupported("mode of training")

    def modes(self) -> dict[str, bool]:
        """Whether each module of a model is being trained, by its name; "" for the whole."""
        raise self._unsupported("mode of training")

    def copied(self, how: str) -> Layer:
        """Another layer of the same parameters; how: one of `Capabilities.copying`."""
        raise self._unsupported("copies")

    @abc.abstractmethod
    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """Replace parameters by the framework's own names."""

    def vjp(self, inputs: Any, cotangent: np.ndarray, method: Method = "call") -> dict[str, np.ndarray]:
        """Vector-Jacobian product: ``{parameter name: gradient}``, and ``"x"`` where inputs are floating.

        The cotangent may be an `Operand` where the capabilities declare its layout.
        """
        raise self._unsupported("gradients")

    def sgd_step(self, learning_rate: float) -> None:
        """One step of the framework's own plain SGD with the gradients of the last `vjp`."""
        raise self._unsupported("optimizer")

    def momentum_steps(
        self, inputs: Any, cotangent: np.ndarray, steps: int, learning_rate: float, momentum: float
    ) -> None:
        """Steps of the framework's own SGD with momentum, each with the gradient of the call."""
        raise self._unsupported("optimizer")

    def cast(self, dtype: str) -> None:
        """Set the module's dtype by the framework's own means."""
        raise self._unsupported("cast")

    def quantized(self, scheme: Scheme) -> Layer:
        """A quantized layer that the framework makes of this one, which stays as it is (`Capabilities.conversion`)."""
        raise self._unsupported("conversion")

    def convert(self, module: str, scheme: Scheme) -> None:
        """Have the framework quantize one module of this model, in place (`Capabilities.conversion`)."""
        raise self._unsupported("conversion")

    def compiled(self, compiler: str, method: Method = "call") -> Callable[[Any], np.ndarray]:
        """The call (or tied head) compiled.

        compiler: "default" is the framework's own at its cheapest setting (`mx.compile`, `nnx.jit`, `torch.compile`
        with ``aot_eager``), "inductor" PyTorch's code generator.
        """
        raise self._unsupported("compiler")

    def save(self, path: Path) -> None:
        """Write the parameters in the framework's own format."""
        raise self._unsupported("files")

    def load(self, path: Path, *, strict: bool = True, assign: bool = False) -> None:
        """Read back what `save` wrote, of this layer or of another.

        strict: whether what does not fit is refused, where the framework has such a word (`Capabilities.lenient`).
        assign: whether the layer holds the loaded arrays themselves, in their dtype (`Capabilities.assigning`).
        """
        raise self._unsupported("files")


DECLARED: Mapping[str, tuple[str, ...]] = {
    "construction": ("construct_several",),
    "conversion": ("converted", "quantized_model"),
    "model:llama": ("llama",),
    "module_questions": ("module_answer",),
    "array_questions": ("array_answer",),
}
"""What an adapter may declare -> the methods of its own that it must have then."""


class Adapter(abc.ABC):
    """One framework on one device: ``NAME@DEVICE``.

    A third party subclasses this in its own package and selects it as ``package.module:Class``.
    Importing the module must not import the framework; constructing the class does.
    Only what its capabilities declare has to be there (`layers`, `DECLARED`); the rest is inherited, and never asked.
    """

    name: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]
    """Names of the installed distributions whose versions identify this framework, main one first."""
    module: ClassVar[str]
    """The import name whose presence means that the framework is installed."""
    devices: ClassVar[tuple[str, ...]]
    """Names of the devices it may run on; `probe` may find others."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Numerics settings that must be in the environment before the framework is imported."""
    double_environment: ClassVar[Mapping[str, str]] = {}
    """Settings with which the framework computes in float64, where it needs any."""
    capabilities: ClassVar[Capabilities]
    layers: ClassVar[Mapping[str, Callable[..., Layer]]] = {}
    """Name of a layer -> the function of (adapter, weight, **parts) that builds it; see `layer`."""
    convention: ClassVar[str] = "meta"
    """How parameters and modules of its Llama are named: a key of `touchstone.migration.llama_names.CONVENTIONS`."""
    corrupts_memory: ClassVar[bool] = True
    """Whether an id out of range may write to foreign memory, so that a worker is replaced after such a probe."""
    is_framework: ClassVar[bool] = True
    """False for `reference`, which never counts as coverage."""

    device: str

    @abc.abstractmethod
    def __init__(self, device: str) -> None:
        """Import the framework and bind it to `device`; RuntimeError if the device is not there."""

    @classmethod
    @abc.abstractmethod
    def probe(cls) -> dict[str, str]:
        """Devices that work here, best first, with a description; runs in a child process."""

    @abc.abstractmethod
    def precision(self) -> dict[str, str]:
        """The precision settings in force (TF32, matmul precision), part of the target's identity."""

    def default_precision(self) -> None:  # noqa: B027  optional: most adapters set variables only
        """Undo, in a process of its own, whatever precision setting the constructor made."""

    def device_memory(self) -> int | None:
        """Bytes free on a device that may hold less than the host; None where the host's count."""
        return None

    def layer(self, name: str, weight: Any, **parts: Any) -> Layer:
        """The layer called `name` over `weight`, an array or an `Operand` where nothing else is said here.

        - "embedding": the framework's layer over ``weight [num_embeddings, dims]``
        - "raw_lookup": bare indexing ``weight[ids]`` of such an array
        - "linear": the framework's layer with ``weight [out, in]``; part: ``bias [out]``
        - "quantized_embedding", "quantized_linear": the same of a `Packed` weight, which is loaded, or of an array,
          which is quantized by the part `scheme`
        - "tied_model": an embedding, two linear layers and a head that shares the embedding's parameter; weight: a
          mapping of "embed" ``[num_embeddings, dims]``, "proj" and "proj_out" ``[dims, dims]``, "proj.bias" and
          "proj_out.bias" ``[dims]``. These are its roles, and the names of its modules for `Layer.freeze`. ids give
          ``ids.shape + (num_embeddings,)``
        - "stack": linear layers without a bias, one after the other, in the framework's own list; weight: a sequence of
          ``[dims, dims]``

        Parts of any layer are options of the framework's constructor (`Capabilities.options`), and `spelling`: another
        function of the framework that computes the layer (`Capabilities.spellings`) and takes the options instead. It
        may refuse ids that are not of one axis by raising, where its documentation says that it takes no others.
        A part that is None is left out.

        Raises Unsupported for a layer that `layers` lacks, and ValueError for columns that do not divide by the group
        of the scheme or, where the framework has no such layer of its own, parts that do not fit (`Packed.check`).

        >>> from touchstone.adapters.reference.adapter import ReferenceAdapter
        >>> ReferenceAdapter("cpu").layer("embedding", np.array([[1, 2], [3, 4]]))(1).tolist()
        [3, 4]
        """
        if name not in self.layers:
            raise Unsupported(f"{self.name} has no layer {name}")
        return self.layers[name](self, weight, **{part: value for part, value in parts.items() if value is not None})

    def operation(self, name: str, operands: Sequence[Any], **options: Any) -> Any:
        """A function of arrays (`Capabilities.operations`), its operands in the order of its record.

        An array, or a list of them where the function gives several.

        options: "elu alpha" among `Capabilities.options`, in MLX's names.
        """
        raise Unsupported(f"{self.name} has no {name}")

    def result_dtype(self, name: str, dtypes: Sequence[str]) -> str:
        """The dtype of a function's result of ones of these dtypes, two by two for a product of matrices."""
        return str(self.operation(name, [np.ones((2, 2), dtype_named(one)) for one in dtypes]).dtype.name)

    def compiled_operation(
        self, name: str, operands: Sequence[Any], compiler: str, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first and the second answer of the operation under a compiler (`Capabilities.compilers`)."""
        raise Unsupported(f"{self.name} compiles no {name}")

    def operation_gradient(
        self, name: str, operands: Sequence[Any], place: int, cotangent: np.ndarray, **options: Any
    ) -> np.ndarray:
        """What the operand in that place gets of a cotangent of the result."""
        raise Unsupported(f"{self.name} has no gradient of {name}")

    def second_derivative(self, name: str, x: np.ndarray) -> np.ndarray:
        """Of a function of one number, at each element: the gradient of the sum of its gradient."""
        raise Unsupported(f"{self.name} has no gradient of a gradient")

    def initialize(
        self, name: str, shapes: Sequence[Sequence[int]], dtype: str | None, seed: int, **options: Any
    ) -> list[np.ndarray]:
        """Weights of one initializer (`Capabilities.initializers`), one after the other from one seeded generator.

        shapes: (out, in, *kernel) of each, whatever order the framework stores. dtype: None for the framework's own.
        options: value; mean and std; low and high; gain, and mode ("fan_in" or "fan_out"). The framework's defaults
        stand for what is left out. named: the dtype is named when the initializer is made, not when it is called.
        generator: the seed is that of a generator that is handed over, not of the global one.
        """
        raise Unsupported(f"{self.name} has no initializer {name}")

    def construct(self, layer: str, sizes: Sequence[int], seed: int, **options: Any) -> Layer:
        """A freshly initialised layer by the framework's constructor, seeded.

        layer: "embedding" (num_embeddings, dims) or "linear" (in, out), options: ``bias=False`` and those that the
        capabilities declare (dtypes by name, ``init="ones"`` or "zeros" for every parameter); and "rms_norm" (dims)
        where the adapter builds a Llama. Unsupported for any other.
        """
        return self.construct_several([(layer, sizes)], seed, **options)[0]

    def construct_several(self, plan: Sequence[tuple[str, Sequence[int]]], seed: int, **options: Any) -> list[Layer]:
        """Layers as `construct` makes them, (layer, sizes) each, one after the other from one seeded generator."""
        raise Unsupported(f"{self.name} has no constructors")

    def converted(
        self, layer: str, weight: np.ndarray, how: str, settings: Mapping[str, Any], bias: np.ndarray | None = None
    ) -> Layer:
        """The framework's "embedding" or "linear" layer over `weight`, quantized by the framework's own means.

        how: "method" (the layer's own), "class" (the quantized class's constructor from a layer) or "model" (the
        function that quantizes a whole model, with this layer in it). settings: any of mode, bits, group_size; the
        framework's defaults stand for what is left out.
        """
        raise Unsupported(f"{self.name} converts no layers")

    def quantized_model(
        self,
        weights: Mapping[str, tuple[str, np.ndarray | str]],
        choices: Mapping[str, Any] | None,
        settings: Mapping[str, Any],
    ) -> dict[str, Layer]:
        """The layers, by path, of a model that the framework quantized in place.

        weights: dotted path -> ("embedding" or "linear", its weight, or the path of the layer whose weight it shares).
        choices: path -> what the framework's predicate answers for it (default True); None for no predicate.
        """
        raise Unsupported(f"{self.name} quantizes no models")

    def llama(self, config: LlamaConfig, weights: Weights) -> LanguageModel:
        """A Llama of the framework's own layers; see adapters/language.py and `Capabilities.models`.

        weights: every parameter, and no other, by the names of its `convention`, in the one dtype that the
        model is to have; or quantized matrices as `Packed`. KeyError where one is missing or unknown.
        """
        raise Unsupported(f"{self.name} builds no Llama")

    def module_answer(self, question: str, **given: Any) -> Any:
        """What a nested model of the framework's own modules shows (`Capabilities.module_questions`), as plain data.

        tree: the model, as (kind, content). Kinds that hold others are "module" {name: tree}, "list" [tree] and
        "dictionary" {key: tree} (the framework's own, where it has such), "plain list", "plain tuple" and
        "plain dictionary" (Python's). Others are "linear" {"weight" ``[out, in]``, "bias"}, "parameter" (an array),
        "parameters" (a list of arrays), "dropout" (its probability), "batch_norm" (features) and "shared" (the path of
        the layer that is here too). Names and paths, "layers.0.weight", are those of the tree, whatever the
        framework calls a parameter.

        Questions that end in "of a layer" have no tree: they take the name and the operands of an operation that is a
        layer, and are asked of the layer that its spelling makes of them (adapters/kept.py).

        Arrays come as ``{path: array}``, and a refusal that is part of the answer as "ended": "raises ValueError",
        empty where there was none. docs/new-adapter.md has no more of it: adapters/mlx/module_answers.py shows each.
        """
        raise Unsupported(f"{self.name} builds no nested modules")

    def array_answer(self, question: str, **given: Any) -> Any:
        """What the framework's own array shows (`Capabilities.array_questions`), as plain data.

        Questions about members and operators take arrays of NumPy, of which the framework's own are made in the same
        dtype; adapters/members.py has each question. Those about files take and give the bytes of a file
        (adapters/array_files.py). Arrays come as NumPy's, dtypes and Python types by name, and a refusal that is part
        of the answer as "ended": "raises ValueError", empty where there was none.

        >>> from touchstone.adapters.reference.adapter import ReferenceAdapter
        >>> ReferenceAdapter.capabilities.array_questions
        frozenset()
        """
        raise Unsupported(f"{self.name} has no arrays of its own")

    @classmethod
    def device_of(cls, module: Any) -> str:
        """The device that the framework's own module is on."""
        return cls.devices[-1]

    def traceable(self, module: Any) -> Traceable:
        """The framework's own module, its operations open to `touchstone.migration.trace`."""
        raise Unsupported(f"{self.name} has no modules to trace")

    def exercise(self, style: str, seed: int, num_embeddings: int, dims: int) -> Layer:
        """A from-scratch embedding module as a tutorial writes it; see `Capabilities.exercises`."""
        raise Unsupported(f"{self.name} has no from-scratch exercise {style!r}")

    @property
    def target(self) -> str:
        return f"{self.name}@{self.device}"
