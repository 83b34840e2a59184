"""MLX's packed formats in NumPy, for the reference adapter; shares no code with the golden oracle.

Codes go through bits (`numpy.packbits`), elements and scales through `ml_dtypes`.
"""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from touchstone.adapters.interface import Packed, Scheme

_E2M1, _E4M3, _E8M0 = ml_dtypes.float4_e2m1fn, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e8m0fnu
_ELEMENT = {"mxfp4": _E2M1, "mxfp8": _E4M3, "nvfp4": _E2M1}
_SCALE = {"mxfp4": _E8M0, "mxfp8": _E8M0, "nvfp4": _E4M3}


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes ``[..., n]`` as a stream of bits, low bits first, in uint32 words ``[..., n bits / 32]``."""
    stream = np.unpackbits(codes.astype(np.uint8)[..., None], axis=-1, bitorder="little")[..., :bits]
    packed = np.packbits(stream.reshape(*codes.shape[:-1], -1), axis=-1, bitorder="little")
    return packed.view("<u4").astype(np.uint32)


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of `pack`: uint32 words ``[..., n]`` to uint8 codes ``[..., 32 n / bits]``."""
    stream = np.unpackbits(np.ascontiguousarray(words).astype("<u4").view(np.uint8), axis=-1, bitorder="little")
    count = words.shape[-1] * 32 // bits
    codes = np.packbits(stream.reshape(*words.shape[:-1], count, bits), axis=-1, bitorder="little")
    return codes[..., 0]


def quantize(weight: np.ndarray, scheme: Scheme) -> Packed:
    """Quantize ``[rows, columns]`` by MLX's algorithms in float32 (mlx/backend/cpu/quantized.cpp, mlx/ops.cpp).

    Raises ValueError where the scheme is unknown, columns do not divide by the group, weights are not finite, or the
    range of a group is more than their dtype can hold, so that a code would stand for infinity.
    """
    scheme.check(weight.shape[-1])
    groups = weight.astype("f4").reshape(len(weight), -1, scheme.group_size)
    if not np.isfinite(groups).all():
        raise ValueError("the weights hold infinities or NaN, which no code stands for")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        codes, scales, biases = _affine(groups, scheme.bits) if scheme.mode == "affine" else _block(groups, scheme)
        words = pack(codes.reshape(weight.shape), scheme.bits)
        if biases is None:
            return Packed(words, scales, None, scheme)
        scales, biases = scales.astype(weight.dtype), biases.astype(weight.dtype)
        if not np.isfinite(scales * scales.dtype.type(2**scheme.bits - 1)).all():
            raise ValueError(f"the range of a group is more than {weight.dtype.name} can hold")
        return Packed(words, scales, biases, scheme)


def _affine(groups: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The end of larger magnitude becomes the bias and the scale is refitted so that zero is exact."""
    low, high = groups.min(-1), groups.max(-1)
    bins = np.float32(2**bits - 1)
    scale, bias = np.maximum((high - low) / bins, np.float32(1e-7)), low
    if bits > 1:
        lower_edge = np.abs(low) > np.abs(high)
        scale = np.where(lower_edge, scale, -scale)
        edge = np.where(lower_edge, low, high)
        steps = np.rint(edge / scale)
        exact = steps != 0
        scale = np.where(exact, edge / np.where(exact, steps, 1), scale)
        bias = np.where(exact, edge, np.float32(0))
    codes = np.clip(np.rint((groups - bias[..., None]) / scale[..., None]), 0, bins)
    return np.nan_to_num(codes), scale, bias


def _block(groups: np.ndarray, scheme: Scheme) -> tuple[np.ndarray, np.ndarray, None]:
    """One byte of scale per group: the power of two (mx) or E4M3 value (nv) that brings the maximum into range."""
    element, largest = _ELEMENT[scheme.mode], np.float32(448 if scheme.bits == 8 else 6)
    ideal = np.abs(groups).max(-1) / largest
    if scheme.mode == "nvfp4":
        scales = np.minimum(ideal, np.float32(448)).astype(_E4M3)
    else:
        fraction, exponent = np.frexp(ideal)
        power = np.clip(np.where(fraction == 0.5, exponent - 1, exponent), -127, 127)
        scales = np.ldexp(np.float32(1), np.where(ideal == 0, 0, power)).astype(_E8M0)
    wide = scales.astype("f4")[..., None]
    quotients = np.where(wide == 0, 0, groups / np.where(wide == 0, 1, wide))
    codes = np.clip(quotients, -largest, largest).astype(element)
    return codes.view(np.uint8), scales.view(np.uint8), None


def dequantize(parts: Mapping[str, np.ndarray], scheme: Scheme) -> np.ndarray:
    """``weight [..., words]``, scales and biases -> ``[..., columns]``.

    Mode "affine": ``scale * code + bias``, the product and the sum each rounded to the dtype of the scales. The others:
    exact, in bfloat16.
    """
    scales = parts["scales"]
    codes = unpack(parts["weight"], scheme.bits).reshape(*scales.shape, scheme.group_size)
    with np.errstate(over="ignore", invalid="ignore"):
        if scheme.mode == "affine":
            out = scales[..., None] * codes.astype(scales.dtype) + parts["biases"][..., None]
        else:
            factors = scales.view(_SCALE[scheme.mode]).astype("f4")[..., None]
            out = (codes.view(_ELEMENT[scheme.mode]).astype("f4") * factors).astype(ml_dtypes.bfloat16)
    return out.reshape(*scales.shape[:-1], scales.shape[-1] * scheme.group_size)
