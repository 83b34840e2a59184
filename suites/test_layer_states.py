"""Is a layer what was done to it, after every pair of casts, steps, files, updates, compilations and freezing?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from touchstone.adapters.interface import Layer
from touchstone.golden import oracle
from touchstone.golden.cases import sequences
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes, states
from touchstone.suites.assay import Assay
from touchstone.suites.exact import assay_gradients, rounded_once
from touchstone.suites.requirements import requirement
from touchstone.suites.states import Tracked

RATE = 0.5
"""Of integer gradients: every weight stays exact in every dtype."""


@dataclass
class State(Tracked):
    """What a layer should be: its values, wide, their dtype, that of its results, and whether it is frozen.

    After a cast results may keep the dtype that the layer was made with: which, CAST-MODULE-2 says.
    """

    values: dict[str, np.ndarray]
    dtype: str
    result: str
    frozen: bool = False

    def stored(self, values: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """These values, or its own, in its dtype."""
        return {role: value.astype(DTYPES[self.dtype]) for role, value in (values or self.values).items()}


def _inputs(assay: Assay, state: State) -> np.ndarray:
    return assay.golden("ids") if _looks_up(assay) else assay.golden("x").astype(DTYPES[state.dtype])


def _looks_up(assay: Assay) -> bool:
    return bool(assay.params["layer"] == "embedding")


def _others(assay: Assay) -> dict[str, np.ndarray]:
    roles = {"weight": "other"} | ({} if _looks_up(assay) else {"bias": "other_bias"})
    return {role: assay.golden(key).astype(np.float64) for role, key in roles.items()}


def _make(assay: Assay, values: dict[str, np.ndarray]) -> Layer:
    return assay.adapter.layer(assay.params["layer"], values["weight"], bias=values.get("bias"))


def use(assay: Assay, state: State) -> None:
    """The call, and the tied head of an embedding."""
    given = _inputs(assay, state)
    assay.same_bits(state.layer(given), _answer(assay, state, given), signed_zero=False)
    if _looks_up(assay):
        x = assay.golden("x").astype(DTYPES[state.dtype])
        assay.same_bits(state.layer.as_linear(x), _product(state, x), signed_zero=False)


def _answer(assay: Assay, state: State, given: np.ndarray) -> np.ndarray:
    return state.values["weight"][given].astype(DTYPES[state.result]) if _looks_up(assay) else _product(state, given)


def _product(state: State, x: np.ndarray) -> np.ndarray:
    return rounded_once(x.astype(np.float64) @ state.values["weight"].T, state.values.get("bias"), state.result)


def compiled(assay: Assay, state: State) -> None:
    """The compiled call."""
    given = _inputs(assay, state)
    assay.same_bits(state.layer.compiled("default")(given), _answer(assay, state, given), signed_zero=False)


def gradient(assay: Assay, state: State) -> dict[str, np.ndarray]:
    """The gradients of every parameter, which are integers."""
    given, cotangent = _inputs(assay, state), assay.golden("cotangent").astype(DTYPES[state.result])
    found = probes.by_role(state.layer, state.layer.vjp(given, cotangent))
    if _looks_up(assay):
        want = {"weight": oracle.table_gradient(state.values["weight"], given, cotangent)}
    else:
        every = oracle.product_gradients(given, state.values["weight"], cotangent)
        want = {role: every[role] for role in state.values}
    assay_gradients(assay, found, want, state.dtype)
    return want


def step(assay: Assay, state: State) -> None:
    """One step of gradient descent."""
    gradients = gradient(assay, state)
    state.layer.sgd_step(RATE)
    state.values = {role: value - RATE * gradients[role] for role, value in state.values.items()}


def replace(assay: Assay, state: State) -> None:
    """Other parameters."""
    state.values = _others(assay)
    state.layer.set_parameters(probes.by_name(state.layer, state.stored()))


def cast(assay: Assay, state: State) -> None:
    """To another dtype, or back."""
    state.dtype = "float16" if state.dtype == assay.params["dtype"] else assay.params["dtype"]
    state.layer.cast(state.dtype)
    state.result = state.layer(_inputs(assay, state)).dtype.name


def save(assay: Assay, state: State) -> None:
    """Into a file, and from there into a new layer, which takes its place."""
    other = _make(assay, state.stored(_others(assay)))
    probes.hand_over(state.layer, other)
    state.layer, state.frozen, state.result = other, False, state.dtype


def load(assay: Assay, state: State) -> None:
    """What another layer saved."""
    others = _others(assay)
    probes.hand_over(_make(assay, state.stored(others)), state.layer)
    state.values = others


def freeze(assay: Assay, state: State) -> None:
    """Nothing is trained from here on."""
    state.layer.freeze()
    state.frozen = True


def unfreeze(assay: Assay, state: State) -> None:
    """Everything is trained from here on."""
    state.layer.unfreeze()
    state.frozen = False


def assign(assay: Assay, state: State) -> None:
    """What another layer saved takes the place of the layer's own arrays."""
    others = _others(assay)
    probes.hand_over(_make(assay, state.stored(others)), state.layer, assign=True)
    state.values, state.result = others, state.dtype


