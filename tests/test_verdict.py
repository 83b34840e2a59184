"""Which verdict follows from an observation, the requirement's level, and what is registered for the target?"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from tests import hazards
from touchstone.adapters.discovery.registry import Target
from touchstone.golden.catalogue import Case
from touchstone.suites.assay import Assay, Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.verdict.expectation import ClashError, Deviation, Expectation, Expectations, Pin, Place, Scope
from touchstone.verdict.observation import Deviates, NotAsked, Observation
from touchstone.verdict.requirement import Requirement
from touchstone.verdict.rule import Judgement, Verdict, judge

REQUIRED = Requirement("R-1", "group", "required", "sentence", "source", "linear")
CHARACTERISED = Requirement(
    "C-1", "group", "characterised", "sentence", "source", "linear", ("rows", "raises *"), "silent", "advice"
)
EVERY_CASE: tuple[dict, ...] = ({},)
MLX = Scope("mlx", seen_on=({"device": "cpu"},))
NARROW = Scope("narrow", seen_on=({"device": "cpu"},))
CPU = Place("mlx", "cpu", {"instruction_set": "avx2", "numpy": "avx2"})


def deviation(requirement: str = "R-1", **changes: Any) -> Expectations:
    made = Deviation(
        requirement,
        MLX,
        SpecifierSet(">=1.0"),
        EVERY_CASE,
        "mlx.toml: deviation 1",
        observed=frozenset({"beyond bound", "crashed"}),
        headroom_at_most=None,
        seen=date(2026, 11, 21),
        cause="It rounds down.",
        reproduction="mx.add(1, 1)",
        advice="Round it yourself.",
    )
    return Expectations((replace(made, **changes),))


def pin(**changes: Any) -> Expectations:
    made = Pin("C-1", MLX, SpecifierSet(">=1.0"), EVERY_CASE, "mlx.toml: pin 1", frozenset({"rows"}), "https://…")
    return Expectations((), (replace(made, **changes),))


def verdict(
    requirement: Requirement, seen: Observation, known: Expectations, bootstrap: bool = False, place: Place = CPU
) -> Judgement:
    return judge(requirement, seen, known, place, "1.2", {"dtype": "float32"}, bootstrap=bootstrap)


RIGHT = Observation("within bound", True, headroom=0.4)
WRONG = Observation("beyond bound", False, headroom=2.0)
WORSE = Observation("beyond bound", False, headroom=200.0)
OTHER = Observation("wrong dtype", False)
CRASHED = Observation("crashed", False)
HUNG = Observation("timed out", False)
NONE = Expectations()
LIMITED = deviation(headroom_at_most=4.0)
CANDIDATE = deviation(cause="", reproduction="", advice="")

REQUIRED_PATHS = {
    "right": (RIGHT, NONE, False, Verdict.CONFORMS, "", ""),
    "right, at bootstrap": (RIGHT, NONE, True, Verdict.CONFORMS, "", ""),
    "right, but registered": (RIGHT, deviation(), False, Verdict.STALE, "mlx.toml: deviation 1 no longer holds", ""),
    "right, but a candidate": (RIGHT, CANDIDATE, False, Verdict.STALE, "no longer holds", ""),
    "wrong": (WRONG, NONE, False, Verdict.DEVIATES, "no deviation is registered", "deviation"),
    "crashed": (CRASHED, NONE, False, Verdict.CRASHED, "no deviation is registered", "deviation"),
    "timed out": (HUNG, NONE, False, Verdict.TIMED_OUT, "no deviation is registered", "deviation"),
    "wrong, at bootstrap": (WRONG, NONE, True, Verdict.UNREVIEWED, "no deviation is registered", "deviation"),
    "crashed, at bootstrap": (CRASHED, NONE, True, Verdict.UNREVIEWED, "no deviation is registered", "deviation"),
    "known": (WRONG, deviation(), False, Verdict.KNOWN, "It rounds down.", ""),
    "known crash": (CRASHED, deviation(), False, Verdict.KNOWN, "It rounds down.", ""),
    "known, at bootstrap": (WRONG, deviation(), True, Verdict.KNOWN, "It rounds down.", ""),
    "known within its headroom": (WRONG, LIMITED, False, Verdict.KNOWN, "It rounds down.", ""),
    "worse than registered": (WORSE, LIMITED, False, Verdict.DEVIATES, "changed since >=1.0", "changed"),
    "worse, at bootstrap": (WORSE, LIMITED, True, Verdict.DEVIATES, "up to headroom 4.0", "changed"),
    "changed class": (OTHER, deviation(), False, Verdict.DEVIATES, "registers beyond bound, crashed", "changed"),
    "changed to a hang": (HUNG, deviation(), False, Verdict.TIMED_OUT, "changed since >=1.0", "changed"),
    "candidate": (WRONG, CANDIDATE, False, Verdict.DEVIATES, "is a candidate: write its cause", ""),
    "candidate without advice": (WRONG, deviation(advice=" "), False, Verdict.DEVIATES, "is a candidate", ""),
    "candidate, at bootstrap": (WRONG, CANDIDATE, True, Verdict.UNREVIEWED, "is a candidate", ""),
    "known for another framework": (
        WRONG, deviation(scope=Scope("jax")), False, Verdict.DEVIATES, "no deviation", "deviation",
    ),
    "known for later versions": (
        WRONG, deviation(versions=SpecifierSet(">=1.3")), False, Verdict.DEVIATES, "no deviation", "deviation",
    ),
    "known for other cases": (
        WRONG, deviation(cases=({"dtype": ("float16",)},)), False, Verdict.DEVIATES, "no deviation", "deviation",
    ),
    "known for another requirement": (WRONG, deviation("R-2"), False, Verdict.DEVIATES, "no deviation", "deviation"),
}  # fmt: skip

ROWS = Observation("rows", True)
RAISES = Observation("raises IndexError", True)
FORBIDDEN = Observation("another row", True)
REGISTERED = deviation("C-1", observed=frozenset({"another row"}))
BOTH = Expectations(REGISTERED.deviations, pin().pins)

CHARACTERISED_PATHS = {
    "pinned": (ROWS, pin(), False, Verdict.CONFORMS, "", ""),
    "pinned by a pattern's member": (RAISES, pin(classes=frozenset({"rows", "raises IndexError"})), False,
                                     Verdict.CONFORMS, "", ""),
    "pinned, at bootstrap": (ROWS, pin(), True, Verdict.CONFORMS, "", ""),
    "another choice than pinned": (RAISES, pin(), False, Verdict.DEVIATES, "changed since >=1.0: mlx.toml: pin 1",
                                   "changed"),
    "another choice, at bootstrap": (RAISES, pin(), True, Verdict.DEVIATES, "pins rows", "changed"),
    "no pin": (ROWS, NONE, False, Verdict.DEVIATES, "no pin says", "pin"),
    "no pin, at bootstrap": (ROWS, NONE, True, Verdict.UNREVIEWED, "no pin says", "pin"),
    "candidate pin": (ROWS, pin(page=""), False, Verdict.DEVIATES, "is a candidate: cite the page", ""),
    "candidate pin, at bootstrap": (ROWS, pin(page=" "), True, Verdict.UNREVIEWED, "is a candidate", ""),
    "forbidden": (FORBIDDEN, NONE, False, Verdict.DEVIATES, "no deviation is registered", "deviation"),
    "forbidden although pinned": (FORBIDDEN, pin(classes=frozenset({"another row"})), False, Verdict.DEVIATES,
                                  "no deviation is registered", "deviation"),
    "forbidden, at bootstrap": (FORBIDDEN, NONE, True, Verdict.UNREVIEWED, "no deviation is registered", "deviation"),
    "forbidden and registered": (FORBIDDEN, REGISTERED, False, Verdict.KNOWN, "It rounds down.", ""),
    "crashed": (CRASHED, pin(), False, Verdict.CRASHED, "no deviation is registered", "deviation"),
    "permitted, pinned and registered": (ROWS, BOTH, False, Verdict.STALE, "no longer holds", ""),
    "permitted and registered, no pin": (RAISES, REGISTERED, False, Verdict.DEVIATES, "changed since >=1.0", "changed"),
}  # fmt: skip


@pytest.mark.parametrize("path", REQUIRED_PATHS)
def test_required(path: str) -> None:
    seen, known, bootstrap, want, note, missing = REQUIRED_PATHS[path]
    found = verdict(REQUIRED, seen, known, bootstrap)
    assert (found.verdict, found.missing) == (want, missing)
    assert note in found.note
    assert bool(note) == bool(found.note)


def test_a_deviation_of_which_some_cases_conform() -> None:
    """Each case gets the verdict that it shows; that none deviates any more is seen at the end of the run."""
    known = deviation(some_conform=True)
    right, wrong = (verdict(REQUIRED, seen, known) for seen in (RIGHT, WRONG))
    assert (right.verdict, wrong.verdict) == (Verdict.CONFORMS, Verdict.KNOWN)
    assert right.sometimes == wrong.sometimes == "mlx.toml: deviation 1"
    assert not verdict(REQUIRED, WRONG, deviation()).sometimes


@pytest.mark.parametrize("path", CHARACTERISED_PATHS)
def test_characterised(path: str) -> None:
    seen, known, bootstrap, want, note, missing = CHARACTERISED_PATHS[path]
    found = verdict(CHARACTERISED, seen, known, bootstrap)
    assert (found.verdict, found.missing) == (want, missing)
    assert note in found.note
    assert bool(note) == bool(found.note)


def on(device: str = "", where: dict[str, tuple[str, ...]] | None = None, *seen: dict[str, str]) -> Scope:
    return Scope("mlx", (device,) * bool(device), where or {}, seen or ({"device": "cpu"},))


GPU = Place("mlx", "gpu", {"instruction_set": "neon", "numpy": "neon"})
AVX512 = on("cpu", {"instruction_set": ("avx512",)}, {"device": "cpu", "instruction_set": "avx512"})
OLD = on("cpu", {"instruction_set": ("avx512", "avx2")}, {"device": "cpu", "instruction_set": "avx512"})
"""Seen with AVX-512 alone, though it is said to hold with AVX2 as well."""
OTHER_MACHINE = deviation(scope=AVX512)


class TestAssumed:
    """An entry that is registered for every device, on one where nobody has seen it."""

    def test_agreement_confirms_it(self) -> None:
        found = verdict(REQUIRED, WRONG, deviation(), place=GPU)
        assert (found.verdict, found.missing, found.assumed) == (Verdict.KNOWN, "", True)
        assert found.note == "It rounds down. (Assumed on gpu, where nobody had seen it, from cpu; confirmed.)"
        found = verdict(CHARACTERISED, ROWS, pin(), place=GPU)
        assert (found.verdict, found.assumed) == (Verdict.CONFORMS, True)
        assert "confirmed" in found.note

    def test_where_it_was_seen_nothing_is_said(self) -> None:
        for found in (verdict(REQUIRED, WRONG, deviation()), verdict(CHARACTERISED, ROWS, pin())):
            assert not found.assumed
            assert "confirmed" not in found.note

    @pytest.mark.parametrize("bootstrap", [False, True])
    def test_disagreement_is_unreviewed(self, bootstrap: bool) -> None:
        """Neither stale, nor changed, nor known."""
        for requirement, seen, known, missing in (
            (REQUIRED, RIGHT, deviation(), "narrow"),
            (REQUIRED, OTHER, deviation(), "deviation"),
            (REQUIRED, HUNG, deviation(), "deviation"),
            (REQUIRED, WORSE, LIMITED, "deviation"),
            (CHARACTERISED, RAISES, pin(), "pin"),
        ):
            found = verdict(requirement, seen, known, bootstrap, GPU)
            assert (found.verdict, found.missing, found.assumed) == (Verdict.UNREVIEWED, missing, True)
            assert "was assumed on gpu" in found.note

    def test_what_the_pinned_requirement_forbids_deviates(self) -> None:
        """A pin says nothing of it, assumed or not."""
        assert verdict(CHARACTERISED, FORBIDDEN, pin(), place=GPU).verdict is Verdict.DEVIATES

    def test_a_condition_that_is_wider_than_what_was_seen(self) -> None:
        assert verdict(REQUIRED, WRONG, deviation(scope=OLD)).assumed
        assert verdict(REQUIRED, RIGHT, deviation(scope=OLD)).verdict is Verdict.UNREVIEWED
        seen = Place("mlx", "cpu", {"instruction_set": "avx512"})
        assert verdict(REQUIRED, RIGHT, deviation(scope=OLD), place=seen).verdict is Verdict.STALE

    def test_one_of_which_some_cases_conform_is_told_apart(self) -> None:
        found = verdict(REQUIRED, RIGHT, deviation(some_conform=True), place=GPU)
        assert (found.verdict, found.sometimes, found.assumed) == (Verdict.CONFORMS, "mlx.toml: deviation 1", True)


class TestMachines:
    """An entry that holds on other machines than this one."""

    def test_what_does_not_show_is_a_remark(self) -> None:
        found = verdict(REQUIRED, RIGHT, OTHER_MACHINE)
        assert (found.verdict, found.note, found.sometimes) == (Verdict.CONFORMS, "", "")
        text = (
            "mlx.toml: deviation 1 holds for mlx on cpu where instruction_set is avx512, not with instruction_set avx2"
        )
        assert found.unseen == text

    def test_what_shows_deviates_and_names_the_entry(self) -> None:
        found = verdict(REQUIRED, WRONG, OTHER_MACHINE)
        assert (found.verdict, found.missing, found.unseen) == (Verdict.DEVIATES, "widen", "")
        assert "mlx.toml: deviation 1 holds for mlx on cpu where instruction_set is avx512" in found.note
        assert found.note.endswith(": widen it")
        assert verdict(REQUIRED, CRASHED, OTHER_MACHINE).verdict is Verdict.CRASHED

    def test_another_behaviour_is_a_deviation_and_a_remark(self) -> None:
        found = verdict(REQUIRED, OTHER, OTHER_MACHINE)
        assert (found.verdict, found.missing) == (Verdict.DEVIATES, "deviation")
        assert "widen" not in found.note
        assert found.unseen

    def test_on_its_own_machine_it_is_known_or_stale(self) -> None:
        here = Place("mlx", "cpu", {"instruction_set": "avx512"})
        assert verdict(REQUIRED, WRONG, OTHER_MACHINE, place=here).verdict is Verdict.KNOWN
        assert verdict(REQUIRED, RIGHT, OTHER_MACHINE, place=here).verdict is Verdict.STALE
        assert not verdict(REQUIRED, RIGHT, OTHER_MACHINE, place=here).unseen

    def test_a_fact_that_was_not_recorded_fulfils_no_condition(self) -> None:
        found = verdict(REQUIRED, RIGHT, OTHER_MACHINE, place=Place("mlx", "cpu"))
        assert found.unseen.endswith("not with instruction_set unknown")

    def test_nothing_is_said_of_another_device(self) -> None:
        found = verdict(REQUIRED, RIGHT, OTHER_MACHINE, place=GPU)
        assert (found.verdict, found.unseen) == (Verdict.CONFORMS, "")

    def test_a_pin_of_other_machines(self) -> None:
        both = Expectations((), (*pin().pins, *pin(scope=AVX512, classes=frozenset({"raises IndexError"})).pins))
        right = verdict(CHARACTERISED, ROWS, both)
        assert (right.verdict, bool(right.unseen)) == (Verdict.CONFORMS, True)
        shows = verdict(CHARACTERISED, RAISES, both)
        assert (shows.verdict, shows.missing) == (Verdict.DEVIATES, "widen")


def named(origin: str, scope: Scope, **changes: Any) -> tuple[Deviation, ...]:
    return deviation(scope=scope, origin=origin, **changes).deviations


HERE = on("cpu", {"instruction_set": ("avx2",)}, {"device": "cpu", "instruction_set": "avx2"})
BY_NARROWNESS: list[tuple[str, Scope]] = [
    ("framework", MLX),
    ("device", on("cpu")),
    ("machine", on("", {"instruction_set": ("avx2",)}, {"device": "cpu", "instruction_set": "avx2"})),
    ("device and machine", HERE),
]


@pytest.mark.parametrize("count", range(1, len(BY_NARROWNESS) + 1))
def test_the_narrowest_entry_that_fits_applies(count: int) -> None:
    """In whatever order they stand."""
    entries = [d for origin, scope in BY_NARROWNESS[:count] for d in named(origin, scope)]
    elsewhere = (*named("gpu", on("gpu")), *named("avx512", AVX512), *named("jax", Scope("jax", ("cpu",))))
    for order in (entries, entries[::-1]):
        found = verdict(REQUIRED, WRONG, Expectations((*elsewhere, *order)))
        assert isinstance(found.entry, Expectation)
        assert found.entry.origin == BY_NARROWNESS[count - 1][0]


@pytest.mark.parametrize("scope", [scope for _, scope in BY_NARROWNESS], ids=str)
def test_two_entries_equally_narrow_for_one_case_are_an_error(scope: Scope) -> None:
    both = Expectations((*named("first", scope), *named("second", scope, cases=({"dtype": ("float32",)},))))
    with pytest.raises(ClashError, match=r"^second: covers dtype float32, as does first, and neither is narrower$"):
        verdict(REQUIRED, WRONG, both)
    later = named("second", scope, versions=SpecifierSet(">=1.3"))
    assert verdict(REQUIRED, WRONG, Expectations((*named("first", scope), *later))).verdict is Verdict.KNOWN


def ended(
    error: BaseException | None, observed: Observation | None = None, known: Expectations = NONE, **target: Any
) -> tuple[Judgement, Observation]:
    """The verdict on a case that needs float32, asked of a target that has float32 only unless given others."""
    case = Case({"dtype": "float32"}, needs=(target.pop("need", "dtype:float32"),))
    asked = Target("minimal", hazards.Narrow, "cpu", target.pop("unavailable", None), {"numpy": "1.2"})
    assay = Assay(asked, case, REQUIRED, Bench(None, []), observed)  # type: ignore[arg-type]
    return verdict_of(assay, error, known, bootstrap=target.pop("bootstrap", False))


@pytest.mark.parametrize(
    ("result", "verdict", "note", "behaviour"),
    [
        (ended(None, RIGHT), Verdict.CONFORMS, "", "within bound"),
        (ended(Deviates(WRONG)), Verdict.DEVIATES, "no deviation is registered", "beyond bound"),
        (ended(Deviates(WRONG), RIGHT), Verdict.DEVIATES, "no deviation is registered", "beyond bound"),
        (ended(Deviates(WRONG), bootstrap=True), Verdict.UNREVIEWED, "no deviation is registered", "beyond bound"),
        (ended(Deviates(WRONG), known=deviation(scope=NARROW)), Verdict.KNOWN, "It rounds down", "beyond bound"),
        (ended(None), Verdict.DEVIATES, "the test compared nothing", "nothing compared"),
        (ended(KeyError("rows")), Verdict.DEVIATES, "the test itself failed: KeyError: 'rows'", "harness error"),
        (ended(AssertionError(), RIGHT), Verdict.DEVIATES, "the test itself failed", "harness error"),
        (ended(NotAsked(), unavailable="no such framework"), Verdict.NOT_RUN, "no such framework", "not run"),
        (ended(NotAsked(), need="dtype:float16"), Verdict.UNSUPPORTED, "has float32 only", "unsupported"),
        (
            ended(Deviates(Observation("raises Unsupported", False, message="not today"))),
            Verdict.DEVIATES,
            "raised Unsupported for something its capabilities do not exclude: not today",
            "raises Unsupported",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_the_end_of_a_test(result: tuple[Judgement, Observation], verdict: Verdict, note: str, behaviour: str) -> None:
    judgement, seen = result
    assert (judgement.verdict, seen.behaviour) == (verdict, behaviour)
    assert note in judgement.note


def test_a_harness_error_is_never_a_known_deviation() -> None:
    """Whatever is registered, a fault of the test itself stays red."""
    registered = deviation(scope=NARROW, observed=frozenset({"harness error", "nothing compared"}))
    for error in (KeyError("rows"), None):
        assert ended(error, known=registered)[0].verdict is Verdict.DEVIATES


def test_every_verdict_of_a_judgement_is_reached() -> None:
    reached = {path[3] for path in (*REQUIRED_PATHS.values(), *CHARACTERISED_PATHS.values())}
    assert reached == set(Verdict) - {Verdict.UNSUPPORTED, Verdict.NOT_RUN}


def test_only_these_verdicts_leave_a_run_green() -> None:
    green = {v for v in Verdict if not v.is_red}
    assert green == {Verdict.CONFORMS, Verdict.KNOWN, Verdict.UNSUPPORTED, Verdict.NOT_RUN}


def test_the_summary_counts_every_verdict() -> None:
    assert sorted(Verdict) == sorted(str(v) for v in Verdict)


def test_an_assay_is_told_apart_without_its_arrays() -> None:
    """pytest spells out the arguments of every test that raises; with the arrays of a run that took a second."""
    case = Case({"dtype": "float32"})
    target = Target("minimal", hazards.Narrow, "cpu", None, {"numpy": "1.2"})
    bench = Bench(None, [], kept={"table": [0.0] * 10**6})  # type: ignore[arg-type]
    assert repr(Assay(target, case, REQUIRED, bench)) == f"Assay({REQUIRED.id}, narrow@cpu, {case.id})"
    assert len(repr(bench)) < 100
