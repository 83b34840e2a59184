"""Quantization of weights: how far are dequantized weights from the originals, and are the codes right?"""

from __future__ import annotations

import platform

import numpy as np

from touchstone.adapters.interface import Packed
from touchstone.golden import bounds, packing, quantized_bounds
from touchstone.golden.cases import quantized
from touchstone.suites import codes, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement
from touchstone.verdict.observation import Deviates, Observation


def _quantized(assay: Assay, weight: np.ndarray | None = None) -> Packed:
    weight = assay.golden("table") if weight is None else weight
    return assay.value(assay.ask(probes.quantize, layer="quantized_embedding", weight=weight, scheme=assay.scheme))


def _rows(assay: Assay, packed: Packed) -> np.ndarray:
    """Every row of the packed table, by lookup."""
    ids = np.arange(len(packed.weight), dtype=np.int32)
    return assay.value(assay.ask(probes.call, layer="quantized_embedding", weight=packed, inputs=ids))


def _refuses_the_range(assay: Assay) -> bool:
    """Whether the target refuses the table.

    It may where the range of a group, with the rounding of its scale, is more than the dtype can hold.
    """
    table, scheme = assay.golden("table"), assay.scheme
    groups = table.astype(np.float64).reshape(len(table), -1, scheme.group_size)
    dtype = table.dtype.name
    limit = bounds.LARGEST[dtype] * (1 - 4 * bounds.unit_roundoff(dtype))
    if (groups.max(-1) - groups.min(-1)).max() < limit:
        return False
    outcome = assay.ask(probes.quantize, layer="quantized_embedding", weight=table, scheme=scheme)
    told = outcome.behaviour in ("raises ValueError", "raises OverflowError") and "range" in outcome.message
    if not told:
        return False
    assay.behaves(outcome.behaviour, message=outcome.message)
    return True


@requirement("QNT-BOUND-1", quantized.BOUND_CASES)
def test_bound(assay: Assay) -> None:
    if not _refuses_the_range(assay):
        codes.assay_weights(assay, assay.golden("table"), _quantized(assay))


@requirement("QNT-HALF-1", quantized.HALF_CASES)
def test_half_a_step(assay: Assay) -> None:
    packed, table = _quantized(assay), assay.golden("table")
    codes.assay_weights(assay, table, packed, quantized_bounds.documented(table, codes.form_of(packed)))


@requirement("QNT-MEAN-1", quantized.ORDINARY_CASES)
def test_mean_signed_error(assay: Assay) -> None:
    codes.assay_mean_error(assay, assay.golden("table"), _quantized(assay))


def assay_parts(assay: Assay, weight: np.ndarray, got: Packed, want: Packed, source: str, *, elsewhere: bool) -> None:
    """Bit for bit what `source` made of the weights.

    elsewhere: on other hardware or by other operations, where codes may differ at ties, scales and biases by two ulps.
    """
    parts = quantized.parts_of(codes.form_of(want))
    for part in parts:
        found, wanted = getattr(got, part), getattr(want, part)
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise Deviates(Observation("wrong shape", False, message=f"{part}: {found.shape} {found.dtype}"))
    if all(getattr(got, part).tobytes() == getattr(want, part).tobytes() for part in parts):
        assay.behaves("same parts")
        return
    if want.biases is None:
        same_scales, ulps = got.scales.tobytes() == want.scales.tobytes(), 0.0
    else:
        same_scales, roundoff = True, bounds.unit_roundoff(got.scales.dtype.name)
        ulps = max(
            _relative_difference(getattr(got, p), getattr(want, p)) / (2 * roundoff) for p in ("scales", "biases")
        )
    share, excused = _compare_codes(weight, got, want)
    message = (
        f"{share:.3%} of codes differ from {source}, {excused:.0%} of those at a tie; "
        f"scales and biases by up to {ulps:.1f} ulp"
    )
    close = elsewhere and same_scales and excused == 1 and ulps <= 2
    assay.behaves("ties broken differently" if close else "other parts", conforms=close, message=message)


