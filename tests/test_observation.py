"""Does each comparison pass what is right, refuse what is wrong, and say where and by how much?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from touchstone.golden.streams import DTYPES
from touchstone.verdict.comparing import same_bits, within
from touchstone.verdict.observation import Deviates, Observation

FLOATS = ("float32", "float16", "bfloat16")
NAN = float("nan")
INF = float("inf")


def refused(compare: Any, *arguments: Any, **options: Any) -> Observation:
    with pytest.raises(Deviates) as error:
        compare(*arguments, **options)
    seen = error.value.observation
    assert not seen.conforms
    assert seen.behaviour in str(error.value)
    assert seen.message in str(error.value)
    return seen


def floats(*values: float, dtype: str = "float32") -> np.ndarray:
    return np.array(values, DTYPES[dtype])


def bits(*patterns: int) -> np.ndarray:
    return np.array(patterns, np.uint32).view(np.float32)


# same_bits


@pytest.mark.parametrize("dtype", [*FLOATS, "int32", "uint32"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 3)])
def test_same_bits_accepts_equal_arrays(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, DTYPES[dtype])
    seen = same_bits(array.copy(order="F"), array, "file:key")
    assert (seen.behaviour, seen.conforms, seen.headroom) == ("exact", True, 0.0)
    assert (seen.dtype, seen.shape, seen.golden) == (dtype, shape, "file:key")


def test_same_bits_accepts_strided_and_special_values() -> None:
    want = bits(0x80000000, 0x7FC00005, 1, 0xFF800000)
    assert same_bits(np.repeat(want, 2)[::2], want).conforms


@pytest.mark.parametrize("dtype", FLOATS)
def test_same_bits_names_the_first_difference(dtype: str) -> None:
    want = np.arange(12).reshape(3, 4).astype(DTYPES[dtype])
    got = want.copy()
    got[1, 2], got[2, 0] = 7, 1
    seen = refused(same_bits, got, want, "file:key")
    assert (seen.behaviour, seen.worst_index, seen.golden) == ("wrong bits", (1, 2), "file:key")
    assert "first difference at (1, 2): got 7.0 (0x" in seen.message
    assert "want 6.0 (0x" in seen.message
    assert "2 of 12 elements (16.7%) differ" in seen.message


@pytest.mark.parametrize("dtype", FLOATS)
def test_same_bits_of_rank_zero(dtype: str) -> None:
    seen = refused(same_bits, np.array(2, DTYPES[dtype]), np.array(1, DTYPES[dtype]))
    assert seen.worst_index == ()
    assert "first difference at (): got 2.0" in seen.message


def test_same_bits_prints_integers() -> None:
    seen = refused(same_bits, np.array([7], np.int32), np.array([-1], np.int32))
    assert "0x00000007" in seen.message
    assert "0xffffffff" in seen.message


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (floats(-0.0), floats(0.0)),
        (bits(0x7FC00001), bits(0x7FC00000)),
        (bits(0xFFC00000), bits(0x7FC00000)),
        (floats(0.0), bits(1)),
        (floats(INF), floats(NAN)),
        (floats(1.0), floats(np.nextafter(np.float32(1), np.float32(2)))),
    ],
    ids=["signed zero", "NaN payload", "NaN sign", "subnormal flushed", "infinity for NaN", "one ulp"],
)
def test_same_bits_refuses_one_bit(got: np.ndarray, want: np.ndarray) -> None:
    assert refused(same_bits, got, want).behaviour == "wrong bits"


def test_the_sign_of_zero_may_be_ignored_and_nothing_else() -> None:
    assert same_bits(floats(-0.0, 1), floats(0.0, 1), signed_zero=False).conforms
    assert same_bits(np.array(-0.0), np.array(0.0), signed_zero=False).conforms
    for got, want in ((floats(-1), floats(1)), (bits(1), floats(0)), (bits(0xFFC00000), bits(0x7FC00000))):
        refused(same_bits, got, want, signed_zero=False)


@pytest.mark.parametrize(
    ("got", "behaviour", "message"),
    [
        (np.ones((1, 2), np.float32), "wrong shape", "got (1, 2), want (2,)"),
        (np.ones((), np.float32), "wrong shape", "got (), want (2,)"),
        (np.ones(2, np.float16), "wrong dtype", "got float16, want float32"),
        (np.ones(2, np.int32), "wrong dtype", "got int32, want float32"),
        ([1.0, 1.0], "no array", "got list"),
        (None, "no array", "got NoneType"),
    ],
)
def test_another_form_is_refused(got: Any, behaviour: str, message: str) -> None:
    want = np.ones(2, np.float32)
    for seen in (refused(same_bits, got, want), refused(within, got, want.astype(float), np.ones(2), "float32")):
        assert (seen.behaviour, seen.message) == (behaviour, message)


# within


@pytest.mark.parametrize("dtype", FLOATS)
def test_within_reports_the_worst_element(dtype: str) -> None:
    """Worst by error over bound, not by error."""
    want = np.array([[1.0, 2.0], [4.0, 8.0]])
    got = (want + np.array([[0.5, 0.25], [0.0, -1.0]])).astype(DTYPES[dtype])
    seen = within(got, want, np.array([[2.0, 0.5], [1.0, 4.0]]), dtype, "file:key")
    assert (seen.behaviour, seen.conforms) == ("within bound", True)
    assert (seen.headroom, seen.worst_index, seen.golden) == (0.5, (0, 1), "file:key")
    assert "worst element at (0, 1): got 2.25, want 2.0, error 0.25, bound 0.5, error/bound 0.5" in seen.message


def test_within_accepts_the_bound_itself_and_refuses_more() -> None:
    bound = np.array([0.5, 0.5, 0.5, 0.5])
    want = np.zeros(4)
    assert within(floats(0.5, -0.5, 0, 0), want, bound, "float32").headroom == 1.0
    seen = refused(within, floats(0.5, 0, -0.50390625, 1), want, bound, "float32")
    assert (seen.behaviour, seen.headroom, seen.worst_index) == ("beyond bound", 2.0, (3,))
    assert "worst element at (3,): got 1.0, want 0.0, error 1, bound 0.5, error/bound 2" in seen.message
    assert "2 of 4 elements (50.0%) differ" in seen.message


@pytest.mark.parametrize(("got", "want"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (-INF, 1.0), (1.0, INF)])
def test_within_refuses_what_is_not_finite(got: float, want: float) -> None:
    seen = refused(within, floats(0, got, 0), np.array([0.0, want, 0.0]), np.full(3, 1e30), "float32")
    assert (seen.behaviour, seen.worst_index) == ("beyond bound", (1,))
    assert seen.headroom == INF
    assert "1 of 3 elements" in seen.message


def test_within_takes_nan_for_worse_than_any_finite_error() -> None:
    assert refused(within, floats(9, NAN), np.zeros(2), np.ones(2), "float32").worst_index == (1,)


def test_within_an_infinite_bound_nan_is_still_wrong() -> None:
    refused(within, floats(NAN), np.zeros(1), np.array([INF]), "float32")


def test_within_a_bound_of_zero_only_equality_passes() -> None:
    assert within(floats(1, -0.0), np.array([1.0, 0.0]), np.zeros(2), "float32").headroom == 0
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    assert refused(within, floats(1, tiny), np.array([1.0, 0.0]), np.zeros(2), "float32").worst_index == (1,)


def test_within_of_rank_zero() -> None:
    assert within(np.array(1.5), np.array(1.0), np.array(1.0), "float64").headroom == 0.5
    seen = refused(within, np.array(3.0), np.array(1.0), np.array(1.0), "float64")
    assert seen.worst_index == ()
    assert "worst element at (): got 3.0, want 1.0" in seen.message


def test_within_of_nothing_checks_the_form() -> None:
    assert within(np.empty((0, 3), np.float32), np.empty((0, 3)), np.empty((0, 3)), "float32").conforms
    assert refused(within, np.empty((3, 0), np.float32), np.empty((0, 3)), np.empty((0, 3)), "float32")


def test_the_inputs_are_left_alone() -> None:
    got, want, bound = floats(1.5), np.array([1.0]), np.array([1.0])
    within(got, want, bound, "float32")
    same_bits(got, got)
    assert (got[0], want[0], bound[0]) == (1.5, 1.0, 1.0)
