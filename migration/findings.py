"""The verdict on every tensor: what it shows, whether it conforms, and a sentence for who reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from touchstone.migration import diagnosis, hypotheses
from touchstone.migration.comparing import Compared, How, how
from touchstone.migration.conventions import Name
from touchstone.migration.hypotheses import Sample
from touchstone.migration.lora import LORA
from touchstone.migration.mapping.rules import COMPUTED, NORMALIZED
from touchstone.migration.pairing import Alone, Pair, Pairing
from touchstone.migration.parameters import Parameter

PAIRED, VALUES, QUANTIZED, HEAD, CONFIGURED = "MIG-PAIR-1", "MIG-VALUES-1", "MIG-QUANT-1", "MIG-HEAD-1", "MIG-CONFIG-1"
COMPARED = (VALUES, QUANTIZED, HEAD)
"""Requirements on values."""
REQUIREMENTS = (PAIRED, VALUES, QUANTIZED, HEAD, CONFIGURED)

_SHOWS: Mapping[How, str] = {
    "bits": "exact",
    "rounded": "rounded",
    "widened": "exact",
    "quantized": "quantized",
    "dequantized": "dequantized",
    "values": "exact",
}
_COMPUTED = {
    COMPUTED: "within the rounding of a function",
    NORMALIZED: "within the rounding of its length",
    LORA: "within the rounding of the sum with its adapter",
}
"""Encodings of sources that are computed -> what is asked of the target."""
_MOST_COMPARED = 64
"""Unpaired tensors whose values are tried for another that has no partner."""


@dataclass(frozen=True)
class Finding:
    """One tensor's verdict. behaviour, headroom, error, bound, worst_index: as in an observation."""

    behaviour: str
    conforms: bool
    message: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    headroom: float | None = None
    error: float | None = None
    bound: float | None = None
    worst_index: tuple[int, ...] | None = None


def requirement_of(pair: Pair) -> str:
    """The requirement that a pair is asked under: `HEAD` of a tied one, `QUANTIZED`, or `VALUES`."""
    if pair.is_tied:
        return HEAD
    return QUANTIZED if how(pair.source, pair.target) == "quantized" else VALUES


def of_pair(pair: Pair, compared: Compared, pairing: Pairing, rows: int, vocabulary: int | None) -> Finding:
    """The verdict on a pair of which `rows` rows were compared."""
    facts: dict[str, Any] = {"dtype": pair.target.dtype, "shape": pair.target.shape}
    worst = compared.worst
    if worst:
        facts |= {"headroom": worst.ratio, "error": worst.error, "bound": worst.bound, "worst_index": worst.index}
    kind = how(pair.source, pair.target)
    shape = diagnosis.shape_of(pair, vocabulary) if kind != "kinds differ" else None
    values = None
    if not compared.conforms or (compared.elements and compared.nan_target == compared.elements):
        values = diagnosis.cause(pair, compared, pairing, rows)
    story = _story(pair, kind)
    if shape and shape.behaviour != "padded as configured":
        rest = f"; what both have differs too: {values.text}" if values else ""
        return Finding(shape.behaviour, False, f"{shape.text}{rest}; {story}", **facts)
    if values:
        return Finding(values.behaviour, False, f"{values.text}; {_at(compared)}{story}", **facts)
    padded = f"{shape.text}; " if shape else ""
    shown = "tied" if pair.is_tied else shape.behaviour if shape else _SHOWS[kind]
    shown = "rounded" if pair.source.encoding in _COMPUTED and shown == "dequantized" else shown
    if kind in ("bits", "widened", "values"):
        facts.setdefault("headroom", 0.0)
    lean = f", {compared.lean.mean:+.3f} steps from its weights on average" if compared.lean.count else ""
    return Finding(shown, True, f"{padded}{story}{lean}", **facts)


def _at(compared: Compared) -> str:
    worst = compared.worst
    if worst is None:
        return ""
    return f"worst element at {worst.index}: {worst.got!r} for {worst.want!r}, bound {worst.bound:.3g}; "


def _story(pair: Pair, kind: How) -> str:
    """How the pair was found and what was asked of it."""
    source, target = pair.source, pair.target
    stored = [p.encoding or p.dtype for p in (source, target)]
    stored[1:1] = [pair.through] * bool(pair.through)
    what = stored[0] if stored[0] == stored[-1] else " to ".join(stored)
    ways = ["transposed"] * pair.transposed + [f"rows permuted for {pair.rope} RoPE"] * bool(pair.rope)
    asks: Mapping[How, str] = {
        "bits": "bit for bit",
        "rounded": "rounded once to nearest",
        "widened": "without a change",
        "quantized": "within the bound of its own scales",
        "dequantized": _COMPUTED.get(source.encoding, "as its source's codes say"),
        "values": "without a change",
    }
    asked = asks.get(kind, "not comparable")
    return f"from {source.name} by {pair.how}; {', '.join([what, *ways, asked])}"


def of_alone(alone: Alone, pairing: Pairing) -> Finding:
    """The verdict on a tensor without a partner."""
    parameter, other = alone.parameter, "target" if alone.side == "source" else "source"
    facts: dict[str, Any] = {"dtype": parameter.dtype, "shape": parameter.shape}
    if alone.reason:
        return Finding("left out", True, f"{parameter.name} has no partner in the {other}: {alone.reason}", **facts)
    text = f"{parameter.name} {list(parameter.shape)} of the {alone.side} has no partner in the {other}"
    name = Name.of(parameter.name)
    if alone.side == "source" and name.leaf == "bias" and _sibling_is_paired(parameter, pairing):
        return Finding("bias dropped", False, f"{text}, though its weight has one", **facts)
    near = _nearest(alone, pairing)
    hint = f"; {near}" if near else ""
    return Finding(
        "missing" if alone.side == "source" else "unexpected",
        False,
        f"{text}{hint}; if it is made of others, or makes others, say so in a --map FILE (docs/migration.md)",
        **facts,
    )


def _sibling_is_paired(parameter: Parameter, pairing: Pairing) -> bool:
    stem = parameter.name[: -len("bias")]
    return any(f"{stem}{leaf}" in pairing.by_source for leaf in ("weight", "kernel", "scale", "embedding"))


def _nearest(alone: Alone, pairing: Pairing) -> str:
    """Unpaired tensors of the other side with this shape: the one with these values, or the first few."""
    own = alone.parameter
    others = [a.parameter for a in pairing.alone if a.side != alone.side and not a.reason]
    others = [p for p in others if p.shape in (own.shape, own.shape[::-1])]
    for other in others[:_MOST_COMPARED]:
        pair = Pair(*((own, other) if alone.side == "source" else (other, own)), "its values")
        for tried in (pair, replace(pair, transposed=True)) if len(own.shape) == 2 else (pair,):
            if (
                own.length
                and tried.wanted_shape == tried.target.shape
                and hypotheses.explains(tried, Sample.ends(tried))
            ):
                turned = ", transposed" if tried.transposed else ""
                return f"{other.name} has its values{turned}"
    return f"of its shape there is {', '.join(p.name for p in others[:3])}" if others else ""


def vocabulary_of(config: Mapping[str, Any]) -> int | None:
    """Rows of the token table by ``vocab_size`` of a configuration; None where it holds no integer of that name."""
    size = config.get("vocab_size")
    return size if isinstance(size, int) and not isinstance(size, bool) else None