@requirement("QNT-CODES-1", quantized.ORDINARY_CASES)
def test_codes(assay: Assay) -> None:
    """Bit for bit where the recording was made."""
    facts = assay.bench.recorded[-1].manifest
    elsewhere = (assay.target.id, platform.machine()) != (facts["target"], facts["machine"])
    got, want = _quantized(assay), codes.recorded(assay)
    assay_parts(assay, assay.golden("table"), got, want, facts["target"], elsewhere=elsewhere)


def _relative_difference(got: np.ndarray, want: np.ndarray) -> float:
    wide = want.astype(np.float64)
    return float((np.abs(got.astype(np.float64) - wide) / np.maximum(np.abs(wide), np.finfo(np.float64).tiny)).max())


def _compare_codes(weight: np.ndarray, got: Packed, want: Packed) -> tuple[float, float]:
    """Share of codes that differ, and of those the share that differ by one at a tie of the exact quotient.

    Affine: the quotient (w - bias) / step is formed from the weights in float64; the quantizer's has the rounding of
    three float32 operations, 3 * 2**-24 of it. Block modes: w / scale, one operation; codes are counted in the order
    of their values, so that the two zeros are one.
    """
    form = codes.form_of(want)
    pair = [packing.unpack(p.weight, form.bits).reshape(*p.scales.shape, form.group_size) for p in (got, want)]
    wide = weight.astype(np.float64).reshape(pair[0].shape)
    if form.mode == "affine":
        quotient = quantized_bounds.affine_quotients(weight, form).reshape(pair[0].shape)
        error = 3 * 2.0**-24 * (np.abs(quotient) + 1)
        at_tie = np.abs(np.abs(quotient - np.floor(quotient)) - 0.5) <= error
        ranks = pair
    else:
        values = packing.values_of(form.element)
        ordered = np.unique(values[~np.isnan(values)])
        ranks = [np.searchsorted(ordered, values[code]) for code in pair]
        factors = packing.values_of(form.scale)[want.scales][..., None]
        middle = (values[pair[0]] + values[pair[1]]) / 2 * factors
        at_tie = np.abs(wide - middle) <= 2.0**-24 * np.abs(wide)
    differs = pair[0] != pair[1]
    steps = np.abs(ranks[0] - ranks[1])
    excused = differs & ((steps == 0) | (at_tie & (steps == 1)))
    return float(differs.mean()), float(excused.sum() / differs.sum()) if differs.any() else 1.0


@requirement("QNT-TIES-1", quantized.TIE_CASES)
def test_ties_go_to_the_even_code(assay: Assay) -> None:
    packed, table = _quantized(assay), assay.golden("table").astype(np.float64)
    values = packing.values_of(codes.form_of(packed).element)
    positive = values[: len(values) // 2]
    # The tables are made at scale 1, which nvfp4 stores as E4M3 and the mx modes as a power of two.
    want = np.copysign(packing.nearest(np.abs(table), positive[~np.isnan(positive)]), table)
    got = codes.dequantized(packed)
    even = got == want
    away = np.abs(got) > np.abs(want)
    message = f"of {even.size} ties {int((~even).sum())} go to the odd code, {int(away.sum())} of them away from zero"
    assay.behaves("to even" if even.all() else "not to even", conforms=bool(even.all()), message=message)


@requirement("QNT-LATTICE-1", quantized.LATTICE_CASES)
def test_lattice_points_survive(assay: Assay) -> None:
    table = assay.golden("table")
    packed = _quantized(assay)
    assay.same_bits(codes.dequantized(packed), table.astype(np.float64), "table", signed_zero=False)
    rows = _rows(assay, packed)
    assay.same_bits(rows, table.astype(rows.dtype), "table", signed_zero=False)
    again = _quantized(assay, table.astype(rows.dtype).astype(table.dtype))
    for part in quantized.parts_of(codes.form_of(packed)):
        assay.same_bits(getattr(again, part), getattr(packed, part))


@requirement("QNT-RANGE-1", quantized.RANGE_CASES)
def test_finite_weights_stay_finite(assay: Assay) -> None:
    """The rows that a lookup gives, so that the dequantizing arithmetic is seen as well as the parts."""
    if _refuses_the_range(assay):
        return
    table = assay.golden("table")
    packed = _quantized(assay)
    rows = _rows(assay, packed)
    exact, dtype = codes.dequantized(packed), codes.row_dtype(packed)
    # A code may stand for more than the dtype can hold; rounding there gives infinity by IEEE 754.
    bound = quantized_bounds.weights(table, codes.form_of(packed)) + codes.dequantization_bound(packed)
    if dtype != table.dtype.name:
        bound = bound + bounds.rounding(exact, dtype)
    beyond = np.abs(exact) > bounds.LARGEST[dtype]
    wide = rows.astype(np.float64)
    kept = np.where(beyond & np.isinf(wide) & (np.sign(wide) == np.sign(exact)), table.astype(np.float64), wide)
    lost = int((~np.isfinite(kept)).sum())
    if lost:
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(kept))[0])
        message = f"{lost} of {kept.size} finite weights come back infinite or NaN, first {table[index]!r} at {index}"
        raise Deviates(Observation("not finite", False, message=message, golden=assay.where("table")))
    assay.within(kept, table.astype(np.float64), bound, "float64", "table")


