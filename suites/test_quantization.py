"""Quantization: how far are dequantized weights from the originals, and are codes and products right?"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

import numpy as np

from adapters.interface import Packed
from golden import bounds, oracle
from golden.cases import quantized
from golden.store import GoldenError
from suites import affine, probes
from suites.assay import Assay
from suites.observation import Deviates, Observation
from suites.requirements import requirement


def _recorded(assay: Assay) -> Packed:
    """The parts that MLX made of this case's table, newest recording."""
    p = assay.params
    store = assay.bench.recorded[-1]
    words, scales, biases = (
        store[quantized.recorded(p["dtype"], p["bits"], p["group_size"], part)] for part in quantized.PARTS
    )
    return Packed(words, scales, biases, assay.scheme)


def _quantized(assay: Assay, layer: str = "quantized_embedding") -> Packed:
    outcome = assay.ask(probes.quantize, layer=layer, weight=assay.golden("table"), scheme=assay.scheme)
    return assay.value(outcome)


@requirement("QNT-BOUND-1", quantized.BOUND_CASES)
def test_one_step(assay: Assay) -> None:
    affine.assay_step_bound(assay, assay.golden("table"), _quantized(assay))


@requirement("QNT-HALF-1", quantized.BOUND_CASES)
def test_half_a_step(assay: Assay) -> None:
    affine.assay_step_bound(assay, assay.golden("table"), _quantized(assay), steps=0.5)


@requirement("QNT-MEAN-1", quantized.BOUND_CASES)
def test_mean_signed_error(assay: Assay) -> None:
    affine.assay_mean_error(assay, assay.golden("table"), _quantized(assay))


@requirement("QNT-CODES-1", quantized.CODE_CASES)
def test_codes(assay: Assay) -> None:
    """Bit for bit where the recording was made; elsewhere codes may differ at ties, scales and biases by two ulps."""
    got, want = _quantized(assay), _recorded(assay)
    for part in quantized.PARTS:
        found, wanted = getattr(got, part), getattr(want, part)
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise Deviates(Observation("wrong shape", False, message=f"{part}: {found.shape} {found.dtype}"))
    if all(getattr(got, part).tobytes() == getattr(want, part).tobytes() for part in quantized.PARTS):
        assay.behaves("same parts")
        return
    facts = assay.bench.recorded[-1].manifest
    elsewhere = (assay.target.id, platform.machine()) != (facts["target"], facts["machine"])
    roundoff = bounds.unit_roundoff(got.scales.dtype.name)
    ulps = max(_relative_difference(getattr(got, p), getattr(want, p)) / (2 * roundoff) for p in ("scales", "biases"))
    share, excused = _compare_codes(assay.golden("table"), got, want)
    message = (
        f"{share:.3%} of codes differ from {facts['target']}, {excused:.0%} of those at a tie; "
        f"scales and biases by up to {ulps:.1f} ulp"
    )
    close = elsewhere and excused == 1 and ulps <= 2
    assay.behaves("ties broken differently" if close else "other parts", conforms=close, message=message)


def _relative_difference(got: np.ndarray, want: np.ndarray) -> float:
    wide = want.astype(np.float64)
    return float((np.abs(got.astype(np.float64) - wide) / np.maximum(np.abs(wide), np.finfo(np.float64).tiny)).max())


def _compare_codes(weight: np.ndarray, got: Packed, want: Packed) -> tuple[float, float]:
    """Share of codes that differ, and of those the share that differ by one at a tie of the exact quotient.

    The quotient (w - bias) / scale is formed from the recorded parts; its rounding error in float32 is three
    operations' worth, 3 * 2**-24 |quotient|, plus what rounding scale and bias to the dtype moved it by.
    """
    bits, group = want.scheme.bits, want.scheme.group_size
    codes = [oracle.unpack(p.weight, bits).reshape(*p.scales.shape, group) for p in (got, want)]
    scales, biases = (np.asarray(a, np.float64)[..., None] for a in (want.scales, want.biases))
    quotient = (weight.astype(np.float64).reshape(codes[0].shape) - biases) / scales
    error = (3 * 2.0**-24 + 4 * bounds.unit_roundoff(weight.dtype.name)) * (np.abs(quotient) + 1)
    at_tie = np.abs(np.abs(quotient - np.floor(quotient)) - 0.5) <= error
    differs = codes[0] != codes[1]
    excused = differs & at_tie & (np.abs(codes[0] - codes[1]) == 1)
    return float(differs.mean()), float(excused.sum() / differs.sum()) if differs.any() else 1.0


