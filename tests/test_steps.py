"""Do the bounds of other libraries' schemes hold for their algorithms in exact arithmetic, and are they tight?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from touchstone.golden import steps
from touchstone.golden.lattices import Lattice

Groups = np.ndarray


def asymmetric(groups: Groups, bits: int, epsilon: float = 0.0) -> Groups:
    """(q - zero) * scale with a range that includes zero."""
    top = 2**bits - 1
    low, high = np.minimum(groups.min(-1, keepdims=True), 0), np.maximum(groups.max(-1, keepdims=True), 0)
    scale = (high - low + epsilon) / top
    zero = np.rint(-low / scale)
    return (np.clip(np.rint(groups / scale) + zero, 0, top) - zero) * scale


def symmetric(groups: Groups, levels: float, top: int, epsilon: float = 0.0) -> Groups:
    scale = (np.abs(groups).max(-1, keepdims=True) + epsilon) / levels
    return np.clip(np.rint(groups / scale), -top - 1, top) * scale


def q4_1(groups: Groups, bits: int) -> Groups:
    low = groups.min(-1, keepdims=True)
    step = (groups.max(-1, keepdims=True) - low) / 15
    codes = np.rint((groups - low) / step)
    return codes * step.astype("f2").astype("f8") + low.astype("f2").astype("f8")


def q8_0(groups: Groups, bits: int) -> Groups:
    step = np.abs(groups).max(-1, keepdims=True) / 127
    return np.rint(groups / step) * step.astype("f2").astype("f8")


ALGORITHMS: dict[tuple[str, int], Callable[[Groups, int], Groups]] = {
    ("intx", 2): asymmetric,
    ("intx", 4): asymmetric,
    ("intx", 8): asymmetric,
    ("keras", 4): lambda g, b: asymmetric(g, b, 1e-7),
    ("keras_rows", 4): lambda g, b: symmetric(g, 7, 7, 1e-7),
    ("qwix", 4): lambda g, b: symmetric(g, 7.5, 7),
    ("qwix", 8): lambda g, b: symmetric(g, 127.5, 127),
    ("q4_1", 4): q4_1,
    ("q8_0", 8): q8_0,
}
SHAPES: dict[str, Callable[[Groups], Groups]] = {
    "ordinary": lambda bell: bell,
    "positive": lambda bell: 1 + np.abs(bell),
    "negative": lambda bell: -1 - np.abs(bell),
    "one outlier": lambda bell: np.where(np.arange(32) == 5, 1.0, bell),
}


@pytest.mark.parametrize(("mode", "bits"), ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_algorithm_stays_within_its_bound_and_comes_near(mode: str, bits: int, shape: str) -> None:
    groups = SHAPES[shape](np.random.default_rng(7).normal(0, 0.07, (200, 32))).astype("f4").astype("f8")
    error = np.abs(ALGORITHMS[mode, bits](groups, bits) - groups)
    bound = steps.bound(groups, mode, bits, "float32")
    assert (error <= bound).all()
    assert (error / bound).max() > 0.5


@pytest.mark.parametrize(("mode", "bits"), ALGORITHMS)
def test_a_code_that_is_one_too_high_is_beyond_the_bound(mode: str, bits: int) -> None:
    groups = np.random.default_rng(7).normal(0, 0.07, (200, 32)).astype("f4").astype("f8")
    raised = ALGORITHMS[mode, bits](groups, bits) + steps.step(groups, mode, bits)
    assert (np.abs(raised - groups) > steps.bound(groups, mode, bits, "float32")).mean() > 0.9


@pytest.mark.parametrize("mode", ["intx", "keras", "keras_rows", "qwix"])
def test_four_bits_of_bfloat16_add_less_than_a_third_of_a_step(mode: str) -> None:
    groups = np.random.default_rng(7).normal(0, 0.07, (200, 32))
    assert (steps.bound(groups, mode, 4, "bfloat16") < 0.84 * steps.step(groups, mode, 4)).all()


def test_writing_a_number_that_the_dtype_holds_loses_nothing() -> None:
    values = np.array([0.0, 1.0, -1.5, 1 + 2.0**-10, 1 + 2.0**-11, 2.0**-24, 2.0**-25])
    assert (steps.stored(values, "float16") > 0).tolist() == [False] * 4 + [True, False, True]
    assert (steps.kept(values, values, 4, "float32") == 0).all()
    difference = np.abs(values.astype("f2").astype("f8") - values)
    assert (difference <= steps.stored(values, "float16")).all()


def test_the_shift_to_an_integer_zero_point_is_at_most_half_a_step() -> None:
    scale, offset = np.array([0.1, -0.1, 0.1, 0.0]), np.array([-1.0, 1.0, -1e6, 0.0])
    assert steps.integer_zero(scale, offset, 2.0**-11).tolist() == pytest.approx([2.0**-11, 2.0**-11, 0.05, 0.0])
    assert steps.integer_zero(scale, offset, np.inf).tolist() == pytest.approx([0.05, 0.05, 0.05, 0.0])


def lattice(scale: float, offset: float, bits: int) -> Lattice:
    codes = np.random.default_rng(7).integers(0, 2**bits, (1, 1, 32))
    return Lattice(scale * codes + offset, np.full((1, 1, 1), scale), np.full((1, 1, 1), offset), bits)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("scale", [0.25, -0.25])
def test_a_converted_group_is_kept_if_some_int8_is_its_zero_point(bits: int, scale: float) -> None:
    """Of every int8 in turn: does one come within half a step of the offset?"""
    zeros = np.arange(-128, 128)
    for position in np.arange(-300, 300.0) + 0.3:
        source = lattice(scale, position * scale, bits)
        shift = np.abs(position - (-(2 ** (bits - 1)) - zeros)).min() * abs(scale)
        bound = steps.converted(source, "intx", "float32", np.inf)
        fresh = steps.bound(source.weights, "intx", bits, "float32").reshape(bound.shape)
        assert (bound == (abs(scale) / 2 if shift <= abs(scale) / 2 else fresh)).all()


def test_a_conversion_that_keeps_codes_moves_by_the_rounding_of_its_numbers() -> None:
    source = lattice(1 + 2.0**-11, 1.0, 4)
    assert (steps.converted(source, "affine", "float32", 0.0) == 0).all()
    assert steps.converted(source, "q4_1", "float32", 0.0) == pytest.approx(15 * 2.0**-11, rel=1e-3)
    assert (steps.converted(source, "intx", "float32", 0.0) == 0).all()
    zero = steps.converted(source, "intx", "float16", 0.0)
    assert zero.ravel() == pytest.approx((np.abs(source.rows).ravel() + 1) * 2.0**-11, rel=1e-2)


def test_a_conversion_to_q8_0_moves_by_its_own_half_step() -> None:
    source = lattice(0.25, -128 * 0.25, 8)
    expected = steps.bound(source.weights, "q8_0", 8, "float32").reshape(1, 32)
    assert (steps.converted(source, "q8_0", "float32", 0.0) == expected).all()
