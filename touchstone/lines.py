"""The lines that a run of the suites writes into ``results.jsonl``: its own, and two of each case."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import msgspec

from touchstone.adapters import machine
from touchstone.adapters.registry import Target
from touchstone.golden.cases import generated
from touchstone.golden.catalogue import Case
from touchstone.reports import records
from touchstone.suites import identity
from touchstone.suites.assay import Assay
from touchstone.suites.migration import checkpoint
from touchstone.verdict.observation import Observation
from touchstone.verdict.requirement import Requirement
from touchstone.verdict.rule import Judgement

if TYPE_CHECKING:
    from touchstone.session import Session


def target(of: Target, *, bootstrap: bool) -> records.Target:
    """What is said of a target once in a run."""
    return msgspec.convert({**of.describe(), "bootstrap": bootstrap}, records.Target)


def run(session: Session) -> records.RunLine:
    """Who runs what, where and with which versions; the first line of every process."""
    return records.RunLine(
        schema=records.SCHEMA,
        run=session.id,
        process=session.recorder.process if session.recorder else "main",
        started=datetime.fromtimestamp(session.started, UTC).isoformat(timespec="seconds"),
        command=["pytest", *map(str, session.config.invocation_params.args)],
        suite_hash=identity.suite_hash(),
        golden_hash=identity.golden_hash(),
        machine=msgspec.convert(machine.describe(), records.Machine),
        packages={d.name: d.version for d in reversed([*metadata.distributions()])},  # the first on the path counts
        targets=session.recorded,
        requirements={
            r.id: records.Requirement(
                group=r.group,
                level=r.level,
                sentence=r.sentence,
                source=r.source,
                difference=r.difference,
                advice=r.advice,
                cases=session.unmarked[r.id],
            )
            for r in session.requirements.values()
            if session.unmarked[r.id] or not session.checkpoints
        },
        share=session.checkpoints.share,
        planned=dict(session.planned),
        deselected=dict(session.deselected),
    )


def start(session: Session, identifier: str, target: Target, case: Case, requirement: Requirement) -> records.StartLine:
    return records.StartLine(
        schema=records.SCHEMA,
        run=session.id,
        id=identifier,
        target=target.id,
        requirement=requirement.id,
        params=dict(case.params),
        rerun=rerun(session, identifier, target, case),
    )


def end(
    session: Session, identifier: str, made: Assay, judgement: Judgement, seen: Observation, duration: float
) -> records.EndLine:
    """duration: seconds from the first question to the verdict."""
    target, requirement, entry = made.target, made.requirement, judgement.entry
    recorded = session.recorded[target.id]
    facts: dict[str, Any] = asdict(seen)
    for name in ("headroom", "error", "bound"):
        facts[name] = records.number(facts[name])
    facts |= {name: getattr(entry, name, "") for name in ("advice", "reproduction", "page")}
    return records.EndLine(
        schema=records.SCHEMA,
        run=session.id,
        id=identifier,
        target=target.id,
        spec=recorded.spec,
        versions=recorded.versions,
        device=recorded.device,
        machine=machine.describe()["id"],
        suite_hash=identity.suite_hash(),
        golden_hash=identity.golden_hash(),
        requirement=requirement.id,
        params=dict(made.params),
        verdict=str(judgement.verdict),  # type: ignore[arg-type]
        rerun=rerun(session, identifier, target, made.case),
        duration=duration,
        cases=session.unmarked[requirement.id],
        marked=bool(made.case.marks),
        note=judgement.note,
        missing=judgement.missing,
        sometimes=judgement.sometimes,
        assumed=judgement.assumed,
        unseen=judgement.unseen,
        upstream=getattr(entry, "upstream", "") or (made.case.upstream if judgement.verdict.is_red else ""),
        **facts,
    )


def finish(session: Session, exit_status: int) -> records.FinishLine:
    return records.FinishLine(
        schema=records.SCHEMA,
        run=session.id,
        process=session.recorder.process if session.recorder else "main",
        exit_status=exit_status,
        duration=round(time.time() - session.started, 3),
    )


def rerun(session: Session, identifier: str, target: Target, case: Case) -> str:
    """The command that runs this case alone."""
    if session.checkpoints.check:
        framework = () if session.checkpoints.asks(target, checkpoint.TENSORS) else ("--adapter", target.selector)
        return shlex.join(["pytest", identifier, *session.checkpoints.options, *framework])
    real = session.real.options.get(case.arrays.get("weight", ""), ())
    marks = ("-m", " or ".join(case.marks)) if case.marks else ()
    if generated.MARK in case.marks:
        fuzz = session.bench.fuzz
        marks = (*marks, "--fuzz-seed", str(fuzz.seed), "--fuzz-examples", str(fuzz.examples))
    return shlex.join(["pytest", identifier, "--adapter", target.selector, *real, *marks])
