"""Is what does not fit a layer refused, by an error that callers can name, and is the layer left as it was?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from touchstone.adapters.interface import Layer
from touchstone.adapters.isolation.outcome import Outcome, ended
from touchstone.golden.cases import refusals
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("REFUSE-SHAPE-1", refusals.SHAPE_CASES)
def test_a_last_axis_that_does_not_match(assay: Assay) -> None:
    layer, weight, dtype = assay.params["layer"], assay.golden("weight"), assay.params["dtype"]
    x = np.ones(refusals.SHAPES[assay.params["x"]](weight.shape[1]), DTYPES[dtype])
    probe = probes.call if assay.params["method"] == "call" else probes.as_linear
    parts: dict[str, Any] = {"scheme": assay.scheme} if layer.startswith("quantized") else {}
    outcome = assay.ask(probe, layer=layer, weight=weight, inputs=x, **parts)
    if outcome.kind == "value":
        assay.behaves("not refused", conforms=False, message=f"x {x.shape} gives {outcome.value.shape}")
    assay.behaves(outcome.behaviour, conforms=outcome.kind == "raised", message=outcome.message)


def _layer(assay: Assay, rows: int = 5, columns: int = 3, bias: bool = True, first: float = 0.0) -> Layer:
    values = np.arange(first, first + rows * columns, dtype=np.float32).reshape(rows, columns)
    return assay.adapter.layer("linear", values, bias=np.arange(rows, dtype=np.float32) if bias else None)


def _misfit(assay: Assay, file: str) -> tuple[Layer, Layer]:
    """(the layer that is to load, the layer that saved)."""
    other: dict[str, dict[str, Any]] = {
        "missing": {"bias": False},
        "surplus": {},
        "longer": {"rows": 6},
        "wider": {"columns": 4},
        "transposed": {"rows": 3, "columns": 5},
    }
    return _layer(assay, bias=file != "surplus"), _layer(assay, first=100.0, **other[file])


def _misshapen(assay: Assay) -> tuple[Layer, Layer]:
    """The same of layers that have one parameter each, of which that in the file has another shape."""
    weights = (
        np.arange(first, first + rows * columns, dtype=np.float32).reshape(rows, columns)
        for first, (rows, columns) in ((0, (5, 3)), (100, refusals.MISFITS[assay.params["shape"]]))
    )
    layer, saved = (assay.adapter.layer(assay.params["layer"], weight) for weight in weights)
    return layer, saved


def _loaded(assay: Assay, strict: bool) -> tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(how the load ended, the layer's parameters before, and after)."""
    layer, saved = _misshapen(assay) if "shape" in assay.params else _misfit(assay, assay.params["file"])
    before = probes.by_role(layer, layer.parameters())
    how = {} if strict else {"strict": False}
    how_ended = ended(lambda: probes.hand_over(saved, layer, **how))
    return how_ended, before, probes.by_role(layer, layer.parameters())


@requirement("REFUSE-FILE-1", refusals.FILE_CASES)
def test_a_file_that_does_not_fit(assay: Assay) -> None:
    ended, before, after = _loaded(assay, strict=True)
    if not ended:
        shapes = {role: value.shape for role, value in after.items()}
        assay.behaves("not refused", conforms=False, message=f"the layer holds {shapes}")
    changed = [role for role, value in before.items() if after[role].tobytes() != value.tobytes()]
    told = f"{ended}, and changes {', '.join(changed)}" if changed else ended
    assay.behaves(told, conforms=not changed)


@requirement("REFUSE-FILE-2", refusals.LENIENT_CASES)
def test_a_file_that_fits_in_part(assay: Assay) -> None:
    ended, before, after = _loaded(assay, strict=False)
    if ended:
        assay.behaves(ended)
        return
    changed = sorted(role for role in before if after[role].tobytes() != before[role].tobytes())
    other = sorted(role for role in before if after[role].shape != before[role].shape)
    assay.behaves(f"other shape: {', '.join(other)}" if other else f"takes {', '.join(changed) or 'nothing'}")


def _asking(probe: Callable[..., Any], layer: str, inputs: Any) -> Callable[[Assay], str]:
    def ask(assay: Assay) -> str:
        return _told(assay.ask(probe, layer=layer, weight=assay.golden("weight"), inputs=inputs))

    return ask


def _told(outcome: Outcome) -> str:
    return str(outcome.behaviour) if outcome.kind == "raised" else "not refused"


def _file(file: str) -> Callable[[Assay], str]:
    def ask(assay: Assay) -> str:
        layer, saved = _misfit(assay, file)
        return ended(lambda: probes.hand_over(saved, layer)) or "not refused"

    return ask


def _quantize(assay: Assay) -> str:
    weight = np.ones((4, 33), np.float32)
    return _told(assay.ask(probes.quantize, layer="quantized_embedding", weight=weight, scheme=assay.scheme))


_X = np.ones((2, refusals.DIMS + 1), np.float32)
WRONG: dict[str, Callable[[Assay], str]] = {
    "id beyond the table": _asking(probes.call, "embedding", np.array([0, refusals.ROWS], np.int32)),
    "id below the table": _asking(probes.call, "embedding", np.array([0, -refusals.ROWS - 1], np.int32)),
    "raw id beyond the table": _asking(probes.call, "raw_lookup", np.array([0, refusals.ROWS], np.int32)),
    "float ids": _asking(probes.call, "embedding", np.array([0.0, 1.0], np.float32)),
    "x of another size": _asking(probes.call, "linear", _X),
    "head's x of another size": _asking(probes.as_linear, "embedding", _X),
    "x of rank 0": _asking(probes.call, "linear", np.array(1.0, np.float32)),
    "dims that do not divide": _quantize,
    "a file that lacks a parameter": _file("missing"),
    "a file of another shape": _file("longer"),
}


@requirement("REFUSE-KIND-1", refusals.KIND_CASES)
def test_the_kind_of_error(assay: Assay) -> None:
    assay.behaves(WRONG[assay.params["what"]](assay))
