"""Do the guides say what was observed, are the observations current, and is anything else refused?"""

from __future__ import annotations

import json
import lzma
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import made
from tests.command import ROOT, run
from tools import guides
from touchstone import command
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.migration import guide, guide_observations, guide_text
from touchstone.migration.guide import GuideError
from touchstone.migration.guide_observations import TARGETS, Observations, ObservationsError
from touchstone.reports import records, severity
from touchstone.reports.cases import case_name
from touchstone.reports.records import EndLine
from touchstone.suites import requirements
from touchstone.verdict import expectation
from touchstone.verdict.expectation import Place
from touchstone.verdict.observation import Observation
from touchstone.verdict.rule import RED, judge

FULL = {f"{name}@cpu": made.target(f"{name}@cpu", versions={name: "1.0"}) for name in TARGETS}
BEHAVIOUR: dict[str, dict[str, Any]] = {
    "mlx@cpu": made.KNOWN | {"reproduction": "mx.zeros((4, 2))[mx.array([4])]"},
    "jax@cpu": {"behaviour": "NaN row", "headroom": None},
    "torch@cpu": {"behaviour": "raises IndexError", "headroom": None},
    "reference@cpu": {"behaviour": "raises IndexError", "headroom": None},
}
"""What the targets of the runs made here do in case EMB-1 a."""


def ends() -> dict[str, EndLine]:
    """id -> record: two cases of two requirements on every target."""
    out = [
        made.end(
            name,
            requirement,
            target,
            rerun=f"touchstone run '{made.case(name, requirement, target)}' --adapter {target}",
            params={"ids": "V" if name == "a" else "0"},
            **(BEHAVIOUR[target] if (name, requirement) == ("a", "EMB-1") else {}),
        )
        for target in FULL
        for requirement in made.REQUIREMENTS
        for name in ("a", "b")
    ]
    return {line.id: line for line in out}


