"""Does the timeline show what was recorded, at the right release, and does it agree with what upstream says?"""

from __future__ import annotations

import lzma
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from packaging.specifiers import SpecifierSet

from tests import made
from tests.command import run
from tools.versions import observed, page, ranges, releases, timeline, upstream
from tools.versions.__main__ import main
from tools.versions.observed import NOTHING, Head, Observed, Outcome, Ran
from tools.versions.releases import Release, VersionsError
from tools.versions.running import ERROR
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.reports.records import Scalar
from touchstone.suites import requirements
from touchstone.verdict import expectation

RELEASES = [Release("mlx", version, (("mlx", version),)) for version in ("1.0", "1.1", "1.2")]
GOOD, BAD = Outcome("exact", True, 0.5), Outcome("wrong bits", False, None)
FOREIGN, CRASHED = Outcome("foreign memory", False, None), Outcome("crashed", False, None)


def a_run(folder: Path, version: str, *, changed: Sequence[Any] = (), begun: Sequence[str] = (), **header: Any) -> None:
    """The records of a release: four cases; and others that have begun and not ended."""
    target = made.target("mlx@gpu", versions={"mlx": version})
    lines = made.whole("run1", *changed)[1:-1]
    planned = {"mlx@gpu": len(lines) + len(begun)}
    facts: dict[str, Any] = {"targets": {"mlx@gpu": target}, "planned": planned}
    first = made.run_line(**facts | header)
    made.folder(folder / f"mlx-{version}", [first, *lines, *map(made.start, begun), made.finish()])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    a_run(folder, "1.0", changed=[made.end("a", **made.DEVIATES)])
    a_run(folder, "1.1", changed=[made.end("b", headroom=0.7)])
    a_run(folder, "1.2", changed=[made.end("b", headroom=0.7), made.end("a", "LIN-1", behaviour="two roundings")])
    return folder


def kept(runs: Path, chosen: Sequence[Release] = RELEASES) -> Observed:
    observed.record(chosen, runs, runs.parent / "observations")
    (one,) = observed.load(runs.parent / "observations")
    return one


def test_what_was_recorded_comes_back(runs: Path) -> None:
    one = kept(runs)
    assert [(r.version, r.spelled, r.date) for r in one.ran] == [
        (v, f"mlx {v}", "2026-11-20") for v in ("1.0", "1.1", "1.2")
    ]
    assert one.head.required == {"EMB-1": True, "LIN-1": False}
    name = "suites/test_emb.py::test_it[a]"
    assert one.cases[name][2] == [Outcome("wrong bits", False, 0.5), GOOD, GOOD]
    assert len(one.cases) == 4


def test_the_same_records_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    kept(runs)
    (path,) = observed.record(RELEASES, runs, tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "observations" / path.name).read_bytes()
    content = lzma.decompress(path.read_bytes()).decode()
    assert made.MACHINE.id not in content
    assert made.MACHINE.chip not in content


def test_each_change_is_shown_at_its_release(runs: Path) -> None:
    first, second = timeline.steps(kept(runs))
    assert (first.previous.version, first.release.version, second.release.version) == ("1.0", "1.1", "1.2")
    assert {(c.kind, c.requirement, c.before, c.after, c.count, c.of) for c in first.changes} == {
        ("fixed", "EMB-1", "wrong bits", "exact", 1, 2),
        ("arithmetic", "EMB-1", "0.5", "0.7", 1, 2),
    }
    assert {(c.kind, c.requirement, c.before, c.after) for c in second.changes} == {
        ("changed", "LIN-1", "exact", "two roundings")
    }


def test_a_release_that_did_not_run_is_listed_with_its_error(runs: Path) -> None:
    (runs / "mlx-1.1" / "results.jsonl").unlink()
    (runs / "mlx-1.1" / ERROR).write_text("mlx-1.1: cannot be imported: built for another Python\n")
    one = kept(runs)
    assert [r.error for r in one.head.releases][1] == "mlx-1.1: cannot be imported: built for another Python"
    (step,) = timeline.steps(one)
    assert (step.previous.version, step.release.version) == ("1.0", "1.2")
    assert "built for another Python" in page.render([one])


