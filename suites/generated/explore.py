"""The loop of Hypothesis: draws examples of a property, asks one target, stops at the first that nothing explains."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, cast

import hypothesis
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.internal.conjecture import providers

from touchstone.adapters.discovery.devices import cache_folder
from touchstone.golden.catalogue import Case
from touchstone.golden.store import Store
from touchstone.suites.assay import Assay
from touchstone.suites.conclusion import verdict_of
from touchstone.suites.generated import finding
from touchstone.suites.generated.drawn import Example, Made, Property
from touchstone.verdict.expectation import Expectations
from touchstone.verdict.observation import Deviates, Observation
from touchstone.verdict.rule import Verdict

# Otherwise a folder .hypothesis appears wherever the suites are run.
set_hypothesis_home_dir(cache_folder() / "hypothesis")
# Otherwise examples depend on the numbers in whichever of this project's modules happen to be loaded.
providers._get_local_constants = lambda: providers._local_constants  # type: ignore[attr-defined]


@dataclass
class _Found:
    observation: Observation
    case: Case
    example: Example


@dataclass
class _Tally:
    """What came of the examples so far."""

    asked: int = 0
    unmet: int = 0
    """Examples whose parts the target can express one by one, but not together."""
    explained: Counter[str] = field(default_factory=Counter)
    last_explained: Observation | None = None
    finding: _Found | None = None


class _Stop(Exception):
    """An example that nothing explains."""


def seed_of(assay: Assay) -> int:
    """Of the run's seed and the case, not of the target: every target that can do the same is asked the same."""
    text = f"{assay.bench.fuzz.seed}/{assay.requirement.id}/{assay.case.id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def explore(assay: Assay, asked: Property) -> None:
    """Ask the target examples of a property; Deviates with the first that deviates and that no entry explains.

    Where entries explained some, the last of those is the observation if an entry covers the whole case, so that it is
    shown as known, and never stale while examples show it.
    """
    settings, tally = assay.bench.fuzz, _Tally()
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if settings.shrink else [])]
    configured = hypothesis.settings(
        max_examples=max(1, settings.examples // asked.share),
        phases=phases,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )

    @hypothesis.seed(seed_of(assay))
    @configured
    @hypothesis.given(st.composite(lambda draw: asked.draw(draw, assay.case, assay.target.cls.capabilities))())
    def run(example: Example) -> None:
        _ask(assay, asked, example, tally)

    try:
        run()
    except Exception:
        if tally.finding is None:
            raise
    _conclude(assay, asked, tally)


def _ask(assay: Assay, asked: Property, example: Example, tally: _Tally) -> None:
    case = example.case(assay.case)
    bench = replace(assay.bench, golden=cast(Store, Made(example.arrays)))
    inner, error = Assay(assay.target, case, assay.requirement, bench), None
    if inner.unmet_need():
        tally.unmet += 1
        return
    try:
        asked.ask(inner)
    except Exception as raised:  # a verdict like any other
        error = raised
    known = assay.bench.known.get(assay.target.id, Expectations())
    judgement, seen = verdict_of(inner, error, known, bootstrap=False)
    tally.asked += 1
    if judgement.verdict is Verdict.KNOWN:
        tally.explained[seen.behaviour] += 1
        tally.last_explained = seen
    elif judgement.verdict.is_red and judgement.verdict is not Verdict.STALE:
        if seen.behaviour == "harness error" and error is not None:
            raise error
        tally.finding = _Found(seen, case, example)
        raise _Stop


def _conclude(assay: Assay, asked: Property, tally: _Tally) -> None:
    settings = assay.bench.fuzz
    explained = "".join(f", {count} x {name} explained" for name, count in sorted(tally.explained.items()))
    unmet = f", {tally.unmet} beyond what the target can express" if tally.unmet else ""
    facts = f"seed {settings.seed}: {tally.asked} examples{explained}{unmet}"
    if not tally.asked:
        raise Deviates(Observation("nothing compared", False, message=facts))
    if found := tally.finding:
        params = ", ".join(f"{name}={value}" for name, value in found.case.params.items())
        text = finding.entry(asked.name, assay.requirement.id, assay.target.id, found.case, found.example.arrays)
        message = f"{found.observation.message}\n{facts}\nexample: {params}\n{finding.HINT}\n\n{text}"
        raise Deviates(replace(found.observation, conforms=False, message=message))
    known = assay.bench.known.get(assay.target.id, Expectations())
    covered = known.deviation(assay.requirement.id, assay.target.place, assay.target.version, assay.params)
    if covered and tally.last_explained:
        seen: Any = tally.last_explained
        raise Deviates(replace(seen, message=f"{seen.message}; {facts}"))
    assay.observed = Observation("conforms", True, message=facts)
