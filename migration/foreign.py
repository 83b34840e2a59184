"""Tensors that other libraries quantized, as the values that they stand for: FP8 with block scales, MXFP4 blocks.

DeepSeek's layout (``inference/kernel.py``, `weight_dequant`): ``X.weight`` in E4M3 and ``X.weight_scale_inv`` in
float32, one number for each block of 128 x 128, or one for all.

gpt-oss's (``gpt_oss/torch/weights.py``): ``X_blocks`` ``[…, columns / 32, 16]`` bytes of two E2M1 codes each, the first
in the low half, and ``X_scales`` ``[…, columns / 32]`` in E8M0, which is how MLX packs them too.

GGUF's MXFP4 (``ggml-common.h``, `block_mxfp4`): of every 32 columns a byte in E8M0, then 16 bytes, the low halves of
which are the first 16 codes and the high halves the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from touchstone.golden.packing import FORMATS
from touchstone.migration.checkpoint import Rows, Tensor

BLOCK = 128
"""Rows and columns that share one of DeepSeek's scales."""
_SCALES, _BLOCKS, _BLOCK_SCALES = "_scale_inv", "_blocks", "_scales"
_FLOAT8 = ("float8_e4m3fn", "float8_e5m2")
MXFP4 = next(f for f in FORMATS if f.name == "mxfp4")


def scaled(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, str]]:
    """(name, its values in float32, the name of its scales) of every tensor of FP8 codes that has scales."""
    for name, tensor in tensors.items():
        scales = tensors.get(f"{name}{_SCALES}")
        if tensor.dtype in _FLOAT8 and scales is not None and _fits(tensor, scales):
            rows = _scaled_rows(tensor, scales)
            yield name, Tensor(name, "float32", tensor.shape, tensor.file, rows, "fp8"), scales.name


def _fits(codes: Tensor, scales: Tensor) -> bool:
    if not scales.shape or scales.shape == (1,):
        return True
    blocks = tuple(-(-n // BLOCK) for n in codes.shape)
    return len(codes.shape) == 2 and scales.shape == blocks


def _scaled_rows(codes: Tensor, scales: Tensor) -> Rows:
    def rows(start: int, stop: int) -> np.ndarray:
        found = codes.rows(start, stop).astype(np.float32)
        if scales.shape in ((), (1,)):
            return found * scales.rows(0, 1).astype(np.float32).reshape(())
        first = start // BLOCK
        blocks = scales.rows(first, -(-stop // BLOCK)).astype(np.float32)
        by_row = blocks[np.arange(start, stop) // BLOCK - first]
        return found * np.repeat(by_row, BLOCK, axis=1)[:, : codes.shape[1]]

    return rows


def packed_blocks(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, tuple[Tensor, Tensor], tuple[str, str]]]:
    """(name, (words, scales) as MLX packs them, the names of both) of every tensor that is stored in MXFP4 blocks."""
    for name, tensor in tensors.items():
        stem = name.removesuffix(_BLOCKS)
        scales = tensors.get(f"{stem}{_BLOCK_SCALES}")
        if name == stem or scales is None or (tensor.dtype, scales.dtype) != ("uint8", "uint8"):
            continue
        if tensor.shape[-1:] != (MXFP4.group_size // 2,) or tensor.shape[:-1] != scales.shape or len(scales.shape) < 2:
            continue
        shape = (*tensor.shape[:-2], tensor.shape[-2] * 4)
        words = Tensor(name, "uint32", shape, tensor.file, _as_words(tensor, shape))
        yield stem, (words, scales), (name, scales.name)


def blocks_of_gguf(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """(name, (words, scales) as MLX packs them) of every tensor that GGUF stores in MXFP4."""
    for name, tensor in tensors.items():
        if tensor.blocks is not None:
            groups = (*tensor.shape[:-1], tensor.shape[-1] // MXFP4.group_size)
            words = (*groups[:-1], groups[-1] * 4)
            parts = [("uint32", words, _words_of_gguf), ("uint8", groups, _scales_of_gguf)]
            rows = [
                Tensor(name, dtype, shape, tensor.file, partial(read, tensor.blocks, shape))
                for dtype, shape, read in parts
            ]
            yield name, (rows[0], rows[1])


def _of_block(stored: np.ndarray) -> np.ndarray:
    size = 1 + MXFP4.group_size // 2
    return stored.reshape(*stored.shape[:-1], stored.shape[-1] // size, size)


def _words_of_gguf(blocks: Rows, shape: tuple[int, ...], start: int, stop: int) -> np.ndarray:
    halves = _of_block(blocks(start, stop))[..., 1:]
    codes = np.concatenate([halves & 15, halves >> 4], axis=-1)
    pairs = np.ascontiguousarray(codes[..., ::2] | codes[..., 1::2] << 4)
    return pairs.view(np.uint32).reshape(stop - start, *shape[1:])


def _scales_of_gguf(blocks: Rows, shape: tuple[int, ...], start: int, stop: int) -> np.ndarray:
    return np.ascontiguousarray(_of_block(blocks(start, stop))[..., 0]).reshape(stop - start, *shape[1:])


def _as_words(blocks: Tensor, shape: tuple[int, ...]) -> Rows:
    def rows(start: int, stop: int) -> np.ndarray:
        return np.ascontiguousarray(blocks.rows(start, stop)).view(np.uint32).reshape(stop - start, *shape[1:])

    return rows
