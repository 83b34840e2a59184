"""The check as a user runs it: exit status, summary, report, shards, parallel workers, and going on after a kill."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.command import PYTEST, ROOT, clean, run
from tests.made_checkpoints import hugging_face, meta, packed, quantization, write
from touchstone.adapters.interface import Scheme
from touchstone.migration.check import Check
from touchstone.reports import model

UP1 = "model.layers.1.mlp.up_proj.weight"
TENSORS = len(meta())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("source") / "a", meta())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("good") / "b", hugging_face(meta()))


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensors = hugging_face(meta())
    tensors[UP1] = np.roll(tensors[UP1], 1, axis=0)
    return write(tmp_path_factory.mktemp("bad") / "b", tensors)


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run("-m", "touchstone", "check", "--tensors-only", *map(str, arguments))


def test_a_good_checkpoint(source: Path, good: Path) -> None:
    ended = check(source, good)
    assert ended.returncode == 0, ended.stderr
    assert "verdict: the target holds what its source says" in ended.stdout
    assert f"{TENSORS}  conforms         exact" in ended.stdout


def test_a_bad_one_is_named_with_tensor_and_cause(source: Path, bad: Path, tmp_path: Path) -> None:
    ended = check(source, bad, "--report", tmp_path / "report")
    assert ended.returncode == 1, ended.stderr
    assert f"deviates         {UP1}  rows shifted" in ended.stdout
    assert f"verdict: 1 of {TENSORS} cases deviate" in ended.stdout
    report = model.load(tmp_path / "report")
    (column,) = report.columns
    assert (report.state, column.counts["deviates"], column.counts["conforms"]) == ("deviates", 1, TENSORS - 1)
    (wrong,) = (r for r in column.cases.values() if r.verdict == "deviates")
    assert wrong.rerun.startswith("touchstone run 'suites/migration/test_checkpoint.py::test_values[")
    assert UP1 in (tmp_path / "report" / "report.html").read_text()
    assert json.loads((tmp_path / "report" / "results.json").read_text())
    assert not list((tmp_path / "report").glob("*.ledger"))


def test_the_command_to_run_a_case_again_runs_it_alone(source: Path, bad: Path, tmp_path: Path) -> None:
    check(source, bad, "--report", tmp_path)
    (column,) = model.load(tmp_path).columns
    (wrong,) = (r for r in column.cases.values() if r.verdict == "deviates")
    ended = run("-m", *shlex.split(wrong.rerun), "-q", cwd=tmp_path)
    assert ended.returncode == 1
    assert "1 failed" in ended.stdout
    assert "rows shifted" in ended.stdout


def test_through_the_frameworks_layers(source: Path, good: Path, tmp_path: Path) -> None:
    """The layers' outputs are compared too, and a fault of the weights shows there."""
    arguments = ("--source", str(source), "--source-adapter", "reference", "--adapter", "reference", "--report")
    suite = (*PYTEST, "suites/migration", "-q")
    ended = run(*suite, "--target", str(good), *arguments, str(tmp_path / "good"))
    # No framework answered but the files were compared.
    assert ended.returncode == 0, ended.stdout
    tensors = hugging_face(meta())
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"] * np.float32(1.001)
    scaled = write(tmp_path / "scaled", tensors)
    ended = run(*suite, "--target", str(scaled), *arguments, str(tmp_path / "bad"))
    assert ended.returncode == 1
    red = {r.requirement for r in model.load(tmp_path / "bad").records if r.verdict == "deviates"}
    assert red == {"MIG-VALUES-1", "MIG-LOOKUP-1", "MIG-LOGITS-1"}


@pytest.mark.parametrize("scheme", [Scheme(4, 32), Scheme(4, 32, "mxfp4")], ids=str)
def test_packed_weights_through_layers(source: Path, tmp_path: Path, scheme: Scheme) -> None:
    target = write(tmp_path / "b", packed(hugging_face(meta()), scheme), quantization(scheme))
    arguments = ("--source", str(source), "--target", str(target), "--source-adapter", "reference")
    ended = run(
        *PYTEST, "suites/migration", "-q", *arguments, "--adapter", "reference", "--report", str(tmp_path / "r")
    )
    assert ended.returncode == 0, ended.stdout
    asked = {r.requirement for r in model.load(tmp_path / "r").records}
    assert asked >= {"MIG-QUANT-1", "MIG-CONFIG-1", "MIG-LOOKUP-1", "MIG-LINEAR-1", "MIG-LOGITS-1"}


