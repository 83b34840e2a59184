"""Tensors as the layers that hold them see them: MLX's packed parts become one quantized parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from touchstone.golden.packing import FORMATS, Format, format_of, values_of
from touchstone.migration import foreign
from touchstone.migration.checkpoint import Checkpoint, Rows, Tensor


@dataclass(frozen=True)
class Fusion:
    """What a parameter was before an adapter was added, and how far a library's sum may be from the exact one.

    base, slack: rows of both, float64, slack not negative.
    """

    base: Rows
    slack: Rows


@dataclass(frozen=True)
class Parameter:
    """One weight, bias or table. parts: the tensors that hold it, (weight,) or (words, scales[, biases]).

    shape: of the values; of packed parts it follows from `form`. possible: the forms that fit the parts' shapes.
    claimed: what the configuration says of it: a form, False for "not quantized", None for nothing. fusion: where an
    adapter is added to it.
    """

    name: str
    parts: tuple[Tensor, ...]
    form: Format | None = None
    possible: tuple[Format, ...] = ()
    claimed: Format | bool | None = None
    fusion: Fusion | None = None

    @property
    def is_packed(self) -> bool:
        return len(self.parts) > 1

    @property
    def encoding(self) -> str:
        """How the values are quantized, "" for plain ones."""
        return self.form.name if self.form else self.parts[0].encoding

    @property
    def dtype(self) -> str:
        """Of the values: packed ones are stored with scales of this dtype; block modes have none of their own."""
        if not self.is_packed:
            return self.parts[0].dtype
        return "bfloat16" if len(self.parts) == 2 else self.parts[1].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        if not self.form:
            return self.parts[0].shape
        return (*self.parts[1].shape[:-1], self.parts[1].shape[-1] * self.form.group_size)

    @property
    def length(self) -> int:
        return self.parts[0].length

    @property
    def nbytes(self) -> int:
        return sum(int(np.prod(p.shape, dtype=np.int64)) * itemsize(p.dtype) for p in self.parts)

    @property
    def where(self) -> str:
        return f"{self.parts[0].file.name}:{self.parts[0].name}"

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Values of rows [start, stop): as stored, or of quantized ones float64."""
        if self.form is None:
            return self.parts[0].rows(start, stop)
        return Dequantized.read(self, start, stop).values

    def as_form(self, form: Format) -> Parameter:
        return replace(self, form=form)


