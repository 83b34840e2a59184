"""Does a night survive what goes wrong in it, and say so? Legs, first nights, the report and the data branch."""

from __future__ import annotations

import gzip
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import made
from tests.command import ROOT, copy_repository, run
from tools.nightly import BROKEN, GREEN, RED, NightlyError, candidates, keep, leg, legs, outcome, placeholder, report
from tools.nightly import __main__ as command
from tools.nightly.outcome import Ran
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.reports import history, model
from touchstone.reports.markdown import plain
from touchstone.reports.records import Line
from touchstone.verdict.expectation import Deviation, Pin


class TestLegs:
    def test_every_leg_requires_a_target(self) -> None:
        assert all(one.required for one in legs.load().values())

    def test_the_mac_legs_run_what_the_issue_of_a_mac_is(self) -> None:
        for name in ("macos-15", "macos-26", "self-hosted"):
            assert set(legs.named(name).targets) == {"mlx@gpu", "mlx@cpu", "torch@mps", "torch@cpu", "jax@cpu"}

    def test_hosted_macs_need_mps_only_once_it_was_found(self) -> None:
        for name in ("macos-15", "macos-26", "mac-quick"):
            assert legs.named(name).required_once_found == ("torch@mps",)
        assert "torch@mps" in legs.named("self-hosted").required, "which are not virtual"

    def test_a_leg_that_does_not_exist_is_named(self) -> None:
        with pytest.raises(NightlyError, match=r"no leg 'linus'.*linux"):
            legs.named("linus")

    @pytest.mark.parametrize(
        "text",
        [
            '[x]\nrequired = []\nbenchmarks = "none"',
            '[x]\nrequired = ["mlx@cpu", "mlx@cpu"]\nbenchmarks = "none"',
            '[x]\nrequired = ["mlx"]\nbenchmarks = "none"',
            '[x]\nrequired = ["mlx@cpu"]\nbenchmarks = "some"',
            '[x]\nrequired = ["mlx@cpu"]\nbenchmarks = "none"\nrequired_once_fond = []',
            '[x]\nbenchmarks = "none"',
            "[x",
        ],
    )
    def test_a_malformed_leg_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "legs.toml").write_text(text)
        with pytest.raises(NightlyError, match=r"legs\.toml"):
            legs.load(tmp_path / "legs.toml")


LINUX, MAC = "Linux x86_64", "Darwin arm64"


class TestFirstNight:
    @pytest.mark.parametrize(
        ("system", "new"),
        [(LINUX, ["mlx@gpu", "torch@mps"]), (MAC, ["mlx@gpu", "mlx@cpu", "torch@mps", "torch@cpu", "jax@cpu"])],
    )
    def test_a_device_is_new_where_nobody_reviewed_it(self, system: str, new: list[str]) -> None:
        """Once a Mac's entries are adopted, drop those targets here."""
        targets = ("mlx@gpu", "mlx@cpu", "torch@mps", "torch@cpu", "jax@cpu")
        assert run("-m", "tools.nightly", "first-night", *targets, "--system", system).stdout.split() == new

    @pytest.mark.parametrize("kind", ["deviation", "pin"])
    def test_an_entry_and_its_system_end_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setattr(known, "path_for", lambda cls: tmp_path / f"{cls.name}.toml")
        monkeypatch.setattr(candidates, "REVIEWED", tmp_path / "reviewed.toml")
        (tmp_path / "reviewed.toml").write_text(f'"mlx@gpu" = ["{MAC}"]')
        assert candidates.is_first_night("mlx@gpu", MAC), "listed, and without an entry"
        (tmp_path / "mlx.toml").write_text(f'[[{kind}]]\nseen_on = ["cpu"]\n')
        assert candidates.is_first_night("mlx@gpu", MAC), "assumed there, and seen by nobody"
        seen = '[{device = "gpu", machine = "arm64"}]'
        (tmp_path / "mlx.toml").write_text(f'[[{kind}]]\nseen_on = ["cpu"]\n[[{kind}]]\nseen_on = {seen}\n')
        assert not candidates.is_first_night("mlx@gpu", MAC)
        assert candidates.is_first_night("mlx@gpu", LINUX), "an entry, of another system"
        assert candidates.is_first_night("mlx@cpu", MAC), "an entry, and not listed"

    def test_every_target_with_entries_has_a_reviewed_system(self) -> None:
        named = set()
        for path in known.shipped():
            named |= {f"{path.stem}@{device}" for device in candidates.seen_on(path)}
        assert named == set(candidates.reviewed())
        assert all(systems and set(systems) <= {LINUX, MAC} for systems in candidates.reviewed().values())

    def test_without_a_system_this_one_is_meant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "system", lambda: "Darwin")
        monkeypatch.setattr(platform, "machine", lambda: "arm64")
        assert candidates.here() == MAC
        assert candidates.is_first_night("torch@cpu")

    @pytest.mark.parametrize("target", ["mlx", "mxl@gpu", "mlx@"])
    def test_what_is_no_target_is_refused(self, target: str) -> None:
        with pytest.raises(NightlyError, match=target):
            candidates.is_first_night(target)


