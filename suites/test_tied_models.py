"""Is a model of several modules, of which two share a parameter, what was done to it, in whole and in part?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from touchstone.adapters.interface import Layer
from touchstone.golden.cases import sequences
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import assay_gradients
from touchstone.suites.requirements import requirement
from touchstone.suites.test_layer_states import assay_originals

RATE = 1.0
"""Of integer gradients: every weight stays exact in both dtypes."""
FROZEN = "proj"
"""A module whose name begins the name of another."""


@dataclass
class State:
    """What a model should be: its values, wide, their dtype, and the modules that are frozen."""

    model: Layer
    values: dict[str, np.ndarray]
    dtype: str = "float32"
    frozen: set[str] = field(default_factory=set)
    originals: list[tuple[Layer, dict[str, np.ndarray], frozenset[str]]] = field(default_factory=list)
    """Models that were copied, what they hold by role, and what they train."""

    def stored(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """These values in its dtype."""
        return {role: value.astype(DTYPES[self.dtype]) for role, value in values.items()}

    def trained(self) -> set[str]:
        """Roles of parameters that training changes."""
        return {role for role in self.values if role.removesuffix(".bias") not in self.frozen}


ROLES = ("embed", "proj", "proj.bias", "proj_out", "proj_out.bias")


def _values(assay: Assay) -> dict[str, np.ndarray]:
    return {role: assay.golden(role).astype(np.float64) for role in ROLES}


def _others(assay: Assay) -> dict[str, np.ndarray]:
    """Other parameters: another table, and the two linear layers in each other's place."""
    own = _values(assay)
    swapped = {"proj": "proj_out", "proj.bias": "proj_out.bias", "proj_out": "proj", "proj_out.bias": "proj.bias"}
    return {"embed": assay.golden("other embed").astype(np.float64)} | {a: own[b] for a, b in swapped.items()}


def _forward(state: State, ids: np.ndarray) -> list[np.ndarray]:
    """What goes into each layer in turn, and the logits."""
    v = state.values
    rows = v["embed"][ids]
    hidden = rows @ v["proj"].T + v["proj.bias"]
    out = hidden @ v["proj_out"].T + v["proj_out.bias"]
    return [rows, hidden, out, out @ v["embed"].T]


def _gradients(state: State, ids: np.ndarray, cotangent: np.ndarray) -> dict[str, np.ndarray]:
    """By role; that of the table is the sum of both of its uses."""
    v = state.values
    rows, hidden, out, _ = (a.reshape(-1, a.shape[-1]) for a in _forward(state, ids))
    g = cotangent.reshape(-1, cotangent.shape[-1])
    found = {"embed": g.T @ out}
    g = g @ v["embed"]
    found |= {"proj_out": g.T @ hidden, "proj_out.bias": g.sum(0)}
    g = g @ v["proj_out"]
    found |= {"proj": g.T @ rows, "proj.bias": g.sum(0)}
    np.add.at(found["embed"], ids.reshape(-1), g @ v["proj"])
    return found


def use(assay: Assay, state: State) -> None:
    """The logits, which are integers."""
    ids = assay.golden("ids")
    want = _forward(state, ids)[-1].astype(np.float32).astype(DTYPES[state.dtype])
    assay.same_bits(_in_its_dtype(state, state.model(ids)), want, signed_zero=False)


def _in_its_dtype(state: State, answer: np.ndarray) -> np.ndarray:
    """After a cast results may keep the dtype that the layers were made with: CAST-MODULE-2 says which."""
    return answer.astype(np.float32).astype(DTYPES[state.dtype])


def compiled(assay: Assay, state: State) -> None:
    """The compiled call."""
    ids = assay.golden("ids")
    want = _forward(state, ids)[-1].astype(np.float32).astype(DTYPES[state.dtype])
    assay.same_bits(_in_its_dtype(state, state.model.compiled("default")(ids)), want, signed_zero=False)


def gradient(assay: Assay, state: State) -> dict[str, np.ndarray]:
    """Of every parameter that is trained, and of no other."""
    ids, cotangent = assay.golden("ids"), assay.golden("cotangent")
    given = cotangent.astype(state.model(ids).dtype)
    found = probes.by_role(state.model, state.model.vjp(ids, given))
    want = _gradients(state, ids, cotangent.astype(np.float64))
    want = {role: want[role] for role in state.trained()}
    if surplus := found.keys() - want.keys():
        assay.behaves("trains what is frozen", conforms=False, message=f"gradients of {', '.join(sorted(surplus))}")
    assay_gradients(assay, found, want, state.dtype)
    return want


def step(assay: Assay, state: State) -> None:
    """One step of gradient descent."""
    want = gradient(assay, state)
    state.model.sgd_step(RATE)
    state.values |= {role: state.values[role] - RATE * value for role, value in want.items()}


