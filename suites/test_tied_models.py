"""Is a model of several modules, of which two share a parameter, what was done to it, in whole and in part?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from touchstone.golden.cases import sequences
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes, states
from touchstone.suites.assay import Assay
from touchstone.suites.exact import assay_gradients
from touchstone.suites.requirements import requirement
from touchstone.suites.states import Tracked

RATE = 1.0
"""Of integer gradients: every weight stays exact in both dtypes."""
FROZEN = "proj"
"""A module whose name begins the name of another."""


@dataclass
class State(Tracked):
    """What a model should be: its values, wide, their dtype, and the modules that are frozen."""

    values: dict[str, np.ndarray]
    dtype: str = "float32"
    frozen: set[str] = field(default_factory=set)

    def stored(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """These values in its dtype."""
        return {role: value.astype(DTYPES[self.dtype]) for role, value in values.items()}

    def trained(self) -> set[str]:
        """Roles of parameters that training changes."""
        return {role for role in self.values if role.removesuffix(".bias") not in self.frozen}


ROLES = ("embed", "proj", "proj.bias", "proj_out", "proj_out.bias")


def _state(assay: Assay) -> State:
    """A new model of the case's weights."""
    return State(assay.adapter.layer("tied_model", {role: assay.golden(role) for role in ROLES}), _values(assay))


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
    assay.same_bits(_in_its_dtype(state, state.layer(ids)), want, signed_zero=False)


def _in_its_dtype(state: State, answer: np.ndarray) -> np.ndarray:
    """After a cast results may keep the dtype that the layers were made with: CAST-MODULE-2 says which."""
    return answer.astype(np.float32).astype(DTYPES[state.dtype])


def compiled(assay: Assay, state: State) -> None:
    """The compiled call."""
    ids = assay.golden("ids")
    want = _forward(state, ids)[-1].astype(np.float32).astype(DTYPES[state.dtype])
    assay.same_bits(_in_its_dtype(state, state.layer.compiled("default")(ids)), want, signed_zero=False)


def gradient(assay: Assay, state: State) -> dict[str, np.ndarray]:
    """Of every parameter that is trained, and of no other."""
    ids, cotangent = assay.golden("ids"), assay.golden("cotangent")
    given = cotangent.astype(state.layer(ids).dtype)
    found = probes.by_role(state.layer, state.layer.vjp(ids, given))
    want = _gradients(state, ids, cotangent.astype(np.float64))
    want = {role: want[role] for role in state.trained()}
    if surplus := found.keys() - want.keys():
        assay.behaves("trains what is frozen", conforms=False, message=f"gradients of {', '.join(sorted(surplus))}")
    assay_gradients(assay, found, want, state.dtype)
    return want


def step(assay: Assay, state: State) -> None:
    """One step of gradient descent."""
    want = gradient(assay, state)
    state.layer.sgd_step(RATE)
    state.values |= {role: state.values[role] - RATE * value for role, value in want.items()}


def replace(assay: Assay, state: State) -> None:
    """Other parameters."""
    state.values = _others(assay)
    state.layer.set_parameters(probes.by_name(state.layer, state.stored(state.values)))


def cast(assay: Assay, state: State) -> None:
    """The whole model, to a dtype that holds its integers."""
    state.dtype = "float16"
    state.layer.cast(state.dtype)


def save(assay: Assay, state: State) -> None:
    """Into a file, and from there into a new model, which takes its place."""
    other = assay.adapter.layer("tied_model", state.stored(_others(assay)))
    probes.hand_over(state.layer, other)
    state.layer, state.frozen = other, set()


def load(assay: Assay, state: State) -> None:
    """What another model saved."""
    state.values = _others(assay)
    probes.hand_over(assay.adapter.layer("tied_model", state.stored(state.values)), state.layer)


def assign(assay: Assay, state: State) -> None:
    """What another model saved takes the place of the model's own arrays."""
    state.values = _others(assay)
    probes.hand_over(assay.adapter.layer("tied_model", state.stored(state.values)), state.layer, assign=True)


def freeze(assay: Assay, state: State) -> None:
    """One module of the model, and none whose name begins with its name."""
    state.layer.freeze(FROZEN)
    state.frozen |= {FROZEN}


def freeze_shared(assay: Assay, state: State) -> None:
    """The module whose parameter another shares."""
    state.layer.freeze("embed")
    state.frozen |= {"embed"}


def unfreeze(assay: Assay, state: State) -> None:
    """The same module."""
    state.layer.unfreeze(FROZEN)
    state.frozen -= {FROZEN}


def copy(assay: Assay, state: State) -> None:
    """A copy takes the model's place, which then gets other parameters."""
    states.copy(assay, state, state.stored(_others(assay)))


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
    "evaluate": states.evaluate,
    "copy": copy,
}


@requirement("STATE-MODEL-2", sequences.CONVERTED_CASES)
def test_a_conversion_of_one_module(assay: Assay) -> None:
    state, module = _state(assay), assay.params["module"]
    DO[assay.params["first"]](assay, state)
    before, trained = state.layer.parameters(), state.layer.trainable()
    state.layer.convert(module, assay.scheme)
    after, stored = state.layer.parameters(), state.stored(state.values)
    for name, value in before.items():
        if not name.startswith(f"{module}."):
            assay.same_bits(after.get(name), value)
    layer = "quantized_embedding" if module == "embed" else "quantized_linear"
    fresh = assay.adapter.layer(layer, stored[module], scheme=assay.scheme).parameters()
    for name, value in fresh.items():
        assay.same_bits(after.get(f"{module}.{name}"), value)
    others = {name for name in trained if not name.startswith(f"{module}.")}
    if others != {name for name in state.layer.trainable() if not name.startswith(f"{module}.")}:
        assay.behaves("trains other parameters", conforms=False, message=f"before {sorted(others)}")
    modes = state.layer.modes()
    want = assay.params["first"] != "evaluate"
    if any(mode is not want for name, mode in modes.items() if name != module):
        assay.behaves("another mode", conforms=False, message=f"{modes}")
    assay.behaves("converted alone")


@requirement("STATE-MODEL-1", sequences.TIED_CASES)
def test_every_pair_of_operations(assay: Assay) -> None:
    state = _state(assay)
    DO[assay.params["first"]](assay, state)
    DO[assay.params["then"]](assay, state)
    states.assay_held(assay, state.layer, state.stored(state.values))
    states.assay_trained(assay, states.trained_roles(state.layer), state.trained())
    use(assay, state)
    gradient(assay, state)
    if "embed" in state.frozen:  # what is shared shows when it is trained
        state.layer.unfreeze("embed")
        state.frozen -= {"embed"}
        gradient(assay, state)
    states.assay_originals(assay, state)
