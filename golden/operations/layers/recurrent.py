"""Recurrent layers: every hidden state of ``x [batch, time, features]``, from first states on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Condition, Number, joined, numbers, sigmoid, tanh, where
from touchstone.golden.operations.layers.making import (
    PAGE,
    arrays,
    by_entry,
    layer,
    narrow,
    styled,
    whole,
    without_gradients,
)
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Argument, Sample

_BATCH, _TIME, _IN, _HIDDEN = 3, 6, 5, 4


def _stacked(states: list[Number]) -> Number:
    return joined([one.reshape(one.shape[0], 1, one.shape[1]) for one in states], 1)


def _rnn_states(x: Number, Wxh: Number, Whh: Number, bias: Number, hidden: Number) -> list[Number]:
    given, states = x @ Wxh.swapped() + bias, []
    for at in range(x.shape[1]):
        hidden = tanh(given[:, at] + hidden @ Whh.swapped())
        states.append(hidden)
    return states


def _both_states(
    x: Number, Wx: Number, Wh: Number, bias: Number, hidden: Number, cell: Number
) -> tuple[list[Number], list[Number]]:
    given, size = x @ Wx.swapped() + bias, Wh.shape[-1]
    states, cells = [], []
    for at in range(x.shape[1]):
        gates = given[:, at] + hidden @ Wh.swapped()
        into, forget, new, out = (gates[:, n * size : (n + 1) * size] for n in range(4))
        cell = sigmoid(forget) * cell + sigmoid(into) * tanh(new)
        hidden = sigmoid(out) * tanh(cell)
        states.append(hidden)
        cells.append(cell)
    return states, cells


def _lstm_states(*operands: Number) -> list[Number]:
    return _both_states(*operands)[0]


def _lstm_cells(*operands: Number) -> list[Number]:
    return _both_states(*operands)[1]


def _gru_states(x: Number, Wx: Number, Wh: Number, b: Number, bhn: Number, hidden: Number) -> list[Number]:
    given, size, states = x @ Wx.swapped() + b, Wh.shape[-1], []
    for at in range(x.shape[1]):
        now, before = given[:, at], hidden @ Wh.swapped()
        reset = sigmoid(now[:, :size] + before[:, :size])
        update = sigmoid(now[:, size : 2 * size] + before[:, size : 2 * size])
        new = tanh(now[:, 2 * size :] + reset * (before[:, 2 * size :] + bhn))
        hidden = (1 - update) * new + update * hidden
        states.append(hidden)
    return states


def _gru_without_bhn(x: Number, Wx: Number, Wh: Number, b: Number, hidden: Number) -> list[Number]:
    """Without a bias of the hidden state's part of the new gate, for which Flax has no place."""
    return _gru_states(x, Wx, Wh, b, b[:1] * 0, hidden)


def _run(states_of: Callable[..., list[Number]], parameters: int, states: int) -> Callable[..., Number]:
    """Every state of x [batch, time, features], or of x [time, features]; first states are zeros where none are given.

    packed: the last operand is the length of each sequence, behind which states are zeros. last: the state of each
    one's last step alone. pieces: in how many calls, which does not change the result.
    """

    def value(x: Number, *operands: Any, packed: bool = False, last: bool = False, pieces: int = 1) -> Number:
        lengths, given = (operands[-1], operands[:-1]) if packed else (None, operands)
        rows = x.reshape(-1, *x.shape[-2:])
        hidden = given[1].shape[-1]
        none = numbers(np.zeros((rows.shape[0], hidden)), x.precision)
        first = [one.reshape(rows.shape[0], hidden) for one in given[parameters:]] or [none] * states
        made = _stacked(states_of(rows, *given[:parameters], *first))
        if lengths is None:
            return made.reshape(*x.shape[:-1], hidden)
        if last:
            return made[np.arange(len(lengths)), lengths - 1]
        kept = np.arange(made.shape[1])[:, None] < lengths[:, None, None]
        holds = np.broadcast_to(kept, made.shape)
        return where(Condition(holds, np.zeros(made.shape, bool), made.precision), made, 0)

    return value


