"""How fast the layers are, by pytest-benchmark's ratios, and whether the aims that can be checked are met.

``pytest benchmarks/`` (tox -e speed) measures; it is no part of ``pytest suites/``. A group's ratios, in parentheses,
are those of one run. Aims are checked on medians or minima of calls that take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from adapters import registry
from adapters.interface import Packed, Scheme
from benchmarks import lookup_cost
from benchmarks.lookup_cost import COLUMNS, FLAX_CAST, LAYERS, LAYERS_OF, PEAK_LIMIT, TABLE_SIZES, jitted, synchronised

FRAMEWORKS = ("mlx", "jax", "torch")
SMALLEST, LARGEST = TABLE_SIZES[0], TABLE_SIZES[-1]
TIME_LIMIT = 3.0
"""Most that a lookup in the largest table may take, in times of the smallest. Whole-table work would take 62 times;
rows out of cache take up to twice as long."""
KERNEL_LIMIT, JAX_LIMIT, LOOKUP_LIMIT = 1.3, 2.0, 3.0
"""Aims: PyTorch's 4-bit head over its native kernel, JAX's over its dense layer, 512 ids over MLX's own lookup."""
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
MEASURED = ("float32", "bfloat16")
"""Dtypes of the tables of ratios; the aims are checked in float16 too."""
SHAPES = {"decode": (1, 32_000, 4_096), "prefill": (128, 1_024, 4_096)}
"""Rows of x, rows of the table, columns."""
HEADS = ("dense linear", "dense as_linear", "affine4g64", "affine4g32", "affine8g64", "mxfp4")

CASTS_THE_TABLE = "nnx.Embed.__call__ promotes its whole table to dtype before it takes rows (flax/nnx/nn/linear.py)"


@cache
def adapter_of(name: str) -> Any:
    target = registry.resolve([name])[0]
    if target.unavailable:
        pytest.skip(target.unavailable)
    return target.adapter


@lru_cache(maxsize=4)
def _packed(rows: int, columns: int, scheme: Scheme, dtype: str) -> Packed:
    return lookup_cost.packed(rows, columns, scheme, DTYPES[dtype])


@lru_cache(maxsize=4)
def _dense(rows: int, columns: int, dtype: str) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((rows, columns), np.float32) * 0.05).astype(DTYPES[dtype])


def head(name: str, kind: str, shape: str, dtype: str) -> Callable[[], Any]:
    """A synchronised product of x with a table or a linear layer's weight; in JAX under `jax.jit`."""
    adapter, (m, rows, columns) = adapter_of(name), SHAPES[shape]
    x = _dense(m, columns, dtype)
    if kind == "dense linear":
        module = adapter.linear(_dense(rows, columns, dtype)).native
        method = "__call__"
    else:
        layer = (
            adapter.embedding(_dense(rows, columns, dtype))
            if kind == "dense as_linear"
            else adapter.load_quantized_embedding(_packed(rows, columns, lookup_cost.scheme_of(kind), dtype))
        )
        module, method = layer.native, "attend" if name == "jax" else "as_linear"
        if name == "torch" and kind == "dense as_linear":
            module, method = layer._tied_head(), "__call__"
    function = jitted(module, method) if name == "jax" else getattr(module, method)
    return synchronised(adapter, function, x)


def kernel(group_size: int, shape: str, dtype: str) -> Callable[[], Any]:
    """PyTorch's native 4-bit product on parts that are already in its own layout."""
    adapter, (m, rows, columns) = adapter_of("torch"), SHAPES[shape]
    import torch

    from adapters import torch_int4

    words, scales, biases = adapter._parts(_packed(rows, columns, Scheme(4, group_size), dtype))
    made = torch_int4.repack(words, scales, biases, Scheme(4, group_size))
    native = torch.ops.aten._weight_int4pack_mm_for_cpu
    return synchronised(
        adapter, lambda x: native(x, made.codes, group_size, made.scales_and_zeros), _dense(m, columns, dtype)
    )


LOOKUPS = [(name, layer) for name in FRAMEWORKS for layer in LAYERS_OF.get(name, LAYERS)]


