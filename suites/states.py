"""A layer or a model over time: copies that take its place, what they were copied from, and what is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

from touchstone.adapters.interface import Layer
from touchstone.suites import probes
from touchstone.suites.assay import Assay


@dataclass
class Original:
    """A layer that was copied, what it holds since by role, and what it trains."""

    layer: Layer
    held: Mapping[str, np.ndarray]
    trained: frozenset[str]


@dataclass
class Tracked:
    """The layer that operations are done to; a copy takes its place, and what was copied is kept."""

    layer: Layer
    originals: list[Original] = field(default_factory=list, kw_only=True)


def evaluate(assay: Assay, state: Tracked) -> None:
    """It is told that it is evaluated, which changes nothing of these layers."""
    state.layer.set_training(False)


def copies(assay: Assay, state: Tracked) -> Iterator[Layer]:
    """What was copied, after a copy, by each way of the target in turn, took its place."""
    for how in sorted(assay.target.cls.capabilities.copying):
        original, state.layer = state.layer, state.layer.copied(how)
        yield original


def copy(assay: Assay, state: Tracked, others: dict[str, np.ndarray]) -> None:
    """A copy takes the layer's place, which then gets other parameters, by role."""
    for original in copies(assay, state):
        original.set_parameters(probes.by_name(original, others))
        state.originals.append(Original(original, others, original.trainable()))


def assay_originals(assay: Assay, state: Tracked) -> None:
    """What was done to a copy reached none of the layers that were copied."""
    for original in state.originals:
        assay_held(assay, original.layer, original.held)
        if (trained := original.layer.trainable()) != original.trained:
            message = f"trainable: {', '.join(sorted(trained))}"
            assay.behaves("the original trains other parameters", conforms=False, message=message)


def assay_held(assay: Assay, layer: Layer, values: Mapping[str, np.ndarray]) -> None:
    """The layer holds these values, by role."""
    held = probes.by_role(layer, layer.parameters())
    for role, value in values.items():
        assay.same_bits(held.get(role), value, signed_zero=False)


def trained_roles(layer: Layer) -> AbstractSet[str]:
    """Roles of the parameters that training would change."""
    return probes.by_role(layer, dict.fromkeys(layer.trainable(), np.zeros((1, 1)))).keys()


def assay_trained(assay: Assay, trained: AbstractSet[str], due: AbstractSet[str]) -> None:
    """Exactly these are trained, by role or by name."""
    if trained != due:
        assay.behaves("trains other parameters", conforms=False, message=f"trainable: {', '.join(sorted(trained))}")
