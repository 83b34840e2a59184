"""Is a setting without effect refused, and is a case that shows something else under one found, but for known ones?

Runs and what is read back are made up, except in the last tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from tests.command import run
from tools import portable, settings
from tools.portable import DIFFERS, NO_EFFECT, SAME, Cases, Runs
from tools.settings import PLAIN, Setting, SettingError
from touchstone.adapters.discovery import instructions, machine, registry
from touchstone.adapters.discovery.registry import Target
from touchstone.verdict.expectation import Deviation, Expectations, Scope

FACTS = {"system": "Linux", "machine": "x86_64", "instruction_set": "avx2", "threads": "2"}
READ = {"numpy": "avx2", "numpy_threads": "2", "xla": "avx2", "xla_threads": "2", "torch": "avx2", "onednn": "avx2"}
"""What is read back without any setting."""
AVX = Setting({"XLA_FLAGS": "--xla_cpu_max_isa=AVX"}, {"xla": "avx"})
X86 = machine.facts()["machine"] == "x86_64"


def record(target: str, case: str, behaviour: str, **changed: Any) -> dict[str, Any]:
    name = target.partition("@")[0]
    facts: dict[str, Any] = {
        "event": "end",
        "id": f"suites/test_x.py::test_it[{target}-{case}]",
        "target": target,
        "spec": name,
        "versions": {name: "1.0"},
        "device": {"facts": {**FACTS, **READ}},
        "requirement": "EMB-SHAPE-1",
        "params": {"case": case},
        "behaviour": behaviour,
        "verdict": "conforms" if behaviour == "conforms" else "known deviation",
        "conforms": behaviour == "conforms",
        "headroom": 0.5,
    }
    return facts | changed


def cases(*records: dict[str, Any], **facts: str) -> Cases:
    """Records by id; facts: what the libraries are recorded to use."""
    for one in records:
        one["device"] = {"facts": {**FACTS, **READ, **facts}}
    return {one["id"]: one for one in records}


class Machine:
    """A made-up machine: what is read back and recorded under each setting, and how each run ends."""

    def __init__(self) -> None:
        self.read: dict[str, dict[str, str]] = {PLAIN: READ, "xla-avx": {**READ, "xla": "avx"}}
        self.runs: dict[str, tuple[int, Cases]] = {
            PLAIN: (0, cases(record("jax@cpu", "a", "conforms"), record("torch@cpu", "a", "conforms"))),
            "xla-avx": (0, cases(record("jax@cpu", "a", "conforms"), xla="avx")),
        }
        self.ran: list[tuple[str, list[str]]] = []

    def read_back(self, runs: Runs, name: str, setting: Setting) -> dict[str, str]:
        return self.read[name]

    def run(self, runs: Runs, name: str, setting: Setting, targets: Sequence[Target]) -> tuple[int, Cases]:
        self.ran.append((name, [target.id for target in targets]))
        return self.runs[name]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(Runs, "read_back", lambda *arguments: made.read_back(*arguments))
    monkeypatch.setattr(Runs, "run", lambda *arguments: made.run(*arguments))
    monkeypatch.setattr(machine, "facts", lambda: FACTS)
    found = [Target(name, registry.adapter_class(name), "cpu") for name in ("jax", "torch")]
    monkeypatch.setattr(registry, "resolve", lambda selected: found)
    monkeypatch.setattr(settings, "load", lambda: {"xla-avx": AVX})
    know(monkeypatch)
    return made


def know(monkeypatch: pytest.MonkeyPatch, *deviations: Deviation) -> None:
    """Have these entries registered, and no others."""
    monkeypatch.setattr(portable, "_known", lambda spec, target: (Expectations(deviations), spec))


def deviation(*observed: str, where: Mapping[str, tuple[str, ...]] | None = None, **changed: Any) -> Deviation:
    facts: dict[str, Any] = {
        "requirement": "EMB-SHAPE-1",
        "scope": Scope("jax", (), where or {}, ({"device": "cpu"},)),
        "versions": SpecifierSet(),
        "cases": ({"case": ("a",)},),
        "origin": "jax.toml: deviation 1",
        "observed": frozenset(observed),
        "headroom_at_most": None,
        "seen": date(2026, 11, 28),
        **dict.fromkeys(("cause", "reproduction", "advice"), "x"),
    }
    return Deviation(**facts | changed)


class TestTheStatus:
    def test_the_same_everywhere(self, here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        assert portable.main([]) == SAME
        assert here.ran == [(PLAIN, ["jax@cpu", "torch@cpu"]), ("xla-avx", ["jax@cpu"])], "XLA concerns JAX alone"
        shown = capsys.readouterr().out
        assert "xla-avx: XLA_FLAGS=--xla_cpu_max_isa=AVX shows xla avx" in shown
        assert shown.endswith("the same under 1 settings\n")

    def test_a_setting_without_effect(self, here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        here.read["xla-avx"] = READ
        assert portable.main([]) == NO_EFFECT
        said = "error: xla-avx did not take effect: XLA_FLAGS=--xla_cpu_max_isa=AVX should show xla avx, not avx2\n"
        assert capsys.readouterr().err == said
        assert here.ran == [], "that is known before anything runs"

    def test_a_setting_that_is_lost_on_the_way_to_the_suites(
        self, here: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.runs["xla-avx"] = (0, cases(record("jax@cpu", "a", "conforms"), xla="avx2"))
        assert portable.main([]) == NO_EFFECT
        assert "xla-avx (as its records have it) did not take effect" in capsys.readouterr().err

    @pytest.mark.parametrize("name", [PLAIN, "xla-avx"])
    def test_a_run_that_fails(self, here: Machine, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        here.runs[name] = (1, here.runs[name][1])
        assert portable.main([]) == DIFFERS
        assert capsys.readouterr().out.endswith(f"not the same: {name}\n")

    def test_a_plain_run_without_a_case(self, here: Machine) -> None:
        here.runs[PLAIN] = (5, {})
        assert portable.main([]) == DIFFERS
        assert here.ran == [(PLAIN, ["jax@cpu", "torch@cpu"])]

    def test_a_selection_without_a_case_of_whom_it_concerns(
        self, here: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.runs[PLAIN] = (0, cases(record("torch@cpu", "a", "conforms")))
        assert portable.main([]) == DIFFERS, "nothing was shown"
        shown = capsys.readouterr().out
        assert "xla-avx: left out, the selection has no case of jax@cpu" in shown
        assert shown.endswith("not the same: no setting was run\n")

    def test_no_setting_can_be_had(
        self, here: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(settings, "load", lambda: {"wide": Setting({"XLA_FLAGS": "x"}, {"xla": "avx512"})})
        assert portable.main([]) == NO_EFFECT
        captured = capsys.readouterr()
        assert "wide: left out, xla avx512 is wider than the processor, avx2" in captured.out
        assert captured.err == "error: no setting can be had here, so that nothing would be shown\n"

    def test_an_unknown_setting_is_named(self, here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        assert portable.main(["--setting", "xla-avy"]) == NO_EFFECT
        assert capsys.readouterr().err == "error: no setting 'xla-avy' in settings.toml; there are xla-avx\n"


ONLY_AVX = {"xla": ("avx",)}


class TestACaseThatShowsSomethingElse:
    @pytest.fixture(autouse=True)
    def differs(self, here: Machine) -> None:
        here.runs["xla-avx"] = (0, cases(record("jax@cpu", "a", "wrong bits"), xla="avx"))

    def test_no_entry_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert portable.main([]) == DIFFERS
        said = "conforms (conforms) plainly, wrong bits (known deviation) with xla-avx"
        assert f"differs  suites/test_x.py::test_it[jax@cpu-a]: {said}\n" in capsys.readouterr().out

    def test_an_entry_names_the_condition(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        know(monkeypatch, deviation("wrong bits", where=ONLY_AVX))
        assert portable.main([]) == SAME
        row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("xla-avx  "))
        assert row.split() == ["xla-avx", "1", "0", "1", "0", "xla", "avx"]

    def test_one_entry_registers_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As for undefined behaviour, and where a case may conform by its values."""
        know(monkeypatch, deviation("wrong bits", "conforms"))
        assert portable.main([]) == SAME
        know(monkeypatch, deviation("wrong bits", some_conform=True))
        assert portable.main([]) == SAME

    @pytest.mark.parametrize(
        "entry",
        [
            deviation("wrong bits"),
            deviation("wrong bits", where={"machine": ("x86_64",)}),
            deviation("wrong bits", where={"xla": ("avx512",)}),
            deviation("beyond bound", where=ONLY_AVX),
            deviation("wrong bits", where=ONLY_AVX, requirement="EMB-BITS-1"),
            deviation("wrong bits", where=ONLY_AVX, cases=({"case": ("b",)},)),
            deviation("wrong bits", where=ONLY_AVX, versions=SpecifierSet(">=2")),
            deviation("wrong bits", where=ONLY_AVX, scope=Scope("torch", (), ONLY_AVX)),
            deviation("wrong bits", where=ONLY_AVX, headroom_at_most=0.1),
        ],
    )
    def test_an_entry_that_does_not_explain_it(self, monkeypatch: pytest.MonkeyPatch, entry: Deviation) -> None:
        """It holds in both places, or in neither; or speaks of another behaviour, case, version or framework."""
        know(monkeypatch, entry)
        assert portable.main([]) == DIFFERS

    def test_another_verdict_alone_is_seen(self, here: Machine) -> None:
        here.runs["xla-avx"] = (0, cases(record("jax@cpu", "a", "conforms", verdict="unsupported"), xla="avx"))
        assert portable.main([]) == DIFFERS

    def test_an_error_of_another_size_is_no_difference(self, here: Machine) -> None:
        here.runs["xla-avx"] = (0, cases(record("jax@cpu", "a", "conforms", headroom=0.25), xla="avx"))
        assert portable.main([]) == SAME

    @pytest.mark.parametrize(("asked", "said"), [((), "asked plainly only"), (("a", "b"), "asked with xla-avx only")])
    def test_a_case_that_one_run_did_not_ask(
        self, here: Machine, asked: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.runs["xla-avx"] = (0, cases(*(record("jax@cpu", name, "conforms") for name in asked), xla="avx"))
        assert portable.main([]) == DIFFERS
        assert said in capsys.readouterr().out


class TestWhatThisMachineCannotHave:
    @pytest.mark.parametrize(
        ("shows", "facts", "said"),
        [
            ({"xla": "avx512"}, {}, "xla avx512 is wider than the processor, avx2"),
            ({"torch": "avx512"}, {}, "torch avx512 is wider than the processor, avx2"),
            ({"numpy": "sse4"}, {"machine": "arm64", "instruction_set": "neon"}, "numpy sse4 is of x86_64, and this"),
            ({"numpy_threads": "4"}, {}, "numpy_threads 4 is more than the processors that this process may use, 2"),
            ({"xla": "avx2"}, {}, "xla avx2 without any variable too"),
            ({"torch_threads": "1"}, {}, "nothing here says what torch_threads is"),
            ({"xla": "avx"}, {}, ""),
            ({"torch": "default"}, {}, ""),
            ({"numpy_threads": "1", "torch_threads": "1"}, {}, ""),
            ({"numpy_threads": "2", "xla_threads": "1"}, {}, ""),
        ],
    )
    def test_it_is_left_out_with_a_reason(self, shows: dict[str, str], facts: dict[str, str], said: str) -> None:
        found = settings.obstacle(Setting({"XLA_FLAGS": "x"}, shows), READ, FACTS | facts)
        assert found.startswith(said)
        assert bool(found) == bool(said)

    def test_what_cannot_be_read_here_is_not_checked(self) -> None:
        setting = Setting({"NPROC": "1"}, {"numpy_threads": "1", "torch_threads": "1"})
        settings.check("threads-1", setting, {"numpy_threads": "1"}, READ)
        with pytest.raises(SettingError, match="not nothing"):
            settings.check("threads-1", setting, {"torch_threads": "1"}, READ)


class TestTheFile:
    def test_every_setting_is_whole(self) -> None:
        found = settings.load()
        assert {"xla-avx", "torch-default", "onednn-sse4", "numpy-sse4", "threads-1", "threads-2"} <= found.keys()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[x]\nvariables = {XLA_FLAG = 'x'}\nshows = {xla = 'avx'}", "x sets XLA_FLAG, none"),
            ("[x]\nvariables = {XLA_FLAGS = 'x'}\nshows = {xlb = 'avx'}", "x shows xlb, which nothing"),
            ("[x]\nvariables = {XLA_FLAGS = 'x'}", "x must have"),
            ("[x]\nshows = {xla = 'avx'}", "x must have"),
            ("[plain]\nvariables = {XLA_FLAGS = 'x'}\nshows = {xla = 'avx'}", "plain must have"),
            ("[x]\nvariable = {XLA_FLAGS = 'x'}", "unknown field"),
            ("[x", "x.toml"),
        ],
    )
    def test_a_malformed_one_is_refused(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "x.toml").write_text(text)
        with pytest.raises(SettingError, match=said):
            settings.load(tmp_path / "x.toml")