def a_run(folder: Path, changed: Iterable[EndLine] = (), without: Sequence[str] = (), **header: Any) -> Path:
    """The report of a run of every target; `changed` replaces records, those in `without` are left out."""
    lines = ends() | {line.id: line for line in changed}
    kept = [line for identifier, line in lines.items() if identifier not in without]
    red = any(line.verdict in RED for line in kept)
    planned = {target: sum(line.target == target for line in lines.values()) for target in FULL}
    facts: dict[str, Any] = {"targets": FULL, "planned": planned}
    first = made.run_line(**facts | header)
    return made.folder(folder, [first, *kept, made.finish(exit_status=int(red))])


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder of observations, recorded from a run made here."""
    guide_observations.record(a_run(tmp_path / "report"), tmp_path / "observations")
    return tmp_path / "observations"


def made_guide(kept: Path, source: str, target: str) -> str:
    return guide.guide(source, target, guide_observations.load(kept)).render()


def test_observations_come_back_as_they_were(kept: Path) -> None:
    (one,) = guide_observations.load(kept)
    assert one.path.name == "macos-arm64.jsonl.xz"
    assert (one.system, set(one.dates.values())) == ("macOS arm64", {"2026-11-20"})
    assert [c.target for c in one.report.columns] == list(FULL)
    assert one.report.requirements == made.REQUIREMENTS
    found = {r.id: r for r in one.report.records}
    assert found.keys() == ends().keys()
    ignored = ("run", "device", "machine", "duration", "dtype", "versions")
    for identifier, line in ends().items():
        both = (msgspec.to_builtins(record) for record in (line, found[identifier]))
        before, after = ({k: v for k, v in fields.items() if k not in ignored} for fields in both)
        assert before == after
    assert [c.facts.versions for c in one.report.columns] == [{name: "1.0"} for name in TARGETS]


def test_no_machine_is_named(kept: Path) -> None:
    (path,) = kept.iterdir()
    content = lzma.decompress(path.read_bytes()).decode()
    assert "arm64" in content
    for private in (
        made.MACHINE.id,
        made.MACHINE.chip,
        made.MACHINE.model,
        made.MACHINE.os_build,
        "15.7",
        "8589934592",
    ):
        assert private not in content


def test_the_same_run_gives_the_same_bytes(kept: Path, tmp_path: Path) -> None:
    """In whatever order its workers wrote the cases, and however long they took."""
    lines = [msgspec.structs.replace(line, duration=9.0) for line in reversed(ends().values())]
    header = made.run_line(targets=FULL, planned=dict.fromkeys(FULL, 4))
    made.folder(tmp_path / "other", [header, *lines, made.finish()])
    (path,) = guide_observations.record(tmp_path / "other", tmp_path / "again")
    assert path.read_bytes() == (kept / path.name).read_bytes()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def one_end(target: str, **changed: Any) -> EndLine:
    identifier = made.case("b", "EMB-1", target)
    return msgspec.structs.replace(ends()[identifier], **changed)


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no report": (lambda p: p / "nothing", "no such folder"),
    "red": (lambda p: a_run(p, [one_end("jax@cpu", **made.DEVIATES)]), "not green: deviates: .*jax@cpu-b"),
    "unreviewed": (lambda p: a_run(p, [one_end("jax@cpu", verdict="unreviewed")]), "not green: unreviewed"),
    "a case without an answer": (
        lambda p: a_run(p, without=[made.case("b", "EMB-1", "torch@cpu")]),
        "not whole: 1 cases of torch@cpu.* have no answer",
    ),
    "a selection": (
        lambda p: a_run(
            p, without=[made.case("b", "EMB-1", "mlx@cpu")], planned=dict.fromkeys(FULL, 4) | {"mlx@cpu": 3}
        ),
        "not whole: 1 of 2 cases of EMB-1 on mlx@cpu",
    ),
    "a target that was not there": (
        lambda p: a_run(
            p,
            [msgspec.structs.replace(r, verdict="not run") for r in ends().values() if r.target == "mlx@cpu"],
            targets=FULL | {"mlx@cpu": made.target("mlx@cpu", unavailable="mlx is not installed")},
        ),
        "mlx@cpu.* was not run: mlx is not installed",
    ),
    "a target that nobody asked": (
        lambda p: a_run(
            p,
            without=[r.id for r in ends().values() if r.target == "torch@cpu"],
            targets={n: t for n, t in FULL.items() if n != "torch@cpu"},
            planned={n: 4 for n in FULL if n != "torch@cpu"},
        ),
        "no case of torch ran on macOS arm64",
    ),
    "a first run": (
        lambda p: a_run(p, targets=FULL | {"mlx@cpu": made.target("mlx@cpu", bootstrap=True)}),
        "not green and whole: .*bootstrap",
    ),
    "a stale deviation": (
        lambda p: a_run(p, [one_end("mlx@cpu", sometimes="mlx.toml: deviation 3")]),
        "not green and whole: .*mlx.toml: deviation 3",
    ),
    "a user's own table": (
        lambda p: a_run(p, [one_end("mlx@cpu", rerun="touchstone run x --adapter mlx@cpu --table f:k")]),
        "needs more than the suites",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_only_whole_green_runs_are_recorded(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, expected = REFUSED[case]
    with pytest.raises(ObservationsError, match=expected) as caught:
        guide_observations.record(make(tmp_path / "report"), tmp_path / "observations")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "observations").exists()


def test_a_failed_write_leaves_the_old_file(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = kept.iterdir()
    before = path.read_bytes()

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    changed = a_run(tmp_path / "later", started="2026-11-29T03:00:00+00:00")
    with pytest.raises(ObservationsError, match=r"cannot be written \(No space left on device\)"):
        guide_observations.record(changed, kept)
    assert [p.name for p in kept.iterdir()] == [path.name]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda raw: b"", "is damaged"),
        (lambda raw: raw[:-40], "is damaged"),
        (lambda raw: bytes([*raw[:60], raw[60] ^ 0xFF, *raw[61:]]), "is damaged"),
        (lambda raw: lzma.compress(b"[]\n"), "is damaged"),
        (lambda raw: lzma.compress(lzma.decompress(raw).replace(b'"format":2', b'"format":9')), "has format 9"),
        (lambda raw: lzma.compress(lzma.decompress(raw).replace(b'"conforms"', b'"perfect"')), "is damaged"),
        (lambda raw: lzma.compress(b"\n".join(lzma.decompress(raw).splitlines()[:1])), "is damaged"),
        (lambda raw: lzma.compress(re.sub(rb"\[0,\d+", b"[0,99", lzma.decompress(raw))), "is damaged"),
    ],
)
def test_damaged_observations(damage: Callable[[bytes], bytes], expected: str, kept: Path) -> None:
    (path,) = kept.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ObservationsError, match=f"{re.escape(str(path))}.*{expected}"):
        guide_observations.load(kept)


def test_no_observations(tmp_path: Path) -> None:
    with pytest.raises(ObservationsError, match="holds no observations; TOUCHSTONE_REQUIRE=mlx,jax,torch pytest"):
        guide_observations.load(tmp_path)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("mlx", "tensorflow", "unknown target 'tensorflow'; choose mlx, jax, torch or reference"),
        ("", "mlx", "unknown target ''"),
        ("mlx@gpu", "torch", "no observations of 'mlx@gpu'; there are those of jax@cpu, mlx@cpu"),
        ("mlx", "mlx", "are the same target, mlx@cpu"),
        ("mlx@cpu", "mlx", "are the same target, mlx@cpu"),
    ],
)
def test_targets_that_have_no_guide(source: str, target: str, expected: str, kept: Path) -> None:
    with pytest.raises(GuideError, match=expected):
        guide.guide(source, target, guide_observations.load(kept))


def test_the_command_refuses_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments in (["guide", "mlx", "mlx"], ["guide", "mlx", "caffe"]):
        assert command.main(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, err.startswith("error: "), err.count("\n")) == ("", True, 1)
    assert guides.main(["record", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    for arguments in (["guide"], ["guide", "mlx"], ["guide", "mlx", "jax", "torch"]):
        with pytest.raises(SystemExit) as left:
            command.main(arguments)
        assert left.value.code == 2


def test_a_guide_says_what_was_observed(kept: Path) -> None:
    text = made_guide(kept, "torch", "mlx")
    assert text.startswith("# From PyTorch to MLX\n")
    assert "in 4 cases that both were asked" in text
    assert "| Silently different | no error, another result | 1 | 1 |" in text
    assert '### <a id="silent-emb-1"></a>EMB-1: embedding lookup' in text
    assert "[EMB-1: embedding lookup](#silent-emb-1): raises IndexError → foreign memory" in text
    assert "- 1 case: ids V\n" in text
    assert "  - torch@cpu, torch 1.0, macOS arm64, 2026-11-20: **raises IndexError**\n" in text
    assert "  - mlx@cpu, mlx 1.0, macOS arm64, 2026-11-20: **foreign memory**\n" in text
    assert "Why: Nothing checks the bounds.\n" in text
    assert "What to do: Check ids first.\n" in text
    rerun = f"touchstone run '{made.case('a', 'EMB-1', 'torch@cpu')}' --adapter torch@cpu"
    assert f"```sh\n# torch@cpu: raises IndexError\n{rerun}\n```" in text
    assert "```python\n# mlx@cpu: foreign memory\nmx.zeros((4, 2))[mx.array([4])]\n```" in text


def test_every_line_that_tells_of_a_target_is_stamped(kept: Path) -> None:
    stamp = re.compile(r"  - (torch|mlx)@cpu, (torch|mlx) 1\.0, macOS arm64, 2026-11-20: \*\*")
    lines = [line for line in made_guide(kept, "mlx", "torch").splitlines() if line.startswith("  - ") and "**" in line]
    assert len(lines) == 2
    assert all(map(stamp.match, lines))


def test_what_is_better_and_what_is_not_available_is_told_briefly(kept: Path, tmp_path: Path) -> None:
    better = made_guide(kept, "mlx", "torch")
    assert "- EMB-1, embedding lookup: 1 case: ids V\n" in better
    assert "  - what departed: Nothing checks the bounds.\n" in better
    assert "  - example: `mx.zeros((4, 2))[mx.array([4])]`\n" in better
    absent = one_end("jax@cpu", verdict="unsupported", behaviour="unsupported", note="no strides", headroom=None)
    guide_observations.record(a_run(tmp_path / "other", [absent]), tmp_path / "found")
    text = made_guide(tmp_path / "found", "torch", "jax")
    assert '### <a id="unavailable-1"></a>no strides\n\n- EMB-1, embedding lookup: 1 case: ids 0\n' in text
    assert f"  - example: `{absent.rerun}`\n" in text


def test_nothing_differs(kept: Path) -> None:
    assert "**No difference was observed.**" in made_guide(kept, "torch", "reference")


def test_worst_first(kept: Path) -> None:
    text = made_guide(kept, "mlx", "torch")
    assert "Better there" in text
    headings = [line[3:] for line in guide.guide("jax", "mlx").render().splitlines() if line.startswith("## ")]
    assert headings == [t for t in severity.TITLES.values() if t in headings]
    assert len(headings) > 3


def test_prose_can_be_read_and_renders_as_itself() -> None:
    text = "a_b _c_ *x* <b> [l](u) `q` 2**3 | ~~s~~ x_y. # no"
    assert MarkdownIt().enable("strikethrough").render(guide_text.prose(text)) == (
        "<p>a_b _c_ *x* &lt;b&gt; [l](u) `q` 2**3 | ~~s~~ x_y. # no</p>\n"
    )
    assert guide_text.prose("checked_lookup in x.y") == "checked_lookup in x.y"


def test_values_are_named() -> None:
    assert guide_text.spelled({"group_size": [64, 32], "ids": ["V", None]}) == "group size 32, 64; ids V, none"
    assert guide_text.spelled({"n": list(range(11))}).endswith("6, 7 and 3 more")


MAC, LINUX = "macOS arm64, 2026-11-20", "Linux x86-64, 2026-11-21"


def two_systems(tmp_path: Path) -> list[Observations]:
    """mlx@gpu on a Mac only; the others on a Mac, and a day later on Linux."""
    gpu = {target.replace("mlx@cpu", "mlx@gpu"): facts for target, facts in FULL.items()}
    lines = [
        msgspec.structs.replace(
            line,
            target=line.target.replace("mlx@cpu", "mlx@gpu"),
            id=line.id.replace("mlx@cpu", "mlx@gpu"),
            rerun=line.rerun.replace("mlx@cpu", "mlx@gpu"),
        )
        for line in ends().values()
    ]
    header = made.run_line(targets=gpu, planned=dict.fromkeys(gpu, 4))
    mac = made.folder(tmp_path / "mac", [header, *lines, made.finish()])
    machine = msgspec.structs.replace(made.MACHINE, os="Debian GNU/Linux 12", architecture="x86_64", id="b")
    elsewhere = [msgspec.structs.replace(line, machine="b") for line in ends().values()]
    started = "2026-11-21T00:00:00+00:00"
    header = made.run_line(targets=FULL, planned=dict.fromkeys(FULL, 4), machine=machine, started=started)
    linux = made.folder(tmp_path / "linux", [header, *elsewhere, made.finish()])
    for folder in (mac, linux):
        guide_observations.record(folder, tmp_path / "observations")
    return guide_observations.load(tmp_path / "observations")


@pytest.mark.parametrize(
    ("source", "target", "stamps"),
    [
        ("mlx@gpu", "torch", (f"mlx@gpu, mlx 1.0, {MAC}", f"torch@cpu, torch 1.0, {MAC}")),
        ("mlx@cpu", "torch", (f"mlx@cpu, mlx 1.0, {LINUX}", f"torch@cpu, torch 1.0, {LINUX}")),
        ("mlx@gpu", "mlx@cpu", (f"mlx@gpu, mlx 1.0, {MAC}", f"mlx@cpu, mlx 1.0, {LINUX}")),
        ("mlx", "jax", (f"mlx@cpu, mlx 1.0, {LINUX}", f"jax@cpu, jax 1.0, {LINUX}")),
    ],
)
def test_one_system_where_one_has_both(source: str, target: str, stamps: tuple[str, str], tmp_path: Path) -> None:
    found = guide.guide(source, target, two_systems(tmp_path))
    assert (found.source.stamp, found.target.stamp) == stamps
    assert found.compared == 4


def test_the_guides_in_the_repository_are_current() -> None:
    assert guide.check() == []
    assert len(guide.pages()) == 13


def test_a_stale_guide_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    guide.write(tmp_path)
    assert guide.check(tmp_path) == []
    assert guide.write(tmp_path) == []
    (tmp_path / "mlx-to-jax.md").write_text("Nothing differs.\n")
    (tmp_path / "mlx-to-torch.md").unlink()
    (tmp_path / "mlx-to-caffe.md").write_text("Old.\n")
    stale = {Path(line.partition(":")[0]).name: line for line in guide.check(tmp_path)}
    assert stale.keys() == {"mlx-to-jax.md", "mlx-to-torch.md", "mlx-to-caffe.md"}
    assert all(line.endswith("run python -m tools.guides write") for line in stale.values())
    monkeypatch.setattr(guide.check, "__defaults__", (tmp_path,))
    assert guides.main(["check"]) == 1
    assert "mlx-to-jax.md" in capsys.readouterr().out
    assert {p.name for p in guide.write(tmp_path)} == stale.keys()
    assert guide.check(tmp_path) == []


def test_guides_are_readable() -> None:
    """Short enough to be read, every link inside a page leads somewhere, no raw markup."""
    pages = guide.pages()
    for name, content in pages.items():
        assert len(content.splitlines()) < 5500, name  # seven chapters more than the layers have
        assert set(re.findall(r"\]\(#([^)]+)\)", content)) == set(re.findall(r'<a id="([^"]+)"', content))
        linked = re.findall(r"\]\(([^)#]+\.md)\)", content)
        assert set(linked) <= pages.keys()
        assert content.count("```") % 2 == 0


COLLECT = """
import json
import sys
import os
import pytest
from touchstone.adapters.discovery import devices
from touchstone.suites.assay import Assay

