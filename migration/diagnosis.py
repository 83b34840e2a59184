"""Why a tensor is not what its source says: one cause, named, the most telling first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from touchstone.golden.packing import Format
from touchstone.migration import hypotheses
from touchstone.migration.bounds import SIGNIFICAND
from touchstone.migration.comparing import ELEMENTS, Compared, How, how, source_rows
from touchstone.migration.hypotheses import AGREES, Cause, Sample
from touchstone.migration.leaning import Lean
from touchstone.migration.mapping import variations
from touchstone.migration.mapping.expressions import Add, before_fusion, read_as
from touchstone.migration.pairing import Pair, Pairing
from touchstone.migration.parameters import named

_FEW = 1e-3
"""Share of elements up to which a difference is damage to single elements."""


def shape_of(pair: Pair, vocabulary: int | None) -> Cause | None:
    """Why the shape is another one; None where it is not. vocabulary: the target's configuration's `vocab_size`."""
    want, have = pair.wanted_shape, pair.target.shape
    if want == have:
        return None
    sizes = f"{_spell(have)} instead of {_spell(want)}"
    if pair.target.is_packed and want[:-1] == have[:-1]:
        return Cause("bits read as another width", f"no bits and group size give its parts {want[-1]} columns: {sizes}")
    if len(want) == len(have) >= 1 and want[1:] == have[1:]:
        kind = "table" if pair.is_table else "tensor"
        if have[0] < want[0] and pair.rule is not None and pair.rule.over is not None:
            return Cause("expert lost", f"{sizes}: {want[0] - have[0]} of its source's {want[0]} are missing")
        if have[0] < want[0]:
            return Cause(f"{kind} truncated", f"{sizes}: its source's last {want[0] - have[0]} rows are missing")
        some = max(1, ELEMENTS // int(np.prod(have[1:], dtype=np.int64)))
        extra = pair.target.rows(want[0], min(have[0], want[0] + some))
        filled = "not zero" if extra.astype(np.float64).any() else "zero"
        text = f"{sizes}: {have[0] - want[0]} rows more, which are {filled}"
        if pair.is_table and have[0] == vocabulary:
            return Cause("padded as configured", f"{text}; its configuration has vocab_size {vocabulary}")
        return Cause(f"{kind} padded", text)
    if have == want[::-1]:
        what = "not transposed" if pair.transposed else "transposed"
        return Cause(what, f"{sizes}")
    if np.prod(want) == np.prod(have):
        return Cause("reshaped", f"{sizes}: as many elements in another shape")
    return Cause("wrong shape", sizes)


def cause(pair: Pair, compared: Compared, pairing: Pairing, rows: int) -> Cause:
    """The first idea that explains the difference. rows: how many of the target have one of the source."""
    target, source = pair.target, pair.source
    kind = how(source, target)
    if kind == "kinds differ":
        return _kinds(pair)
    if kind == "no bound":
        return Cause("no bound", f"no bound is derived for {target.encoding}; compare the tensor it was made from")
    if not compared.beyond and compared.lean.is_too_far:
        return _leaning(compared.lean)
    if counted := _counted(compared):
        return counted
    sample = Sample.of(pair, compared, rows)
    ideas: tuple[Callable[[], Cause | None], ...] = (
        lambda: _adapter(pair, sample),
        lambda: _of_rule(pair, pairing, kind, sample),
        lambda: hypotheses.misplaced_rows(pair, compared),
        lambda: hypotheses.orientation(pair, sample),
        lambda: hypotheses.rotation(pair),
        lambda: hypotheses.sign(pair, sample),
        lambda: hypotheses.row_shift(pair, sample, compared),
        lambda: _dropped_head(pair, pairing),
        lambda: hypotheses.another(pair, pairing, sample),
        lambda: hypotheses.parts(pair, pairing, sample),
        lambda: variations.cause(pair, pairing, sample, pairing.heads) if pair.rule is None else None,
        lambda: _width(pair),
        lambda: _scales_forgotten(pair, sample),
        lambda: _arithmetic(pair, kind, sample),
    )
    found = next((c for idea in ideas if (c := idea())), None)
    if found:
        return found
    if stale := _stale_head(pair, pairing, sample):
        return stale
    return _unexplained(pair, compared, kind, sample)


def _of_rule(pair: Pair, pairing: Pairing, kind: How, sample: Sample) -> Cause | None:
    """What a tensor that is made by a rule holds instead."""
    if pair.rule is None:
        return None
    if found := variations.cause(pair, pairing, sample, pairing.heads):
        return found
    added = next((s.value for s in pair.rule.steps if isinstance(s, Add)), 0.0)
    found = _arithmetic(pair, kind, sample) if added else None
    if found and found.behaviour == "offset":
        forgotten = f"{-added:+.6g}" in found.text
        kind_of = "forgotten" if forgotten else "added twice" if f"{added:+.6g}" in found.text else ""
        return Cause(f"{added:g} {kind_of}", f"{found.text}; {pair.rule}") if kind_of else found
    return None


def _kinds(pair: Pair) -> Cause:
    source, target = pair.source, pair.target
    if target.dtype == "uint32" and not target.is_packed:
        return Cause(
            "bits read as another width",
            f"words {_spell(target.shape)} whose scales fit no bits and group size for {_spell(source.shape)}",
        )
    return Cause("wrong dtype", f"{target.dtype} for {source.dtype}")


def _leaning(lean: Lean) -> Cause:
    text = f"every value is within its bound, yet they are {lean.mean:+.3f} steps from their weights on average"
    return Cause("codes lean to one side", f"{text}, beyond {lean.most:.3f}, as where offsets were moved")


def _counted(compared: Compared) -> Cause | None:
    """What counts alone tell."""
    size, beyond = compared.elements, compared.beyond
    if size and compared.nan_target == size:
        return Cause("NaN everywhere", f"all {size:,} elements are NaN")
    if size and compared.zeros == size:
        return Cause("zeros everywhere", f"all {size:,} elements are zero, as where nothing was loaded")
    if compared.infinite == beyond:
        return Cause("overflow to infinity", f"{beyond:,} of {size:,} elements are infinite, beyond the dtype's range")
    if compared.nan == beyond:
        return Cause("NaN", f"{beyond:,} of {size:,} elements are NaN, their source's are not")
    return None


def _arithmetic(pair: Pair, kind: str, sample: Sample) -> Cause | None:
    """The source's values, changed by a rule."""
    if pair.target.encoding:
        return None
    want, got = _sampled(pair, sample)
    for narrow in ("bfloat16", "float16"):
        if SIGNIFICAND.get(narrow) == SIGNIFICAND.get(pair.target.dtype) or kind not in ("bits", "rounded"):
            continue
        with np.errstate(over="ignore"):
            nearest = want.astype(named(pair.target.dtype)).astype(np.float64)
            rounded = want.astype(named(narrow)).astype(named(pair.target.dtype)).astype(np.float64)
        if (rounded != nearest).any() and np.mean(got == rounded) >= AGREES:
            return Cause("rounded on the way", f"every value went through {narrow} before it was {pair.target.dtype}")
    if kind == "rounded":
        unit = np.ldexp(1.0, np.frexp(want)[1] - SIGNIFICAND[pair.target.dtype])
        if np.mean(got == np.trunc(want / unit) * unit) >= AGREES:
            return Cause("truncated, not rounded", f"every value was cut off to {pair.target.dtype}, towards zero")
    finite = np.isfinite(got) & np.isfinite(want)
    if finite.sum() < 2:
        return None
    want, got = want[finite], got[finite]
    offset = float(np.median(got - want))
    tolerance = 2.0 ** (2 - SIGNIFICAND.get(pair.target.dtype, 8))
    if offset and np.mean(np.abs(got - want - offset) <= tolerance * (np.abs(want) + abs(offset))) >= AGREES:
        return Cause("offset", f"every value is {offset:+.6g} from its source's")
    nonzero = np.abs(want) > np.abs(want).max() * 1e-3
    factor = float(np.median(got[nonzero] / want[nonzero])) if nonzero.any() else 1.0
    if abs(factor - 1) > tolerance and np.mean(np.abs(got - factor * want) <= 2 * tolerance * np.abs(got)) >= AGREES:
        return Cause("scaled", f"every value is {factor:.6g} times its source's")
    return None


