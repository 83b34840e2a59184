"""Does the memory probe see whole-table work, and do quantized layers keep it out?"""

from __future__ import annotations

import pytest

from tools.benchmarks import calls, lookup_cost, workloads
from tools.benchmarks.lookup_cost import FLAX_CAST, PEAK_LIMIT

ROWS = 64_000
"""A table whose smallest copy, 4-bit codes, is three times the limit."""


@pytest.mark.parametrize("name", ["mlx", "jax", "torch"])
def test_a_quantized_lookup_needs_no_memory_for_the_table(name: str) -> None:
    pytest.importorskip({"jax": "flax"}.get(name, name))
    assert lookup_cost.peak_bytes_of_lookup(name, "affine4g64", ROWS) <= PEAK_LIMIT


def test_a_cast_of_the_whole_table_is_seen() -> None:
    """Flax promotes the table before it takes rows; a bfloat16 copy has 2 octets an element."""
    pytest.importorskip("flax")
    assert lookup_cost.peak_bytes_of_lookup("jax", FLAX_CAST, ROWS) > ROWS * lookup_cost.COLUMNS


@pytest.mark.parametrize("mode", ["affine4g64", "affine3g32", "affine1g128", "mxfp8", "nvfp4"])
@pytest.mark.parametrize("m", [1, 4])
def test_a_product_in_jax_holds_two_tiles_at_most(mode: str, m: int) -> None:
    """By XLA's own account: codes and elements of one tile, of a table that is ten tiles; rows left over included."""
    pytest.importorskip("flax")
    import jax
    import numpy as np

    from touchstone.adapters.jax import product as jax_product

    scheme, columns = workloads.scheme_of(mode), 1024
    packed = calls.packed(10_241, columns, scheme)
    parts = packed.weight, packed.scales, packed.biases
    made = jax.jit(jax_product.product, static_argnums=2).lower(np.ones((m, columns), np.float32), parts, scheme)
    found = made.compile().memory_analysis().temp_size_in_bytes
    out = m * 10_241 * 4
    assert found <= 2 * jax_product.TILE_BYTES + 2 * out