devices.probe = lambda *args, **kwargs: devices.Found({"cpu": {}})  # the real one asks a child process

class Found:
    def pytest_collection_finish(self, session):
        found = []
        for item in session.items:
            asked = getattr(item, "callspec", None) and item.callspec.params.get("assay")
            if asked and not asked[1].marks:
                made = Assay(*asked, None)
                found.append((made.target.id, item.nodeid, made.requirement.id, dict(made.params), made.unmet_need()))
        json.dump(found, open(sys.argv[1], "w"))

raise SystemExit(int(pytest.main(["suites", "--co", "-q", "-p", "no:cacheprovider"], plugins=[Found()])))
"""
AGAIN = f"record the observations again: {guide_observations.FULL_RUN}"
Cases = dict[str, dict[str, Any]]
"""Adapter -> name of a case -> [its requirement, its parameters, why the adapter cannot be asked]."""


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """As `pytest suites/` collects them now, on any system's CPU."""
    path = tmp_path_factory.mktemp("collected") / "cases.json"
    done = run("-c", COLLECT, str(path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    out: Cases = {}
    for target, identifier, *facts in json.loads(path.read_text()):
        out.setdefault(target.partition("@")[0], {})[case_name(identifier, target)] = facts
    return out


def stale_cases(observed: Observations, collected: Cases) -> list[str]:
    out = []
    for column in observed.report.columns:
        names = {case_name(r.id, r.target): r for r in column.cases.values()}
        now = collected[column.facts.spec]
        out += [f"{column.target}: {name} is not recorded" for name in sorted(now.keys() - names.keys())]
        out += [f"{column.target}: {name} is no case now" for name in sorted(names.keys() - now.keys())]
        for name in sorted(names.keys() & now.keys()):
            line = names[name]
            unmet = line.note if line.verdict == "unsupported" else None
            if now[name] != [line.requirement, line.params, unmet]:
                out.append(f"{column.target}: {name} was {line.requirement} {line.params} {unmet}, is {now[name]}")
    return out


def stale_versions(observed: Observations, constraints: str) -> list[str]:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE))
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    return [
        f"{column.target}: recorded with {name} {version}, constraints.txt has {pinned.get(canonicalize_name(name))}"
        for column in observed.report.columns
        for name, version in column.facts.versions.items()
        if Version(version).public != pinned.get(canonicalize_name(name))
    ]