def replace(assay: Assay, state: State) -> None:
    """Other parameters."""
    state.values = _others(assay)
    state.model.set_parameters(probes.by_name(state.model, state.stored(state.values)))


def cast(assay: Assay, state: State) -> None:
    """The whole model, to a dtype that holds its integers."""
    state.dtype = "float16"
    state.model.cast(state.dtype)


def save(assay: Assay, state: State) -> None:
    """Into a file, and from there into a new model, which takes its place."""
    other = assay.adapter.tied_model(state.stored(_others(assay)))
    probes.hand_over(state.model, other)
    state.model, state.frozen = other, set()


def load(assay: Assay, state: State) -> None:
    """What another model saved."""
    state.values = _others(assay)
    probes.hand_over(assay.adapter.tied_model(state.stored(state.values)), state.model)


def assign(assay: Assay, state: State) -> None:
    """What another model saved takes the place of the model's own arrays."""
    state.values = _others(assay)
    probes.hand_over(assay.adapter.tied_model(state.stored(state.values)), state.model, assign=True)


def freeze(assay: Assay, state: State) -> None:
    """One module of the model, and none whose name begins with its name."""
    state.model.freeze(FROZEN)
    state.frozen |= {FROZEN}


def freeze_shared(assay: Assay, state: State) -> None:
    """The module whose parameter another shares."""
    state.model.freeze("embed")
    state.frozen |= {"embed"}


def unfreeze(assay: Assay, state: State) -> None:
    """The same module."""
    state.model.unfreeze(FROZEN)
    state.frozen -= {FROZEN}


def evaluate(assay: Assay, state: State) -> None:
    """It is told that it is evaluated, which changes nothing of these layers."""
    state.model.set_training(False)


def copy(assay: Assay, state: State) -> None:
    """A copy, by each way in turn, takes the model's place, which then gets other parameters."""
    for how in sorted(assay.target.cls.capabilities.copying):
        original, state.model = state.model, state.model.copied(how)
        others = state.stored(_others(assay))
        original.set_parameters(probes.by_name(original, others))
        state.originals.append((original, others, original.trainable()))


DO: dict[str, Callable[[Assay, State], object]] = {
    "use": use,
    "compile": compiled,
    "gradient": gradient,
    "step": step,
    "replace": replace,
    "cast": cast,
    "save": save,
    "load": load,
    "assign": assign,
    "freeze a module": freeze,
    "freeze what is shared": freeze_shared,
    "unfreeze a module": unfreeze,
    "evaluate": evaluate,
    "copy": copy,
}


@requirement("STATE-MODEL-2", sequences.CONVERTED_CASES)
def test_a_conversion_of_one_module(assay: Assay) -> None:
    values, module = _values(assay), assay.params["module"]
    state = State(assay.adapter.tied_model({role: assay.golden(role) for role in ROLES}), values)
    DO[assay.params["first"]](assay, state)
    before, trained = state.model.parameters(), state.model.trainable()
    state.model.convert(module, assay.scheme)
    after, stored = state.model.parameters(), state.stored(state.values)
    for name, value in before.items():
        if not name.startswith(f"{module}."):
            assay.same_bits(after.get(name), value)
    layer = "quantized_embedding" if module == "embed" else "quantized_linear"
    fresh = probes.build(assay.adapter, layer, stored[module], scheme=assay.scheme).parameters()
    for name, value in fresh.items():
        assay.same_bits(after.get(f"{module}.{name}"), value)
    others = {name for name in trained if not name.startswith(f"{module}.")}
    if others != {name for name in state.model.trainable() if not name.startswith(f"{module}.")}:
        assay.behaves("trains other parameters", conforms=False, message=f"before {sorted(others)}")
    modes = state.model.modes()
    want = assay.params["first"] != "evaluate"
    if any(mode is not want for name, mode in modes.items() if name != module):
        assay.behaves("another mode", conforms=False, message=f"{modes}")
    assay.behaves("converted alone")


@requirement("STATE-MODEL-1", sequences.TIED_CASES)
def test_every_pair_of_operations(assay: Assay) -> None:
    values = _values(assay)
    state = State(assay.adapter.tied_model({role: assay.golden(role) for role in ROLES}), values)
    DO[assay.params["first"]](assay, state)
    DO[assay.params["then"]](assay, state)
    held = probes.by_role(state.model, state.model.parameters())
    for role, value in state.stored(state.values).items():
        assay.same_bits(held.get(role), value, signed_zero=False)
    trained = probes.by_role(state.model, dict.fromkeys(state.model.trainable(), np.zeros((1, 1))))
    if trained.keys() != state.trained():
        assay.behaves("trains other parameters", conforms=False, message=f"trainable: {', '.join(sorted(trained))}")
    use(assay, state)
    gradient(assay, state)
    if "embed" in state.frozen:  # what is shared shows when it is trained
        state.model.unfreeze("embed")
        state.frozen -= {"embed"}
        gradient(assay, state)
    assay_originals(assay, state.originals)
