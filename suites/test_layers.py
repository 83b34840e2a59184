"""Layers of every kind: values, options, and gradients by inputs and parameters, as functions of both."""

from __future__ import annotations

from touchstone.golden.cases import layers
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.operations.layers import LAYERS
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("LAYER-VALUES-1", layers.VALUE_CASES)
def test_values(assay: Assay) -> None:
    judging.value(assay, LAYERS[assay.params["operation"]])


@requirement("LAYER-OPTIONS-1", layers.OPTION_CASES)
def test_options(assay: Assay) -> None:
    judging.value(assay, LAYERS[assay.params["operation"]])


@requirement("LAYER-GRADIENT-1", layers.GRADIENT_CASES)
def test_gradients(assay: Assay) -> None:
    judging.gradient(assay, LAYERS[assay.params["operation"]])


@requirement("LAYER-ACTIVATION-1", layers.ACTIVATION_CASES)
def test_activations(assay: Assay) -> None:
    function = FUNCTIONS[layers.ACTIVATIONS[assay.params["operation"]]]
    operands = judging.operands_of(assay, function)
    got = assay.value(assay.ask(probes.operation, name=assay.params["operation"], operands=operands))
    judging.judge(assay, function, got)
