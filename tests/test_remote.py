"""Do layers stay in the process that made them, and do calls of them and arrays travel?"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import hazards
from touchstone.adapters.interface import Layer
from touchstone.adapters.isolation.outcome import Unanswered
from touchstone.adapters.isolation.process import Isolation
from touchstone.adapters.isolation.remote import Remote

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def isolation() -> Iterator[Isolation]:
    made = Isolation("reference", "cpu")
    yield made
    made.close()


def layers(adapter: Any) -> int:
    """How many layers are alive in the worker."""
    gc.collect()
    return sum(isinstance(found, Layer) for found in gc.get_objects())


def test_a_layer_is_called_where_it_was_made(isolation: Isolation) -> None:
    layer: Any = isolation.adapter().layer("embedding", TABLE)
    assert isinstance(layer, Remote)
    assert layer(np.array([2, 0], np.int32)).tolist() == TABLE[[2, 0]].tolist()
    assert layer.as_linear(np.ones(3, np.float32)).tolist() == TABLE.sum(1).tolist()
    assert layer.roles["weight"] == ("weight", False)
    layer.set_parameters({"weight": -TABLE})
    assert layer.parameters()["weight"].tolist() == (-TABLE).tolist()


def test_layers_in_arguments_and_in_answers_travel_as_themselves(isolation: Isolation) -> None:
    layer = isolation.adapter().layer("embedding", TABLE)
    again = isolation.run(hazards.answer, {"value": {"inner": [layer]}}).value["inner"][0]
    assert isinstance(again, Remote)
    assert again(np.array(1)).tolist() == TABLE[1].tolist()


def test_what_is_not_referred_to_is_released(isolation: Isolation) -> None:
    made = [isolation.adapter().layer("embedding", TABLE) for _ in range(3)]
    assert isolation.run(layers, {}).value == 3
    del made[1:]
    assert isolation.run(layers, {}).value == 1


def test_an_exception_and_a_death_are_raised_with_their_outcome(isolation: Isolation) -> None:
    layer = isolation.adapter().layer("embedding", TABLE)
    with pytest.raises(Unanswered, match="raises IndexError"):
        layer(np.array(40))
    isolation.run(hazards.abort, {})
    assert not layer.is_alive
    with pytest.raises(Unanswered, match="the process that held this layer has ended"):
        layer(np.array(1))


def test_arrays_are_copies(isolation: Isolation) -> None:
    layer = isolation.adapter().layer("embedding", TABLE)
    given = layer.parameters()["weight"]
    layer.set_parameters({"weight": -TABLE})
    assert given.tolist() == TABLE.tolist()


def test_arrays_that_were_given_cannot_be_written_to(isolation: Isolation) -> None:
    outcome = isolation.run(hazards.write_to, {"value": {"inner": [TABLE]}})
    assert (outcome.behaviour, outcome.message) == ("raises ValueError", "assignment destination is read-only")
    assert isolation.run(hazards.process_id, {}).value != os.getpid()
