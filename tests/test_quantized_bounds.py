"""Bounds of quantized weights: never exceeded by the algorithm in exact arithmetic, and reached by it."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from touchstone.golden import bounds, groups, packing, quantized_bounds, rounding
from touchstone.golden.cases import quantized
from touchstone.golden.packing import AFFINE, BLOCK, FORMATS, Format
from touchstone.golden.streams import DTYPES, words

AFFINE_32 = [f for f in AFFINE if f.group_size == 32]


def bell(key: str, rows: int, columns: int = 128) -> np.ndarray:
    lanes = words(key, rows * columns).view(np.uint16).reshape(-1, 4).astype(np.float64)
    return (lanes.sum(-1) / 2**16 - 2).reshape(rows, columns).astype(np.float32)


def simulate(weight: np.ndarray, form: Format) -> np.ndarray:
    """Mode "affine" in float64, without any rounding to a dtype: the dequantized weights."""
    grouped = weight.astype(np.float64).reshape(len(weight), -1, form.group_size)
    low, high = grouped.min(-1, keepdims=True), grouped.max(-1, keepdims=True)
    n = 2**form.bits - 1
    step, bias = np.maximum((high - low) / n, 1e-7), low
    if form.bits > 1:
        edge = np.where(np.abs(low) > np.abs(high), low, high)
        step = np.where(np.abs(low) > np.abs(high), step, -step)
        steps = np.rint(edge / step)
        step, bias = edge / steps, edge
    codes = np.clip(np.rint((grouped - bias) / step), 0, n)
    return (codes * step + bias).reshape(weight.shape)


@pytest.mark.parametrize("form", AFFINE_32, ids=lambda f: f.name)
def test_the_affine_bound_is_reached_and_not_exceeded(form: Format) -> None:
    weight = bell("bound", 512)
    headroom = np.abs(simulate(weight, form) - weight) / quantized_bounds.affine(weight, form)
    assert 0.999 < headroom.max() <= 1


@pytest.mark.parametrize("form", AFFINE_32, ids=lambda f: f.name)
def test_codes_one_too_high_exceed_it(form: Format) -> None:
    weight = bell("bound", 64)
    step = quantized_bounds.step_per_element(weight, form)
    headroom = np.abs(simulate(weight, form) + step - weight) / quantized_bounds.affine(weight, form)
    assert (headroom > 1).mean() > 0.4


def test_clipping_costs_at_most_one_step_and_half_where_stated() -> None:
    """n s (q - t) / t of the docstring, over groups whose ends are drawn at random."""
    form = Format("affine", 3, 32)
    weight = bell("excess", 4096)
    step = quantized_bounds.affine_steps(weight, form)
    grouped = weight.astype(np.float64).reshape(4096, -1, 32)
    span = grouped.max(-1) - grouped.min(-1)
    excess = np.maximum(span - 7 * step, 0)
    assert 0.9 < (excess / step).max() <= 1 + 1e-6
    t = np.abs(grouped).max(-1) / (span / 7)
    q = np.rint(t)
    beyond_half = excess > step / 2 * (1 + 1e-6)
    assert (beyond_half == (q > t * (1 + 1 / 14) * (1 + 1e-6))).mean() > 0.999


def test_only_weights_beyond_the_last_code_get_more_than_half_a_step() -> None:
    form = Format("affine", 4, 32)
    weight = bell("per element", 512)
    step = quantized_bounds.step_per_element(weight, form)
    more = quantized_bounds.affine(weight, form) > step / 2 * (1 + 1e-3)
    assert 0 < more.mean() < 0.05


def test_the_documented_bound_is_tighter_and_the_refit_breaks_it() -> None:
    form = Format("affine", 4, 32)
    weight = bell("half", 512)
    error = np.abs(simulate(weight, form) - weight)
    assert (error > quantized_bounds.documented(weight, form)).any()
    assert (error <= quantized_bounds.affine(weight, form)).all()


@pytest.mark.parametrize("form", BLOCK, ids=lambda f: f.name)
def test_the_block_bound_is_reached_and_not_exceeded(form: Format) -> None:
    weight = bell("block", 256)
    grouped = weight.astype(np.float64).reshape(256, -1, form.group_size)
    scale = packing.block_scale(np.abs(grouped).max(-1), form)[..., None]
    elements = packing.values_of(form.element)
    positive = elements[: len(elements) // 2]
    positive = positive[~np.isnan(positive)]
    rounded = np.copysign(packing.nearest(np.abs(grouped) / scale, positive), grouped) * scale
    headroom = np.abs(rounded.reshape(weight.shape) - weight) / quantized_bounds.block(weight, form)
    assert 0.99 < headroom.max() <= 1
    assert (np.abs(rounded * 2 - grouped).reshape(weight.shape) > quantized_bounds.block(weight, form)).any()


def test_a_group_below_the_range_of_nvfp4_may_be_lost() -> None:
    weight = np.full((1, 16), 1e-3, np.float32)
    assert (quantized_bounds.block(weight, BLOCK[2]) == np.abs(weight)).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_adversarial_groups_are_what_their_names_say(dtype: str) -> None:
    made = {kind: groups.make("kinds", (4, 128), dtype, kind).astype(DTYPES[dtype]) for kind in groups.FINITE}
    wide = {kind: table.astype(np.float64) for kind, table in made.items()}
    assert all(np.isfinite(table).all() for table in wide.values())
    assert not wide["zero"].any()
    assert (wide["equal"] == wide["equal"][:, :1]).all()
    assert np.abs(wide["largest"]).max() == bounds.LARGEST[dtype]
    assert (np.sign(wide["one-sided"]) == np.sign(wide["one-sided"][:, :1])).all()
    assert (wide["straddling"].max(-1) > 0).all()
    assert (wide["straddling"].min(-1) < 0).all()
    normal = {"float32": 2.0**-126, "float16": 2.0**-14, "bfloat16": 2.0**-126}[dtype]
    assert 0 < np.abs(wide["subnormal"]).max() < normal
    assert wide["tiny"].any()


@pytest.mark.parametrize("form", [f for f in quantized.HARD if f.mode == "affine"], ids=lambda f: f.name)
@pytest.mark.parametrize("kind", ["lattice", "lattice, high"])
def test_lattices_lie_on_the_lattice(kind: str, form: Format) -> None:
    for dtype in DTYPES.keys() & {"float32", "float16", "bfloat16"}:
        made = groups.make("lattice", (4, 128), dtype, kind, bits=form.bits)
        assert (made.astype(DTYPES[dtype]).astype(np.float64) == made).all()
        assert (simulate(made, form) == made).all()


def test_ties_are_ties() -> None:
    form = Format("affine", 4, 32)
    table = groups.make("ties", (4, 128), "float32", "ties", bits=4)
    halves = np.abs(table * 16 % 1) == 0.5
    assert halves.mean() > 0.8
    assert (np.abs(simulate(table, form) - table)[halves] == 2.0**-5).all()


def test_every_pair_of_parameters_meets_in_the_products() -> None:
    def values(case: object) -> dict[str, object]:
        p = case.params  # type: ignore[attr-defined]
        form = packing.format_of(p["mode"], p["bits"], p["group_size"])
        inner = quantized._inner_sizes(form).index(p["k"])
        return {"form": form, "k": inner, **{name: p[name] for name in ("layer", "dtype", "m", "n", "layout")}}

    rows = [values(case) for case in quantized.PRODUCT_CASES]
    assert len({row["form"] for row in rows}) == len(FORMATS)
    for a, b in combinations(rows[0], 2):
        pairs = {(row[a], row[b]) for row in rows}
        assert len(pairs) == len({row[a] for row in rows}) * len({row[b] for row in rows}), (a, b)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_one_rounding_to_a_dtype(dtype: str) -> None:
    """Against exact rational arithmetic: the two neighbours in the dtype, nearest first, ties to even."""
    raw = words("rounding", 400).view(np.int64).astype(np.float64)
    values = np.concatenate([raw * 2.0**-62, raw * 2.0**-85, [0.0, 65520.0, 65519.99, -1e39]])
    got = rounding.to_dtype(values, dtype)
    unsigned = np.dtype(f"u{got.dtype.itemsize}")
    for value, result in zip(values, got, strict=True):
        if not np.isfinite(float(result)):
            assert abs(value) > bounds.LARGEST[dtype]
            continue
        bits, size = int(result.view(unsigned)), 8 * unsigned.itemsize
        around = [unsigned.type((bits + d) % 2**size).view(got.dtype) for d in (-1, 1)]
        mine = abs(Fraction(float(result)) - Fraction(value))
        for other in around:
            if np.isfinite(float(other)):
                theirs = abs(Fraction(float(other)) - Fraction(value))
                assert mine < theirs or (mine == theirs and bits % 2 == 0)


def test_sums_rounded_to_odd_round_as_the_exact_sum() -> None:
    a = words("odd a", 500).view(np.int64).astype(np.float64) * 2.0**-40
    b = words("odd b", 500).view(np.int64).astype(np.float64) * 2.0**-75
    b[::5] = np.ldexp(1.0, np.frexp(a[::5])[1] - 25) + np.ldexp(1.0, -60)
    got = rounding.to_dtype(rounding.add_to_odd(a, b), "float32")
    for x, y, result in zip(a, b, got, strict=True):
        exact = Fraction(x) + Fraction(y)
        mine = abs(Fraction(float(result)) - exact)
        for towards in (-np.inf, np.inf):
            other = np.nextafter(result, np.float32(towards))
            assert mine <= abs(Fraction(float(other)) - exact)
