"""Is a fault in files of arrays red in its own requirement, and does this project read what a framework saves?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_array_members import questions
from tests.test_planted_defects import Planted
from touchstone.golden.cases import array_files, hostile_files
from touchstone.golden.cases.array_members import EVERY, values
from touchstone.golden.catalogue import Case
from touchstone.golden.store import open_golden, open_recorded
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.opening import open_checkpoint
from touchstone.suites import direct, file_readers
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.verdict.observation import Deviates

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""NumPy leaves a file open that is no archive, or a broken one."""
UNSEEN = {("npz", "of one byte changed")}
"""Faults that the readers of checkpoints pass over: they read rows of an entry, and no checksum of the whole."""
Answering = Callable[[str, Any, dict[str, Any]], Any]
"""(question, what gives the right answer, what was given) -> the answer."""


def _ends_a_process(case: Case) -> bool:
    """Whether MLX ends, or may wait for ever, with this file: a run has another process for such a case."""
    return case.hazard == "writes" or bool(case.params.get("file") == "gguf" and case.hazard)


def red(name: str, answer: Answering | None = None) -> set[str]:
    """Requirements with a red case, for an adapter that answers about files so."""
    target = on_cpu(name)
    adapter: Any = target.cls("cpu")
    real = adapter.array_answer
    if answer is not None:
        adapter.array_answer = lambda question, **given: answer(
            question, lambda **how: real(question, **{**given, **how}), given
        )
    bench, found = Bench(open_golden(), open_recorded()), set()
    for one in questions("FILE-"):
        for case in one.cases:
            if _ends_a_process(case):
                continue
            planted = Case(case.params, case.arrays, case.needs)
            assay, error = direct.run(one, Planted(target, adapter), planted, bench)
            if verdict_of(assay, error, entries_of(name), bootstrap=False)[0].verdict.is_red:
                found.add(one.requirement.id.removeprefix("FILE-"))
    return found


@pytest.mark.parametrize("name", ["mlx", "jax"])
def test_nothing_is_red_without_a_fault(name: str) -> None:
    assert red(name) == set()


def _loading(change: Callable[[str, np.ndarray], np.ndarray]) -> Answering:
    def answer(question: str, real: Any, given: dict[str, Any]) -> Any:
        found = real()
        if not question.startswith("load"):
            return found
        return {**found, "arrays": {name: change(question, x) for name, x in found["arrays"].items()}}

    return answer


def as_it_lies(question: str, real: Any, given: dict[str, Any]) -> Any:
    """A transposed array is saved in the order of its memory."""
    if not question.startswith("save") or given.get("layout") != "transposed":
        return real()
    lies = {name: np.array(x.T).reshape(x.shape) for name, x in given.get("named", {}).items()}
    return real(named=lies, arrays=[np.array(x.T).reshape(x.shape) for x in given.get("arrays", ())], layout="dense")


def without_metadata(question: str, real: Any, given: dict[str, Any]) -> Any:
    return {**real(), "metadata": {}} if question.startswith("load") else real()


def last_part_of_names(question: str, real: Any, given: dict[str, Any]) -> Any:
    if not question.startswith("save") or not given.get("named"):
        return real()
    return real(named={name.rpartition(".")[2]: x for name, x in given["named"].items()})


def forgiving(question: str, real: Any, given: dict[str, Any]) -> Any:
    """Whatever cannot be read is zeros."""
    try:
        return real()
    except Exception:
        if question.startswith("load"):
            return {"arrays": {"": np.zeros((3, 4), np.float32)}, "metadata": {}}
        raise


def by_position(question: str, real: Any, given: dict[str, Any]) -> Any:
    """Arrays without a name are counted from one."""
    if not question.startswith("load npz"):
        return real()
    names = {"arr_0": "arr_1", "arr_1": "arr_2"}
    found = real()
    return {**found, "arrays": {names.get(name, name): x for name, x in found["arrays"].items()}}


