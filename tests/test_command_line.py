"""What does `pytest suites/` exit with, print and write, for right and wrong selections, tables and report folders?"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.command import PYTEST, ROOT, in_shell, run
from touchstone.adapters.discovery import machine
from touchstone.golden.packing import FORMATS
from touchstone.golden.recipes import Recipe
from touchstone.suites.real import LINEAR, QUANTIZED_TABLE, TABLE, RealInput, RealInputError

LOOKUP = ("suites/test_lookup.py", "-k", "test_special_values")
"""Six cases: two layers in three dtypes."""
EVERY_BIT = ("suites/test_lookup.py", "-k", "test_special_values or test_copies_by_other_functions")
"""Every case of EMB-BITS-1, six of which an adapter without spellings answers."""
MINIMAL = ("--adapter", "tests.hazards:Minimal")
"""NumPy under another name, which counts as a framework and takes no time to import."""


def typed(line: str, report: Path) -> subprocess.CompletedProcess[str]:
    """The line that a failure prints, in a shell in another folder."""
    return in_shell(f"{line} --report {shlex.quote(str(report))}", report.parent)


def suites(*arguments: str | Path, **environment: Any) -> subprocess.CompletedProcess[str]:
    return run(*PYTEST, "-q", *map(str, arguments), **environment)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The line of the summary that counts every verdict."""
    return next(line for line in reversed(done.stdout.splitlines()) if line.startswith("all targets"))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def cases(folder: Path) -> list[dict[str, Any]]:
    """Lines of cases that started and ended."""
    return [line for line in records(folder) if line["event"] in ("start", "end")]


def test_a_framework_that_conforms_exits_0() -> None:
    done = suites(*LOOKUP, "--adapter", "torch@cpu")
    assert done.returncode == 0, done.stdout
    assert "torch@cpu        6 conforms  (torch " in done.stdout
    assert last_line(done).split(maxsplit=2)[2].startswith("6 conforms, 0 known deviation, 0 unsupported, 0 not run")


def test_the_reference_alone_is_no_coverage(tmp_path: Path) -> None:
    done = suites(*LOOKUP, "--adapter", "reference", "--report", tmp_path)
    assert done.returncode == 1
    assert "error: no framework answered a single case, so nothing was assayed" in done.stdout
    assert "6 conforms" in last_line(done)


def test_schemes_that_no_target_has_are_not_collected() -> None:
    """They are no gap in anyone's coverage; with a target that has them they are."""
    alone = suites("suites/test_elsewhere.py", "--adapter", "reference", "--collect-only")
    assert (alone.returncode, "reference@cpu-" in alone.stdout) == (5, False), alone.stdout
    beside = suites("suites/test_elsewhere.py", "--adapter", "reference", "--adapter", "gguf", "--collect-only")
    assert "reference@cpu-" in beside.stdout
    assert "gguf@cpu-" in beside.stdout


SOMETIMES = """
[[deviation]]
requirement = "EMB-BITS-1"
framework = "mine"
versions = ">=1"
cases = [{}]
seen_on = ["cpu"]
observed = ["wrong bits"]
some_conform = true
seen = 2026-11-21
cause = "It depends."
reproduction = "1 + 1"
advice = "Wait."
"""


@pytest.mark.parametrize(("selection", "stale"), [((), True), (("-k", "float32"), False)])
def test_a_deviation_that_no_case_shows_any_more_is_stale(selection: Any, stale: bool, tmp_path: Path) -> None:
    """Only where the whole requirement ran; one conforming case alone says nothing."""
    done = _mine(tmp_path, SOMETIMES, *selection)
    assert done.returncode == stale, done.stdout
    assert f"{int(stale)} stale deviation" in last_line(done)
    assert ("mine.toml: deviation 1" in done.stdout) == stale


