"""Does JAX's dequantization round the same on every processor? One that computes in float16 shows it; others cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from touchstone.adapters.interface import Scheme

COLUMNS = 64


@pytest.mark.parametrize(("dtype", "form"), [("float16", (5, 10)), ("bfloat16", (8, 7))])
def test_a_product_is_rounded_before_anything_is_added(dtype: str, form: tuple[int, int]) -> None:
    """XLA would multiply and add in one instruction where the processor has it for float16 (AVX512-FP16)."""
    import jax
    import jax.numpy as jnp

    from touchstone.adapters.jax.packing import dequantize

    scheme, of = Scheme(4, 32), jnp.dtype(dtype)
    words = np.zeros((2, COLUMNS * scheme.bits // 32), np.uint32)
    scales = np.ones((2, COLUMNS // scheme.group_size), of)

    def rows(words: Any, scales: Any, biases: Any) -> Any:
        return dequantize(words, scales, biases, scheme, of)

    steps = jax.make_jaxpr(rows)(words, scales, scales).jaxpr.eqns
    made = {step.outvars[0]: step for step in steps}
    (addition,) = (step for step in steps if step.primitive.name == "add")
    rounded = made[addition.invars[0]]
    assert rounded.primitive.name == "reduce_precision"
    assert (rounded.params["exponent_bits"], rounded.params["mantissa_bits"]) == form
    assert made[rounded.invars[0]].primitive.name == "mul"
    assert all(v.aval.dtype == np.float32 for v in addition.invars)