def copy(assay: Assay, state: State) -> None:
    """A copy takes the layer's place, which then gets other parameters."""
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
    "freeze": freeze,
    "unfreeze": unfreeze,
    "evaluate": states.evaluate,
    "assign": assign,
    "copy": copy,
}


def _state(assay: Assay) -> State:
    """A new layer of the case's weights."""
    values = {role: assay.golden(role) for role in ("weight", "bias") if role in assay.case.arrays}
    wide = {role: value.astype(np.float64) for role, value in values.items()}
    return State(_make(assay, values), wide, assay.params["dtype"], assay.params["dtype"])


@requirement("STATE-1", sequences.STATE_CASES)
def test_every_pair_of_operations(assay: Assay) -> None:
    state = _state(assay)
    DO[assay.params["first"]](assay, state)
    DO[assay.params["then"]](assay, state)
    _is(assay, state)


@requirement("STATE-STEP-2", sequences.MOMENTUM_CASES)
def test_steps_with_momentum(assay: Assay) -> None:
    """At rate 4 and momentum 1/2 three steps go 4 (1 + 3/2 + 7/4) gradients, in the parameters' dtype."""
    state = _state(assay)
    want = gradient(assay, state)
    state.layer.momentum_steps(_inputs(assay, state), assay.golden("cotangent"), 3, 4.0, 0.5)
    state.values = {role: value - 17 * want[role] for role, value in state.values.items()}
    states.assay_held(assay, state.layer, state.stored())


@requirement("STATE-QUANTIZED-1", sequences.QUANTIZED_STATE_CASES)
def test_a_conversion_after_every_operation(assay: Assay) -> None:
    """Its parts are those of the same weights in a new layer, and the layer that was converted stays as it was."""
    state = _state(assay)
    DO[assay.params["first"]](assay, state)
    converted = state.layer.quantized(assay.scheme)
    stored, layer = state.stored(), f"quantized_{assay.params['layer']}"
    fresh = assay.adapter.layer(layer, stored["weight"], bias=stored.get("bias"), scheme=assay.scheme)
    held, want = converted.parameters(), fresh.parameters()
    for name, value in want.items():
        assay.same_bits(held.get(name), value)
    if converted.trainable() != fresh.trainable() or held.keys() != want.keys():
        message = f"trainable: {', '.join(sorted(converted.trainable()))}; holds {', '.join(sorted(held))}"
        assay.behaves("other parameters", conforms=False, message=message)
    _is(assay, state)


def _is(assay: Assay, state: State) -> None:
    """The layer holds, trains and computes what its state says."""
    states.assay_held(assay, state.layer, state.stored())
    trains = assay.target.cls.capabilities.gradients
    if trains:
        due = set() if state.frozen else set(state.values)
        states.assay_trained(assay, states.trained_roles(state.layer), due)
    use(assay, state)
    if trains and not state.frozen:
        gradient(assay, state)
    states.assay_originals(assay, state)