def stale_verdicts(observed: Observations) -> list[str]:
    """Cases on which the requirements, deviations and pins of today say something else than what is recorded."""
    catalogue = requirements.load()
    out = []
    for column in observed.report.columns:
        cls = registry.adapter_class(column.facts.spec)
        entries = known.load(known.path_for(cls), cls, catalogue)
        framework, device = column.target.split("@")
        place = Place(framework, device, column.facts.device.facts)
        version = column.facts.versions[cls.distributions[0]]
        for line in column.cases.values():
            if line.verdict in ("unsupported", "not run"):
                continue
            headroom = None if line.headroom is None else float(line.headroom)
            seen = Observation(line.behaviour, line.conforms, headroom=headroom)
            now = judge(catalogue[line.requirement], seen, entries, place, version, line.params)
            texts = {name: getattr(now.entry, name, "") for name in ("advice", "reproduction", "upstream", "page")}
            texts |= {"verdict": str(now.verdict), "note": now.note}
            out += [
                f"{line.id}: {name} was {getattr(line, name)!r}, is {text!r}"
                for name, text in texts.items()
                if getattr(line, name) != text
            ]
    return out


def stale_requirements(observed: Observations) -> list[str]:
    now = {
        name: (r.group, r.level, r.sentence, r.source, r.difference, r.advice)
        for name, r in requirements.load().items()
    }
    then = {
        name: (r.group, r.level, r.sentence, r.source, r.difference, r.advice)
        for name, r in observed.report.requirements.items()
    }
    return [
        f"{name}: reads otherwise now" for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)
    ]