def test_a_leg_asks_of_folders_that_are_there_and_of_wide_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def child(command: Sequence[str], limit: float) -> int:
        asked.append(command)
        return 0

    monkeypatch.setattr(leg, "child", child)
    chosen = legs.Leg(required=("reference@cpu",), benchmarks="quick")
    leg._target(chosen, Ran(target="reference@cpu", required=True), tmp_path, 1.0)
    suites, benchmarks = asked
    assert [(leg.ROOT / command[1]).is_dir() for command in asked] == [True, True]
    assert suites[suites.index("-m") + 1] == "not inductor"
    assert benchmarks[benchmarks.index("-m") + 1] == "quick"


class TestChild:
    def module(self, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
        (folder / "played.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", ""))))
        return ["played"]

    def test_the_exit_status_is_passed_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert leg.child(self.module(tmp_path, monkeypatch, "raise SystemExit(3)"), 30) == 3

    def test_a_signal_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        command = self.module(tmp_path, monkeypatch, "import os; os.kill(os.getpid(), 11)")
        assert leg.child(command, 30) == -signal.SIGSEGV
        assert outcome.spell(-signal.SIGSEGV) == "killed by SIGSEGV"

    def test_one_without_end_is_ended_with_its_children(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also one that does not listen to SIGTERM."""
        monkeypatch.setattr(leg, "GRACE", 0.5)
        sleeper = tmp_path / "pid"
        command = self.module(
            tmp_path,
            monkeypatch,
            "import signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            f"open({str(sleeper)!r}, 'w').write(str(grandchild.pid))\n"
            "time.sleep(600)\n",
        )
        assert leg.child(command, 1.5) == -signal.SIGKILL
        pid = int(sleeper.read_text())
        for _ in range(50):
            if not _alive(pid):
                break
            time.sleep(0.1)
        assert not _alive(pid)


def _alive(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody has waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    if sys.platform == "linux":
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True).returncode == 0


RAN: dict[str, Any] = {"suites": 0, "benchmarks": 0, "answered": 9, "state": "conforms"}


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, GREEN),
        ({"benchmarks": None}, GREEN),
        ({"suites": 1, "state": "deviates"}, RED),
        ({"suites": 1, "state": "unreviewed", "first_night": True}, RED),
        ({"benchmarks": 1}, RED),
        ({"answered": 0, "state": "empty"}, BROKEN),
        ({"suites": -11, "state": "incomplete"}, BROKEN),
        ({"suites": -11, "state": "deviates"}, BROKEN),
        ({"suites": 4, "answered": 0, "state": "no report"}, BROKEN),
        ({"benchmarks": -9}, BROKEN),
        ({"suites": None, "benchmarks": None, "answered": 0, "state": "did not run"}, BROKEN),
        ({"suites": None, "benchmarks": None, "answered": 0, "absent": "no gpu"}, BROKEN),
        ({"suites": None, "benchmarks": None, "answered": 0, "absent": "no gpu", "required": False}, GREEN),
    ],
)
def test_the_status_of_a_target(facts: dict[str, Any], status: int) -> None:
    ran = Ran(**{"target": "mlx@gpu", "required": True, **RAN, **facts})
    assert ran.status() == status
    accepted = GREEN if facts.get("state") == "unreviewed" else status
    assert ran.status(accept_unreviewed=True) == accepted


BAD_NIGHT = """
[bad]
required = ["torch@cpu", "mlx@cpu", "mlx@gpu"]
required_once_found = ["torch@mps"]
benchmarks = "none"
select = "test_construction or test_dies"

[good]
required = ["torch@cpu"]
benchmarks = "none"
select = "test_construction"
"""
DIES = """
import os, sys

def test_dies():
    if "mlx@cpu" in sys.argv:
        os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the legs above run."""
    pytest.importorskip("torch")
    pytest.importorskip("mlx")
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tools" / "nightly" / "legs.toml").write_text(BAD_NIGHT)
    reviewed = (f'"{target}" = ["{candidates.here()}"]' for target in ("torch@cpu", "mlx@cpu"))
    (folder / "tools" / "nightly" / "reviewed.toml").write_text("\n".join(reviewed))
    return folder


@pytest.fixture(scope="module")
def bad(repository: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A leg in which one target is new, one is killed in the middle, and two are absent."""
    torch = repository / "adapters" / "torch" / "known" / "torch.toml"
    kept = torch.read_bytes()
    torch.unlink()
    dies = repository / "suites" / "test_dies.py"
    dies.write_text(DIES)
    done = run("-m", "tools.nightly", "leg", "bad", "--output", "records/bad", cwd=repository)
    torch.write_bytes(kept)
    dies.unlink()
    return repository / "records", done


@pytest.mark.skipif(sys.platform == "darwin", reason="the leg is to lack a GPU")
class TestABadNight:
    def test_the_leg_goes_on_and_fails(self, bad: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
        records, done = bad
        assert done.returncode == BROKEN, done.stdout + done.stderr
        ran = {r.target: r for r in outcome.read(records / "bad").ran}  # type: ignore[union-attr]
        assert (ran["torch@cpu"].first_night, ran["torch@cpu"].state) == (True, "unreviewed")
        assert ran["torch@cpu"].status() == RED
        assert (ran["mlx@cpu"].suites, ran["mlx@cpu"].state) == (-signal.SIGKILL, "incomplete")
        assert ran["mlx@cpu"].answered
        assert "no gpu device here" in ran["mlx@gpu"].absent
        assert (ran["torch@mps"].required, ran["torch@mps"].status()) == (False, GREEN)
        assert "mlx@gpu: required, but absent" in done.stdout
        assert "suites killed by SIGKILL" in done.stdout

    def test_the_first_night_leaves_candidates_and_the_checkout_as_it_was(
        self, bad: tuple[Path, subprocess.CompletedProcess[str]]
    ) -> None:
        """They are what `touchstone expectations update` writes: reviewed by nobody, of this target alone."""
        records, done = bad
        found = sorted(p.name for p in (records / "bad" / "candidates").iterdir())
        assert found == ["torch.toml"]
        entries = known.load(
            records / "bad" / "candidates" / "torch.toml", registry.adapter_class("torch"), _requirements()
        )
        assert entries.pins
        every: list[Pin | Deviation] = [*entries.pins, *entries.deviations]
        assert all(
            (str(e.scope), e.scope.seen_on) == ("torch on cpu", ({"device": "cpu"},)) and e.is_candidate for e in every
        )
        assert "added a candidate pin" in done.stdout

    def test_the_report_names_what_is_missing(self, bad: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
        records, _ = bad
        (records / "bad" / "jax@cpu").mkdir(exist_ok=True)
        (records / "bad" / "jax@cpu" / "results.jsonl").write_text("")
        done = _report(Path("records"), "--expect", "bad", "--expect", "macos-15", cwd=records.parent)
        assert done.returncode == BROKEN
        text = (records.parent / "report" / "night.md").read_text()
        assert "mlx@cpu: 0 cases" not in text
        for said in (
            "first night: no verdict of this device has been reviewed",
            "suites killed by SIGKILL",
            "mlx@gpu: required, but absent",
            "jax@cpu: left out: records/bad/jax@cpu/results.jsonl: holds no record",
            "macos-15 | left nothing",
            "the run did not come to its end",
        ):
            assert plain(said).replace("&#124;", "|") in text, said
        assert model.load(records.parent / "report").state == "incomplete"
        assert (records.parent / "site" / "index.html").stat().st_size > 10_000


def _requirements() -> set[str]:
    from touchstone.suites import requirements

    return set(requirements.load())


def _report(records: Path, *options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Of a fresh report folder, with the history of the tests before."""
    shutil.rmtree(cwd / "report", ignore_errors=True)
    places = ("--output", "report", "--history", "history", "--site", "site")
    return run("-m", "tools.nightly", "report", str(records), *places, *options, cwd=cwd)


def test_a_good_night_is_green_and_kept(repository: Path) -> None:
    (history_folder := repository / "history").mkdir(exist_ok=True)
    for old in history_folder.iterdir():
        old.unlink()
    for number in (1, 2):
        records = repository / f"good{number}"
        done = run("-m", "tools.nightly", "leg", "good", "--output", str(records / "good"), cwd=repository)
        assert done.returncode == GREEN, done.stdout + done.stderr
        done = _report(records, "--expect", "good", cwd=repository)
        assert done.returncode == GREEN, done.stdout + done.stderr
        assert len(list(history_folder.glob(history.PATTERN))) == number
        assert len(list((repository / "report").glob(history.PATTERN))) == 1
        told = (repository / "report" / "night.md").read_text()
        assert ("Since the run of" in told) == (number == 2), "the first night has nothing before it"


LEGS = {"linux": ("jax@cpu", "torch@cpu"), "macos-15": ("mlx@gpu", "mlx@cpu")}


class Night:
    """Two legs as a night leaves them, made up, to be damaged before their report is made."""

    def __init__(self) -> None:
        self.records, self.history, self.output, self.site = map(Path, ("records", "history", "report", "site"))
        self.again("2026-11-20")

    def again(self, day: str, **changed: object) -> None:
        """New records, of another night."""
        shutil.rmtree(self.records, ignore_errors=True)
        for name, targets in LEGS.items():
            for target in targets:
                self.target(name, target, day, **changed)
            ran = [Ran(target=target, required=True, suites=0, answered=4, state="conforms") for target in targets]
            self.leg(name, *ran)

    def target(self, name: str, target: str, day: str = "2026-11-20", **changed: object) -> None:
        run = f"{day}-{name}-{target}"
        ends = [made.end(case, asked, target, run) for asked in made.REQUIREMENTS for case in "ab"]
        facts = {"targets": {target: made.target(target)}, "planned": {target: 4}, "started": f"{day}T03:00:00+00:00"}
        lines: list[Line] = [made.run_line(run, **facts | changed), *ends, made.finish(run)]
        made.folder(self.records / name / target, lines)

    def leg(self, name: str, *ran: Ran) -> None:
        outcome.write(outcome.Leg(name=name, status=outcome.worst(ran), ran=list(ran)), self.records / name)

    def report(self) -> int:
        shutil.rmtree(self.output, ignore_errors=True)
        return report.run(self.records, self.output, self.history, self.site, list(LEGS))

    @property
    def page(self) -> str:
        return (self.site / "index.html").read_text()

    @property
    def title(self) -> str:
        return self.page.partition("<title>")[2].partition("</title>")[0]

    @property
    def told(self) -> str:
        return (self.output / "night.md").read_text()

    @property
    def nights(self) -> list[history.Night]:
        return history.load(self.history)


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Night()


def assert_lacks(night: Night, said: str, columns: int) -> None:
    """Everything that is published, and the history, is incomplete and says what is missing."""
    assert night.report() == BROKEN
    shown = json.loads((night.site / "results.json").read_text())
    assert shown["state"] == "incomplete"
    assert any(said in problem for problem in shown["problems"]), shown["problems"]
    assert len(shown["columns"]) == columns
    assert night.title.startswith("incomplete")
    assert said in night.page
    assert plain(said) in (night.site / "summary.md").read_text()
    (kept,) = night.nights
    assert kept.state == "incomplete"
    assert any(said in problem for problem in kept.problems)
    assert plain(said) in night.told


def absent(required: bool) -> Ran:
    return Ran(target="torch@mps", required=required, absent="no mps device here")


CONFORMS: dict[str, Any] = {"required": True, "suites": 0, "answered": 4, "state": "conforms"}


class TestWhatANightLacks:
    def test_whole_it_is_green(self, night: Night) -> None:
        night.leg("linux", *(Ran(target=t, **CONFORMS) for t in LEGS["linux"]), absent(required=False))
        assert night.report() == GREEN
        assert night.title.startswith("conforms")
        assert night.nights[0].state == "conforms"
        assert night.nights[0].problems == []
        assert 'href="trend.html"' in night.page
        assert (night.site / "trend.html").exists()

    def test_a_required_target_is_absent(self, night: Night) -> None:
        night.leg("macos-15", *(Ran(target=t, **CONFORMS) for t in LEGS["macos-15"]), absent(required=True))
        assert_lacks(night, "macos-15: torch@mps: required, but absent: no mps device here", columns=4)

    def test_one_that_is_required_once_found_is_absent_before_that(self, night: Night) -> None:
        night.leg("macos-15", *(Ran(target=t, **CONFORMS) for t in LEGS["macos-15"]), absent(required=False))
        for day in ("2026-11-20", "2026-11-21"):
            night.again(day)
            night.leg("macos-15", *(Ran(target=t, **CONFORMS) for t in LEGS["macos-15"]), absent(required=False))
            assert night.report() == GREEN
            said = plain("torch@mps: absent: no mps device here (required once a night has found it)")
            assert said in night.told
        assert night.nights[-1].found == {name: list(targets) for name, targets in LEGS.items()}

    def test_one_that_is_required_once_found_is_absent_after_that(self, night: Night) -> None:
        """Of this leg: another leg's is another machine's."""
        mps = Ran(target="torch@mps", **{**CONFORMS, "required": False})
        night.target("macos-15", "torch@mps")
        night.leg("macos-15", *(Ran(target=t, **CONFORMS) for t in LEGS["macos-15"]), mps)
        assert night.report() == GREEN
        assert night.nights[-1].found["macos-15"] == ["mlx@gpu", "mlx@cpu", "torch@mps"]
        night.again("2026-11-21")
        night.leg("linux", *(Ran(target=t, **CONFORMS) for t in LEGS["linux"]), absent(required=False))
        assert night.report() == GREEN
        night.again("2026-11-22")
        night.leg("macos-15", *(Ran(target=t, **CONFORMS) for t in LEGS["macos-15"]), absent(required=False))
        assert night.report() == BROKEN
        said = "torch@mps: required, for an earlier night has found it, but absent: no mps device here"
        assert plain(said) in night.told
        assert f"macos-15: {said}" in night.nights[-1].problems
        assert night.title.startswith("incomplete")

    def test_one_that_found_nothing_is_not_found(self, night: Night) -> None:
        died = Ran(target="torch@mps", required=False, suites=-9)
        night.leg("macos-15", *(Ran(target=t, **CONFORMS) for t in LEGS["macos-15"]), died)
        assert night.report() == BROKEN
        assert night.nights[-1].found["macos-15"] == ["mlx@gpu", "mlx@cpu"]

    def test_a_leg_is_lost(self, night: Night) -> None:
        shutil.rmtree(night.records / "macos-15")
        assert_lacks(night, "macos-15: left nothing", columns=2)

    def test_a_target_was_not_reached(self, night: Night) -> None:
        shutil.rmtree(night.records / "macos-15" / "mlx@cpu")
        night.leg("macos-15", Ran(target="mlx@gpu", **CONFORMS), Ran(target="mlx@cpu", required=False))
        assert_lacks(night, "macos-15: mlx@cpu: 0 cases answered, did not run; left out: left no records", columns=3)

    def test_records_were_lost_on_the_way(self, night: Night) -> None:
        shutil.rmtree(night.records / "macos-15" / "mlx@cpu")
        assert_lacks(night, "macos-15: mlx@cpu: 4 cases answered, conforms; left out: left no records", columns=3)

    def test_benchmarks_died_before_their_first_line(self, night: Night) -> None:
        died = Ran(target="mlx@gpu", **CONFORMS, benchmarks=-9)
        night.leg("macos-15", died, Ran(target="mlx@cpu", **CONFORMS))
        assert_lacks(night, "macos-15: mlx@gpu: 4 cases answered, conforms; benchmarks killed by SIGKILL", columns=4)

    @pytest.mark.parametrize("content", ["", '{"name": "linux", "sta', "[]", '{"name": "x", "status": 0, "ran": []}'])
    def test_a_leg_that_died_left_half_a_file(self, night: Night, content: str) -> None:
        (night.records / "linux" / "leg.json").write_text(content)
        assert_lacks(night, "linux: died: it left no leg.json that can be read", columns=4)

    @pytest.mark.parametrize("content", ["", '{"event": "run", "sch', "nonsense\n"])
    def test_records_that_cannot_be_read(self, night: Night, content: str) -> None:
        """Also of the leg that comes first."""
        (night.records / "linux" / "jax@cpu" / "results.jsonl").write_text(content)
        assert_lacks(night, "left out: records/linux/jax@cpu/results.jsonl", columns=3)

    def test_a_leg_ran_another_checkout(self, night: Night) -> None:
        """The first expected one is the yardstick, though others come before it by name."""
        ran = [Ran(target="torch@mps", **CONFORMS)]
        night.target("a-stale-mac", "torch@mps", suite_hash="older")
        night.leg("a-stale-mac", *ran)
        assert_lacks(
            night, "left out: records/a-stale-mac/torch@mps/results.jsonl: suite_hash older differs", columns=4
        )

    def test_a_machine_that_two_legs_ran_on(self, night: Night) -> None:
        night.target("self-hosted", "mlx@gpu", day="2026-11-21")
        night.leg("self-hosted", Ran(target="mlx@gpu", **CONFORMS))
        assert_lacks(night, "left out: records/self-hosted/mlx@gpu/results.jsonl: suites/test_emb.py", columns=4)

    def test_an_incomplete_run_fails_the_night_whatever_its_leg_says(self, night: Night) -> None:
        path = night.records / "linux" / "jax@cpu" / "results.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        assert_lacks(night, "the run did not come to its end", columns=4)


def assert_no_report(night: Night, *reasons: str) -> None:
    assert night.report() == BROKEN
    assert night.title == "No report tonight: Touchstone"
    assert "No report tonight" in night.told
    for reason in reasons:
        assert reason in night.page
        assert plain(reason) in night.told.replace(" | ", ": ")
    assert not (night.site / "results.json").exists()


class TestNoReport:
    """The page says so, also over the page of the night before."""

    def test_no_leg_left_anything(self, night: Night, capsys: pytest.CaptureFixture[str]) -> None:
        assert night.report() == GREEN
        shutil.rmtree(night.records)
        capsys.readouterr()
        assert_no_report(night, "linux: left nothing", "macos-15: left nothing")
        assert capsys.readouterr().out.endswith("site/index.html: No report tonight\n")
        assert 'href="trend.html"' in night.page
        assert (night.site / "trend.html").exists()

    def test_no_leg_and_none_expected(self, night: Night) -> None:
        status = report.run(Path("none"), night.output, night.history, night.site)
        assert (status, night.title) == (BROKEN, "No report tonight: Touchstone")
        assert "none: no leg left anything" in night.page
        assert "trend.html" not in night.page

    def test_no_record_can_be_read(self, night: Night) -> None:
        for path in night.records.glob("*/*/results.jsonl"):
            path.write_text("nonsense\n")
        assert_no_report(night, "mlx@gpu/results.jsonl:1: not a record", "jax@cpu/results.jsonl:1: not a record")

    def test_the_merge_fails(self, night: Night) -> None:
        night.output.mkdir()
        (night.output / "results.jsonl").write_text("")
        status = report.run(night.records, night.output, night.history, night.site, list(LEGS))
        assert (status, night.title) == (BROKEN, "No report tonight: Touchstone")
        assert "merge: error: " in night.page

    def test_the_report_itself_fails(self, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: object) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(report, "_compare", fails)
        places = ("--output", str(night.output), "--history", str(night.history), "--site", str(night.site))
        assert command.main(["report", str(night.records), *places]) == BROKEN
        assert "The report did not come to its end." in night.page

    def test_the_page_is_there_before_anything_is_installed(self, tmp_path: Path) -> None:
        done = run("-I", "-S", "-c", _alone("no-report", "--site", str(tmp_path / "site")))
        assert done.returncode == 0, done.stderr
        assert "<h1>No report tonight</h1>" in (tmp_path / "site" / "index.html").read_text()

    def test_reasons_are_escaped(self, tmp_path: Path) -> None:
        placeholder.write(tmp_path, ['<script>alert("1")</script> & \udcff'])
        page = (tmp_path / "index.html").read_text()
        assert "<script" not in page
        assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; " in page
        assert "http" not in page.replace("http-equiv", ""), "nothing is loaded"


def _alone(*arguments: str) -> str:
    """Code that runs a command of the nightly without any package."""
    path = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
    return f"{path}from tools.nightly.__main__ import main\nraise SystemExit(main({list(arguments)!r}))"


class TestTheHistory:
    def test_tonights_file_is_published_also_where_a_later_night_is_kept(self, night: Night) -> None:
        night.again("2027-01-01")
        assert night.report() == GREEN
        (later,) = night.history.glob(history.PATTERN)
        night.again("2026-11-20")
        assert night.report() == GREEN
        (published,) = night.output.glob(history.PATTERN)
        assert published.name != later.name
        assert history.read(published).started.startswith("2026-11-20")

    def test_the_same_night_again_is_not_added_twice(self, night: Night) -> None:
        """As where failed jobs are run again on GitHub."""
        assert night.report() == GREEN
        kept = sorted(night.history.iterdir())
        shutil.rmtree(night.site)
        assert night.report() == GREEN
        assert sorted(night.history.iterdir()) == kept
        assert "in the history already, and is not added twice" in night.told
        assert list(night.output.glob(history.PATTERN)) == [], "nothing to append to the data branch"
        assert 'href="trend.html"' in night.page
        assert (night.site / "trend.html").exists()

    def test_other_suites_are_said_and_break_nothing(self, night: Night) -> None:
        assert night.report() == GREEN
        night.again("2026-11-21", suite_hash="newer")
        assert night.report() == GREEN
        assert "not compared with the night of 2026-11-20" in night.told
        assert "suite&#95;hash 5017e0000000 became newer" in night.told

    def test_a_new_deviation_is_red(self, night: Night) -> None:
        assert night.report() == GREEN
        night.again("2026-11-21")
        folder = night.records / "macos-15" / "mlx@gpu"
        run = "2026-11-21-macos-15-mlx@gpu"
        lines = made.whole(run, made.end("a", run=run, **made.DEVIATES), started="2026-11-21T03:00:00+00:00")
        shutil.rmtree(folder)
        made.folder(folder, lines)
        gone_red = Ran(target="mlx@gpu", required=True, suites=1, answered=4, state="deviates")
        night.leg("macos-15", gone_red, Ran(target="mlx@cpu", **CONFORMS))
        assert night.report() == RED
        assert night.title.startswith("deviates")
        assert "1 deviation is new since 2026-11-20" in night.told

    def test_a_night_that_cannot_be_read_costs_the_others_nothing(self, night: Night) -> None:
        assert night.report() == GREEN
        (night.history / "20261119T030000Z-x.night.json.gz").write_bytes(gzip.compress(b"{}"))
        night.again("2026-11-21")
        assert night.report() == BROKEN
        assert "20261119T030000Z-x.night.json.gz: not a night of a history" in night.told
        assert night.title.startswith("conforms")
        assert len(list(night.output.glob(history.PATTERN))) == 1
        assert len(list(night.history.glob(history.PATTERN))) == 3
        assert (night.site / "trend.html").exists()

    def test_a_step_that_fails_is_told(self, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
        """A history that cannot be written: the page is there, without a link to a trend that is not."""
        night.history.write_text("a file")
        assert night.report() == BROKEN
        assert "trend: error: " in night.told
        assert night.title.startswith("conforms")
        assert 'href="trend.html"' not in night.page


def test_a_leg_writes_its_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be killed at any moment, also while it writes."""
    first = outcome.Leg(name="linux", status=2, ran=[Ran(target="mlx@gpu", required=True)])
    outcome.write(first, tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        outcome.write(outcome.Leg(name="linux", status=0, ran=[]), tmp_path)
    assert outcome.read(tmp_path) == first


def test_the_report_needs_no_adapter() -> None:
    """Its job installs no framework, and of the project only what reports need."""
    done = run(
        "-c",
        "import sys; from tools.nightly import report; print({'touchstone.adapters', 'numpy'} & sys.modules.keys())",
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_hostile_text_stays_text(night: Night) -> None:
    name = 'x | <script>alert("1")</script> `'
    hostile = night.records / "leg | <script>evil"
    hostile.mkdir()
    night.leg(hostile.name, Ran(target="mlx@gpu", required=True, absent=name))
    assert night.report() == BROKEN
    assert plain(f"absent: {name}") in night.told
    assert plain(hostile.name) in night.told
    assert "<script" not in night.told
    assert "<script>evil" not in night.page
    assert "<script>alert" not in night.page


class TestKeep:
    @pytest.fixture
    def checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A clone, with an untracked and a changed file, of a repository without a data branch."""
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        git("init", "--quiet", "--bare", str(tmp_path / "origin"))
        git("clone", "--quiet", str(tmp_path / "origin"), str(tmp_path / "clone"))
        clone = tmp_path / "clone"
        monkeypatch.chdir(clone)
        (clone / "code.py").write_text("1\n")
        git("add", "code.py")
        git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-m", "x")
        git("push", "--quiet", "origin", "HEAD:main")
        (clone / "code.py").write_text("2\n")
        for night in ("20261121T0", "20261122T0"):
            (clone / f"{night}.night.json.gz").write_text(night)
        return clone

    def test_nights_are_appended_one_commit_each(self, checkout: Path) -> None:
        before = git("status", "--porcelain")
        first = keep.keep([Path("20261121T0.night.json.gz")], "nightly-data")
        second = keep.keep([Path("20261122T0.night.json.gz")], "nightly-data")
        git("fetch", "--quiet", "origin", "nightly-data")
        assert git("rev-parse", "FETCH_HEAD") == second
        assert git("rev-parse", "FETCH_HEAD~1") == first
        names = ["20261121T0.night.json.gz", "20261122T0.night.json.gz"]
        assert git("ls-tree", "--name-only", "FETCH_HEAD").split() == names, "nights, and none of the code"
        assert git("show", f"FETCH_HEAD:{names[0]}") == "20261121T0"
        assert git("status", "--porcelain") == before

    def test_a_night_that_is_there_is_not_replaced(self, checkout: Path) -> None:
        keep.keep([Path("20261121T0.night.json.gz")], "nightly-data")
        (checkout / "20261121T0.night.json.gz").write_text("another")
        done = run("-m", "tools.nightly", "keep", "20261121T0.night.json.gz", cwd=checkout, PYTHONPATH=str(ROOT))
        assert done.returncode == BROKEN
        assert "nightly-data has 20261121T0.night.json.gz already" in done.stderr
        git("fetch", "--quiet", "origin", "nightly-data")
        assert git("show", "FETCH_HEAD:20261121T0.night.json.gz") == "20261121T0"

    def test_a_push_that_fails_is_told(self, checkout: Path) -> None:
        shutil.rmtree(checkout.parent / "origin")
        with pytest.raises(NightlyError, match="git ls-remote"):
            keep.keep([Path("20261121T0.night.json.gz")], "nightly-data")

    def test_it_needs_nothing_but_python_and_git(self, checkout: Path) -> None:
        """The job that may write installs no package."""
        code = _alone("keep", "20261121T0.night.json.gz")
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert git("rev-parse", "--verify", done.stdout.strip())


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