FAULTS: dict[str, tuple[Answering, set[str]]] = {
    "a transposed array as it lies": (as_it_lies, {"ROUND-1", "READ-1"}),
    "a scalar with an axis": (
        _loading(lambda question, x: np.atleast_1d(x)),
        {"ROUND-1", "LOAD-1"},
    ),
    "float16 as float32": (
        _loading(lambda question, x: x.astype(np.float32) if x.dtype == np.float16 else x),
        {"ROUND-1", "LOAD-1"},
    ),
    "metadata that is lost": (without_metadata, {"METADATA-1"}),
    "names without their path": (last_part_of_names, {"NAMES-1", "NAMES-2"}),
    "positions from one": (by_position, {"NAMES-2"}),
    "whatever cannot be read": (forgiving, {"HOSTILE-1", "HOSTILE-2", "LOAD-1", "LOAD-2"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_red_in_its_requirement(fault: str) -> None:
    answer, requirements = FAULTS[fault]
    assert red("mlx", answer) == requirements


def executing(question: str, real: Any, given: dict[str, Any]) -> Any:
    raise RuntimeError(hostile_files.MARK)


def test_a_pickle_that_is_executed_is_no_refusal() -> None:
    target, (one,) = on_cpu("mlx"), questions("FILE-HOSTILE-1")
    adapter: Any = target.cls("cpu")
    adapter.array_answer = lambda question, **given: executing(question, None, given)
    case = next(case for case in one.cases if case.params["fault"] == "pickled objects")
    planted = Case(case.params, case.arrays, case.needs)
    assay, error = direct.run(one, Planted(target, adapter), planted, Bench(open_golden(), open_recorded()))
    assert isinstance(error, Deviates)
    assert assay.observed is not None
    assert assay.observed.behaviour == "executed"


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_the_pickles_of_hostile_files_would_run(form: str) -> None:
    """With NumPy's permission: a refusal is the reader's own."""
    import io

    file = hostile_files.FAULTS[form]["pickled objects" if form == "npy" else "an entry of pickled objects"]()
    with pytest.raises(RuntimeError, match=hostile_files.MARK):
        np.load(io.BytesIO(file), allow_pickle=True)["x"]


@pytest.mark.parametrize("form", hostile_files.FAULTS)
def test_the_sound_file_of_each_format_is_sound(form: str) -> None:
    file = getattr(hostile_files, form)()
    found = file_readers.read(form, file)
    assert np.array_equal(next(iter(found.values())), hostile_files.SOUND)
    assert all(fault() != file for fault in hostile_files.FAULTS[form].values())


def test_gguf_files_are_read_as_their_package_reads_them(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    x = values("float32", (2, 3, 4))
    path = tmp_path / "made.gguf"
    writer = gguf.GGUFWriter(path, "made")
    writer.add_array("tokens", ["a", "b"])
    writer.add_uint8("small", 3)
    writer.add_tensor("x", x)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert np.array_equal(file_readers.read_gguf(path.read_bytes())["x"], x)
    path.write_bytes(array_files.file_of("gguf", "C", x))
    (found,) = gguf.GGUFReader(path).tensors
    assert np.array_equal(np.array(found.data), x)


def _saved(name: str, form: str, path: Path, held: dict[str, np.ndarray]) -> Path:
    adapter = on_cpu(name).cls("cpu")
    made = path / f"saved.{array_files.loads(form)}"
    made.write_bytes(adapter.array_answer(f"save {form}", named=held))
    return made


@pytest.mark.parametrize(
    ("name", "form"),
    [*(("mlx", form) for form in array_files.FORMS if form != "npy"), ("jax", "npz")],
)
def test_this_project_reads_what_a_framework_saves(name: str, form: str, tmp_path: Path) -> None:
    """Every dtype of both, under names with dots, to the bit."""
    known = {"float32", "float16", "bfloat16", "int8", "int32"} if form == "gguf" else set(EVERY) - {"complex64"}
    dtypes = [d for d in EVERY if d in known and array_files.takes(form, d) and (name, d[-2:]) != ("jax", "64")]
    held = {f"layers.0.{dtype}": values(dtype, (2, 3)) for dtype in dtypes}
    found = open_checkpoint(_saved(name, form, tmp_path, held)).tensors
    assert sorted(found) == sorted(held)
    for key, x in held.items():
        rows = found[key].rows(0, 2)
        assert rows.astype(x.dtype).tobytes() == x.tobytes(), key
        assert rows.dtype == x.dtype or x.dtype == ml_dtypes.bfloat16


def _read_everything(path: Path) -> None:
    for tensor in open_checkpoint(path).tensors.values():
        tensor.rows(0, tensor.length)


HOSTILE = [(form, fault) for form in ("npz", "safetensors", "gguf") for fault in hostile_files.FAULTS[form]]


@pytest.mark.parametrize(("form", "fault"), [one for one in HOSTILE if one not in UNSEEN])
def test_this_project_refuses_files_that_lie(form: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / f"hostile.{form}"
    path.write_bytes(hostile_files.FAULTS[form][fault]())
    with pytest.raises(CheckpointError) as error:
        _read_everything(path)
    assert hostile_files.MARK not in str(error.value)
