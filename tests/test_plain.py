"""Are plain operations held to NumPy, with the options and in the dtype that a case names?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_functions import questions
from tests.test_planted_defects import Planted
from touchstone.adapters.indexing import between_brackets
from touchstone.golden.cases import arrays
from touchstone.golden.cases.operations import told
from touchstone.golden.operations.plain import PLAIN
from touchstone.golden.operations.plain.indexing import BACKWARDS, SLICES
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct, requirements
from touchstone.suites.assay import Assay, Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.suites.plainly import asked_of

FRAMEWORKS = ("mlx", "jax", "torch")


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def test_no_two_cases_are_alike() -> None:
    for cases in (arrays.PLAIN_CASES, arrays.PLAIN_GRADIENT_CASES, arrays.MOVE_GRADIENT_CASES):
        assert len({case.id for case in cases}) == len(cases)


def test_a_case_is_asked_with_what_it_was_made_of(bench: Bench) -> None:
    target, asked = on_cpu("torch"), requirements.load()["ARRAY-PLAIN-1"]
    for plain in PLAIN.values():
        for sample, options in plain.asked:
            for dtype in arrays.dtypes_of(plain, sample, options):
                case = arrays.plain_case(plain, sample, dtype, next(iter(sample.regions)), options)
                assert asked_of(Assay(target, case, asked, bench)) == (plain, sample, options)


def test_options_are_told_in_a_case() -> None:
    given = {"a": (1, -2), "b": ((1, 2), (0, 3)), "c": None, "d": (), "e": "1:3,::2", "f": 2}
    assert told(given) == {"a": "1x-2", "b": "1x2,0x3", "c": "none", "d": "scalar", "e": "1:3,::2", "f": 2}


@pytest.mark.parametrize("text", [*SLICES, *BACKWARDS])
def test_an_index_is_read_as_python_reads_it(text: str) -> None:
    assert between_brackets(text) == {**SLICES, **BACKWARDS}[text]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_plain_operation_is_spelled_or_absent(name: str) -> None:
    held = on_cpu(name).cls("cpu").capabilities
    absent = {need.partition(":")[2] for need in held.absent if need.startswith("operation:")}
    assert not PLAIN.keys() - held.operations - absent
    assert not absent & held.operations
    for plain in PLAIN.values():
        asked = {f"{plain.name} {option}" for _, options in plain.asked for option in options}
        without = {need.partition(":")[2] for need in held.absent if need.startswith("option:")}
        assert plain.name in absent or not asked - held.options - without


@pytest.mark.parametrize(
    ("name", "options", "right"),
    [
        ("arange", {"start": 3.0, "stop": 2.0, "step": -0.25}, [3, 2.75, 2.5, 2.25]),
        ("linspace", {"start": 0, "stop": 1, "num": 2, "endpoint": False, "dtype": "float16"}, [0, 0.5]),
        ("tri", {"n": 2, "m": 3, "k": 1, "dtype": "int8"}, [[1, 1, 0], [1, 1, 1]]),
        ("full", {"shape": (2,), "vals": 0.1, "dtype": "bfloat16"}, [0.10009765625, 0.10009765625]),
    ],
)
def test_what_is_made_of_options_alone(name: str, options: dict[str, Any], right: Any) -> None:
    (found,) = PLAIN[name].expected([], options)
    assert found.dtype.name == options.get("dtype", "float32")
    assert found.astype(np.float64).tolist() == right


X, TWICE = np.array([1, 2], np.float32), np.array([0, 0], np.int32)


@pytest.mark.parametrize(
    ("name", "right"),
    [("at add", [8, 2]), ("at multiply", [12, 2]), ("at divide", [1 / 12, 2]), ("at maximum", [4, 2])],
)
def test_an_index_that_is_there_twice_counts_twice(name: str, right: list[float]) -> None:
    (found,) = PLAIN[name].expected([X, TWICE, np.array([3, 4], np.float32)], {})
    np.testing.assert_allclose(found, right, rtol=1e-7)


def test_a_view_keeps_bits_and_a_cast_rounds() -> None:
    bits = PLAIN["view"].expected([np.array([1], np.float32)], {"to": "uint32"})
    assert bits[0].tolist() == [0x3F800000]
    half = PLAIN["astype"].expected([np.array([2049, 2051, -1.5, 70000], np.float32)], {"to": "float16"})
    assert half[0].tolist() == [2048, 2052, -1.5, np.inf]
    whole = PLAIN["astype"].expected([np.array([-1.5, 1.5, 0.75], np.float32)], {"to": "int8"})
    assert whole[0].tolist() == [-1, 1, 0]


def _turned(found: Any) -> Any:
    """Every element in the place of another."""
    return (
        [_turned(one) for one in found]
        if isinstance(found, list)
        else np.roll(found.reshape(-1), 1).reshape(found.shape)
    )


def _of_another_dtype(found: Any) -> Any:
    return found.astype(np.float64)


def _longer(found: list[Any]) -> list[Any]:
    return [*found, found[-1]]


@pytest.mark.parametrize(
    ("requirement", "operation", "change"),
    [
        *(
            ("ARRAY-PLAIN-1", operation, _turned)
            for operation in (
                "transpose",
                "pad reflect",
                "diag",
                "getitem",
                "at add",
                "tri",
                "linspace",
                "as_strided",
                "split",
            )
        ),
        *(("ARRAY-GRADIENT-3", operation, _turned) for operation in ("transpose", "tile", "setitem", "take")),
        ("ARRAY-GRADIENT-2", "at maximum", _turned),
        ("ARRAY-PLAIN-1", "zeros", _of_another_dtype),
        ("ARRAY-PLAIN-1", "split", _longer),
    ],
)
def test_a_wrong_answer_is_red(requirement: str, operation: str, change: Callable[[Any], Any], bench: Bench) -> None:
    verdicts = _verdicts("torch" if operation != "tri" else "mlx", bench, requirement, operation, change)
    assert any(verdicts)
    if change is not _turned:
        assert all(verdicts)


def _verdicts(name: str, bench: Bench, requirement: str, operation: str, change: Callable[[Any], Any]) -> list[bool]:
    """Whether each case of an operation is red whose answers are changed."""
    target = on_cpu(name)
    adapter: Any = target.cls("cpu")
    answer, gradient = adapter.operation, adapter.operation_gradient
    adapter.operation = lambda *given, **options: change(answer(*given, **options))
    adapter.operation_gradient = lambda *given, **options: change(gradient(*given, **options))
    found = []
    for question in questions(requirement):
        for case in question.cases:
            if case.params["operation"] == operation:
                assay, error = direct.run(question, Planted(target, adapter), case, bench)
                verdict = verdict_of(assay, error, entries_of(name), bootstrap=False)[0].verdict
                if verdict.value != "unsupported":
                    found.append(verdict.is_red)
    return found