def test_packed_weights_through_every_framework_s_layers(source: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "b", packed(hugging_face(meta()), Scheme(4, 32)), quantization(Scheme(4, 32)))
    targets = ("torch@cpu", "mlx@cpu", "jax@cpu")
    adapters = [word for t in targets for word in ("--adapter", t)]
    ended = run("-m", "touchstone", "check", str(source), str(target), *adapters, "--report", str(tmp_path / "r"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    columns = {c.target: {r.requirement for r in c.cases.values()} for c in model.load(tmp_path / "r").columns}
    assert all(columns[t] == {"MIG-LOOKUP-1", "MIG-LINEAR-1", "MIG-LOGITS-1"} for t in targets)


def test_shards_make_the_whole(source: Path, bad: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"shard{i}" for i in (1, 2, 3)]
    for i, folder in enumerate(folders, 1):
        assert check(source, bad, "--shard", f"{i}/3", "--report", folder).returncode in (0, 1)
    merged = run(
        "-m", "touchstone", "report", "merge", *map(str, folders), "--output", str(tmp_path / "all"), "--quiet"
    )
    assert merged.returncode == 0, merged.stderr
    report = model.load(tmp_path / "all")
    (column,) = report.columns
    assert (len(column.cases), report.state, report.problems) == (TENSORS, "deviates", [])


def test_parallel_workers_give_the_same_verdicts(source: Path, bad: Path, tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    arguments = ("suites/migration/test_checkpoint.py", "-q", "--source", str(source), "--target", str(bad))
    assert run(*PYTEST, *arguments, "--report", str(alone)).returncode == 1
    assert run(*PYTEST, *arguments, "--report", str(shared), "-n", "2").returncode == 1
    seen = [
        {i: (r.verdict, r.behaviour, r.message) for i, r in model.load(f).columns[0].cases.items()}
        for f in (alone, shared)
    ]
    assert seen[0] == seen[1]


def test_an_interrupted_check_goes_on(source: Path, bad: Path, tmp_path: Path) -> None:
    """Killed in the middle, with verdicts in its ledger; what changed since is checked anew."""
    ledger = _killed(source, bad, tmp_path / "report")
    known = len(ledger.read_text().split("\n")) - 2
    assert 0 < known < TENSORS
    ended = check(source, bad, "--report", tmp_path / "report")
    assert ended.returncode == 1
    assert f"resumed: {known:,} verdicts" in ended.stdout
    assert f"verdict: 1 of {TENSORS} cases deviate" in ended.stdout
    assert not ledger.exists()

    ledger = _killed(source, bad, tmp_path / "report")
    os.utime(bad / "model.safetensors", ns=(1, 1))
    ended = check(source, bad, "--report", tmp_path / "report")
    assert "resumed" not in ended.stdout


def _killed(source: Path, target: Path, report: Path, how: signal.Signals = signal.SIGKILL) -> Path:
    """A check that slows down after its tenth verdict, killed there; its ledger."""
    script = (
        "import sys, time; from touchstone.migration import check, findings\n"
        "from touchstone.command import main\n"
        "of_pair, seen = findings.of_pair, []\n"
        "def slow(*arguments):\n"
        "    seen.append(1)\n"
        "    if len(seen) > 10: time.sleep(60)\n"
        "    return of_pair(*arguments)\n"
        "findings.of_pair = slow\n"
        f"main(['check', {str(source)!r}, {str(target)!r}, '--tensors-only', '--report', {str(report)!r}])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ledger = report / "check-main.ledger"
    deadline = time.monotonic() + 60
    while not (ledger.exists() and ledger.read_text().count("\n") >= 10) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return ledger


def test_an_interrupt_keeps_what_was_found(source: Path, bad: Path, tmp_path: Path) -> None:
    ledger = _killed(source, bad, tmp_path, signal.SIGINT)
    assert ledger.exists()
    assert "resumed" in check(source, bad, "--report", tmp_path).stdout


def test_a_missing_share_is_no_whole(source: Path, good: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"shard{i}" for i in (1, 3)]
    for i, folder in zip((1, 3), folders, strict=True):
        assert check(source, good, "--shard", f"{i}/3", "--report", folder).returncode == 0
    assert (
        run("-m", "touchstone", "report", "merge", *map(str, folders), "--output", str(tmp_path / "all")).returncode
        == 0
    )
    report = model.load(tmp_path / "all")
    assert report.state == "incomplete"
    assert report.problems == ["share 2 of 3 is missing: merge its report too"]


@pytest.mark.parametrize("place", ["conftest.py", "tests/conftest.py"])
@pytest.mark.parametrize("form", ["command", "pytest"])
def test_nothing_beside_a_checkpoint_is_executed(good: Path, tmp_path: Path, place: str, form: str) -> None:
    """pytest loads the conftest.py of every path that it takes for tests."""
    source = write(tmp_path / "a", meta())
    (source / place).parent.mkdir(exist_ok=True)
    (source / place).write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()")
    if form == "command":
        ended = check(source, good)
    else:
        pair = ("--source", str(source), "--target", str(good))
        ended = run(*PYTEST, *pair, "suites/migration", "-q", "--tensors-only")
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "executed").exists()


def test_a_ledger_of_other_files_or_cut_off_is_not_believed(source: Path, bad: Path, tmp_path: Path) -> None:
    key = Check(source, bad).key
    finding = {"behaviour": "exact", "conforms": True, "message": "", "dtype": None, "shape": None}
    line = json.dumps(
        {"case": f"MIG-VALUES-1 {UP1}", **finding, "headroom": 0, "error": 0, "bound": 0, "worst_index": None}
    )
    tmp_path.joinpath("check-main.ledger").write_text(f"{key}\n{line[:-5]}")
    assert check(source, bad, "--report", tmp_path).returncode == 1
    tmp_path.joinpath("check-main.ledger").write_text(f"{key[::-1]}\n{line}\n")
    assert check(source, bad, "--report", tmp_path).returncode == 1
    tmp_path.joinpath("check-main.ledger").write_text(f"{key}\n{line}\n")
    assert check(source, bad, "--report", tmp_path).returncode == 0, "the control: a ledger that fits is believed"


BAD_CALLS: dict[str, tuple[tuple[str, ...], str]] = {
    "no such source": (("{none}", "{good}"), "none: does not exist"),
    "no such target": (("{source}", "{none}"), "none: does not exist"),
    "no such map": (("{source}", "{good}", "--map", "{none}"), "--map {none}: cannot be read"),
    "share 0": (("{source}", "{good}", "--shard", "0/2"), "--shard 0/2: write i/n"),
    "share 3 of 2": (("{source}", "{good}", "--shard", "3/2"), "--shard 3/2: write i/n"),
    "no share": (("{source}", "{good}", "--shard", "half"), "--shard half: write i/n"),
    "more shares than tensors": (("{source}", "{good}", "--shard", "1/1000"), "there are only 30 tensors"),
    "no such adapter": (("{source}", "{good}", "--adapter", "nope"), "unknown adapter 'nope'"),
    "an adapter without layers": (
        ("{source}", "{good}", "--adapter", "mlx", "--tensors-only"),
        "name no adapter with it",
    ),
    "no such source adapter": (("{source}", "{good}", "--source-adapter", "nope"), "unknown adapter 'nope'"),
}


@pytest.mark.parametrize("call", BAD_CALLS)
def test_a_call_that_cannot_be_meant(call: str, source: Path, good: Path, tmp_path: Path) -> None:
    arguments, message = BAD_CALLS[call]
    places = {"source": source, "good": good, "none": tmp_path / "none"}
    command = ("-m", "touchstone", "check", *arguments, "--report", "{none}")
    ended = run(*(a.format(**places) for a in command))
    assert ended.returncode == 2
    (line,) = [text for text in ended.stderr.splitlines() if text.strip()]
    assert line.startswith("error: ")
    assert message.format(**places) in line
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("given", ["--source", "--target", "--map", "--shard"])
def test_half_a_check_is_refused(source: Path, given: str) -> None:
    ended = run(*PYTEST, "suites/migration", given, str(source))
    assert ended.returncode == 4
    assert f"{given}: a check of checkpoints needs both --source and --target" in ended.stderr


def test_a_check_goes_without_a_table(source: Path, good: Path) -> None:
    table = f"{source / 'model.safetensors'}:tok_embeddings.weight"
    ended = run(*PYTEST, "suites/", "--source", str(source), "--target", str(good), "--table", table)
    assert ended.returncode == 4
    assert "goes without --table" in ended.stderr


def test_without_a_check_its_cases_are_not_collected() -> None:
    ended = run(*PYTEST, "suites/migration", "--collect-only", "-q", "--adapter", "reference")
    assert "test_checkpoint" not in ended.stdout
    assert "test_llama" in ended.stdout


def test_a_file_that_is_cut_off_meanwhile_is_a_verdict(source: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "b", hugging_face(meta()))
    check = Check(source, target)
    path = target / "model.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    found = [check.finding(q) for q in check.questions]
    wrong = [f for f in found if not f.conforms]
    assert wrong
    assert {f.behaviour for f in wrong} == {"cannot be read"}
    assert all("model.safetensors" in f.message for f in wrong)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's count of resident memory")
def test_memory_stays_small(tmp_path: Path) -> None:
    """1 GB on each side and 200 MB of memory at most, by the command that measures 8 GB."""
    ended = run(
        "-m", "tools.benchmarks.checkpoints", "--size", "1", "--rounds", "1", "--folder", str(tmp_path / "made")
    )
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("check, ")]
    assert len(lines) == 3
    assert all(float(line.split()[-1]) < 200 for line in lines), ended.stdout


def test_the_page_names_the_tensor_that_is_to_be_looked_at(source: Path, bad: Path, tmp_path: Path) -> None:
    check(source, bad, "--report", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert f"rows shifted <small>(deviates)</small>: {UP1}</span>" in page
