"""Does the checked lookup take ids of every form on every built-in target, and refuse what is no integer?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from touchstone.adapters.checked import checked_lookup
from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.registry import adapter_class
from touchstone.adapters.interface import Operand, Unsupported

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "nested lists": ([[0, 1], [3, 2]], (2, 2)),
    "a list": ([3, 0], (2,)),
    "a tuple": ((3, 0), (2,)),
    "an empty list": ([], (0,)),
    "empty lists": ([[], []], (2, 0)),
    "an array": (np.array([3, 0]), (2,)),
    "an operand": (Operand(np.array([1, 3, 0]), (("slice", ((1, None, None),)),)), (2,)),
}


@pytest.mark.parametrize("name", registry.BUILT_IN)
@pytest.mark.parametrize("ids", IDS)
def test_a_checked_lookup_takes_ids_of_every_form(name: str, ids: str) -> None:
    cls = adapter_class(name)
    given, shape = IDS[ids]
    host = given.value() if isinstance(given, Operand) else np.array(given, np.int64)
    adapter = cls("cpu")
    if isinstance(given, Operand) and cls.capabilities.missing("layout:offset"):
        with pytest.raises(Unsupported):
            checked_lookup(adapter.layer("embedding", TABLE), given, 4)
        return
    rows = checked_lookup(adapter.layer("embedding", TABLE), given, 4)
    assert rows.shape == (*shape, 3)
    np.testing.assert_array_equal(rows, TABLE[host])


@pytest.mark.parametrize("ids", [[0.0], [True], np.zeros(0, np.float32)], ids=repr)
def test_a_checked_lookup_refuses_what_is_no_integer(ids: Any) -> None:
    with pytest.raises(TypeError, match=r"^ids must be integers, not (float|bool)"):
        checked_lookup(adapter_class("reference")("cpu").layer("embedding", TABLE), ids, 4)
