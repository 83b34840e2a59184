"""MLX's packed formats in PyTorch operations, on the tensors' own device: codes, words, scales, elements.

Words are held as int32 (the same bits as MLX's uint32, low codes first), because PyTorch implements few operations
for uint32. scales and biases are ``[rows, columns / group_size]``; see docs/packed-format.md.
"""

from __future__ import annotations

from functools import cache

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from touchstone.adapters.interface import Scheme
from touchstone.adapters.packed import LARGEST_ELEMENT


def _bytes_as(kind: type) -> Tensor:
    return torch.from_numpy(np.arange(256, dtype=np.uint8).view(kind).astype(np.float32))


_POSITIVE = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
# Made at import: torch.compile cannot look into NumPy's extension types.
_VALUES = {
    "E2M1": torch.tensor([*_POSITIVE, *(-v for v in _POSITIVE)]),
    "E4M3": _bytes_as(ml_dtypes.float8_e4m3fn),
    "E8M0": _bytes_as(ml_dtypes.float8_e8m0fnu),
}


def _value_of(encoding: str, device: torch.device) -> Tensor:
    """float32 values of every code of "E2M1" (16), "E4M3" or "E8M0" (256)."""
    return _VALUES[encoding].to(device)


@cache
def _places(bits: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each of the 32 codes that share `bits` words: the word it begins in, and the bit it begins at."""
    begins = torch.arange(0, 32 * bits, bits, device=device)
    return begins // 32, begins % 32


def unpack(words: Tensor, bits: int) -> Tensor:
    """int32 words ``[..., n]`` to uint8 codes ``[..., 32 n / bits]``.

    Words are read as octets, low ones first as every processor that PyTorch supports stores them, so that nothing on
    the way is wider than two octets a code.
    """
    octets, mask = words.contiguous().view(torch.uint8), 2**bits - 1
    if bits == 8:
        return octets
    if 8 % bits == 0:
        return torch.stack([(octets >> shift) & mask for shift in range(0, 8, bits)], -1).flatten(-2)
    blocks, codes = octets.unflatten(-1, (-1, bits)).short(), []
    for begin in range(0, 8 * bits, bits):
        octet, shift = divmod(begin, 8)
        code = blocks[..., octet] >> shift
        if shift + bits > 8:
            code = code | blocks[..., octet + 1] << 8 - shift
        codes.append((code & mask).to(torch.uint8))
    return torch.stack(codes, -1).flatten(-2)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Integer codes ``[..., n]``, n a multiple of 32 or of 32 / bits, to int32 words ``[..., n bits / 32]``."""
    if 32 % bits == 0:
        lanes = codes.long().unflatten(-1, (-1, 32 // bits))
        words = (lanes << torch.arange(0, 32, bits, device=codes.device)).sum(-1)
    else:
        blocks = codes.long().unflatten(-1, (-1, 32))
        first, shift = _places(bits, codes.device)
        pairs = blocks << shift
        words = torch.zeros(*blocks.shape[:-1], bits, dtype=torch.long, device=codes.device)
        words.index_add_(-1, first, pairs & 0xFFFFFFFF)
        words.index_add_(-1, (first + 1) % bits, pairs >> 32)
        words = words.flatten(-2)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def encode_e2m1(x: Tensor) -> Tensor:
    """Nearest 4-bit floats, ties to the even code, at most 6: int64 codes with the sign in bit 3."""
    size = x.abs()
    up_at_tie = sum((size >= edge).long() for edge in (0.75, 1.75, 3.5))
    down_at_tie = sum((size > edge).long() for edge in (0.25, 1.25, 2.5, 5.0))
    return up_at_tie + down_at_tie + 8 * torch.signbit(x).long()


def encode_e4m3(x: Tensor) -> Tensor:
    """Nearest 8-bit floats with 4 exponent and 3 fraction bits, ties to even, at most 448: int64 codes."""
    size = x.abs().clamp_max(448.0)
    bits = size.view(torch.int32).long()
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - ((127 - 7) << 3)
    code = torch.where(size < 2.0**-6, torch.round(size * 2.0**9).long(), normal)
    return code + 128 * torch.signbit(x).long()


def encode_e8m0(x: Tensor) -> Tensor:
    """Exponents, plus 127, of the smallest power of two that is not below x, in [2**-127, 2**127]; of 0: 127."""
    bits = x.view(torch.int32).long()
    code = (bits >> 23) + ((bits & 0x7FFFFF) != 0)
    code = torch.where(bits <= 0x400000, torch.zeros_like(code), code.clamp(1, 254))
    return torch.where(bits == 0, torch.full_like(code, 127), code)


def quantize(weight: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor, Tensor | None]:
    """``weight [rows, columns]`` -> int32 words, scales, biases (or None) by MLX's algorithms in float32.

    Raises ValueError where the scheme is unknown, columns do not divide by the group, weights are not finite, or the
    range of a group is more than their dtype can hold, so that a code would stand for infinity.
    """
    scheme.check(weight.shape[-1])
    if not weight.isfinite().all():
        raise ValueError("the weights hold infinities or NaN, which no code stands for")
    groups = weight.float().unflatten(-1, (-1, scheme.group_size))
    if scheme.mode == "affine":
        codes, scales, biases = _affine(groups, scheme.bits)
        scales, biases = scales.to(weight.dtype), biases.to(weight.dtype)
        if not (scales * (2**scheme.bits - 1)).isfinite().all():
            raise ValueError(f"the range of a group is more than {weight.dtype} can hold")
        return pack(codes.flatten(-2), scheme.bits), scales, biases
    ideal = groups.abs().amax(-1) / LARGEST_ELEMENT[scheme.mode]
    codes_of_scales = encode_e4m3(ideal) if scheme.mode == "nvfp4" else encode_e8m0(ideal)
    encoding = "E4M3" if scheme.mode == "nvfp4" else "E8M0"
    scales = _value_of(encoding, weight.device)[codes_of_scales].unsqueeze(-1)
    quotients = torch.where(scales == 0, torch.zeros_like(groups), groups / scales)
    codes = encode_e4m3(quotients) if scheme.bits == 8 else encode_e2m1(quotients)
    return pack(codes.flatten(-2), scheme.bits), codes_of_scales.to(torch.uint8), None


def _affine(groups: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, scales and biases: the end of larger magnitude is the bias, the scale refitted so that zero is exact."""
    low, high = groups.amin(-1), groups.amax(-1)
    bins = float(2**bits - 1)
    scale = ((high - low) / bins).clamp_min(1e-7)
    bias = low
    if bits > 1:
        from_low = low.abs() > high.abs()
        scale = torch.where(from_low, scale, -scale)
        edge = torch.where(from_low, low, high)
        steps = torch.round(edge / scale)
        refit = steps != 0
        scale = torch.where(refit, edge / torch.where(refit, steps, torch.ones_like(steps)), scale)
        bias = torch.where(refit, edge, torch.zeros_like(edge))
    codes = torch.round((groups - bias.unsqueeze(-1)) / scale.unsqueeze(-1)).clamp(0, bins)
    return codes.long(), scale, bias


def dequantize(words: Tensor, scales: Tensor, biases: Tensor | None, scheme: Scheme, dtype: torch.dtype) -> Tensor:
    """Rows of packed parts, ``[..., words]`` -> ``[..., columns]`` in `dtype`.

    Mode "affine" computes in the dtype of the scales, two roundings an element; the others in float32, exactly.
    """
    codes = unpack(words, scheme.bits).unflatten(-1, (-1, scheme.group_size))
    if biases is not None:
        # In place: one tile of elements lives at a time.
        values = codes.to(scales.dtype).mul_(scales.unsqueeze(-1)).add_(biases.unsqueeze(-1))
    else:
        elements = _value_of("E4M3" if scheme.bits == 8 else "E2M1", words.device)
        factors = _value_of("E4M3" if scheme.mode == "nvfp4" else "E8M0", words.device)
        values = _at(elements, codes).mul_(_at(factors, scales).unsqueeze(-1))
    return values.flatten(-2).to(dtype)


def _at(table: Tensor, codes: Tensor) -> Tensor:
    return table.index_select(0, codes.flatten().int()).view(codes.shape)
