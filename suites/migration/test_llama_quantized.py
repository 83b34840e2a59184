"""A quantized Llama: are its 4-bit weights within bound, a tied table still one, its logits right?"""

from __future__ import annotations

import numpy as np

from touchstone.adapters.interface import Packed
from touchstone.golden import llama, llama_bounds, quantized_bounds
from touchstone.golden.cases import llama as cases
from touchstone.suites import codes
from touchstone.suites.assay import Assay
from touchstone.suites.migration import llamas
from touchstone.suites.requirements import requirement


def _assay_logits(assay: Assay, got: np.ndarray, parts: dict[str, np.ndarray]) -> None:
    """Logits of a quantized model against float64 on the exact values of its packed weights."""
    given = (llamas.config(assay), llamas.dense(parts), assay.golden("ids"))
    assay.within(got, llama.logits(*given), llama_bounds.logits(*given), "float32")


@requirement("LLAMA-QUANT-1", cases.QUANTIZE_CASES)
def test_quantizing_the_model(assay: Assay) -> None:
    made = llamas.shared_model(assay).quantized(llamas.SCHEME)
    parts = llamas.by_meta(assay, made.parameters())
    want = {n for n in cases.PACKED if not (llamas.config(assay).tied and n.startswith("output."))}
    message = f"missing {sorted(want - parts.keys())}, unexpected {sorted(parts.keys() - want)}"
    assay.behaves(
        "quantized" if parts.keys() == want else "other parts", conforms=parts.keys() == want, message=message
    )
    for name, value in llamas.packed(parts).items():
        if isinstance(value, Packed):
            original, exact = assay.golden(name), codes.dequantized(value)
            bound = quantized_bounds.weights(original, codes.form_of(value))
            assay.within(exact, original.astype(np.float64), bound, "float64", name)
    _assay_logits(assay, made.logits(assay.golden("ids")), parts)


@requirement("LLAMA-QUANT-2", cases.PACKED_CASES)
def test_packed_weights(assay: Assay) -> None:
    """The same words, scales and biases in every target."""
    parts = {name: assay.golden(name) for name in assay.case.arrays if name != "ids"}
    made = llamas.model(assay, llamas.packed(parts))
    held = llamas.by_meta(assay, made.parameters())
    for name, value in parts.items():
        assay.same_bits(held.get(name), value, name)
    _assay_logits(assay, made.logits(assay.golden("ids")), parts)