def test_a_case_that_killed_its_process_is_an_observation(runs: Path) -> None:
    died = {"c": "crashed", "d": "timed out"}
    changed = [made.end(n, behaviour=b, verdict=b, conforms=False, headroom=None) for n, b in died.items()]
    a_run(runs, "1.2", changed=changed)
    one = kept(runs)
    rows = {name.partition("[")[2]: row for name, (_, _, row) in one.cases.items()}
    assert rows["c]"] == [NOTHING, NOTHING, CRASHED]
    assert rows["d]"][-1].behaviour == "timed out"


def test_one_adapter_is_recorded_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other's runs are not asked for; a release has no file of its own."""
    chosen = releases.of_adapters(releases.load(), ["jax"])
    assert {release.adapter for release in chosen} == {"jax"}
    assert main(["record", "jax", "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'records' / 'jax-0.10.4'}: no such folder")
    assert main(["record", "jax-0.10.4", "--folder", str(tmp_path)]) == 2
    said = "error: no releases of an adapter 'jax-0.10.4'; there are mlx, jax, torch"
    assert capsys.readouterr().err.startswith(said)


FAULTS = [
    ("no run", "no such folder"),
    ("killed", "mlx-1.2: not whole: 4 of 5 cases have an end"),
    ("in flight", "mlx-1.2: not whole: 4 of 5 cases"),
    ("another version", "mlx-1.2: is a run of 1.3, not of mlx-1.2"),
    ("other suites", "unlike suites"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[fault for fault, _ in FAULTS])
def test_records_that_cannot_be_used_are_refused(runs: Path, fault: str, said: str) -> None:
    if fault == "no run":
        (runs / "mlx-1.2").rename(runs / "elsewhere")
    elif fault == "killed":
        a_run(runs, "1.2", planned={"mlx@gpu": 5})
    elif fault == "in flight":
        a_run(runs, "1.2", begun=["c"])
    elif fault == "another version":
        a_run(runs, "1.2", targets={"mlx@gpu": made.target("mlx@gpu", versions={"mlx": "1.3"})})
    else:
        a_run(runs, "1.2", suite_hash="0000")
    with pytest.raises(VersionsError) as error:
        kept(runs)
    assert said in str(error.value)


def test_damaged_observations_are_refused(runs: Path) -> None:
    kept(runs)
    (path,) = (runs.parent / "observations").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(VersionsError, match="is damaged"):
        observed.load(path.parent)


KINDS = [
    (BAD, GOOD, True, "fixed"),
    (GOOD, BAD, True, "regression"),
    (GOOD, BAD, False, "changed"),
    (BAD, CRASHED, True, "changed"),
    (GOOD, GOOD, True, None),
    (GOOD, replace(GOOD, headroom=0.5001), True, None),
    (GOOD, replace(GOOD, headroom=0.51), True, "arithmetic"),
    (GOOD, replace(GOOD, headroom="inf"), True, "arithmetic"),
    (FOREIGN, CRASHED, True, None),
    (CRASHED, GOOD, True, "fixed"),
    (NOTHING, GOOD, True, None),
    (GOOD, NOTHING, True, None),
]


@pytest.mark.parametrize(("before", "after", "required", "kind"), KINDS)
def test_kinds_of_change(before: Outcome, after: Outcome, required: bool, kind: str | None) -> None:
    assert timeline.kind_of(before, after, required=required) == kind


def test_places_name_what_tells_the_changed_cases_apart() -> None:
    everything: list[dict[str, Scalar]] = [{"dtype": d, "bits": b} for d in ("float16", "float32") for b in (3, 4, 5)]
    assert timeline.places(everything[2::3], everything) == {"bits": (5,)}
    assert timeline.places(everything, everything) == {}


def test_recorded_timeline_shows_what_upstream_says() -> None:
    """Repairs, additions and a regression; each thread was read."""
    found = observed.load()
    changes = upstream.load()
    assert len(changes) >= 6
    assert any(change.until for change in changes)
    assert [(f.known.thread, f.fault) for f in (upstream.find(c, found) for c in changes) if f.fault] == []


@pytest.mark.parametrize("by", [-1, 1])
def test_a_change_at_another_release_is_found(by: int) -> None:
    """Every change upstream tells of, one release earlier or later, is no longer as upstream says."""
    found = {one.head.adapter: one for one in observed.load()}
    for change in upstream.load():
        one = found[change.adapter]
        moved = {}
        for name, (requirement, params, row) in one.cases.items():
            moved[name] = (requirement, params, [row[0], *row[:-1]] if by > 0 else [*row[1:], row[-1]])
        shifted = replace(one, cases=moved)
        assert upstream.find(change, [one]).fault == ""
        assert upstream.find(change, [shifted]).fault, change.thread


def test_every_release_of_the_list_is_in_the_observations() -> None:
    """One that could not run is there with its error; none is dropped."""
    held = {f"{one.head.adapter}-{r.version}" for one in observed.load() for r in one.head.releases}
    assert held == {release.name for release in releases.load()}
    ran = {one.head.adapter: len(one.ran) for one in observed.load()}
    assert ran["mlx"] >= 8
    assert ran["jax"] >= 4


def test_the_page_is_current() -> None:
    assert page.check() == ""


def test_a_stale_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "versions.md"
    assert "is missing" in page.check(path)
    assert page.write(path)
    assert not page.write(path)
    assert page.check(path) == ""
    path.write_text(path.read_text().replace("regression", "improvement", 1))
    assert "is not what the recorded observations say" in page.check(path)


def test_the_timeline_in_the_terminal() -> None:
    done = run("-m", "tools.versions", "timeline")
    assert done.returncode == 0, done.stderr
    for one in observed.load():
        assert all(release.spelled in done.stdout for release in one.head.releases)
    assert done.stdout.count("as upstream: ") == len(upstream.load())


def test_an_unknown_release_ends_the_command_with_one_error() -> None:
    done = run("-m", "tools.versions", "run", "mlx-9.9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no release 'mlx-9.9'")
    assert done.stdout == ""


def an_entry(**fields: Any) -> expectation.Deviation:
    text = """
[[deviation]]
requirement = "EMB-1"
framework = "mlx"
device = "gpu"
versions = ">=1.2"
cases = [{name = ["a"]}]
seen_on = ["gpu"]
observed = ["wrong bits"]
seen = 2026-11-20
cause = "c"
reproduction = "r"
advice = "a"
"""
    (entry,) = known.load(_file(text), registry.adapter_class("mlx"), ["EMB-1"]).deviations
    return replace(entry, **fields)


def _file(text: str) -> Path:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(text)
    return Path(file.name)


def history(*row: Outcome) -> Observed:
    ran = [Ran(version=f"1.{n}", spelled=f"mlx 1.{n}") for n in range(len(row))]
    head = Head(
        format=1,
        adapter="mlx",
        target="mlx@gpu",
        system="",
        suite_hash="",
        golden_hash="",
        releases=ran,
        required={"EMB-1": True},
    )
    return Observed(head, {"a": ("EMB-1", {"name": "a"}, row), "b": ("EMB-1", {"name": "b"}, [GOOD] * len(row))})


RANGES = [
    ((BAD, BAD, BAD), {}, "1.0"),
    ((GOOD, BAD, BAD), {}, "1.1"),
    ((BAD, GOOD, BAD), {}, "1.2"),
    ((BAD, BAD, GOOD), {}, None),
    ((NOTHING, BAD, BAD), {}, "1.1"),
    ((GOOD, GOOD, BAD), {"some_conform": True}, "1.0"),
    ((FOREIGN, CRASHED, FOREIGN), {"observed": frozenset({"foreign memory"})}, "1.0"),
    ((replace(BAD, headroom=9.0), BAD, BAD), {"headroom_at_most": 5.0}, "1.1"),
    ((GOOD, GOOD, NOTHING), {}, None),
]


@pytest.mark.parametrize(("row", "fields", "first"), RANGES)
def test_ranges_begin_where_a_deviation_holds_without_a_gap(
    row: Sequence[Outcome], fields: dict[str, Any], first: str | None
) -> None:
    assert ranges.first(an_entry(**fields), history(*row)) == first


def test_a_pin_leaves_a_case_to_the_deviation_that_explains_it() -> None:
    """As a verdict does; a case that neither explains ends the range."""
    entry = an_entry()
    pin = expectation.Pin(
        entry.requirement, entry.scope, entry.versions, ({},), "", classes=frozenset({"exact"}), page="p"
    )
    one = history(BAD, BAD, BAD)
    everywhere = replace(entry, versions=SpecifierSet(">=1.0"))
    assert ranges.first(pin, one) is None
    assert ranges.first(pin, one, expectation.Expectations((everywhere,), (pin,))) == "1.0"
    assert ranges.first(pin, one, expectation.Expectations((entry,), (pin,))) == "1.2"
    assert (
        ranges.first(
            pin, one, expectation.Expectations((replace(everywhere, observed=frozenset({"NaN row"})),), (pin,))
        )
        is None
    )


def test_registered_ranges_are_what_was_observed() -> None:
    assert ranges.tell() == []


def test_no_entry_is_contradicted_by_the_last_release() -> None:
    assert ranges.contradicted() == []


def test_a_range_that_rests_on_no_observation_is_that_of_the_last_release_or_upstream() -> None:
    """What a release before did with such cases is known from a thread alone."""
    for _, one, entry in ranges.without_observation():
        of_the_last = str(entry.versions) == f">={one.ran[-1].version}"
        thread = entry.upstream if isinstance(entry, expectation.Deviation) else ""
        assert of_the_last or thread, entry.origin


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the frameworks' known deviations."""
    for path in known.shipped():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(known, "path_for", lambda cls: tmp_path / f"{cls.name}.toml")
    return tmp_path


ADDED = """
[[pin]]
requirement = "EMB-ID-1"
framework = "torch"
versions = ">=2.13.0"
cases = [{{layer = ["{layer}"]}}]
seen_on = ["cpu"]
class = "NaN row"
page = "https://example.org"
"""


def test_an_entry_that_does_not_hold_is_listed_and_ends_the_command_with_1(
    registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = registered / "torch.toml"
    assert main(["ranges"]) == 0
    path.write_text(path.read_text() + ADDED.format(layer="embedding"))
    capsys.readouterr()
    assert main(["ranges"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^torch.toml: EMB-ID-1 \(pin \d+, >=2.13.0\): does not hold in torch 2.13.0", said, re.MULTILINE)
    assert "every range is" not in said


def test_an_entry_that_no_release_was_asked_about_is_listed(
    registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = registered / "torch.toml"
    path.write_text(path.read_text() + ADDED.format(layer="written today"))
    assert main(["ranges"]) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"^torch.toml: EMB-ID-1 \(pin \d+, >=2.13.0\): no case of it was asked of torch", said, re.MULTILINE
    )
    assert "every range is" not in said


def test_the_page_names_requirements_that_are_newer_than_the_observations() -> None:
    today = requirements.load().keys()
    asked = history(GOOD)
    everything = replace(asked, head=msgspec.structs.replace(asked.head, required=dict.fromkeys(today, True)))
    assert "Not asked of any" not in page.render([everything])
    other = replace(everything, head=msgspec.structs.replace(everything.head, adapter="jax"))
    required = dict.fromkeys(sorted(today - {"EMB-ID-1", "LIN-EXACT-1"}), True)
    older = replace(asked, head=msgspec.structs.replace(asked.head, required=required))
    assert "written since:\nEMB-ID-1, LIN-EXACT-1.\n" in page.render([older])
    assert "written since:\nMLX: EMB-ID-1, LIN-EXACT-1.\n" in page.render([older, other])


@pytest.mark.parametrize("version", ["0.32.4", "0.1.0"])
def test_a_range_that_begins_elsewhere_is_found(version: str, registered: Path) -> None:
    """Later than what was seen, or earlier; writing puts it right, and touches nothing else."""
    ranges.update()
    path = registered / "mlx.toml"
    content = path.read_text()
    path.write_text(content.replace('versions = ">=0.21.1"', f'versions = ">={version}"', 1))
    (line,) = ranges.tell()
    assert line.endswith(f'versions = ">={version}" -> >=0.21.1')
    assert ranges.update() == [line]
    assert path.read_text() == content