def _shapes(gates: int, batch: int, time: int, names: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Shapes of operands by name; names: what each is for. batch: none where it is zero."""
    wide = gates * _HIDDEN
    of: dict[str, tuple[int, ...]] = {
        "x": (batch, time, _IN) if batch else (time, _IN),
        "input": (wide, _IN),
        "hidden": (wide, _HIDDEN),
        "bias": (wide,),
        "hidden bias": (_HIDDEN,),
        "state": (batch, _HIDDEN) if batch else (_HIDDEN,),
    }
    return {name: of[what] for name, what in names.items()}


def _recurrent(
    name: str,
    formula: str,
    states_of: Callable[..., list[Number]],
    gates: int,
    names: Mapping[str, str],
    page: str = "",
) -> Operation:
    scales = {operand: 0.5 for operand, what in names.items() if what in ("input", "hidden")}

    def sample(of: str, time: int, **options: Any) -> Sample:
        return whole(of, arrays(_shapes(gates, _BATCH, time, names), scales), (_BATCH, time, _HIDDEN), **options)

    size = _TIME * _IN
    x = styled((3, _TIME, _IN), "x", [("special once", size), ("bell", size), ("positive", size)])
    kinds = arrays(_shapes(gates, 3, _TIME, names), scales, x=x)
    entries = by_entry("specials", kinds, (3, _TIME, _HIDDEN), "NaN", "ordinary", "positive")
    run = _run(states_of, sum(what != "state" for what in names.values()) - 1, [*names.values()].count("state"))
    stateless = {operand: what for operand, what in names.items() if what != "state"}
    samples = [
        sample("own", _TIME),
        entries,
        sample("one step", 1),
        without_gradients(sample("200 steps", 200), "every step"),
        without_gradients(sample("200 steps in pieces", 200, pieces=4), "every step"),
        narrow(whole("no first state", arrays(_shapes(gates, _BATCH, _TIME, stateless), scales), _RESULT)),
        narrow(whole("no batch, no first state", arrays(_shapes(gates, 0, _TIME, stateless), scales), _RESULT[1:])),
        narrow(whole("no batch", arrays(_shapes(gates, 0, _TIME, names), scales), _RESULT[1:])),
    ]
    if not name.startswith("cells"):
        padded = {**arrays(_shapes(gates, _BATCH, _TIME, names), scales), "lengths": _LENGTHS}
        samples.append(whole("packed", padded, _RESULT, packed=True))
        samples.append(whole("packed, last", padded, (_BATCH, _HIDDEN), packed=True, last=True))
    return layer(name, formula, run, *samples, page=page)


_RESULT = (_BATCH, _TIME, _HIDDEN)
_LENGTHS = Argument("values", (_BATCH,), {"values": (4, _TIME, 1)}, dtype="int32")
"""In no order, and one as long as there are steps."""


_LSTM = {"x": "x", "Wx": "input", "Wh": "hidden", "bias": "bias", "hidden": "state", "cell": "state"}
_GRU = {"x": "x", "Wx": "input", "Wh": "hidden", "b": "bias", "bhn": "hidden bias", "hidden": "state"}
RECURRENT = (
    _recurrent(
        "RNN",
        "h = tanh(Wxh x + Whh h + b)",
        _rnn_states,
        1,
        {"x": "x", "Wxh": "input", "Whh": "hidden", "bias": "bias", "hidden": "state"},
    ),
    _recurrent("LSTM", "c = f c + i g, h = o tanh(c), gates i, f, g, o of Wx x + Wh h + b", _lstm_states, 4, _LSTM),
    _recurrent("cells of LSTM", "c = f c + i g, gates i, f, g, o", _lstm_cells, 4, _LSTM, PAGE.format("LSTM")),
    _recurrent("GRU", "h = (1 - z) n + z h, n = tanh(Wn x + bn + r (Un h + bhn))", _gru_states, 3, _GRU),
    _recurrent(
        "GRU without bhn",
        "h = (1 - z) n + z h, n = tanh(Wn x + bn + r (Un h))",
        _gru_without_bhn,
        3,
        {name: what for name, what in _GRU.items() if name != "bhn"},
        PAGE.format("GRU"),
    ),
)