@requirement("QNT-LOOKUP-1", quantized.LOOKUP_CASES)
def test_lookup(assay: Assay) -> None:
    packed, ids = _recorded(assay), assay.golden("ids")
    outcome = assay.ask(probes.call, layer="quantized_embedding", weight=packed, inputs=ids)
    affine.assay_lookup(assay, assay.value(outcome), packed, ids)


@requirement("QNT-LINEAR-1", quantized.LINEAR_CASES)
def test_products(assay: Assay) -> None:
    packed, x, layer = _recorded(assay), assay.golden("x"), assay.params["layer"]
    bias = assay.golden("bias") if layer == "quantized_linear" else None
    probe = probes.call if layer == "quantized_linear" else probes.as_linear
    outcome = assay.ask(probe, layer=layer, weight=packed, inputs=x, bias=bias)
    affine.assay_product(assay, assay.value(outcome), x, packed, bias)


@requirement("QNT-EXACT-1", quantized.EXACT_CASES)
def test_exact_products(assay: Assay) -> None:
    packed = Packed(assay.golden("weight"), assay.golden("scales"), assay.golden("biases"), assay.scheme)
    x, layer, dtype = assay.golden("x"), assay.params["layer"], assay.params["dtype"]
    probe = probes.call if layer == "quantized_linear" else probes.as_linear
    outcome = assay.ask(probe, layer=layer, weight=packed, inputs=x)
    exact = x.astype(np.float64) @ affine.dequantized(packed).T
    if np.abs(exact).max() >= bounds.LARGEST[dtype] or not exact.any():
        raise GoldenError(f"{assay.where('weight')}: these sums overflow {dtype} or vanish")
    assay.same_bits(assay.value(outcome), exact.astype(np.float32).astype(packed.scales.dtype), signed_zero=False)


@requirement("QNT-SAVE-1", quantized.SAVE_CASES)
def test_save_and_load(assay: Assay) -> None:
    table, layer = assay.golden("table"), assay.params["layer"]
    saved, other = (
        probes.build(assay.target.adapter, layer, weight, scheme=assay.scheme) for weight in (table, -2 * table[::-1])
    )
    with tempfile.TemporaryDirectory() as folder:
        saved.save(Path(folder) / "parts")
        other.load(Path(folder) / "parts")
    got, want = probes.packed_of(other, assay.scheme), probes.packed_of(saved, assay.scheme)
    for part in quantized.PARTS:
        assay.same_bits(getattr(got, part), getattr(want, part))
    x = np.ones((2, table.shape[1]), table.dtype)
    product = other.as_linear(x) if layer == "quantized_embedding" else other(x)
    affine.assay_product(assay, product, x, want, None)


@requirement("QNT-DIMS-1", quantized.INDIVISIBLE_CASES)
def test_indivisible_dims(assay: Assay) -> None:
    outcome = assay.ask(probes.quantize, layer=assay.params["layer"], weight=assay.golden("table"), scheme=assay.scheme)
    sizes = {str(assay.params["dims"]), str(assay.params["group_size"])}
    clear = outcome.kind == "raised" and any(size in outcome.message for size in sizes)
    if outcome.kind == "raised" and not clear:
        assay.behaves("unclear error", conforms=False, message=outcome.message)
    assay.behaves(outcome.behaviour, conforms=clear, message=outcome.message)