@pytest.mark.parametrize("rows", TABLE_SIZES)
@pytest.mark.parametrize(("name", "layer"), LOOKUPS)
@pytest.mark.parametrize("ids", [1, 512])
def test_lookup(benchmark: Any, name: str, layer: str, rows: int, ids: int) -> None:
    benchmark.group = f"{ids} ids, {name}, {layer}"
    benchmark.pedantic(lookup_cost.lookup(adapter_of(name), layer, rows, ids), rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("dtype", MEASURED)
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_head(benchmark: Any, shape: str, name: str, kind: str, dtype: str) -> None:
    benchmark.group = f"head, {shape}, {name}, {dtype}"
    benchmark.pedantic(head(name, kind, shape, dtype), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("dtype", MEASURED)
@pytest.mark.parametrize("group_size", [64, 32])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel(benchmark: Any, shape: str, group_size: int, dtype: str) -> None:
    benchmark.group = f"head, {shape}, torch, {dtype}"
    benchmark.pedantic(kernel(group_size, shape, dtype), rounds=3, warmup_rounds=1)


@pytest.mark.aim
@pytest.mark.parametrize(("name", "layer"), LOOKUPS)
def test_one_id_takes_as_long_in_a_large_table(name: str, layer: str) -> None:
    calls = {str(rows): lookup_cost.lookup(adapter_of(name), layer, rows, 1) for rows in (SMALLEST, LARGEST)}
    found = lookup_cost.taking_turns(calls)
    _report(f"one id, {name}, {layer}: {LARGEST} over {SMALLEST} rows", found[str(LARGEST)] / found[str(SMALLEST)])
    _check(found[str(LARGEST)] <= TIME_LIMIT * found[str(SMALLEST)], layer, found)


@pytest.mark.aim
@pytest.mark.parametrize(("name", "layer"), LOOKUPS)
def test_one_id_needs_no_memory_for_the_table(name: str, layer: str) -> None:
    found = {rows: lookup_cost.peak_bytes_of_lookup(name, layer, rows) for rows in (SMALLEST, LARGEST)}
    _report(f"one id, {name}, {layer}: peak growth in MB at {LARGEST} rows", found[LARGEST] / 1e6)
    _check(max(found.values()) <= PEAK_LIMIT, layer, found)


@pytest.mark.aim
@pytest.mark.parametrize("layer", ["affine4g64", "mxfp4", "mxfp8", "nvfp4"])
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_512_ids_take_no_more_than_three_times_mlx(name: str, layer: str) -> None:
    calls = {n: lookup_cost.lookup(adapter_of(n), layer, 32_000, 512) for n in ("mlx", name)}
    if name == "jax":
        module = adapter_of("jax").load_quantized_embedding(
            _packed(32_000, COLUMNS, lookup_cost.scheme_of(layer), "float32")
        )
        ids = np.linspace(0, 31_999, 512).astype(np.int32)
        calls["jit"] = synchronised(adapter_of("jax"), jitted(module.native), ids)
    found = lookup_cost.taking_turns(calls)
    for other in calls.keys() - {"mlx"}:
        _report(f"512 ids, {layer}: {other} over mlx", found[other] / found["mlx"])
    assert found["jit" if name == "jax" else name] <= LOOKUP_LIMIT * found["mlx"], found


@pytest.mark.aim
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group_size", [64, 32])
def test_torch_head_beside_its_kernel(group_size: int, dtype: str) -> None:
    calls = {
        "head": head("torch", f"affine4g{group_size}", "decode", dtype),
        "kernel": kernel(group_size, "decode", dtype),
        "dense": head("torch", "dense linear", "decode", dtype),
    }
    found = lookup_cost.taking_turns(calls, 15, min)
    _report(f"decode, torch, {dtype}, g{group_size}: head over kernel", found["head"] / found["kernel"])
    _report(f"decode, torch, {dtype}, g{group_size}: head over dense", found["head"] / found["dense"])
    assert found["head"] <= KERNEL_LIMIT * found["kernel"], found


@pytest.mark.aim
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["affine4g64", "affine4g32", "affine8g64", "mxfp4"])
def test_jax_head_beside_dense(kind: str, dtype: str) -> None:
    """The dense layer is the faster of `nnx.Linear` and `nnx.Embed.attend`."""
    kinds = (kind, "dense linear", "dense as_linear")
    found = lookup_cost.taking_turns({k: head("jax", k, "decode", dtype) for k in kinds}, 7, min)
    dense = min(found["dense linear"], found["dense as_linear"])
    _report(f"decode, jax, {dtype}, {kind}: head over dense linear", found[kind] / found["dense linear"])
    _report(f"decode, jax, {dtype}, {kind}: head over dense attend", found[kind] / found["dense as_linear"])
    assert found[kind] <= JAX_LIMIT * dense, found


REPORTED: list[str] = []


def _report(what: str, ratio: float) -> None:
    REPORTED.append(f"{ratio:8.2f}  {what}")


def _check(met: bool, layer: str, found: Any) -> None:
    """Flax's cast of the whole table is known: it must show, so that its end is noticed."""
    if layer.endswith(FLAX_CAST):
        assert not met, f"no whole-table work any more: {CASTS_THE_TABLE} {found}"
    else:
        assert met, found
