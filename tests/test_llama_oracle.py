"""Is the Llama of golden/llama.py right, and do its bounds hold for honest arithmetic and for nothing looser?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import cos, exp, sin, sqrt
from typing import Any

import numpy as np
import pytest

from touchstone.golden import llama, llama_bounds, rounding
from touchstone.golden.cases import llama as cases
from touchstone.golden.catalogue import CATALOGUE
from touchstone.golden.llama import Step
from touchstone.golden.operations import arithmetic
from touchstone.golden.operations.catalogue import OPERATIONS as CATALOGUE_OF_OPERATIONS
from touchstone.golden.recipes import Recipe
from touchstone.golden.streams import DTYPES, words

TINY = llama.Config(vocabulary=7, dims=8, layers=2, heads=2, mlp_dims=6, tied=False)


def made(key: str) -> np.ndarray:
    how = CATALOGUE[key]
    assert isinstance(how, Recipe)
    return how.make(key)


def random(key: str, *shape: int) -> np.ndarray:
    return Recipe("uniform", "float32", shape).make(f"tests/{key}").astype(np.float64)


def weights(config: llama.Config) -> dict[str, np.ndarray]:
    return {name: random(name, *shape) for name, shape in llama.shapes(config).items()}


def golden(tied: bool) -> tuple[llama.Config, dict[str, np.ndarray]]:
    config = cases.CONFIGS[tied]
    return config, {name: made(key) for name, key in cases.WEIGHTS.items() if name in llama.shapes(config)}


IDS = np.array([[1, 6, 3, 3], [0, 2, 5, 4]], np.int32)


def slope(function: Callable[[], float], values: np.ndarray, index: tuple[int, ...], h: float = 1e-5) -> float:
    """Central difference of `function` in one element of `values`, which it reads."""
    kept = values[index]
    values[index] = kept + h
    above = function()
    values[index] = kept - h
    below = function()
    values[index] = kept
    return (above - below) / (2 * h)


OPERATIONS: dict[str, tuple[tuple[np.ndarray, ...], dict[str, Any]]] = {
    "embedding": ((random("t", 5, 3), np.array([[1, 1, 4]])), {}),
    "linear": ((random("x", 2, 3, 4), random("w", 5, 4)), {}),
    "rms_norm": ((random("x", 2, 3, 4), random("w", 4)), {"eps": 1e-2}),
    "rope": ((random("x", 2, 1, 3, 4),), {"base": 100.0, "offset": 3}),
    "attend": (tuple(random(n, 1, 2, length, 4) for n, length in (("q", 2), ("k", 3), ("v", 3))), {}),
    "swiglu": ((random("a", 3, 4), random("b", 3, 4)), {}),
    "add": ((random("a", 3, 4), random("b", 3, 4)), {}),
    "split": ((random("a", 2, 3, 4),), {"heads": 2}),
    "merge": ((random("a", 2, 2, 3, 2),), {}),
    "cross_entropy": ((random("l", 3, 5), np.array([4, 0, 4])), {}),
}


def test_every_operation_is_differentiated_below() -> None:
    assert OPERATIONS.keys() == llama.KINDS.keys()


@pytest.mark.parametrize("kind", OPERATIONS)
def test_a_vjp_is_the_slope_of_its_operation(kind: str) -> None:
    inputs, settings = OPERATIONS[kind]
    operation = llama.KINDS[kind]
    cotangent = np.asarray(random("cotangent", *operation.function(*inputs, **settings).shape))
    for value, gradient in zip(inputs, operation.vjp(cotangent, *inputs, **settings), strict=True):
        if gradient is None:
            assert value.dtype.kind == "i"
            continue
        for index in np.ndindex(value.shape):
            found = slope(lambda: float((cotangent * operation.function(*inputs, **settings)).sum()), value, index)
            assert gradient[index] == pytest.approx(found, rel=1e-6, abs=1e-8)


def _by_the_record(kind: str, *operands: Any, **settings: Any) -> np.ndarray:
    """What the catalogue's record of the operation says, to 50 digits."""
    finely = arithmetic.precision("float32")
    with arithmetic.mpmath().workdps(arithmetic.DIGITS):
        given = [arithmetic.numbers(one, finely) if one.dtype.kind == "f" else one for one in operands]
        return RECORDS[kind].value(*given, **settings).value.astype(np.float64)


