"""PyTorch's own product with 4-bit weights on CPU, where it is exact enough: `_weight_int4pack_mm_for_cpu`.

The kernel computes ``scale * (code - 8) + zero`` and sums in float32; MLX's ``scale * code + bias`` is the same with
``zero = bias + 8 * scale``, but zero is rounded to the dtype. In float32 and float16 the kernel is not vectorised and
slower than dequantizing tiles, so that bfloat16 is the one dtype it serves.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from touchstone.adapters.interface import Scheme
from touchstone.adapters.torch.packing import unpack

MOST_ROWS = 64
"""Rows of x up to which the kernel, whose time grows with them, is faster than tiles."""
BLOCK = 64
"""Rows of the matrix that the kernel packs together; its packing takes int32 codes, so few blocks go at a time."""
UNIT_ROUNDOFF = 2.0**-8
"""Of bfloat16."""


@dataclass(frozen=True)
class Repacked:
    """The kernel's own copy of a packed matrix: half an octet an element, and two bfloat16 a group."""

    codes: Tensor
    scales_and_zeros: Tensor


@dataclass(frozen=True)
class _Kept:
    sources: tuple[weakref.ref[Tensor], ...]
    versions: tuple[int, ...]
    repacked: Repacked | None


_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""By the tensor of words: the copy lives as long as the words do, and belongs to no module's state."""


def product(x: Tensor, words: Tensor, scales: Tensor, biases: Tensor | None, scheme: Scheme) -> Tensor | None:
    """``x [m, columns]`` times the dequantized ``[rows, columns]`` transposed; None where tiles are the better way.

    The repacked copy is made at the first call and again when a part has been replaced or written to.
    """
    if biases is None or not _serves(x, scales, scheme):
        return None
    repacked = _repacked(words, scales, biases, scheme)
    if repacked is None:
        return None
    kernel = torch.ops.aten._weight_int4pack_mm_for_cpu
    out = kernel(x.contiguous(), repacked.codes, scheme.group_size, repacked.scales_and_zeros)
    return out[:, : len(words)].contiguous()


def _serves(x: Tensor, scales: Tensor, scheme: Scheme) -> bool:
    return (
        (scheme.mode, scheme.bits) == ("affine", 4)
        and x.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and x.dtype == scales.dtype == torch.bfloat16
        and 0 < len(x) <= MOST_ROWS
    )


def _repacked(words: Tensor, scales: Tensor, biases: Tensor, scheme: Scheme) -> Repacked | None:
    parts = (words, scales, biases)
    if any(part.is_inference() for part in parts):  # no version tells whether such a tensor was written to
        return None
    versions = tuple(part._version for part in parts)
    kept = _kept.get(words)
    current = kept is not None and kept.versions == versions
    if not (current and all(ref() is part for ref, part in zip(kept.sources, parts[1:], strict=True))):
        made = repack(words, scales, biases, scheme) if within_bound(scales, biases) else None
        kept = _Kept(tuple(weakref.ref(part) for part in parts[1:]), versions, made)
        _kept[words] = kept
    return kept.repacked


def within_bound(scales: Tensor, biases: Tensor) -> bool:
    """Whether rounding zero moves no element further than MLX's own two roundings may.

    Those move ``scale * code + bias`` by up to u (|scale * code| + |scale * code + bias|), which is at least u |bias|
    for every code. `touchstone.adapters.torch_packing.quantize` and MLX keep |zero| below |bias|; other parts need not.
    """
    exact = biases.float() + 8 * scales.float()
    moved = (exact.to(scales.dtype).float() - exact).abs()
    return bool((moved <= UNIT_ROUNDOFF * biases.float().abs()).all())


def repack(words: Tensor, scales: Tensor, biases: Tensor, scheme: Scheme) -> Repacked:
    """The kernel's copy; the matrix is filled up with zeros to a multiple of 16 rows, which the kernel asks for."""
    rows, groups = scales.shape
    filled = -rows % 16
    codes = []
    for start in range(0, rows, 16 * BLOCK):
        block = unpack(words[start : start + 16 * BLOCK], 4).int()
        if start + len(block) == rows:
            block = torch.nn.functional.pad(block, (0, 0, 0, filled))
        # The second argument is used on GPUs only.
        codes.append(torch.ops.aten._convert_weight_to_int4pack_for_cpu(block, 1))
    scales_and_zeros = scales.new_zeros(groups, rows + filled, 2)
    scales_and_zeros[:, :rows, 0] = scales.T
    scales_and_zeros[:, :rows, 1] = (biases.float() + 8 * scales.float()).to(scales.dtype).T
    return Repacked(torch.cat(codes), scales_and_zeros)
