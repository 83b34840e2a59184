"""Recurrent layers: every hidden state of ``x [batch, time, features]``, from first states on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from touchstone.golden.operations.arithmetic import Number, joined, sigmoid, tanh
from touchstone.golden.operations.layers.making import PAGE, arrays, by_entry, layer, styled, whole
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Sample

_BATCH, _TIME, _IN, _HIDDEN = 3, 6, 5, 4


def _stacked(states: list[Number]) -> Number:
    return joined([one.reshape(one.shape[0], 1, one.shape[1]) for one in states], 1)


def _rnn(x: Number, Wxh: Number, Whh: Number, bias: Number, hidden: Number) -> Number:
    given, states = x @ Wxh.swapped() + bias, []
    for at in range(x.shape[1]):
        hidden = tanh(given[:, at] + hidden @ Whh.swapped())
        states.append(hidden)
    return _stacked(states)


def _lstm_states(
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


def _lstm(x: Number, Wx: Number, Wh: Number, bias: Number, hidden: Number, cell: Number) -> Number:
    return _stacked(_lstm_states(x, Wx, Wh, bias, hidden, cell)[0])


def _lstm_cells(x: Number, Wx: Number, Wh: Number, bias: Number, hidden: Number, cell: Number) -> Number:
    return _stacked(_lstm_states(x, Wx, Wh, bias, hidden, cell)[1])


def _gru(x: Number, Wx: Number, Wh: Number, b: Number, bhn: Number, hidden: Number) -> Number:
    given, size, states = x @ Wx.swapped() + b, Wh.shape[-1], []
    for at in range(x.shape[1]):
        now, before = given[:, at], hidden @ Wh.swapped()
        reset = sigmoid(now[:, :size] + before[:, :size])
        update = sigmoid(now[:, size : 2 * size] + before[:, size : 2 * size])
        new = tanh(now[:, 2 * size :] + reset * (before[:, 2 * size :] + bhn))
        hidden = (1 - update) * new + update * hidden
        states.append(hidden)
    return _stacked(states)


def _gru_without_bhn(x: Number, Wx: Number, Wh: Number, b: Number, hidden: Number) -> Number:
    """Without a bias of the hidden state's part of the new gate, for which Flax has no place."""
    return _gru(x, Wx, Wh, b, b[:1] * 0, hidden)


def _shapes(gates: int, batch: int, time: int, names: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Shapes of operands by name; names: what each is for."""
    wide = gates * _HIDDEN
    of: dict[str, tuple[int, ...]] = {
        "x": (batch, time, _IN),
        "input": (wide, _IN),
        "hidden": (wide, _HIDDEN),
        "bias": (wide,),
        "hidden bias": (_HIDDEN,),
        "state": (batch, _HIDDEN),
    }
    return {name: of[what] for name, what in names.items()}


def _recurrent(name: str, formula: str, value: Any, gates: int, names: Mapping[str, str], page: str = "") -> Operation:
    scales = {operand: 0.5 for operand, what in names.items() if what in ("input", "hidden")}

    def sample(of: str, time: int) -> Sample:
        return whole(of, arrays(_shapes(gates, _BATCH, time, names), scales), (_BATCH, time, _HIDDEN))

    size = _TIME * _IN
    x = styled((3, _TIME, _IN), "x", [("special once", size), ("bell", size), ("positive", size)])
    kinds = arrays(_shapes(gates, 3, _TIME, names), scales, x=x)
    entries = by_entry("specials", kinds, (3, _TIME, _HIDDEN), "NaN", "ordinary", "positive")
    long = replace(
        sample("200 steps", 200), dtypes=("float32",), regions={"every step": slice(0, _BATCH * 200 * _HIDDEN)}
    )
    samples = (sample("own", _TIME), entries, sample("one step", 1), long)
    return layer(name, formula, value, *samples, page=page)


_LSTM = {"x": "x", "Wx": "input", "Wh": "hidden", "bias": "bias", "hidden": "state", "cell": "state"}
_GRU = {"x": "x", "Wx": "input", "Wh": "hidden", "b": "bias", "bhn": "hidden bias", "hidden": "state"}
RECURRENT = (
    _recurrent(
        "RNN",
        "h = tanh(Wxh x + Whh h + b)",
        _rnn,
        1,
        {"x": "x", "Wxh": "input", "Whh": "hidden", "bias": "bias", "hidden": "state"},
    ),
    _recurrent("LSTM", "c = f c + i g, h = o tanh(c), gates i, f, g, o of Wx x + Wh h + b", _lstm, 4, _LSTM),
    _recurrent("cells of LSTM", "c = f c + i g, gates i, f, g, o", _lstm_cells, 4, _LSTM, PAGE.format("LSTM")),
    _recurrent("GRU", "h = (1 - z) n + z h, n = tanh(Wn x + bn + r (Un h + bhn))", _gru, 3, _GRU),
    _recurrent(
        "GRU without bhn",
        "h = (1 - z) n + z h, n = tanh(Wn x + bn + r (Un h))",
        _gru_without_bhn,
        3,
        {name: what for name, what in _GRU.items() if name != "bhn"},
        PAGE.format("GRU"),
    ),
)
