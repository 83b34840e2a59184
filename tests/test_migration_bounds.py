"""Are the bounds on converted weights kept by real quantizers, nearly reached, and broken by what is wrong?"""

from __future__ import annotations

import numpy as np
import pytest

from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Scheme
from touchstone.golden import groups, packing
from touchstone.golden.packing import FORMATS, Format
from touchstone.golden.streams import DTYPES, words
from touchstone.migration import bounds
from touchstone.migration.parameters import Dequantized, named, unpack

KINDS = ("equal", "zero", "one outlier", "one-sided", "straddling", "tiny")
QUANTIZER = registry.adapter_class("reference")("cpu")


def bell(dtype: str, rows: int = 256) -> np.ndarray:
    lanes = words("migration bounds", rows * 128).view(np.uint16).reshape(-1, 4).astype(np.float64)
    return (lanes.sum(-1) / 2**16 - 2).reshape(rows, 128).astype(DTYPES[dtype])


def quantized(weight: np.ndarray, form: Format) -> Dequantized:
    parts = QUANTIZER.layer(
        "quantized_linear", weight, scheme=Scheme(form.bits, form.group_size, form.mode)
    ).parameters()
    return Dequantized.of([parts[n] for n in ("weight", "scales", "biases") if n in parts], form)


def headroom(weight: np.ndarray, found: Dequantized, values: np.ndarray) -> float:
    want = weight.astype(np.float64)
    bound = bounds.quantized(want, found, weight.dtype.name)
    error = np.abs(values - want)
    return float(np.max(np.where(error == 0, 0, error / np.where(error == 0, 1, bound))))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_the_bound_of_own_scales_is_kept_and_nearly_reached(form: Format, dtype: str) -> None:
    weight = bell(dtype)
    found = quantized(weight, form)
    least = 0.9 if dtype == "float32" else 0.3
    assert least < headroom(weight, found, found.values) <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_hard_groups_keep_it(form: Format, dtype: str, kind: str) -> None:
    weight = groups.make("migration", (8, 128), dtype, kind).astype(DTYPES[dtype])
    found = quantized(weight, form)
    assert headroom(weight, found, found.values) <= 1


@pytest.mark.parametrize("form", [f for f in FORMATS if f.mode == "affine" and f.bits > 1], ids=lambda f: f.name)
def test_codes_one_too_high_exceed_it(form: Format) -> None:
    weight = bell("float32")
    found = quantized(weight, form)
    moved = found.values + np.repeat(found.scale, form.group_size, axis=-1)
    error, bound = np.abs(moved - weight), bounds.quantized(weight.astype(np.float64), found, "float32")
    assert (error > bound).mean() > 0.4


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 8])
def test_unpacking_agrees_with_the_definition(bits: int) -> None:
    raw = words("unpack", 3 * 4 * 6 * bits).astype(np.uint32).reshape(3, 4, 6 * bits)
    assert np.array_equal(unpack(raw, bits), packing.unpack(raw, bits))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_rounding_to_nearest_is_within_half_the_distance_of_neighbours(dtype: str) -> None:
    values = np.pi * np.concatenate([bell("float32").reshape(-1) * scale for scale in (10.0, 2.0**-14)]).astype(float)
    narrow = values.astype(named(dtype)).astype(np.float64)
    bound = bounds.narrowing(values, dtype)
    ratio = np.abs(narrow - values) / bound
    assert 0.99 < ratio.max() <= 1
    cut = np.trunc(values / (2 * bound)) * 2 * bound
    assert (np.abs(cut - values) > bound).mean() > 0.2


def test_a_group_that_a_scale_cannot_reach_is_beyond_it() -> None:
    """Weights twice as large as the lattice reaches are not clipped by one step."""
    form = packing.format_of("affine", 4, 32)
    weight = bell("float32")
    found = quantized(weight, form)
    assert headroom(2 * weight, found, found.values) > 2


@pytest.mark.parametrize("form", [f for f in FORMATS if f.mode != "affine"], ids=lambda f: f.name)
def test_saturation_is_permitted_to_a_third_only(form: Format) -> None:
    weight = bell("float32")
    found = quantized(weight, form)
    assert headroom(1.6 * weight, found, found.values) > 1