@dataclass(frozen=True)
class Dequantized:
    """Rows of a quantized parameter, in float64. values ``[rows, columns]``.

    scale, offset: per group ``[rows, groups]``, scale times code plus offset being the value; of block modes the
    offset is None. top: the largest code, or the largest element of a block mode.
    """

    values: np.ndarray
    scale: np.ndarray
    offset: np.ndarray | None
    form: Format

    @classmethod
    def read(cls, parameter: Parameter, start: int, stop: int) -> Dequantized:
        assert parameter.form is not None
        return cls.of([p.rows(start, stop) for p in parameter.parts], parameter.form)

    @classmethod
    def of(cls, parts: list[np.ndarray], form: Format) -> Dequantized:
        words, scales = parts[0], parts[1]
        codes = unpack(words, form.bits).reshape(*scales.shape, form.group_size)
        shape = (*scales.shape[:-1], scales.shape[-1] * form.group_size)
        if form.mode == "affine":
            scale, offset = scales.astype(np.float64), parts[2].astype(np.float64)
            values = scale[..., None] * codes + offset[..., None]
            return cls(values.reshape(shape), scale, offset, form)
        scale = values_of(form.scale)[scales]
        values = values_of(form.element)[codes] * scale[..., None]
        return cls(values.reshape(shape), scale, None, form)


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    """uint32 words ``[..., n]`` to uint8 codes ``[..., 32 n / bits]`` (docs/packed-format.md).

    For whole blocks of a checkpoint at once: every width packs a whole number of codes into `bits` bytes, or into one.
    """
    data = np.ascontiguousarray(words).view(np.uint8)
    if 8 % bits == 0:
        out = np.empty((*data.shape, 8 // bits), np.uint8)
        for place in range(8 // bits):
            np.bitwise_and(data >> (place * bits), 2**bits - 1, out=out[..., place])
    else:
        count = 4 if bits == 6 else 8
        size = bits * count // 8
        packed = data.reshape(*data.shape[:-1], -1, size)
        out = np.empty((*packed.shape[:-1], count), np.uint8)
        for place in range(count):
            byte, shift = divmod(place * bits, 8)
            wide = packed[..., byte].astype(np.uint16)
            if shift + bits > 8:
                wide |= packed[..., byte + 1].astype(np.uint16) << 8
            np.bitwise_and(wide >> shift, 2**bits - 1, out=out[..., place], casting="unsafe")
    return out.reshape(*words.shape[:-1], words.shape[-1] * 32 // bits)


def itemsize(dtype: str) -> int:
    """Bytes of one element; NumPy's names and ml_dtypes'."""
    return named(dtype).itemsize


def named(dtype: str) -> np.dtype:
    """The dtype of a name, NumPy's or ml_dtypes'."""
    return np.dtype(getattr(ml_dtypes, dtype, dtype))


def parameters(checkpoint: Checkpoint) -> dict[str, Parameter]:
    """Every parameter by the name of its weight: ``X.weight`` with ``X.scales`` (and ``X.biases``) is one of them.

    So are codes with the scales that other libraries write (`touchstone.migration.foreign`).
    """
    tensors, out = checkpoint.tensors, {}
    taken: set[str] = set()
    for name, tensor in tensors.items():
        stem = name.removesuffix(".weight")
        scales, biases = tensors.get(f"{stem}.scales"), tensors.get(f"{stem}.biases")
        if name == stem or scales is None or tensor.dtype != "uint32":
            continue
        parts = (tensor, scales, biases) if biases is not None else (tensor, scales)
        possible = tuple(_fitting(parts))
        if not possible:
            continue
        claimed = claim(checkpoint.config, stem)
        form = claimed if isinstance(claimed, Format) and claimed in possible else None
        out[name] = Parameter(name, parts, form or (possible[0] if len(possible) == 1 else None), possible, claimed)
        taken |= {p.name for p in parts}
    for name, values, its_scales in foreign.scaled(tensors):
        out[name] = Parameter(name, (values,))
        taken |= {name, its_scales}
    for name, both in foreign.blocks_of_gguf(tensors):
        out[name] = Parameter(name, both, foreign.MXFP4, (foreign.MXFP4,), claimed=foreign.MXFP4)
        taken.add(name)
    first = {name: name for name in tensors}
    for name, both, names in foreign.packed_blocks(tensors):
        out[name] = Parameter(name, both, foreign.MXFP4, (foreign.MXFP4,))
        taken |= {*names}
        first[names[0]] = name
    for name, tensor in tensors.items():
        if name not in taken:
            out[name] = Parameter(name, (tensor,), claimed=claim(checkpoint.config, name.removesuffix(".weight")))
    return {first[name]: out[first[name]] for name in tensors if first[name] in out}


def _fitting(parts: tuple[Tensor, ...]) -> Iterator[Format]:
    """Forms whose parts have these shapes and dtypes."""
    words, scales = parts[0].shape, parts[1].shape
    if any(p.shape != scales for p in parts[2:]) or len(words) < 2 or words[:-1] != scales[:-1]:
        return
    has_biases, byte_scales = len(parts) == 3, parts[1].dtype == "uint8"
    for form in FORMATS:
        fits = words[-1] * 32 == scales[-1] * form.group_size * form.bits
        if fits and (form.mode == "affine") == has_biases and byte_scales != has_biases:
            yield form


def foreign_method(config: Mapping[str, Any]) -> str:
    """The library whose quantization a configuration speaks of ("gptq", "fp8"), "" where it is MLX's or none.

    transformers calls it ``quant_method``; what mlx-lm writes has none.
    """
    if isinstance(config.get("quantization"), Mapping):
        return ""
    settings = config.get("quantization_config")
    return str(settings.get("quant_method", "")) if isinstance(settings, Mapping) else ""


def claim(config: Mapping[str, Any], layer: str) -> Format | bool | None:
    """What the configuration says of a layer, by mlx-lm's ``quantization`` (bits, group_size, mode, and paths).

    None where it says nothing, says it in a way that no form has, or speaks of another library's format. A layer's own
    settings are all that `nn.quantize` gives it: without a mode they are affine, whatever the model's are. bits and
    group_size may be null, which mlx-lm's mixed recipes write: MLX's defaults, 4 and 64, hold then.
    """
    settings = config.get("quantization", config.get("quantization_config"))
    if not isinstance(settings, Mapping) or foreign_method(config):
        return None
    own = settings.get(layer)
    if own is False:
        return False
    chosen = own if isinstance(own, Mapping) else settings
    mode = str(chosen.get("mode", "affine"))
    block = {f.mode: f for f in FORMATS if f.mode != "affine"}
    if mode in block:
        return block[mode]
    try:
        return format_of(mode, int(chosen.get("bits") or 4), int(chosen.get("group_size") or 64))
    except (KeyError, TypeError, ValueError):
        return None
