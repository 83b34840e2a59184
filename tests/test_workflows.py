"""Do the workflows run commands that exist, on runners that exist, with pinned actions and no more rights than needed?

Checked offline: by zizmor, against GitHub's schema (check-jsonschema carries it), and by the rules below. Every rule is
shown to fail on a planted defect.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.command import ROOT
from tools.nightly import MINUTES, legs
from touchstone.reports import history

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
HOSTED = {"ubuntu-24.04", "macos-15", "macos-26"}
"""Labels of hosted runners that exist; macos-14 is retired, and "-latest" moves."""
OWN = ({"self-hosted", "macOS", "ARM64"},)
"""Labels that a self-hosted runner gets by default, as sets that select a Mac."""
PINNED = re.compile(r"^\s*(?:- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
INSTALLING, HOSTED_LIMIT = 15, 360
"""Minutes that an installation takes at most, and that a job on a hosted runner may take."""
LOCAL = "$/.github/workflows/"
WRITES = {
    ("nightly.yml", "history", "contents"),
    ("nightly.yml", "pages", "pages"),
    ("nightly.yml", "pages", "id-token"),
}
"""The only rights to write: (file, job, what)."""
PLAIN = {"if", "then", "fi", "cat", "echo", "ls", "[", "true", "||", "git"}
"""Shell words that begin a command and need no further check."""

pytestmark = pytest.mark.skipif(not FILES, reason="an installed package carries no workflows")


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def jobs(path: Path) -> dict[str, Any]:
    return dict(load(path)["jobs"])


def steps(path: Path) -> Iterator[tuple[str, Any]]:
    for name, job in jobs(path).items():
        for step in job.get("steps", ()):
            yield name, step


def labels(path: Path) -> Iterator[set[str]]:
    """The labels of every runner that a file asks for; of a leg, those it is called with."""
    for job in jobs(path).values():
        wanted = job.get("runs-on")
        if "uses" in job:
            yield set(json.loads(job["with"]["runner"]))
        elif wanted == "${{ matrix.runner }}":
            yield from ({row["runner"]} for row in job["strategy"]["matrix"]["include"])
        elif wanted != "${{ fromJSON(inputs.runner) }}":
            yield {wanted} if isinstance(wanted, str) else set(wanted)


def wrong_labels(path: Path) -> list[set[str]]:
    return [found for found in labels(path) if not (len(found) == 1 and found <= HOSTED) and found not in OWN]


def unpinned(path: Path) -> list[str]:
    """Lines that use an action or workflow of another repository otherwise than by its commit and version."""
    lines = [line for line in path.read_text().splitlines() if re.match(r"\s*(- )?uses:", line)]
    return [line.strip() for line in lines if f"uses: {LOCAL}" not in line and not PINNED.match(line)]


def rights(path: Path) -> list[str]:
    """What a file may do beyond reading: at its top, where it says nothing, or in a job that is not expected to."""
    out = [] if load(path).get("permissions") == {} else [f"{path.name}: permissions at the top are not empty"]
    for name, job in jobs(path).items():
        given = job.get("permissions")
        if not isinstance(given, dict):
            out.append(f"{path.name}: {name} does not list its permissions")
            continue
        out += [
            f"{path.name}: {name} may write {what}"
            for what, right in given.items()
            if right != "read" and (path.name, name, what) not in WRITES
        ]
    return out


def keeps_credentials(path: Path) -> list[str]:
    """Jobs whose checkout leaves the token behind, except where a branch is pushed."""
    return [
        name
        for name, step in steps(path)
        if "/checkout@" in step.get("uses", "")
        and step.get("with", {}).get("persist-credentials") is not False
        and (path.name, name, "contents") not in WRITES
    ]


def unbounded(path: Path) -> list[str]:
    """Jobs without a time limit, and a file that several runs of which may be in progress at once."""
    content = load(path)
    out = [n for n, job in content["jobs"].items() if "uses" not in job and "timeout-minutes" not in job]
    called = "workflow_call" in (content.get("on") or content.get(True))
    return out + ([] if called or "concurrency" in content else ["no concurrency group"])


def too_short(path: Path) -> list[str]:
    """Jobs of a leg that GitHub would end before the leg ends its processes, or that it does not allow."""
    longest = max(len(one.targets) for one in legs.load().values()) * MINUTES * 4 / 3
    runs_leg = {name for name, step in steps(path) if re.search(r"nightly leg|-e leg", step.get("run", ""))}
    return [n for n in runs_leg if not longest + INSTALLING <= jobs(path)[n]["timeout-minutes"] <= HOSTED_LIMIT]


def uncached(path: Path) -> list[str]:
    """Jobs that fetch packages anew each time.

    Of those whose output is published, jobs that take them from a cache, which another run may have filled
    (https://docs.zizmor.sh/audits/#cache-poisoning).
    """
    out = []
    for name, step in steps(path):
        given = step.get("with", {})
        if "/setup-python@" in step.get("uses", ""):
            published = any("pages-artifact" in s.get("uses", "") for n, s in steps(path) if n == name)
            kept = given.get("cache") == "pip" and (ROOT / given.get("cache-dependency-path", "")).is_file()
            out += [name] if kept == published or (published and "cache" in given) else []
    return out


def published_from_anywhere(path: Path) -> list[str]:
    """Jobs that write for any branch, not for the default one alone.

    A schedule runs for no other, and is told none (https://github.com/docker/metadata-action/issues/184).
    """
    rule = re.compile(
        r"&& \(github\.event_name == 'schedule' "
        r"\|\| github\.ref == format\('refs/heads/\{0\}', github\.event\.repository\.default_branch\)\) \}\}$"
    )
    writing = {job for file, job, _ in WRITES if file == path.name}
    return [name for name in writing if not rule.search(jobs(path)[name].get("if", ""))]


def failures_passed_over(path: Path) -> list[str]:
    """Steps that may fail unseen: what they fetch would seem not to be there."""
    return [name for name, step in steps(path) if step.get("continue-on-error")]


def commands(path: Path) -> list[list[str]]:
    """Every simple command of the run steps, as words; output redirections are left out."""
    out = []
    for _, step in steps(path):
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            for part in re.split(r";|&&", line):
                words = shlex.split(re.sub(r'>>?\s*"[^"]*"', "", part), comments=True)
                while words and words[0] in ("if", "then"):
                    words = words[1:]
                if words and words != ["fi"]:
                    out.append(words)
    return out


@cache
def tox() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    return parser


@cache
def help_of(*words: str) -> str | None:
    """What ``python -m WORDS --help`` prints; None where there is no such command."""
    done = subprocess.run([sys.executable, "-m", *words, "--help"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def faults_of_module(words: list[str]) -> list[str]:
    """What is wrong with ``python -m WORDS``: no such module, command or option."""
    module, rest = words[0], words[1:]
    if not any((ROOT / f"{module.replace('.', '/')}{end}").exists() for end in (".py", "/__main__.py")):
        return [] if module in ("venv", "pip") else [f"no module {module}"]
    text = help_of(module)
    if text is None:
        return [f"python -m {module} has no --help"]
    command = [rest[0]] if rest and not rest[0].startswith("-") else []
    if command and "{" in text and (text := help_of(module, *command)) is None:
        return [f"python -m {module} has no command {command[0]}"]
    return [f"{' '.join([module, *command])} has no option {w}" for w in rest if w.startswith("--") and w not in text]


def faults_of_leg(words: list[str]) -> list[str]:
    """The leg that ``python -m tools.nightly leg`` or ``tox -e leg`` is asked for, where it is written out."""
    name = words[0] if words else ""
    return [] if name.startswith("$") or name in legs.load() else [f"no leg {name!r}"]


def faults(words: list[str]) -> list[str]:
    """What is wrong with one command of a run step."""
    program, rest = Path(words[0]).name, words[1:]
    if words[0] in PLAIN or re.fullmatch(r"[a-z]+=\w*", words[0]):
        return []
    if program in ("python", "python3") and rest[:1] == ["-m"]:
        leg = faults_of_leg(rest[3:]) if rest[1:3] == ["tools.nightly", "leg"] else []
        return faults_of_module(rest[1:]) + leg
    if program == "pip":
        files = [rest[i + 1] for i, w in enumerate(rest[:-1]) if w in ("-r", "-c")]
        return [f"no file {f}" for f in files if not (ROOT / f).exists()]
    if program == "tox":
        name = rest[rest.index("-e") + 1] if "-e" in rest else ""
        if f"testenv:{name}" not in tox():
            return [f"tox.ini has no environment {name!r}"]
        return faults(_expanded(name, rest[rest.index("--") + 1 :])[0]) if "--" in rest else []
    if (ROOT / words[0]).exists():
        return []
    return [f"unknown command {words[0]!r}"]


def _expanded(environment: str, arguments: list[str]) -> list[list[str]]:
    """The commands of a tox environment with these arguments."""
    lines = tox()[f"testenv:{environment}"]["commands"].strip().splitlines()
    return [shlex.split(re.sub(r"\{posargs[^}]*\}", lambda _: shlex.join(arguments), line)) for line in lines]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
class TestWorkflow:
    def test_runners_exist(self, path: Path) -> None:
        assert wrong_labels(path) == []

    def test_actions_are_pinned(self, path: Path) -> None:
        assert unpinned(path) == []

    def test_rights_are_the_least(self, path: Path) -> None:
        assert rights(path) == []
        assert keeps_credentials(path) == []

    def test_time_and_runs_are_bounded(self, path: Path) -> None:
        assert unbounded(path) == []

    def test_only_the_default_branch_publishes(self, path: Path) -> None:
        assert published_from_anywhere(path) == []

    def test_packages_are_cached(self, path: Path) -> None:
        assert uncached(path) == []

    def test_a_leg_has_the_time_it_may_take(self, path: Path) -> None:
        assert too_short(path) == []

    def test_no_step_fails_unseen(self, path: Path) -> None:
        assert failures_passed_over(path) == []

    def test_commands_exist(self, path: Path) -> None:
        assert [fault for words in commands(path) for fault in faults(words)] == []

    def test_called_workflows_and_legs_exist(self, path: Path) -> None:
        for job in jobs(path).values():
            if "uses" in job:
                assert job["uses"].startswith(LOCAL)
                assert (FOLDER / job["uses"].removeprefix(LOCAL)).exists()
                assert job["with"]["leg"] in legs.load()
            for row in job.get("strategy", {}).get("matrix", {}).get("include", ()):
                assert row["leg"] in legs.load()


def test_one_action_has_one_version() -> None:
    used = {
        line.split("uses: ")[1] for p in FILES for line in p.read_text().splitlines() if "@" in line and "uses" in line
    }
    assert len({line.partition("@")[0] for line in used}) == len(used)


def test_the_nightly_has_every_leg_and_waits_for_it() -> None:
    called = {name: job["with"]["leg"] for name, job in jobs(FOLDER / "nightly.yml").items() if "uses" in job}
    assert set(called.values()) == set(legs.load()) - {"mac-quick"}
    assert all(name == leg for name, leg in called.items())
    assert set(jobs(FOLDER / "nightly.yml")["report"]["needs"]) == set(called)
    report = next(" ".join(w) for w in commands(FOLDER / "nightly.yml") if w[1:4] == ["-m", "tools.nightly", "report"])
    always = set(called) - {"self-hosted"}
    assert all(f"--expect {leg}" in report for leg in always)


def test_records_are_kept_even_where_a_leg_dies() -> None:
    kept = [s for _, s in steps(FOLDER / "leg.yml") if "upload-artifact" in s.get("uses", "")]
    assert [(s["if"], s["with"]["path"]) for s in kept] == [("always()", "records/")]


def test_the_prerelease_blocks_nothing() -> None:
    assert all(job["continue-on-error"] is True for job in jobs(FOLDER / "prerelease.yml").values())
    triggers = load(FOLDER / "prerelease.yml")
    assert set(triggers.get("on") or triggers[True]) == {"schedule", "workflow_dispatch"}


class TestTheNightsBefore:
    """No such branch is the first night; a remote that does not answer is a failure."""

    @pytest.fixture
    def clone(self, tmp_path: Path) -> Path:
        for words in (["init", "--quiet", "--bare", "origin"], ["clone", "--quiet", "origin", "clone"]):
            subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
        commit = ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--allow-empty", "-m", "x"]
        for words in (commit, ["push", "--quiet", "origin", "HEAD:old/nightly-data"]):
            subprocess.run(["git", *words], cwd=tmp_path / "clone", check=True, capture_output=True)
        return tmp_path / "clone"

    def asked(self, clone: Path) -> tuple[int, str]:
        """Exit status and outputs of the step, by the shell of a runner."""
        (step,) = (s for _, s in steps(FOLDER / "nightly.yml") if s.get("id") == "before")
        output = clone / "output"
        output.write_text("")
        environment = {**os.environ, "GITHUB_OUTPUT": str(output)}
        shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = subprocess.run(shell, cwd=clone, env=environment, capture_output=True, text=True)
        return done.returncode, output.read_text()

    def test_there_are_none(self, clone: Path) -> None:
        assert self.asked(clone) == (0, "")

    def test_there_are_some(self, clone: Path) -> None:
        subprocess.run(["git", "push", "--quiet", "origin", "HEAD:nightly-data"], cwd=clone, check=True)
        assert self.asked(clone) == (0, "there=true\n")

    def test_nobody_answers(self, clone: Path) -> None:
        shutil.rmtree(clone.parent / "origin")
        assert self.asked(clone)[0] != 0

    def test_they_are_fetched_where_there_are_some(self) -> None:
        (fetched,) = (s for _, s in steps(FOLDER / "nightly.yml") if s.get("with", {}).get("ref") == "nightly-data")
        assert fetched["if"] == "steps.before.outputs.there == 'true'"

    def test_the_page_is_there_before_anything_can_fail(self) -> None:
        """So that the night before is never shown as tonight."""
        ran = [step for name, step in steps(FOLDER / "nightly.yml") if name == "report"]
        assert "/checkout@" in ran[0]["uses"]
        assert ran[1]["run"] == "python3 -m tools.nightly no-report --site site"
        assert {s["if"].partition(" ")[0] for s in ran if "pages" in s.get("uses", "") or s.get("id") == "made"} == {
            "always()"
        }


def test_nights_are_named_as_a_history_names_them() -> None:
    text = (FOLDER / "nightly.yml").read_text()
    assert text.count(f"report/{history.PATTERN}") == 2


def test_tox_runs_the_commands_of_the_linux_leg() -> None:
    """The leg's own (through ``tox -e leg``) and the report's, of which tox expects the one leg that runs here."""
    called = jobs(FOLDER / "nightly.yml")["linux"]["with"]
    leg = next(w for w in commands(FOLDER / "leg.yml") if w[0].endswith("tox") and "--" in w)
    arguments = [w.replace("$LEG", called["leg"]) for w in leg[leg.index("--") + 1 :] if w != "$OPTIONS"]
    report = next(w for w in commands(FOLDER / "nightly.yml") if w[1:4] == ["-m", "tools.nightly", "report"])
    mine = ["python", *report[1 : report.index("--expect")], "--expect", called["leg"]]
    assert _expanded("nightly", []) == [*_expanded("leg", arguments), mine]


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name(arguments[0])
    program = str(beside) if beside.exists() else shutil.which(arguments[0])
    assert program, f"{arguments[0]} is not installed: pip install -e .[dev]"
    return subprocess.run([program, *arguments[1:]], capture_output=True, text=True)


def zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    return tool("zizmor", "--offline", "--no-progress", str(folder))


def schema(*paths: Path) -> subprocess.CompletedProcess[str]:
    return tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, paths))


def test_zizmor_finds_nothing() -> None:
    done = zizmor(FOLDER)
    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout + done.stderr


def test_the_schema_is_met() -> None:
    done = schema(*FILES)
    assert done.returncode == 0, done.stdout


def planted(folder: Path, name: str, old: str, new: str) -> Path:
    """A copy of one workflow with a defect in it."""
    text = (FOLDER / name).read_text()
    assert old in text, old
    path = folder / name
    path.write_text(text.replace(old, new))
    return path


RETIRED = ('["macos-15"]', '["macos-14"]')
MOVING = ("runs-on: ubuntu-24.04", "runs-on: ubuntu-latest")


@pytest.mark.parametrize(
    ("check", "name", "old", "new"),
    [
        (wrong_labels, "nightly.yml", *RETIRED),
        (wrong_labels, "nightly.yml", *MOVING),
        (wrong_labels, "nightly.yml", '"self-hosted", "macOS"', '"self-hosted", "metal"'),
        (wrong_labels, "prerelease.yml", "runner: macos-15", "runner: macos-13"),
        (unpinned, "leg.yml", "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6"),
        (unpinned, "leg.yml", "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@de0fac2 # v6.0.2"),
        (unpinned, "leg.yml", " # v6.0.2", ""),
        (rights, "ci.yml", "permissions: {}", "permissions: write-all"),
        (rights, "ci.yml", "contents: read", "contents: write"),
        (rights, "leg.yml", "    permissions:\n      contents: read\n", ""),
        (keeps_credentials, "leg.yml", "persist-credentials: false", "persist-credentials: true"),
        (keeps_credentials, "ci.yml", "        with:\n          persist-credentials: false\n", ""),
        (published_from_anywhere, "nightly.yml", "github.event.repository.default_branch", "github.ref_name"),
        (published_from_anywhere, "nightly.yml", "(github.event_name == 'schedule'", "(true"),
        (published_from_anywhere, "nightly.yml", "{0}', github.event.repository.default_branch))", "{0}', 'main'))"),
        (
            failures_passed_over,
            "nightly.yml",
            "        id: before\n",
            "        id: before\n        continue-on-error: true\n",
        ),
        (
            unbounded,
            "leg.yml",
            "    timeout-minutes: 330 # five targets, an hour each at most, and the installation\n",
            "",
        ),
        (too_short, "leg.yml", "timeout-minutes: 330", "timeout-minutes: 180"),
        (too_short, "prerelease.yml", "timeout-minutes: 330", "timeout-minutes: 400"),
        (uncached, "leg.yml", "          cache: pip\n", ""),
        (uncached, "ci.yml", "cache-dependency-path: constraints.txt", "cache-dependency-path: requirements.txt"),
        (
            uncached,
            "nightly.yml",
            '          python-version: "3.11"\n',
            '          python-version: "3.11"\n          cache: pip\n',
        ),
        (unbounded, "nightly.yml", "concurrency:\n  group: nightly\n  cancel-in-progress: false\n", ""),
    ],
)
def test_a_planted_defect_is_found(tmp_path: Path, check: Any, name: str, old: str, new: str) -> None:
    assert check(FOLDER / name) == []
    assert check(planted(tmp_path, name, old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("leg.yml", "tox -qq -e leg", "tox -qq -e legs", "no environment 'legs'"),
        ("leg.yml", '--output "records', '--out-put "records', "no option --out-put"),
        ("nightly.yml", "-m tools.nightly report", "-m tools.nightly publish", "no command publish"),
        ("nightly.yml", "-m tools.nightly report", "-m tools.nightlies report", "no module tools.nightlies"),
        ("nightly.yml", "--history history", "--past history", "no option --past"),
        ("nightly.yml", "-c constraints.txt", "-c constraint.txt", "no file constraint.txt"),
        ("prerelease.yml", 'nightly leg "$LEG"', "nightly leg linus", "no leg 'linus'"),
        ("ci.yml", ".venv/bin/tox -qq -e tests", "make tests", "unknown command 'make'"),
    ],
)
def test_a_planted_command_is_found(tmp_path: Path, name: str, old: str, new: str, said: str) -> None:
    found = [fault for words in commands(planted(tmp_path, name, old, new)) for fault in faults(words)]
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize(
    ("old", "new", "audit"),
    [
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6", "unpinned-uses"),
        ('"$LEG" --output', "${{ inputs.leg }} --output", "template-injection"),
    ],
)
def test_zizmor_finds_a_planted_defect(tmp_path: Path, old: str, new: str, audit: str) -> None:
    done = zizmor(planted(tmp_path, "leg.yml", old, new))
    assert done.returncode != 0
    assert audit in done.stdout


def test_the_schema_finds_a_planted_defect(tmp_path: Path) -> None:
    assert schema(planted(tmp_path, "nightly.yml", "timeout-minutes", "time-out-minutes")).returncode != 0
