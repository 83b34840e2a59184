"""Is a fault in a loss red, under the requirement that is about it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.test_functions import red
from touchstone.golden.operations import precise
from touchstone.golden.operations.losses import LOSSES
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites.assay import Bench

Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def test_values_agree_with_float64() -> None:
    x, y = (np.array(values, np.float32) for values in ([0.5, -2.0, 3.0], [1.0, -2.0, -1.0]))
    want: dict[str, Any] = {
        "l1_loss": [0.5, 0.0, 4.0],
        "mse_loss": [0.25, 0.0, 16.0],
        "huber_loss": [0.125, 0.0, 3.5],
        "smooth_l1_loss": [0.125, 0.0, 3.5],
        "log_cosh_loss": np.log(np.cosh([0.5, 0.0, 4.0])),
    }
    for name, values in want.items():
        np.testing.assert_allclose(precise.made((name, "", 0), "value", x, y), values, atol=1e-15)
    logits, classes = np.array([[0.0, np.log(3.0)]] * 2, np.float64), np.array([0, 1], np.int32)
    found = precise.made(("cross_entropy", "", 0), "value", logits.astype(np.float32), classes)
    np.testing.assert_allclose(found, np.log([4.0, 4 / 3]), rtol=1e-7)


def test_weights_of_classes_agree_with_float64() -> None:
    x, classes = np.array([[0.0, 1.0, -2.0], [3.0, 0.5, 0.25]], np.float32), np.array([2, 0], np.int32)
    weights = np.array([0.25, 1.0, 4.0], np.float32)
    logs = np.log(np.exp(x.astype(np.float64)).sum(1, keepdims=True)) - x
    each = weights[classes] * logs[range(2), classes]
    options = LOSSES["cross_entropy_by_class"].every_option
    for reduction, want in {"none": each, "mean": each.sum() / 4.25, "sum": each.sum()}.items():
        number = options.index({"reduction": reduction})
        found = precise.made(("cross_entropy_by_class", "", number), "value", x, classes, weights)
        np.testing.assert_allclose(found, want, rtol=1e-12)
    smoothed = 0.875 * each + 0.125 / 3 * (weights * logs).sum(1)
    number = options.index({"reduction": "none", "label_smoothing": 0.125})
    found = precise.made(("cross_entropy_by_class", "", number), "value", x, classes, weights)
    np.testing.assert_allclose(found, smoothed, rtol=1e-12)


def test_every_loss_has_cases_of_its_reductions() -> None:
    assert all({"reduction": one} in loss.variants for loss in LOSSES.values() for one in ("none", "mean", "sum"))


def _halved(x: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return (answer.astype(np.float64) / 2).astype(answer.dtype)


def _mean_of_fewer(x: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return (answer.astype(np.float64) * (1 + 1 / 4095)).astype(answer.dtype) if answer.shape == () else answer


def _without_nan(x: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return np.nan_to_num(answer, nan=0.0, posinf=np.inf, neginf=-np.inf)


def _of_half_precision(x: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return answer.astype(np.float16).astype(answer.dtype)


FAULTS: dict[str, tuple[str, str, Change, set[str]]] = {
    "half of it": ("mse_loss", "LOSS-VALUES-1", _halved, {"float32 ordinary", "float16 near", "bfloat16 far"}),
    "NaN hidden": ("huber_loss", "LOSS-VALUES-1", _without_nan, {"float32 special"}),
    "one element fewer in the mean": ("l1_loss", "LOSS-REDUCTION-1", _mean_of_fewer, {"float32 ordinary"}),
    "half precision": ("cross_entropy", "LOSS-VALUES-1", _of_half_precision, {"float32 ordinary"}),
    "weights of classes left out of the mean": (
        "nll_loss_by_class",
        "LOSS-REDUCTION-1",
        lambda x, answer: answer * np.float32(0.75) if answer.shape == () else answer,
        {"float32 ordinary"},
    ),
    "views taken for dense": ("kl_div_loss", "LOSS-LAYOUT-1", _halved, {"float32 ordinary"}),
    "a gradient of half its size": ("cross_entropy", "LOSS-GRADIENT-1", _halved, {"float32 ordinary", "float16 far"}),
    "an option without effect": ("smooth_l1_loss", "LOSS-OPTIONS-1", _halved, {"float32 ordinary"}),
    "a mean where nothing was asked": (
        "l1_loss",
        "LOSS-VALUES-1",
        lambda x, answer: answer.mean(dtype=np.float32).astype(answer.dtype),
        {"float32 ordinary", "float32 equal"},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_red(fault: str, bench: Bench) -> None:
    operation, requirement, change, where = FAULTS[fault]
    with np.errstate(all="ignore"):
        found: Any = red("torch", bench, operation, change, requirement=requirement)
    assert where <= found
