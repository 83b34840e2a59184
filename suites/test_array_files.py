"""Files of arrays: are they what was saved, to the framework, to NumPy and to others, and is what lies refused?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden.cases import array_files, hostile_files
from touchstone.golden.cases.array_members import numpy_dtype, values
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.file_readers import read
from touchstone.suites.requirements import requirement

NAME = "x"


def _answer(assay: Assay, question: str, **given: Any) -> Any:
    return assay.value(assay.ask(probes.array_answer, question=question, **given))


def _saved(assay: Assay, **given: Any) -> bytes:
    found: bytes = _answer(assay, f"save {assay.params['file']}", **given)
    return found


def _loaded(assay: Assay, file: bytes, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = _answer(assay, f"load {array_files.loads(assay.params['file'])}", file=file, **given)
    return found


def _given(form: str, x: np.ndarray) -> dict[str, Any]:
    """One array as the format holds it: with a name, or without where it has none."""
    return {"arrays": [x]} if form == "npy" else {"named": {NAME: x}}


def _one(assay: Assay, arrays: Any) -> np.ndarray:
    """The array of a file that holds one."""
    name = "" if assay.params["file"] == "npy" else NAME
    if list(arrays) != [name]:
        assay.behaves("other names", conforms=False, message=f"got {list(arrays)}")
    found: np.ndarray = arrays[name]
    return found


def _saved_view(assay: Assay, x: np.ndarray) -> bytes:
    return _saved(assay, **_given(assay.params["file"], x), layout=assay.params.get("layout", "dense"))


@requirement("FILE-ROUND-1", array_files.ROUND_CASES)
def test_round_trips(assay: Assay) -> None:
    x = array_files.array_of(assay.case)
    assay.same_bits(_one(assay, _loaded(assay, _saved_view(assay, x))["arrays"]), x)


@requirement("FILE-ROUND-2", array_files.PLACES_CASES)
def test_round_trips_through_paths_and_open_files(assay: Assay) -> None:
    x, form, through = values("float32", (2, 3)), assay.params["file"], assay.params["through"]
    file = _saved(assay, **_given(form, x), through=through)
    for how in ("a text", through):
        assay.same_bits(_one(assay, _loaded(assay, file, through=how)["arrays"]), x)


@requirement("FILE-READ-1", array_files.READ_CASES)
def test_files_that_others_read(assay: Assay) -> None:
    x = array_files.array_of(assay.case)
    assay.same_bits(_one(assay, read(assay.params["file"], _saved_view(assay, x))), x)


@requirement("FILE-READ-2", array_files.BFLOAT16_CASES)
def test_bfloat16_in_files_of_numpy(assay: Assay) -> None:
    x = values("bfloat16", (2, 3))
    found = _one(assay, read(assay.params["file"], _saved(assay, **_given(assay.params["file"], x))))
    same = found.dtype.itemsize == 2 and np.array_equal(found.view(np.uint16), x.view(np.uint16))
    wider = found.dtype == np.float32 and np.array_equal(found, x.astype(np.float32))
    is_right = same or wider
    assay.behaves(found.dtype.name if is_right else "other values", conforms=is_right)


@requirement("FILE-DTYPE-1", array_files.NO_DTYPE_CASES)
def test_dtypes_that_a_format_lacks(assay: Assay) -> None:
    given = {"question": "save gguf", "named": {NAME: values(assay.params["dtype"], (2, 3))}}
    _must_raise(assay, assay.ask(probes.array_answer, **given))


def _must_raise(assay: Assay, outcome: Any) -> None:
    executed = hostile_files.MARK in outcome.message
    if outcome.kind == "raised" and not executed:
        assay.behaves("refused", message=f"{outcome.behaviour}: {outcome.message}")
        return
    seen = "executed" if executed else "not refused" if outcome.kind == "value" else outcome.behaviour
    assay.behaves(seen, conforms=False, message=str(outcome.value)[:300] or outcome.message)


@requirement("FILE-LOAD-1", array_files.LOAD_CASES)
def test_files_that_others_wrote(assay: Assay) -> None:
    x, form = array_files.array_of(assay.case), assay.params["file"]
    found = _one(assay, _loaded(assay, array_files.file_of(form, assay.params["order"], x))["arrays"])
    if not found.dtype.isnative:
        assay.behaves("an array of swapped bytes", conforms=False)
    assay.same_bits(found, x)


@requirement("FILE-LOAD-2", array_files.WIDE_CASES)
def test_wide_dtypes_in_files_of_numpy(assay: Assay) -> None:
    x = np.array([1, 2, 100]).astype(numpy_dtype(assay.params["dtype"]))
    outcome = assay.ask(probes.array_answer, question="load npy", file=hostile_files.npy(x))
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour)
        return
    found = outcome.value["arrays"][""]
    is_right = np.array_equal(found, x)
    assay.behaves(found.dtype.name if is_right else "other values", conforms=is_right, message=str(found))


def _several(names: Any) -> dict[str, np.ndarray]:
    """An array of its own for each name."""
    return {name: values("float32", (2, 3)) + np.float32(number) for number, name in enumerate(names)}


def _same(assay: Assay, got: Any, want: dict[str, np.ndarray]) -> None:
    """Exactly these arrays under these names."""
    if sorted(got) != sorted(want):
        assay.behaves("other names", conforms=False, message=f"got {sorted(got)[:10]}")
    for name, x in want.items():
        assay.same_bits(got[name], x)


@requirement("FILE-NAMES-1", array_files.NAME_CASES)
def test_names_of_arrays(assay: Assay) -> None:
    want = _several(array_files.NAMES[assay.params["names"]])
    file = _saved(assay, named=want)
    _same(assay, _loaded(assay, file)["arrays"], want)
    _same(assay, read(assay.params["file"], file), want)


@requirement("FILE-NAMES-2", array_files.POSITION_CASES)
def test_arrays_without_a_name(assay: Assay) -> None:
    want = _several(["arr_0", "arr_1", *(["bias.x"] if assay.params["named"] else [])])
    named = {name: x for name, x in want.items() if not name.startswith("arr")}
    file = _saved(assay, arrays=[want["arr_0"], want["arr_1"]], named=named)
    _same(assay, _loaded(assay, file)["arrays"], want)
    _same(assay, read("npz", file), want)


@requirement("FILE-NAMES-3", array_files.CLASH_CASES)
def test_a_name_that_an_array_without_one_takes(assay: Assay) -> None:
    x = values("float32", (2, 3))
    given = {"question": f"save {assay.params['file']}", "arrays": [x], "named": {"arr_0": x}}
    _must_raise(assay, assay.ask(probes.array_answer, **given))


@requirement("FILE-METADATA-1", array_files.METADATA_CASES)
def test_metadata(assay: Assay) -> None:
    want, x = array_files.metadata_of(assay.case), values("float32", (2, 3))
    found = _loaded(assay, _saved(assay, named={NAME: x}, metadata=want))
    assay.same_bits(_one(assay, found["arrays"]), x)
    if found["metadata"].keys() != want.keys():
        assay.behaves("other metadata", conforms=False, message=f"got {sorted(found['metadata'])}")
    for name, value in want.items():
        if isinstance(value, np.ndarray):
            assay.same_bits(found["metadata"][name], value)
        elif found["metadata"][name] != value:
            assay.behaves("other metadata", conforms=False, message=f"got {found['metadata'][name]!r}"[:300])


@requirement("FILE-HOSTILE-1", array_files.HOSTILE_CASES)
def test_files_that_lie(assay: Assay) -> None:
    form = assay.params["file"]
    _must_raise(assay, assay.ask(probes.array_answer, question=f"load {form}", file=array_files.hostile(assay.case)))


@requirement("FILE-HOSTILE-2", array_files.WITHIN_CASES)
def test_files_that_lie_within_their_own_bytes(assay: Assay) -> None:
    file = array_files.hostile(assay.case)
    outcome = assay.ask(probes.array_answer, question="load safetensors", file=file)
    assay.behaves(
        "loads" if outcome.kind == "value" else outcome.behaviour, conforms=outcome.kind in ("value", "raised")
    )


@requirement("FILE-HOSTILE-3", array_files.AGAIN_CASES)
def test_values_that_could_not_be_read_are_not_there_later(assay: Assay) -> None:
    form, file = assay.params["file"], array_files.hostile(assay.case)
    loaded, *asked = _answer(assay, f"ask {form} again", file=file)
    seen = "not refused" if not loaded and not asked[0] else "values after an error"
    is_right = all(asked)
    assay.behaves("refused" if is_right else seen, conforms=is_right, message=f"{loaded or 'loaded'}, then {asked}")
