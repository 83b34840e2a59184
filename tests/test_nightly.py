"""Does a night survive what goes wrong in it, and say so? Legs, first nights, the report and the data branch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapters import known
from nightly import BROKEN, GREEN, RED, NightlyError, candidates, keep, leg, legs, outcome, report
from nightly.outcome import Ran
from reports import history, model
from tests.command import ROOT, copy_repository, run


class TestLegs:
    def test_every_leg_requires_a_target(self) -> None:
        assert all(one.required for one in legs.load().values())

    def test_the_mac_legs_run_what_the_issue_of_a_mac_is(self) -> None:
        for name in ("macos-15", "macos-26", "self-hosted"):
            assert set(legs.named(name).targets) == {"mlx@gpu", "mlx@cpu", "torch@mps", "torch@cpu", "jax@cpu"}

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
            '[x]\nrequired = ["mlx@cpu"]\nbenchmarks = "none"\noptinal = []',
            '[x]\nbenchmarks = "none"',
            "[x",
        ],
    )
    def test_a_malformed_leg_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "legs.toml").write_text(text)
        with pytest.raises(NightlyError, match=r"legs\.toml"):
            legs.load(tmp_path / "legs.toml")


class TestFirstNight:
    def test_a_device_without_an_entry_is_new(self) -> None:
        done = run("-m", "nightly", "first-night", "mlx@gpu", "mlx@cpu", "torch@mps", "torch@cpu", "jax@cpu")
        assert done.stdout.split() == ["mlx@gpu", "torch@mps"], "or a Mac's entries are there: then drop it here"

    @pytest.mark.parametrize("kind", ["deviation", "pin"])
    def test_one_entry_ends_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setattr(known, "FOLDER", tmp_path)
        assert candidates.is_first_night("mlx@gpu")
        (tmp_path / "mlx.toml").write_text(f'[[{kind}]]\ntarget = "mlx@cpu"\n')
        assert candidates.is_first_night("mlx@gpu")
        (tmp_path / "mlx.toml").write_text(f'[[{kind}]]\ntarget = "mlx@cpu"\n[[{kind}]]\ntarget = "mlx@gpu"\n')
        assert not candidates.is_first_night("mlx@gpu")

    @pytest.mark.parametrize("target", ["mlx", "mxl@gpu", "mlx@"])
    def test_what_is_no_target_is_refused(self, target: str) -> None:
        with pytest.raises(NightlyError, match=target):
            candidates.is_first_night(target)


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


RAN = {"suites": 0, "benchmarks": 0, "answered": 9, "state": "conforms"}


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
def test_the_status_of_a_target(facts: dict[str, object], status: int) -> None:
    ran = Ran(**{"target": "mlx@gpu", "required": True, **RAN, **facts})  # type: ignore[arg-type]
    assert ran.status() == status
    accepted = GREEN if facts.get("state") == "unreviewed" else status
    assert ran.status(accept_unreviewed=True) == accepted


BAD_NIGHT = """
[bad]
required = ["torch@cpu", "mlx@cpu", "mlx@gpu"]
optional = ["torch@mps"]
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
    shutil.copytree(ROOT / "nightly", folder / "nightly", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "nightly" / "legs.toml").write_text(BAD_NIGHT)
    return folder