RECORDS = {
    "rms_norm": CATALOGUE_OF_OPERATIONS["RMSNorm"],
    "rope": CATALOGUE_OF_OPERATIONS["RoPE of neighbours"],
    "attend": CATALOGUE_OF_OPERATIONS["scaled_dot_product_attention"],
    "swiglu": CATALOGUE_OF_OPERATIONS["SwiGLU"],
    "cross_entropy": CATALOGUE_OF_OPERATIONS["cross_entropy"],
}


@pytest.mark.parametrize("kind", RECORDS)
def test_the_model_computes_what_the_catalogue_says(kind: str) -> None:
    """In float64, since a model is computed 64 times over; the records' numbers of 50 digits are too slow for that."""
    operands, settings = OPERATIONS[kind]
    if kind == "rope":  # whose record turns heads of eight
        operands = (random("turned", 2, 1, 3, 8),)
    if kind == "attend":  # whose record is causal of as many queries as keys
        operands = tuple(random(name, 1, 2, 3, 4) for name in "qkv")
    by_record = _by_the_record(kind, *operands, **settings, **({"causal": True} if kind == "attend" else {}))
    found = llama.KINDS[kind].function(*operands, **settings)
    np.testing.assert_allclose(
        found, by_record.mean() if kind == "cross_entropy" else by_record, rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("tied", [False, True])
def test_gradients_are_the_slopes_of_the_loss(tied: bool) -> None:
    config = replace(TINY, tied=tied)
    held = weights(config)
    loss, gradients = llama.gradients(config, held, IDS)
    assert gradients.keys() == held.keys()
    assert loss == llama.with_loss(config, held, IDS)[-1].output
    for name, value in held.items():
        for flat in range(0, value.size, 5):
            index = tuple(int(i) for i in np.unravel_index(flat, value.shape))
            found = slope(lambda: float(llama.with_loss(config, held, IDS)[-1].output), value, index)
            assert gradients[name][index] == pytest.approx(found, rel=1e-5, abs=1e-7), (name, index)


def test_a_rotation_is_a_complex_product() -> None:
    x = random("x", 2, 3, 5, 6)
    turned = x[..., 0::2] + 1j * x[..., 1::2]
    for p in range(5):
        for i in range(3):
            angle = (p + 2) * 50.0 ** (-2 * i / 6)
            turned[:, :, p, i] *= complex(cos(angle), sin(angle))
    got = llama.rope(x, 50.0, 2)
    np.testing.assert_allclose(got[..., 0::2] + 1j * got[..., 1::2], turned, rtol=1e-13)


def test_a_rotated_product_depends_on_the_distance_alone() -> None:
    q, k = random("q", 1, 8), random("k", 1, 8)
    products = [(llama.rope(q, 100.0, p) @ llama.rope(k, 100.0, p + 3).T).item() for p in (0, 1, 40)]
    assert products == pytest.approx([products[0]] * 3)


def test_attention_is_a_weighted_mean_of_the_values_so_far() -> None:
    q, k, v = random("q", 2, 3), random("k", 4, 3), random("v", 4, 3)
    got = llama.attend(q, k, v)
    for i in range(2):
        powers = [exp(sum(q[i] * k[j]) / sqrt(3)) for j in range(4 - 1 + i)]
        want = sum(p * v[j] for j, p in enumerate(powers)) / sum(powers)
        np.testing.assert_allclose(got[i], want, rtol=1e-13)


def test_the_written_formulas() -> None:
    x, w = np.array([3.0, 4.0]), np.array([1.0, -2.0])
    np.testing.assert_allclose(llama.rms_norm(x, w, 0.5), [3 / sqrt(13), -8 / sqrt(13)])
    np.testing.assert_allclose(llama.swiglu(np.array([2.0]), np.array([5.0])), [10 / (1 + exp(-2))])
    assert llama.cross_entropy(np.zeros((2, 8)), np.array([3, 5])) == pytest.approx(np.log(8))


def test_no_position_sees_a_later_one() -> None:
    held, changed = weights(TINY), IDS.copy()
    changed[:, 2] = (changed[:, 2] + 1) % 7
    before, after = (llama.logits(TINY, held, ids) for ids in (IDS, changed))
    assert (before[:, :2] == after[:, :2]).all()
    assert (before[:, 2:] != after[:, 2:]).any(-1).all()


def test_a_tied_head_is_the_table() -> None:
    tied, held = replace(TINY, tied=True), weights(TINY)
    same = {**held, "output.weight": held["tok_embeddings.weight"]}
    assert (llama.logits(tied, held, IDS) == llama.logits(TINY, same, IDS)).all()


def steps(dtype: str) -> list[Step]:
    """Every kind of operation of the golden model on inputs of the dtype, computed in float64."""
    config, held = golden(False)
    out = {}
    for step in llama.with_loss(config, held, made(cases.IDS)):
        inputs = tuple(
            rounding.to_dtype(x, dtype).astype(np.float64) if x.dtype.kind == "f" else x for x in step.inputs
        )
        function = llama.KINDS[step.kind].function
        out[step.kind] = replace(step, inputs=inputs, output=function(*inputs, **step.settings))
    return [step for kind, step in out.items() if kind in ("linear", "rms_norm", "rope", "attend", "swiglu")]


def every_operation_rounds(step: Step, dtype: Any) -> np.ndarray:
    """The written formula in the dtype, one NumPy operation after another; sums in float32."""

    def wide(x: np.ndarray) -> np.ndarray:
        return x.astype(np.float32)

    given = [x.astype(dtype) for x in step.inputs]
    if step.kind == "linear":
        return (wide(given[0]) @ wide(given[1]).T).astype(dtype)
    if step.kind == "rms_norm":
        x, w = given
        root = 1 / np.sqrt((wide(x) * wide(x)).mean(-1, keepdims=True) + np.float32(step.settings["eps"]))
        return (x * root.astype(dtype)) * w
    if step.kind == "rope":
        (x,) = given
        angle = llama.angles(x.shape[-2], x.shape[-1], 0, step.settings["base"]).astype(np.float32)
        c, s, a, b = np.cos(angle).astype(dtype), np.sin(angle).astype(dtype), x[..., 0::2], x[..., 1::2]
        return np.stack([a * c - b * s, a * s + b * c], -1).reshape(x.shape)
    if step.kind == "attend":
        q, k, v = given
        scaled = q * np.asarray(1 / sqrt(q.shape[-1]), dtype)
        scores = (wide(scaled) @ wide(k).swapaxes(-1, -2)).astype(dtype)
        scores = np.where(np.tri(len(scores[0, 0]), dtype=bool), wide(scores), -np.inf)
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        return (wide((powers / powers.sum(-1, keepdims=True)).astype(dtype)) @ wide(v)).astype(dtype)
    a, b = given
    return a * (1 / (1 + np.exp(-a))) * b


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_bounds_hold_where_every_operation_rounds(dtype: str) -> None:
    for step in steps(dtype):
        got = every_operation_rounds(step, DTYPES[dtype])
        assert got.dtype == DTYPES[dtype]
        headroom = np.abs(got.astype(np.float64) - step.output) / llama_bounds.of(step, dtype)
        assert 0 < headroom.max() <= 1, step.kind


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_bound_of_attention_holds_for_large_scores(dtype: str) -> None:
    """Where the errors of scores decide: they are as large as the scores, and exponents of what is compared."""
    for size in (2, 3, 4, 6):
        given = [rounding.to_dtype(random(name, 1, 2, 6, 16) * size, dtype).astype(np.float64) for name in "qkv"]
        step = Step("", "attend", tuple(given), llama.attend(*given))
        got = every_operation_rounds(step, DTYPES[dtype]).astype(np.float64)
        assert (np.abs(got - step.output) <= llama_bounds.of(step, dtype)).all(), size


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bounds_do_not_hold_for_the_next_narrower_arithmetic(dtype: str) -> None:
    """As where a float32 product is of TF32's class, or a float16 one is rounded to bfloat16 on the way."""
    narrower = {"float32": "float16", "float16": "bfloat16"}[dtype]
    for step in steps(dtype):
        rounded = tuple(rounding.to_dtype(x, narrower).astype(np.float64) for x in step.inputs)
        got = llama.KINDS[step.kind].function(*rounded, **step.settings)
        assert (np.abs(got - step.output) > llama_bounds.of(step, dtype)).any(), step.kind


def test_the_bound_of_the_loss() -> None:
    logits, targets = random("logits", 20, 30) * 8, np.arange(20)
    exact, bound = llama.cross_entropy(logits, targets), llama_bounds.cross_entropy(logits, targets)
    single = logits.astype(np.float32)
    got = llama.cross_entropy(single, targets)
    assert got.dtype == np.float32
    assert 0 < abs(float(got) - exact) <= bound < 1e-5 * exact
    assert abs(float(llama.cross_entropy(single.astype(np.float16), targets)) - exact) > bound


def test_a_perturbation_moves_every_weight_by_one_unit() -> None:
    _, held = golden(False)
    wide = llama.wide(held)
    first, second = (llama_bounds.perturbed(wide, sample) for sample in (0, 1))
    for name, value in held.items():
        up = np.nextafter(value, np.float32(np.inf))
        down = np.nextafter(value, np.float32(-np.inf))
        moved = first[name].astype(np.float32)
        assert ((moved == up) | (moved == down)).mean() > 0.99  # below a power of two, units are half as large
        assert (moved != value).all()
        assert 0.3 < (first[name] > value).mean() < 0.7
        assert (first[name] != second[name]).any()
        assert (first[name] == llama_bounds.perturbed(wide, 0)[name]).all()


def test_the_bound_on_logits_is_four_times_the_largest_change_at_a_position() -> None:
    held = weights(TINY)
    exact = llama.logits(TINY, held, IDS)
    largest = np.zeros(exact.shape[:2])
    for sample in range(64):
        moved = llama.logits(TINY, llama_bounds.perturbed(held, sample), IDS)
        largest = np.maximum(largest, np.abs(moved - exact).max(-1))
    bound = llama_bounds.logits(TINY, held, IDS)
    assert bound.shape == exact.shape
    assert (bound == 4 * largest[..., None]).all()
    assert (bound > 0).all()


def test_the_bound_on_gradients_is_four_times_the_largest_change_of_each() -> None:
    held = weights(TINY)
    loss, exact = llama.gradients(TINY, held, IDS)
    largest = dict.fromkeys([*exact, "loss"], 0.0)
    for sample in range(64):
        moved_loss, moved = llama.gradients(TINY, llama_bounds.perturbed(held, sample), IDS)
        for name, value in (*moved.items(), ("loss", moved_loss)):
            largest[name] = max(largest[name], float(np.abs(value - ({**exact, "loss": loss})[name]).max()))
    bound = llama_bounds.gradients(TINY, held, IDS)
    assert {name: float(value.max()) for name, value in bound.items()} == {n: 4 * v for n, v in largest.items()}
    assert all((value == value.max()).all() for value in bound.values())


@pytest.mark.parametrize("tied", [False, True])
def test_every_golden_token_stands_out(tied: bool) -> None:
    """Further than two logits can move towards each other within the bound, so that every token is compared."""
    config, held = golden(tied)
    prompt = made(cases.PROMPT)
    ids = llama.generate(config, held, prompt, cases.GENERATED)
    assert ids.shape == (2, prompt.shape[1] + cases.GENERATED)
    logits = np.sort(llama.logits(config, held, ids), -1)
    bound = llama_bounds.logits(config, held, ids)[..., 0]
    assert (logits[..., -1] - logits[..., -2] > 2 * bound).all()


def test_the_bound_on_a_step_covers_rounding_and_no_more() -> None:
    weight, gradient = (random(name, 1000).astype(np.float32) for name in ("w", "g"))
    exact = weight.astype(np.float64) - 0.3 * gradient
    got = weight - np.float32(0.3) * gradient
    bound = llama_bounds.sgd_step(weight.astype(np.float64), gradient.astype(np.float64), np.zeros(1000), 0.3)
    assert (np.abs(got - exact) <= bound).all()
    assert (np.abs(got - exact) > bound / 4).any()
    assert (bound < 2.0**-22).all()


def test_words_are_made_of_every_bit() -> None:
    """Perturbations read single bits of the stream."""
    bits = np.unpackbits(words("tests/bits", 1000).view(np.uint8))
    assert abs(bits.mean() - 0.5) < 0.01