@requirement("QNT-NONFINITE-1", quantized.NONFINITE_CASES)
def test_infinity_and_nan_are_not_swallowed(assay: Assay) -> None:
    table = assay.golden("table")
    outcome = assay.ask(probes.quantize, layer="quantized_embedding", weight=table, scheme=assay.scheme)
    if outcome.kind == "raised":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    packed = assay.value(outcome)
    row, column = (int(i) for i in np.argwhere(~np.isfinite(table.astype(np.float32)))[0])
    rows = _rows(assay, packed).astype(np.float64)
    found = rows[row, column]
    group = rows[row].reshape(-1, assay.scheme.group_size)[column // assay.scheme.group_size]
    message = f"{table[row, column]!r} at {(row, column)} comes back as {found!r}; its group as {group[:4]}…"
    others = np.arange(rows.size).reshape(rows.shape) // assay.scheme.group_size
    others = others != others[row, column]
    clean = np.where(np.isfinite(table.astype(np.float32)), table, 0).astype(table.dtype)
    bound = quantized_bounds.weights(clean, codes.form_of(packed)) + codes.dequantization_bound(packed)
    error = np.abs(rows[others] - clean.astype(np.float64)[others])
    harmed = int((~(error <= np.broadcast_to(bound, rows.shape)[others])).sum())
    if harmed:
        message = f"{harmed} weights of other groups are beyond their bound"
        raise Deviates(Observation("harms other groups", False, message=message))
    told = not np.isfinite(found)
    behaviour = "finite number" if not told else "whole group" if not np.isfinite(group).any() else "kept"
    assay.behaves(behaviour, conforms=told, message=message)


@requirement("QNT-TINY-1", quantized.TINY_CASES)
def test_tiny_weights(assay: Assay) -> None:
    table = assay.golden("table").astype(np.float64)
    values = codes.dequantized(_quantized(assay))
    ratio = np.abs(values).max() / np.abs(table).max()
    message = f"largest weight {np.abs(table).max():.3g} comes back as {np.abs(values).max():.3g}"
    # Half or twice the largest weight is as far as one code of the coarsest width can take it.
    kept = 0.5 <= ratio <= 2
    assay.behaves("kept" if kept else "zero" if ratio == 0 else "another magnitude", message=message)


@requirement("QNT-DRIFT-1", quantized.ORDINARY_CASES)
def test_drift_of_a_second_pass(assay: Assay) -> None:
    """quantize(dequantize(q)) by the target's own lookup, in the table's dtype."""
    first = _quantized(assay)
    rows = _rows(assay, first).astype(assay.golden("table").dtype)
    second = _quantized(assay, rows)
    form = codes.form_of(first)
    if all(getattr(first, p).tobytes() == getattr(second, p).tobytes() for p in quantized.parts_of(form)):
        assay.behaves("same parts")
        return
    before, after = codes.dequantized(first), codes.dequantized(second)
    changed = float((before != after).mean())
    steps = np.abs(after - before) / quantized_bounds.step_per_element(rows, form)
    message = f"{changed:.1%} of weights change, by up to {steps.max():.3f} step"
    if not changed:
        assay.behaves("same weights", message=message)
        return
    assay.behaves("drifts beyond a step" if steps.max() > 1 else "drifts within a step", message=message)
