"""The lines that a run of the suites writes into ``results.jsonl``: its own, and two of each case."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Protocol

import msgspec

from touchstone.adapters.discovery import machine
from touchstone.adapters.discovery.registry import Target
from touchstone.golden.catalogue import Case
from touchstone.migration.inputs import CheckpointInput
from touchstone.reports import records
from touchstone.reports.recorder import Recorder
from touchstone.suites import identity
from touchstone.suites.assay import Assay
from touchstone.verdict.observation import Observation
from touchstone.verdict.requirement import Requirement
from touchstone.verdict.rule import Judgement


class Run(Protocol):
    """What the lines of one process of a run share.

    started: seconds since the epoch. unmarked: requirement -> its cases without a marker, per target. planned,
    deselected: target -> cases.
    """

    id: str
    started: float
    unmarked: Counter[str]
    planned: Counter[str]
    deselected: Counter[str]
    checkpoints: CheckpointInput
    recorder: Recorder | None

    @property
    def command(self) -> Sequence[str]: ...

    @property
    def recorded(self) -> Mapping[str, records.Target]: ...

    @property
    def requirements(self) -> Mapping[str, Requirement]: ...

    def rerun(self, identifier: str, target: Target, case: Case) -> str:
        """The command that asks this case alone again, from any folder."""
        ...


def target(of: Target, *, bootstrap: bool) -> records.Target:
    """What is said of a target once in a run."""
    return msgspec.convert({**of.describe(), "bootstrap": bootstrap}, records.Target)


def run(of: Run) -> records.RunLine:
    """Who runs what, where and with which versions; the first line of every process."""
    return records.RunLine(
        schema=records.SCHEMA,
        run=of.id,
        process=of.recorder.process if of.recorder else "main",
        started=datetime.fromtimestamp(of.started, UTC).isoformat(timespec="seconds"),
        command=list(of.command),
        suite_hash=identity.suite_hash(),
        golden_hash=identity.golden_hash(),
        machine=msgspec.convert(machine.describe(), records.Machine),
        packages={d.name: d.version for d in reversed([*metadata.distributions()])},  # the first on the path counts
        targets=dict(of.recorded),
        requirements={
            r.id: records.Requirement(
                group=r.group,
                level=r.level,
                sentence=r.sentence,
                source=r.source,
                difference=r.difference,
                advice=r.advice,
                cases=of.unmarked[r.id],
                layer=r.layer,
            )
            for r in of.requirements.values()
            if of.unmarked[r.id] or not of.checkpoints
        },
        share=of.checkpoints.share,
        planned=dict(of.planned),
        deselected=dict(of.deselected),
    )


def start(run: Run, identifier: str, target: Target, case: Case, requirement: Requirement) -> records.StartLine:
    """The line that is written before a case is asked, so that one which ends its process is known by name."""
    return records.StartLine(
        schema=records.SCHEMA,
        run=run.id,
        id=identifier,
        target=target.id,
        requirement=requirement.id,
        params=dict(case.params),
        rerun=run.rerun(identifier, target, case),
    )


def end(
    run: Run, identifier: str, made: Assay, judgement: Judgement, seen: Observation, duration: float
) -> records.EndLine:
    """duration: seconds from the first question to the verdict."""
    target, requirement, entry = made.target, made.requirement, judgement.entry
    recorded = run.recorded[target.id]
    facts: dict[str, Any] = asdict(seen) | {"behaviour": str(seen.behaviour)}
    for name in ("headroom", "error", "bound"):
        facts[name] = records.number(facts[name])
    facts |= {name: getattr(entry, name, "") for name in ("advice", "reproduction", "page")}
    return records.EndLine(
        schema=records.SCHEMA,
        run=run.id,
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
        verdict=judgement.verdict,
        rerun=run.rerun(identifier, target, made.case),
        duration=duration,
        cases=run.unmarked[requirement.id],
        marked=bool(made.case.marks),
        note=judgement.note,
        missing=judgement.missing,
        sometimes=judgement.sometimes,
        assumed=judgement.assumed,
        unseen=judgement.unseen,
        upstream=getattr(entry, "upstream", "") or (made.case.upstream if judgement.verdict.is_red else ""),
        **facts,
    )


def finish(run: Run, exit_status: int) -> records.FinishLine:
    """The last line of a process: its exit status, and seconds since it began, rounded to thousandths."""
    return records.FinishLine(
        schema=records.SCHEMA,
        run=run.id,
        process=run.recorder.process if run.recorder else "main",
        exit_status=exit_status,
        duration=round(time.time() - run.started, 3),
    )
