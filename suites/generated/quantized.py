"""Generated quantized layers: weights to quantize, and packed parts of random bits, in every scheme.

Not drawn: ids of rank 0 or none at all, and inputs without rows, which some target's quantized layers refuse or do not
survive (QNT-LOOKUP-1, QNT-EMPTY-1, enumerated); groups at the ends of a dtype's range (QNT-RANGE-1, QNT-TINY-1); and in
mode nvfp4 an odd number of groups of 16 in a table (QNT-ONE-1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.interface import Capabilities
from touchstone.golden.cases import quantized
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case
from touchstone.golden.packing import Format
from touchstone.golden.recipes import Recipe
from touchstone.suites import codes, probes
from touchstone.suites.assay import Assay
from touchstone.suites.generated.drawn import Draw, Example, Property, form, layout, stream
from touchstone.suites.test_quantization import assay_parts
from touchstone.suites.test_quantized_layers import assay_given_gradient, assay_given_product, assay_rows, given_parts

SIZES = ((1, 2), (3, 1), (7, 2), (8, 3), (33, 1))
"""Rows and groups of parts: few, because a framework may compile for each shape."""
INPUTS: tuple[tuple[int, ...], ...] = ((1,), (5,), (2, 3))


def _needs(chosen: Format) -> tuple[str, ...]:
    return (f"scheme:{chosen.name}",)


def _weights(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    """Bell-shaped tables of different sizes, and the hard groups whose weights are of the size of trained ones."""
    chosen = form(draw, capabilities)
    rows, groups = draw(st.sampled_from(((2, 1), (4, 3), (16, 2))))
    kind = draw(st.sampled_from(("bell", "bell", "uniform", "one outlier", "one-sided", "straddling", "equal", "zero")))
    shape = (rows, groups * chosen.group_size)
    if kind in ("bell", "uniform"):
        options: dict[str, Any] = {"scale": 2.0 ** draw(st.integers(-6, 3))}
    else:
        kind, options = "groups", {"kind": kind}
    table = Recipe(kind, case.params["dtype"], shape, options, stream(draw))
    return Example({**chosen.params, "rows": rows}, {"table": table}, _needs(chosen))


def _ask_bound(assay: Assay) -> None:
    table = assay.golden("table")
    outcome = assay.ask(probes.quantize, layer="quantized_embedding", weight=table, scheme=assay.scheme)
    codes.assay_weights(assay, table, assay.value(outcome))


def _ask_codes(assay: Assay) -> None:
    """Against the parts that the reference, and every other target of the run, makes of the same weights.

    No oracle says which way a tie falls. Everywhere else an answer within one's bound, or of its bits, is within the
    others' too.
    """
    table = assay.golden("table")
    outcome = assay.ask(probes.quantize, layer="quantized_embedding", weight=table, scheme=assay.scheme)
    for peer in peers(assay):
        arguments = {"layer": "quantized_embedding", "weight": table, "scheme": assay.scheme}
        want = assay.value(assay.bench.ask(peer, probes.quantize, arguments))
        assay_parts(assay, table, assay.value(outcome), want, peer.id, elsewhere=True)


def peers(assay: Assay) -> list[Target]:
    """The reference, and the other targets of the run that can answer the same."""
    able = [t for t in assay.bench.targets if not t.unavailable and t.cls.capabilities.unmet(assay.case.needs) is None]
    everyone = {target.id: target for target in (registry.default("reference"), *able)}
    return [target for name, target in everyone.items() if name != assay.target.id]


SCALES = {"E8M0": (120, 130), "E4M3": (16, 64)}
"""Encoded scales, by format: from, up to."""


def _parts(draw: Draw, dtype: str, chosen: Format, rows: int, columns: int) -> dict[str, Recipe]:
    recipes = quantized.random_parts(dtype, chosen, rows, columns, SCALES)
    return {part: replace(recipe, stream=stream(draw)) for part, recipe in recipes.items()}


def _lookup(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    chosen, (rows, groups) = form(draw, capabilities), draw(st.sampled_from(SIZES))
    columns = groups * chosen.group_size
    shape = draw(st.sampled_from(INPUTS))
    count = int(np.prod(shape))
    values = draw(st.lists(st.integers(0, rows - 1), min_size=count, max_size=count))
    # Of the blocks that are looked up, ids times groups, an odd number is a case of its own (QNT-LOOKUP-1, nvfp4).
    arrays = _parts(draw, case.params["dtype"], chosen, rows, columns)
    arrays["ids"] = Recipe("values", "int32", shape, {"values": tuple(values)})
    blocks = "odd" if count * groups % 2 else "even"
    return Example({**chosen.params, "rows": rows, "k": columns, "blocks": blocks}, arrays, _needs(chosen))


def _ask_lookup(assay: Assay) -> None:
    assay_rows(assay, given_parts(assay))


def _product(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    chosen, (rows, groups), dtype = form(draw, capabilities), draw(st.sampled_from(SIZES)), case.params["dtype"]
    columns, leading = groups * chosen.group_size, draw(st.sampled_from(INPUTS))
    arrays = _parts(draw, dtype, chosen, rows, columns)
    arrays["x"] = Recipe("uniform", dtype, (*leading, columns), {}, stream(draw))
    if case.params["layer"] == "quantized_linear" and draw(st.booleans()):
        arrays["bias"] = Recipe("uniform", dtype, (rows,), {}, stream(draw))
    strided = ("inner strided", "strided")
    params = {
        **chosen.params,
        "n": rows,
        "k": columns,
        "x_layout": layout(draw, capabilities, strided if len(leading) == 1 else ()),
        "parts_layout": layout(draw, capabilities, strided),
    }
    needs = (need for name in ("x_layout", "parts_layout") for need in LAYOUT_NEEDS[params[name]])
    return Example(params, arrays, (*_needs(chosen), *needs))


def _ask_product(assay: Assay) -> None:
    assay_given_product(assay, assay.params["x_layout"], assay.params["parts_layout"])


def _gradient(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    chosen, (rows, groups), dtype = form(draw, capabilities), draw(st.sampled_from(SIZES)), case.params["dtype"]
    columns, count = groups * chosen.group_size, draw(st.sampled_from((1, 5)))
    arrays = _parts(draw, dtype, chosen, rows, columns)
    arrays["x"] = Recipe("uniform", dtype, (count, columns), {}, stream(draw))
    arrays["cotangent"] = Recipe("uniform", dtype, (count, rows), {}, stream(draw))
    return Example({**chosen.params, "n": columns, "k": rows}, arrays, _needs(chosen))


SHARE = 4
"""One example in four of the others' number: JAX compiles for each scheme and shape, a tenth of a second or more."""
BOUND = Property("quantized weights", "QNT-BOUND-1", _weights, _ask_bound, share=SHARE)
CODES = Property("codes of two targets", "QNT-CODES-1", _weights, _ask_codes, share=SHARE)
LOOKUP = Property("quantized rows", "QNT-LOOKUP-1", _lookup, _ask_lookup, share=SHARE)
PRODUCT = Property("quantized products", "QNT-LINEAR-1", _product, _ask_product, share=SHARE)
GRADIENT = Property("quantized input gradients", "GRAD-QUANT-2", _gradient, assay_given_gradient, share=SHARE)
PROPERTIES = (BOUND, CODES, LOOKUP, PRODUCT, GRADIENT)