@pytest.fixture(scope="module", params=guide_observations.load(), ids=lambda o: o.system.replace(" ", "-"))
def observed(request: pytest.FixtureRequest) -> Observations:
    return request.param


def test_the_same_cases_are_collected_now(observed: Observations, collected: Cases) -> None:
    assert {column.facts.spec for column in observed.report.columns} == set(TARGETS)
    assert stale_cases(observed, collected) == [], AGAIN


def test_the_recorded_versions_are_those_that_run(observed: Observations) -> None:
    assert stale_versions(observed, (ROOT / "constraints.txt").read_text()) == [], AGAIN


def test_requirements_and_deviations_still_say_so(observed: Observations) -> None:
    assert stale_requirements(observed) == [], AGAIN
    assert stale_verdicts(observed) == [], AGAIN


def test_planted_staleness_is_found(observed: Observations, collected: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = observed.column("mlx")
    assert recorded is not None
    names = {case_name(r.id, r.target) for r in recorded.cases.values()}
    name, facts = next((n, f) for n, f in collected["mlx"].items() if n in names)
    others = {n: f for n, f in collected["mlx"].items() if n != name}
    for changed, expected in (
        (others, "is no case now"),
        (collected["mlx"] | {"new": facts}, "new is not recorded"),
        (others | {name: [facts[0], facts[1] | {"more": 1}, facts[2]]}, "'more': 1"),
        (others | {name: [*facts[:2], "not built for it"]}, "'not built for it'"),
    ):
        (stale,) = set(stale_cases(observed, collected | {"mlx": changed})) - set(stale_cases(observed, collected))
        assert stale.startswith("mlx@")
        assert expected in stale
    text = (ROOT / "constraints.txt").read_text()
    (stale,) = stale_versions(observed, re.sub(r"^torch==.*$", "torch==9.9", text, flags=re.MULTILINE))
    assert stale.endswith("constraints.txt has 9.9")
    loaded = requirements.load()
    before = set(stale_requirements(observed))
    changed = {name: r for name, r in loaded.items() if name != "EMB-OOR-1"}
    monkeypatch.setattr(requirements, "load", lambda: changed)
    assert set(stale_requirements(observed)) - before == {"EMB-OOR-1: reads otherwise now"}


def test_a_changed_deviation_is_found(observed: Observations, monkeypatch: pytest.MonkeyPatch) -> None:
    real = known.load

    def without_one(*given: Any) -> expectation.Expectations:
        found = real(*given)
        return expectation.Expectations(found.deviations[1:], found.pins)

    monkeypatch.setattr(known, "load", without_one)
    assert any("verdict was" in line and "is 'deviates'" in line for line in stale_verdicts(observed))


def test_the_observations_are_small() -> None:
    assert sum(p.stat().st_size for p in guide_observations.FOLDER.iterdir()) < 260_000


def test_a_record_of_another_schema_is_refused(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "report")
    path = folder / "results.jsonl"
    path.write_text(path.read_text().replace(f'"schema":{records.SCHEMA}', '"schema":1'))
    with pytest.raises(ObservationsError, match="schema 1"):
        guide_observations.record(folder, tmp_path / "observations")


def test_json_lines(kept: Path) -> None:
    """The form that the module documents: a head, the outcomes, then a line per case."""
    (path,) = kept.iterdir()
    head, outcomes, *cases = map(json.loads, lzma.decompress(path.read_bytes()).splitlines())
    assert head["format"] == guide_observations.FORMAT
    assert len(outcomes) == len({tuple(o) for o in outcomes}) == 4
    assert [case[0] for case in cases] == sorted(case_name(r.id, r.target) for r in ends().values() if r.spec == "mlx")