def _mine(folder: Path, known: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A third party's adapter, which conforms, with these entries beside its module."""
    (folder / "known").mkdir()
    (folder / "known" / "mine.toml").write_text(known)
    (folder / "mine.py").write_text(
        "from tests import hazards\nclass Mine(hazards.Minimal):\n    name = 'mine'\n    module = 'numpy'\n"
    )
    return suites(*EVERY_BIT, *arguments, "--adapter", "mine:Mine", PYTHONPATH=str(folder))


def _seen(where: str, seen_on: str) -> str:
    return SOMETIMES.replace('seen_on = ["cpu"]', f"where = {where}\nseen_on = {seen_on}")


MACHINE = machine.facts()["machine"]
OTHER = "arm64" if MACHINE == "x86_64" else "x86_64"


def test_an_entry_of_other_machines_is_a_remark_and_leaves_the_run_green(tmp_path: Path) -> None:
    known = _seen(f'{{machine = ["{OTHER}"]}}', f'[{{device = "cpu", machine = "{OTHER}"}}]')
    done = _mine(tmp_path, known, "--report", str(tmp_path / "report"))
    assert done.returncode == 0, done.stdout
    assert "0 stale deviation, 0 unreviewed" in last_line(done)
    remark = f"mine.toml: deviation 1 (EMB-BITS-1) holds for mine where machine is {OTHER}, not with machine {MACHINE}"
    assert remark in done.stdout
    assert re.search(r"not seen here: mine@cpu, 6 cases: ", done.stdout)
    assert "Not seen here" in (tmp_path / "report" / "report.html").read_text()
    facts = records(tmp_path / "report")[0]["targets"]["mine@cpu"]["device"]["facts"]
    assert (facts["machine"], "instruction_set" in facts, "numpy" in facts) == (MACHINE, True, True)


def test_where_its_condition_holds_the_same_entry_is_stale(tmp_path: Path) -> None:
    done = _mine(tmp_path, _seen(f'{{machine = ["{MACHINE}"]}}', f'[{{device = "cpu", machine = "{MACHINE}"}}]'))
    assert done.returncode == 1, done.stdout
    assert "1 stale deviation" in last_line(done)


@pytest.mark.parametrize("sometimes", [True, False])
def test_an_entry_that_is_assumed_and_does_not_show_is_unreviewed(sometimes: bool, tmp_path: Path) -> None:
    known = SOMETIMES.replace('["cpu"]', '["gpu"]').replace(
        "some_conform = true", f"some_conform = {sometimes}".lower()
    )
    done = _mine(tmp_path, known)
    assert done.returncode == 1, done.stdout
    assert f"0 stale deviation, {1 if sometimes else 6} unreviewed" in last_line(done)
    assert "mine.toml: deviation 1 (EMB-BITS-1) was assumed" in done.stdout


TWICE = SOMETIMES + SOMETIMES.replace("cases = [{}]", 'cases = [{dtype = ["float16"]}]')
BAD_ENTRIES = {
    "two equally narrow": (TWICE, "deviation 2 (EMB-BITS-1): covers layer embedding, dtype float16"),
    "an unknown condition": (_seen('{isa = ["avx2"]}', "[{}]"), "deviation 1 (EMB-BITS-1): where names an unknown"),
    "one that can never hold": (
        _seen('{machine = ["arm64"], instruction_set = ["avx2"]}', "[{}]"),
        "deviation 1 (EMB-BITS-1): where can hold nowhere",
    ),
}


@pytest.mark.parametrize("processes", ["0", "2"])
@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_entries_that_cannot_be_are_one_line(name: str, processes: str, tmp_path: Path) -> None:
    text, message = BAD_ENTRIES[name]
    done = _mine(tmp_path, text, "-n", processes)
    assert done.returncode == 4, done.stdout + done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
    assert len(lines) == 1, done.stdout + done.stderr
    assert lines[0].startswith(f"ERROR: {tmp_path / 'known' / 'mine.toml'}: {message}")
    assert "Traceback" not in done.stdout + done.stderr
    assert "no case matches" not in done.stdout


def test_entries_of_different_versions_do_not_clash(tmp_path: Path) -> None:
    done = _mine(tmp_path, SOMETIMES + SOMETIMES.replace('">=1"', '"<1"'))
    assert done.returncode == 1, done.stdout  # stale, and no error
    assert "1 stale deviation" in last_line(done)


def test_a_selection_that_matches_nothing_is_named() -> None:
    done = suites("suites/test_lookup.py", "-k", "test_specal_values", *MINIMAL)
    assert done.returncode not in (0, 1)
    assert "error: no case matches -k 'test_specal_values'" in done.stdout


def test_deviations_and_declared_gaps_are_counted_apart() -> None:
    """An adapter that shirks what it declared deviates; one that declared a gap is unsupported, with its reason."""
    both = ("--adapter", "tests.hazards:Faulty", "--adapter", "tests.hazards:Narrow")
    done = suites(*LOOKUP, *both, "-rs")
    assert done.returncode == 1
    assert "faulty@cpu       6 deviates  (numpy " in done.stdout
    assert "narrow@cpu       2 conforms, 4 unsupported  (numpy " in done.stdout
    assert "the narrow framework has float32 only" in done.stdout
    assert "the adapter raised Unsupported for something its capabilities do not exclude: not today" in done.stdout
    versions = f"numpy {np.__version__}, ml_dtypes {ml_dtypes.__version__}"
    text = [
        f"faulty@cpu ({versions}) deviates: EMB-BITS-1",
        "  required   A lookup copies signed zeros, subnormals, infinities and NaN payloads",
        "  case       layer=embedding, dtype=float16",
        "  observed   wrong bits: first difference at (0, 0): got ",
        "  golden     golden/data/rows.safetensors:rows/tables/float16/special/ids/special rows",
        "  registered no deviation is registered for this case",
        f"  rerun      PYTHONPATH={ROOT} touchstone run "
        "'suites/test_lookup.py::test_special_values[faulty@cpu-embedding-float16]' --adapter tests.hazards:Faulty@cpu",
    ]
    assert [line for line in text if line not in done.stdout] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adapter", "numpy"], "unknown adapter 'numpy': use one of mlx, jax, torch, reference"),
        (["--adapter", "tests.hazards:Minimal@gpu"], "--adapter tests.hazards:Minimal@gpu: no gpu device here"),
        (["--adapter", "tests.hazards:Aborts"], "--adapter tests.hazards:Aborts: the device probe of"),
        (["--bootstrap", "mlx@gpu", *MINIMAL], "--bootstrap mlx@gpu: not among this run's targets"),
        (["--table", "none.safetensors:x", *MINIMAL], "--table none.safetensors: not a readable safetensors file"),
        (["--report", "pyproject.toml", *MINIMAL], "--report pyproject.toml: is a file; name a folder"),
        (["--report", "pyproject.toml/x", *MINIMAL], "--report pyproject.toml/x: cannot write there (Not a directory)"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_wrong_options_are_one_line(arguments: list[str], message: str) -> None:
    done = suites("suites/test_lookup.py", *arguments)
    assert done.returncode == 4
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"ERROR: {message}")


def test_a_required_framework_is_checked() -> None:
    done = suites("suites/test_lookup.py", *MINIMAL, TOUCHSTONE_REQUIRE="torch,tinygrad")
    assert done.returncode == 4
    assert "ERROR: TOUCHSTONE_REQUIRE names 'tinygrad'; known: mlx, jax, torch, reference" in done.stderr


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors file with a sound table and several that cannot be used."""
    path = tmp_path_factory.mktemp("real") / "model.safetensors"
    table = Recipe("bell", "float32", (50, 64), {"scale": 2.0**-3}).make("a user's table")
    broken = table.copy()
    broken[3, 3] = np.nan
    arrays = {
        "table": table,
        "narrow": table[:, :20].copy(),
        "vector": table[0],
        "integers": np.ones((4, 4), np.int32),
        "doubles": table.astype(np.float64),
        "empty": table[:0],
        "not finite": broken,
        "zeros": np.array([[0.0, -0.0]] * 4, np.float32),
        "eighths": np.ones((4, 4), ml_dtypes.float8_e4m3fn),
        "biased.weight": table,
        "biased.bias": np.ones(50, ml_dtypes.float8_e4m3fn),
    }
    save_file(arrays, path)
    return path


UNUSABLE = {
    "table": None,
    "vector": "vector has shape (64,); a matrix is needed",
    "empty": "empty has shape (0, 64); a matrix is needed",
    "integers": "integers is int32; use one of float32, float16, bfloat16",
    "doubles": "doubles is float64; use one of float32, float16, bfloat16",
    "not finite": "not finite holds infinities or NaN",
    "tabel": "no array 'tabel'; the file holds biased.bias, biased.weight,",
    "zeros": "zeros holds only zeros, so nothing could be assayed",
    "eighths": "eighths is F8_E4M3; use one of float32, float16, bfloat16",
}


@pytest.mark.parametrize("key", UNUSABLE)
@pytest.mark.parametrize("option", ["--table", "--linear"])
def test_arrays_that_cannot_be_used(option: str, key: str, file: Path) -> None:
    spec, message = f"{file}:{key}", UNUSABLE[key]
    chosen = ([spec], []) if option == "--table" else ([], [spec])
    if message is None:
        assert list(RealInput.open(*chosen).arrays) == [f"{option} {spec}"]
        return
    with pytest.raises(RealInputError) as error:
        RealInput.open(*chosen)
    assert str(error.value).startswith(f"{option} {file}")
    assert message in str(error.value)


@pytest.mark.parametrize("spec", ["model.safetensors", "model.safetensors:", ":table", ""])
def test_a_spec_without_file_or_key(spec: str) -> None:
    with pytest.raises(RealInputError, match=f"--table {spec}: write FILE:KEY"):
        RealInput.open([spec], [])


def test_a_bias_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(RealInputError, match=r"--linear .*: biased\.bias is F8_E4M3; use one of float32"):
        RealInput.open([], [f"{file}:biased.weight"])


def test_the_same_array_twice_is_refused(file: Path) -> None:
    """Their cases would have one id."""
    with pytest.raises(RealInputError, match=f"--table {file}:table: given twice"):
        RealInput.open([f"{file}:table", f"{file}:table"], [])


def test_two_arrays_of_one_name_are_told_apart_by_file(file: Path, tmp_path: Path) -> None:
    other = tmp_path / file.name
    save_file({"table": np.ones((50, 64), np.float32)}, other)
    specs = [f"{file}:table", f"{other}:table"]
    made = RealInput.open([*specs, f"{file}:narrow"], [])
    assert [c.params["key"] for c in made.cases(TABLE)] == [*specs, "narrow"]
    first, second, narrow = (made.arrays[c.arrays["weight"]] for c in made.cases(TABLE))
    assert (first != second).any()
    assert narrow.shape == (50, 20)
    assert made.options[f"--table {specs[0]}"] == ("--table", specs[0], "--table", specs[1])


def test_one_array_may_be_a_table_and_a_linear_weight(file: Path) -> None:
    spec = f"{file}:table"
    made = RealInput.open([spec], [spec])
    assert [c.params["key"] for kind in (TABLE, LINEAR) for c in made.cases(kind)] == ["table", "table"]
    assert made.options == {f"--table {spec}": ("--table", spec), f"--linear {spec}": ("--linear", spec)}


def test_arrays_of_one_name_run_and_can_be_run_again_alone(file: Path, tmp_path: Path) -> None:
    other = tmp_path / file.name
    save_file({"table": np.eye(50, 64, dtype=np.float32)}, other)
    given = [f"--table={path}:table" for path in (file, other)]
    done = suites("suites/", *MINIMAL, *given, f"--linear={file}:table", "--report", tmp_path / "first")
    assert done.returncode == 0, done.stdout
    ended = [r for r in records(tmp_path / "first") if r["event"] == "end"]
    assert {r["params"]["key"] for r in ended} == {f"{file}:table", f"{other}:table", "table"}
    chosen = next(r for r in ended if r["params"]["key"] == f"{other}:table")
    done = typed(chosen["rerun"], tmp_path / "again")
    assert [line["id"] for line in cases(tmp_path / "again")] == [chosen["id"]] * 2, done.stdout + done.stderr


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x10\x00\x00\x00\x00\x00\x00\x00{"])
def test_a_file_that_is_no_safetensors_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(RealInputError, match=r"--table .*model\.safetensors: not a readable safetensors file"):
        RealInput.open([f"{path}:table"], [])


def test_only_groups_that_divide_the_columns_are_quantized(file: Path) -> None:
    wide, narrow = (RealInput.open([f"{file}:{key}"], []) for key in ("table", "narrow"))
    made = {tuple(c.params[p] for p in ("mode", "bits", "group_size")) for c in wide.cases(QUANTIZED_TABLE)}
    assert made == {(f.mode, f.bits, f.group_size) for f in FORMATS if f.group_size != 128}
    assert list(narrow.cases(QUANTIZED_TABLE)) == []
    assert len(narrow.cases(TABLE)) == 1


@pytest.mark.parametrize("key", ["table", "narrow"])
def test_a_table_of_the_users_own(key: str, file: Path, tmp_path: Path) -> None:
    """Only the suite on real input runs, and the command of a record brings the table along."""
    done = suites("suites/", *MINIMAL, "--table", f"{file}:{key}", "--report", tmp_path)
    assert done.returncode == 0, done.stdout
    ended = [r for r in records(tmp_path) if r["event"] == "end"]
    assert {r["id"].partition("::")[0] for r in ended} == {"suites/test_real_input.py"}
    assert {r["params"]["key"] for r in ended} == {key}
    assert "0 not run" in last_line(done)
    assert "skipped" not in done.stdout
    again, chosen = tmp_path / "again", ended[-1]
    done = typed(chosen["rerun"], again)
    assert [line["id"] for line in cases(again)] == [chosen["id"]] * 2, done.stdout + done.stderr


def test_every_case_is_recorded_and_can_be_run_again_alone(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    done = suites(*LOOKUP, *MINIMAL, "--report", first)
    assert done.returncode == 0, done.stdout
    lines = cases(first)
    assert [line["event"] for line in lines] == ["start", "end"] * 6
    assert [line["id"] for line in lines[::2]] == [line["id"] for line in lines[1::2]]
    assert {line["verdict"] for line in lines[1::2]} == {"conforms"}
    chosen = lines[7]
    assert typed(chosen["rerun"], again).returncode == 0
    assert [line["id"] for line in cases(again)] == [chosen["id"]] * 2
    assert cases(again)[1]["params"] == chosen["params"]


def test_a_disk_that_fills_stops_the_run_with_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").symlink_to("/dev/full")
    done = suites(*LOOKUP, *MINIMAL, "--report", tmp_path)
    output = done.stdout + done.stderr
    assert done.returncode not in (0, 5)
    assert f"{tmp_path / 'results.jsonl'}: cannot be written (No space left on device)" in output
    assert "INTERNALERROR" not in output
    assert "Traceback" not in output
