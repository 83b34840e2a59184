"""Rows of q and k: from the order that rotates adjacent numbers to the order that rotates halves, and back.

RoPE rotates pairs of numbers of each head. Meta's Llama, MLX's ``traditional=True`` and GGUF's Llama take neighbours
(2 i, 2 i + 1); transformers and mlx-lm take (i, i + d / 2). A checkpoint that goes from one to the other has the rows
of its query and key projections permuted within each head (transformers, convert_llama_weights_to_hf.py, `permute`).
"""

from __future__ import annotations

import numpy as np

from touchstone.migration.conventions import Rope


def order(rows: int, heads: int, target: Rope) -> np.ndarray:
    """Index array ``[rows]``: row r of the order `target` is row ``order[r]`` of the other order.

    Raises ValueError where rows do not split into heads of an even size.
    """
    if heads < 1 or rows % (2 * heads):
        raise ValueError(f"{rows} rows do not split into {heads} heads of an even size")
    own = np.arange(rows).reshape(heads, -1)
    half = own.shape[1] // 2
    pairs = own.reshape(heads, half, 2) if target == "half" else own.reshape(heads, 2, half)
    return pairs.swapaxes(1, 2).reshape(-1)


def possible_heads(rows: int) -> list[int]:
    """Numbers of heads that rows may have where no configuration says: heads of 4 numbers or more, even sizes."""
    return [heads for heads in range(1, rows // 4 + 1) if rows % (2 * heads) == 0]
