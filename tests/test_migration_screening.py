"""Does a fast look at codes accept only what the exact bound accepts, nearly all of it, and see codes that lean?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.test_migration_bounds import QUANTIZER, bell
from touchstone.adapters.interface import Scheme
from touchstone.golden import groups
from touchstone.golden.packing import FORMATS, Format
from touchstone.golden.streams import DTYPES
from touchstone.migration import bounds
from touchstone.migration.leaning import MOST_LEAN
from touchstone.migration.parameters import Dequantized
from touchstone.migration.screening import EXACT_IN_FLOAT32, screened

Parts = list[np.ndarray]


def parts_of(weight: np.ndarray, form: Format) -> Parts:
    parts = QUANTIZER.layer(
        "quantized_linear", weight, scheme=Scheme(form.bits, form.group_size, form.mode)
    ).parameters()
    return [np.array(parts[n]) for n in ("weight", "scales", "biases") if n in parts]


def scales_dtype(parts: Parts) -> str:
    return parts[1].dtype.name if len(parts) == 3 else "bfloat16"


def within_bound(weight: np.ndarray, parts: Parts, form: Format, through: str = "") -> np.ndarray:
    """Of every group, whether all of it is within its exact bound."""
    with np.errstate(all="ignore"):
        want, found = weight.astype(np.float64), Dequantized.of(parts, form)
        bound = bounds.quantized(want, found, scales_dtype(parts), through)
        return np.all((np.abs(found.values - want) <= bound).reshape(-1, form.group_size), axis=-1)


def unchanged(weight: np.ndarray, parts: Parts) -> None:
    pass


def bits_flipped(weight: np.ndarray, parts: Parts) -> None:
    rng = np.random.default_rng(1)
    hit = rng.random(parts[0].shape) < 0.05
    parts[0][hit] ^= np.uint32(1) << rng.integers(0, 32, hit.sum()).astype(np.uint32)


def scales_moved(weight: np.ndarray, parts: Parts) -> None:
    rng = np.random.default_rng(2)
    if len(parts) == 2:
        parts[1] = (parts[1].astype(int) + rng.integers(-1, 2, parts[1].shape)).clip(0, 255).astype(np.uint8)
    else:
        factor = rng.choice(np.array([1, 1.01, 0.99, -1, 1.5, 0, 2, 1e-30], np.float32), parts[1].shape)
        parts[1] = (parts[1].astype(np.float32) * factor).astype(parts[1].dtype)


def offsets_moved(weight: np.ndarray, parts: Parts) -> None:
    for offsets in parts[2:]:
        steps = np.random.default_rng(3).choice(np.array([0, 0.01, 0.1, -0.3, 1e9], np.float32), offsets.shape)
        offsets[...] = offsets + parts[1] * steps.astype(offsets.dtype)


def not_finite(weight: np.ndarray, parts: Parts) -> None:
    weight[1, ::40], weight[2, ::50] = np.nan, np.inf
    for part in parts[1:]:
        part[0, 0] = 255 if part.dtype == np.uint8 else np.nan


def weights_changed(weight: np.ndarray, parts: Parts) -> None:
    weight *= 1 + np.random.default_rng(4).normal(size=weight.shape).astype(weight.dtype) / 100


def hardly_representable(weight: np.ndarray, parts: Parts) -> None:
    weight[::2] *= np.array(1e30, weight.dtype)
    weight[1::2] *= np.array(1e-30, weight.dtype)


DAMAGES = (
    unchanged,
    bits_flipped,
    scales_moved,
    offsets_moved,
    not_finite,
    weights_changed,
    hardly_representable,
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("dtype", EXACT_IN_FLOAT32)
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_what_is_accepted_is_within_its_exact_bound(
    form: Format, dtype: str, damage: Callable[[np.ndarray, Parts], None]
) -> None:
    weight = bell(dtype, 64)
    parts = parts_of(weight, form)
    damage(weight, parts)
    found = screened(weight, parts, form, scales_dtype(parts), "")
    assert found is not None
    accepted = np.setdiff1d(np.arange(weight.size // form.group_size), found.undecided)
    assert within_bound(weight, parts, form)[accepted].all()
    assert found.nearest is None or found.nearest in accepted


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_weights_that_were_cast_before_are_accepted_by_their_own_bound(form: Format) -> None:
    weight = bell("float32") * np.float32(1 + 2**-9)
    parts = parts_of(weight.astype(DTYPES["bfloat16"]), form)
    found = screened(weight, parts, form, "bfloat16", "bfloat16")
    assert found is not None
    assert len(found.undecided) < 0.05 * weight.size / form.group_size
    accepted = np.setdiff1d(np.arange(weight.size // form.group_size), found.undecided)
    assert within_bound(weight, parts, form, "bfloat16")[accepted].all()


@pytest.mark.parametrize("dtype", EXACT_IN_FLOAT32)
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_of_sound_codes_nearly_all_are_accepted(form: Format, dtype: str) -> None:
    weight = bell(dtype)
    found = screened(weight, parts := parts_of(weight, form), form, scales_dtype(parts), "")
    assert found is not None
    assert len(found.undecided) < 0.05 * weight.size / form.group_size


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_what_float32_does_not_hold_is_left_to_the_exact_bound(dtype: str) -> None:
    form = next(f for f in FORMATS if f.name == "affine4g64")
    weight = bell("float32")
    assert screened(weight.astype(dtype), parts_of(weight, form), form, "float32", "") is None


@pytest.mark.parametrize("kind", [k for k in groups.FINITE if "largest" not in k])  # whose range MLX overflows
@pytest.mark.parametrize("dtype", EXACT_IN_FLOAT32)
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_sound_codes_do_not_lean(form: Format, dtype: str, kind: str) -> None:
    for weight in (bell(dtype), groups.make("lean", (64, 128), dtype, kind).astype(DTYPES[dtype])):
        found = screened(weight, parts := parts_of(weight, form), form, scales_dtype(parts), "")
        assert found is not None
        assert not found.lean.is_too_far


def on_its_lattice(form: Format) -> tuple[np.ndarray, Parts]:
    """Weights that codes hold exactly, and those codes."""
    parts = parts_of(bell("float32"), form)
    return Dequantized.of(parts, form).values.astype(np.float32), parts


@pytest.mark.parametrize("steps", [0.1, -0.1, 0.3, -0.3])
@pytest.mark.parametrize("bits", [4, 5, 6, 8])
def test_offsets_that_were_moved_within_the_bound_lean(bits: int, steps: float) -> None:
    form = next(f for f in FORMATS if f.name == f"affine{bits}g64")
    weight, parts = on_its_lattice(form)
    parts[2] += parts[1] * np.float32(steps)
    assert within_bound(weight, parts, form).all()
    found = screened(weight, parts, form, "float32", "")
    assert found is not None
    assert found.lean.is_too_far
    assert abs(found.lean.mean) == pytest.approx(abs(steps), abs=MOST_LEAN)


def test_few_codes_are_not_asked_whether_they_lean() -> None:
    form = next(f for f in FORMATS if f.name == "affine4g64")
    weight, parts = on_its_lattice(form)
    found = screened(weight[:4], [p[:4] for p in parts], form, "float32", "")
    assert found is not None
    few = replace(found.lean, upwards=found.lean.count * 1.0)
    assert few.mean > few.most
    assert not few.is_too_far