def test_a_setting_has_caches_of_its_own_and_nothing_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("TOUCHSTONE_JAX_CACHE", "elsewhere")
    runs = Runs((), (), tmp_path)
    plain, other = (settings.environment(AVX, runs.caches(name)) for name in (PLAIN, "xla-avx"))
    for name in ("TOUCHSTONE_CACHE", "TMPDIR"):
        assert plain[name] != other[name]
        assert Path(other[name]).is_dir()
    assert not {"OMP_NUM_THREADS", "TOUCHSTONE_JAX_CACHE"} & other.keys()
    assert other["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX"


@pytest.mark.skipif(not X86, reason="the variable names x86 instructions")
def test_a_value_that_xla_ignores_is_read_back(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    bogus = Setting({"XLA_FLAGS": "--xla_cpu_max_isa=BOGUS"}, {"xla": "avx"})
    read = settings.read_back(bogus, ["jax"], tmp_path)
    with pytest.raises(SettingError, match=r"bogus did not take effect: .*BOGUS should show xla avx, not"):
        settings.check("bogus", bogus, read, read)


@pytest.mark.skipif(not X86, reason="the variable names x86 instructions")
def test_a_few_cases_for_real(tmp_path: Path) -> None:
    """NumPy compares; what the run records of it is what the setting shows."""
    chosen = ["--setting", "numpy-sse4", "--adapter", "mlx", "--folder", str(tmp_path)]
    if instructions.of_numpy() == "sse4":
        pytest.skip("NumPy uses no more than SSE4 here anyway")
    pytest.importorskip("mlx")
    done = run("-m", "tools.portable", *chosen, "suites/test_lookup.py", "-k", "float16 and row")
    assert done.returncode == SAME, done.stdout + done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("numpy-sse4  "))
    assert int(row[1]) > 1
    assert row[2:] == ["0", "0", "0", "numpy", "sse4"]
    lines = (tmp_path / "numpy-sse4" / "report" / "results.jsonl").read_text().splitlines()
    facts = [json.loads(line)["device"]["facts"] for line in lines if '"event":"end"' in line]
    assert {one["numpy"] for one in facts} == {"sse4"}
