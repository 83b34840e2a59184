"""Cases of initializers: a few shapes of about 100,000 elements, so that one draw is enough to judge a distribution."""

from __future__ import annotations

from typing import Any

from touchstone.golden.cases.operations import DTYPES, HALVES
from touchstone.golden.catalogue import Case, spell_shape
from touchstone.golden.operations.initializers import DRAWN, SCALED

OPTIONS = ("value", "mean", "std", "low", "high", "gain", "mode", "named", "generator")
"""Parameters of a case that are options of its initializer."""
MATRIX, CONV1D, CONV2D, CONV3D = (256, 384), (64, 48, 32), (96, 64, 2, 8), (48, 64, 2, 8, 2)
"""Weights (out, in, *kernel) of 98,304 elements, all of whose sizes differ."""
DEFAULT = "default"
"""The dtype of a case in which none is asked for."""
SIZE: dict[str, dict[str, float]] = {"normal": {"std": 0.5}, "uniform": {"high": 4.0}}
"""Options that give a distribution a size of its own, where the shape does not."""


def _options(name: str) -> dict[str, Any]:
    """Options with which every framework draws from the same distribution."""
    return {"gain": 1.0} if name.startswith("he") else dict(SIZE.get(name, {}))


def _case(name: str, shape: tuple[int, ...] = MATRIX, dtype: str = "float32", **options: Any) -> Case:
    params = {"initializer": name, "shape": spell_shape(shape), "dtype": dtype, **options}
    needs = [f"initializer:{name}", *(f"initializer:{name} {option}" for option in options)]
    return Case(params, {}, (*needs, f"dtype:{'float32' if dtype == DEFAULT else dtype}"))


def shape(case: Case) -> tuple[int, ...]:
    """The shape (out, in, *kernel) of a case, or another that it asks for."""
    spelled = case.params["shape"]
    return () if spelled == "scalar" else tuple(map(int, spelled.split("x")))


def options(case: Case) -> dict[str, Any]:
    """The options of a case's initializer."""
    return {name: value for name, value in case.params.items() if name in OPTIONS}


DISTRIBUTION_CASES = [
    *(_case(name, **_options(name)) for name in DRAWN),
    _case("normal", mean=3.0, std=0.25),
    _case("uniform", low=-1.0, high=3.0),
]
CONSTANT_CASES = [_case("constant", (7, 5), dtype, value=value) for dtype in DTYPES for value in (0.3, -2.5)]
MODES: list[dict[str, Any]] = [{"mode": "fan_in", "gain": 1.0}, {"mode": "fan_out", "gain": 1.0}]
FAN_CASES = [
    _case(name, shape, **options)
    for name in SCALED
    for shape in (MATRIX, CONV1D, CONV2D, CONV3D)
    for options in (MODES if name.startswith("he") else [{}])
]
SMALL = (6, 5)
"""A weight that an initializer fills before another."""
REUSED_CASES = [_case(name, **_options(name)) for name in DRAWN]
GAIN_CASES = [
    *(_case(name, gain=gain) for name in SCALED for gain in (0.5, 1.25)),
    *(_case(name, gain=0.5, mode="fan_out") for name in SCALED if name.startswith("he")),
]
TRUNCATION_CASES = [_case(name, **_options(name)) for name in ("normal", "glorot_normal", "he_normal")]
DTYPE_CASES = [
    *(_case("constant", dtype=dtype, value=0.3) for dtype in (DEFAULT, *DTYPES)),
    *(_case("identity", (5, 5), dtype) for dtype in (DEFAULT, *DTYPES)),
    *(_case(name, dtype=dtype) for name in DRAWN for dtype in (DEFAULT, *DTYPES)),
    *(_case(name, dtype=dtype, named="when made") for name in DRAWN for dtype in HALVES),
    *(_case("constant", dtype=dtype, value=0.3, named="when made") for dtype in HALVES),
]
HALF_CASES = [_case(name, dtype=dtype, **_options(name)) for name in DRAWN for dtype in HALVES]
SEED_CASES = [
    *(_case(name, **_options(name)) for name in DRAWN),
    *(_case(name, **_options(name), generator="of its own") for name in DRAWN),
]
APART_CASES = SEED_CASES
IDENTITY_CASES = [_case("identity", shape, dtype) for shape in ((5, 5), (1, 1)) for dtype in DTYPES]
RECTANGLE_CASES = [_case("identity", shape) for shape in ((3, 5), (5, 3))]
REFUSED_CASES = [
    *(_case(name, shape) for name in SCALED for shape in ((5,), ())),
    *(_case("identity", shape) for shape in ((5,), (2, 3, 4))),
]
EMPTY_CASES = [_case(name, shape) for name in DRAWN for shape in ((0, 4), (4, 0))]
DEFAULT_CASES = [_case(name, dtype=DEFAULT) for name in DRAWN]