def _sampled(pair: Pair, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Source and target values on the sample, float64, flat."""
    want = [source_rows(pair, a, b).astype(np.float64).reshape(-1) for a, b in sample.blocks]
    got = [pair.target.rows(a, b).astype(np.float64).reshape(-1) for a, b in sample.blocks]
    return np.concatenate(want), np.concatenate(got)


def _adapter(pair: Pair, sample: Sample) -> Cause | None:
    """How many times an adapter was added to its base: not, twice, or by another scale."""
    if not pair.source.fusion:
        return None
    want, got = _sampled(pair, sample)
    base, _ = _sampled(replace(pair, source=read_as(before_fusion, pair.source)), sample)
    delta, finite = want - base, np.isfinite(got)
    delta, more = delta[finite], (got - base)[finite]
    size = float(delta @ delta)
    if not size:
        return None
    times = float(delta @ more) / size
    rest = more - times * delta
    doubt = 0.02 + 5 * float(np.sqrt(rest @ rest / max(1, rest.size) / size))
    if abs(times - 1) <= doubt or rest @ rest > base @ base / 4:
        return None
    if abs(times) <= doubt:
        return Cause("adapter not added", "holds its base as it was before the adapter was added")
    said = "added twice" if abs(times - 2) <= doubt else "added at another scale"
    return Cause(f"adapter {said}", f"holds its base and {times:.3g} times what its adapter adds")


def _scales_forgotten(pair: Pair, sample: Sample) -> Cause | None:
    """Codes of FP8 that were written as numbers, without the scales that go with them."""
    if pair.source.encoding != "fp8" or pair.target.encoding:
        return None
    _, got = _sampled(pair, sample)
    codes = got.astype(named("float8_e4m3fn")).astype(np.float64)
    if np.mean(codes == got) < AGREES:
        return None
    return Cause("scales forgotten", "holds its source's codes as numbers, not multiplied by their scales")


def _width(pair: Pair) -> Cause | None:
    """Parts that have the size of one form, where the configuration says another, and hold the source in neither."""
    form, claimed = pair.target.form, pair.target.claimed
    if form is None or not isinstance(claimed, Format) or form == claimed:
        return None
    text = f"its parts have the size of {form.name}, its configuration says {claimed.name}, and no codes of either fit"
    return Cause("bits read as another width", text)


def _dropped_head(pair: Pair, pairing: Pairing) -> Cause | None:
    """A head of its own in the source, where the target has the table only."""
    if not pair.is_tied or pair.source.name != pairing.head[0]:
        return None
    return Cause(
        "untied head dropped", f"{pair.source.name} of the source is no copy of its table, and the target has no head"
    )


def _stale_head(pair: Pair, pairing: Pairing, sample: Sample) -> Cause | None:
    """A head that should be the table, and is not any more."""
    table, head = pairing.table[0], pairing.head[0]
    if pair.is_tied:
        return Cause("head untied and stale", f"the source ties its head to {table}; this copy has other values")
    if pair.source.name != head or table is None:
        return None
    own = pairing.source[table]
    if own.shape == pair.source.shape and all(
        np.array_equal(own.rows(a, b), pair.source.rows(a, b)) for a, b in sample.blocks
    ):
        return Cause("head untied and stale", f"the source's head is its table {table}; this copy has other values")
    return None


def _unexplained(pair: Pair, compared: Compared, kind: str, sample: Sample) -> Cause:
    share = compared.beyond / max(1, compared.elements)
    count = f"{compared.beyond:,} of {compared.elements:,} elements"
    if share <= _FEW:
        return Cause("elements changed", f"{count} are not their source's, the rest are")
    want, got = _sampled(pair, sample)
    finite = np.isfinite(want) & np.isfinite(got)
    want, got = want[finite], got[finite]
    if want.size > 1 and want.std() and got.std():
        likeness = float(np.corrcoef(want, got)[0, 1])
        if likeness > 0.5 and kind == "quantized":
            return Cause("beyond quantization bound", f"{count} are beyond; correlation with its source {likeness:.4f}")
        if likeness > 0.5:
            text = f"{count} differ; correlation with its source {likeness:.4f}: an older or further trained version?"
            return Cause("stale", text)
        return Cause("unrelated values", f"{count} differ; correlation with its source {likeness:.4f}")
    return Cause("other values", f"{count} differ")


def _spell(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
