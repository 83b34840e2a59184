"""Generated quantized layers: weights, codes, rows, products and gradients for whatever scheme is drawn?"""

from __future__ import annotations

from touchstone.golden.cases import generated
from touchstone.suites.assay import Assay
from touchstone.suites.generated import quantized
from touchstone.suites.generated.explore import explore
from touchstone.suites.requirements import requirement
from touchstone.verdict.observation import NotAsked


@requirement("QNT-BOUND-1", generated.QUANTIZE_CASES)
def test_quantized_weights(assay: Assay) -> None:
    explore(assay, quantized.BOUND)


@requirement("QNT-CODES-1", generated.QUANTIZE_CASES)
def test_codes_of_two_targets(assay: Assay) -> None:
    if not quantized.peers(assay):
        raise NotAsked("compares two targets, and no other of this run can answer the same")
    explore(assay, quantized.CODES)


@requirement("QNT-LOOKUP-1", generated.QUANTIZE_CASES)
def test_quantized_rows(assay: Assay) -> None:
    explore(assay, quantized.LOOKUP)


@requirement("QNT-LINEAR-1", generated.QUANTIZED_PRODUCT_CASES)
def test_quantized_products(assay: Assay) -> None:
    explore(assay, quantized.PRODUCT)


@requirement("GRAD-QUANT-2", generated.QUANTIZED_GRADIENT_CASES)
def test_quantized_input_gradients(assay: Assay) -> None:
    explore(assay, quantized.GRADIENT)