@pytest.fixture(scope="module")
def bad(repository: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A leg in which one target is new, one is killed in the middle, and two are absent."""
    torch = repository / "adapters" / "known" / "torch.toml"
    kept = torch.read_bytes()
    torch.unlink()
    dies = repository / "suites" / "test_dies.py"
    dies.write_text(DIES)
    done = run("-m", "nightly", "leg", "bad", "--output", "records/bad", cwd=repository)
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
        """They are what `python -m adapters update` writes: reviewed by nobody, of this target alone."""
        records, done = bad
        found = sorted(p.name for p in (records / "bad" / "candidates").iterdir())
        assert found == ["torch.toml"]
        entries = known.load([records / "bad" / "candidates" / "torch.toml"], _requirements())
        assert entries.pins
        assert all(e.target == "torch@cpu" and e.is_candidate for e in (*entries.pins, *entries.deviations))
        assert "added a candidate pin" in done.stdout

    def test_the_report_names_what_is_missing(self, bad: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
        records, _ = bad
        (records / "bad" / "jax@cpu").mkdir(exist_ok=True)
        (records / "bad" / "jax@cpu" / "results.jsonl").write_text("")
        done = _report(records, "--expect", "bad", "--expect", "macos-15")
        assert done.returncode == BROKEN
        text = (records.parent / "report" / "night.md").read_text()
        assert "mlx@cpu: 0 cases" not in text
        for said in (
            "first night: no verdict of this device has been reviewed",
            "suites killed by SIGKILL",
            "mlx@gpu: required, but absent",
            "jax@cpu: left no record",
            "macos-15 | left nothing",
            "the run did not come to its end",
        ):
            assert said in text, said
        assert model.load(records.parent / "report").state == "incomplete"
        assert (records.parent / "site" / "index.html").stat().st_size > 10_000


def _requirements() -> set[str]:
    from suites import requirements

    return set(requirements.load())


def _report(records: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Of a fresh report folder, with the history of the tests before."""
    folder = records.parent
    shutil.rmtree(folder / "report", ignore_errors=True)
    places = ("--output", "report", "--history", "history", "--site", "site")
    return run("-m", "nightly", "report", str(records), *places, *options, cwd=folder)


def test_a_good_night_is_green_and_kept(repository: Path) -> None:
    (history_folder := repository / "history").mkdir(exist_ok=True)
    for old in history_folder.iterdir():
        old.unlink()
    for number in (1, 2):
        records = repository / f"good{number}"
        done = run("-m", "nightly", "leg", "good", "--output", str(records / "good"), cwd=repository)
        assert done.returncode == GREEN, done.stdout + done.stderr
        done = _report(records, "--expect", "good")
        assert done.returncode == GREEN, done.stdout + done.stderr
        assert len(list(history_folder.glob(history.PATTERN))) == number
        assert len(list((repository / "report").glob(history.PATTERN))) == 1
        assert ("python -m reports diff" in done.stdout) == (number == 2), "the first night has nothing before it"
    again = _report(records, "--expect", "good")
    assert again.returncode == BROKEN
    assert "trend: error: " in (text := (repository / "report" / "night.md").read_text())
    assert "in the history already" in text


def test_a_night_without_any_record_fails(tmp_path: Path) -> None:
    (tmp_path / "records" / "linux").mkdir(parents=True)
    status = report.run(tmp_path / "records", tmp_path / "out", tmp_path / "history", tmp_path / "site", ["linux"])
    assert status == BROKEN
    assert "died before its first target ended" in (tmp_path / "out" / "night.md").read_text()


def test_the_report_needs_no_adapter() -> None:
    """Its job installs no framework, and of the project only what reports need."""
    done = run("-c", "import sys; from nightly import report; print({'adapters', 'numpy'} & sys.modules.keys())")
    assert done.stdout.strip() == "set()", done.stderr


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    name = 'x | <script>alert("1")</script> `'
    (tmp_path / "records" / "linux").mkdir(parents=True)
    ran = [Ran(target="mlx@gpu", required=True, absent=name)]
    outcome.write(outcome.Leg(name="linux", status=2, ran=ran), tmp_path / "records" / "linux")
    report.run(tmp_path / "records", tmp_path / "out", tmp_path / "history", tmp_path / "site")
    text = (tmp_path / "out" / "night.md").read_text()
    assert "absent: x \\| &lt;script>" in text
    assert "<script" not in text


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
        done = run("-m", "nightly", "keep", "20261121T0.night.json.gz", cwd=checkout, PYTHONPATH=str(ROOT))
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
        code = (
            f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
            "from nightly.__main__ import main\n"
            "raise SystemExit(main(['keep', '20261121T0.night.json.gz']))"
        )
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert git("rev-parse", "--verify", done.stdout.strip())


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
