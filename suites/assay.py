"""`Assay`: one target and one case, handed to a test; asks the adapter and keeps the observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.interface import Adapter, Scheme
from touchstone.adapters.isolation.outcome import Outcome, attempt, settled
from touchstone.adapters.isolation.process import TIME_LIMIT, Isolation
from touchstone.golden.catalogue import Case
from touchstone.golden.store import Store
from touchstone.verdict import comparing
from touchstone.verdict.expectation import Expectations
from touchstone.verdict.observation import Deviates, Observation
from touchstone.verdict.requirement import Requirement

Made = TypeVar("Made")
LARGE_LIMIT = 600.0
"""Seconds for a case of gigabytes."""


@dataclass(frozen=True)
class Fuzz:
    """How generated cases are drawn: how many a property, from which seed, and whether a finding is made smaller."""

    examples: int = 10
    seed: int = 0
    shrink: bool = False


@dataclass(repr=False)
class Bench:
    """What all assays of a run share: the golden stores and one process per target.

    Without a repr of its contents: pytest asks for one with every case that does not conform.
    """

    golden: Store
    recorded: list[Store]
    isolated: bool = False
    """Whether every call goes through its target's process, and not only those that may end it."""
    shows_output: bool = False
    """Whether what the frameworks print is shown, as by ``pytest -s``."""
    time_limit: float = TIME_LIMIT
    """Seconds that a target may take to answer one call."""
    workers: dict[tuple[str, str], Isolation] = field(default_factory=dict)
    """(target, kind of process, as `Case.process` names it) -> its process."""
    kept: dict[Any, Any] = field(default_factory=dict)
    """What several cases need and is dear to make, such as a user's table quantized by a target."""
    known: Mapping[str, Expectations] = field(default_factory=dict)
    """Target -> what is registered of it: generated cases go on where that explains one."""
    fuzz: Fuzz = field(default_factory=Fuzz)
    targets: Sequence[Target] = ()
    """Every target of the run: generated cases compare them where no oracle says what is right."""
    large: bool = False
    """Whether CPUs are asked cases that take gigabytes; other devices always are."""

    def worker(self, target: Target, kind: str = "") -> Isolation:
        """The target's process, or the one of another kind (`Case.process`)."""
        key = target.id, kind
        if key not in self.workers:
            environments: dict[str, Mapping[str, str | None]] = {
                "defaults": dict.fromkeys(target.cls.environment),
                "doubles": target.cls.double_environment,
            }
            self.workers[key] = Isolation(
                target.adapter_spec,
                target.device,
                environments.get(kind, {}),
                time_limit=self.time_limit,
                shows_output=self.shows_output,
            )
        return self.workers[key]

    def adapter(self, target: Target) -> Adapter:
        """The target's adapter: in its process, or in this one."""
        return self.worker(target).adapter() if self.isolated else target.adapter

    def ask(self, target: Target, probe: Callable[..., Any], arguments: Mapping[str, Any]) -> Outcome:
        """What came of a probe that no target should end at."""
        if self.isolated:
            return self.worker(target).run(probe, arguments)
        return settled(attempt(probe, target.adapter, arguments))

    def ended(self, target: Target) -> str:
        """Why the target is asked no more, empty where it is."""
        return next((w.ended for (name, _), w in self.workers.items() if name == target.id and w.ended), "")

    def renew(self, target: Target) -> None:
        """Give the target's next case a new process where the one it has has grown."""
        if found := self.workers.get((target.id, "")):
            found.renew_if_grown()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


@dataclass(repr=False)
class Assay:
    """One target and one case: asks the adapter, compares, and keeps what was observed."""

    target: Target
    case: Case
    requirement: Requirement
    bench: Bench
    observed: Observation | None = None

    def __repr__(self) -> str:
        return f"Assay({self.requirement.id}, {self.target.id}, {self.case.id})"

    @property
    def adapter(self) -> Adapter:
        """The target's adapter. What it makes stays in the target's process: arrays that it gives out are copies."""
        return self.bench.adapter(self.target)

    @property
    def params(self) -> Any:
        return self.case.params

    def unmet_need(self) -> str | None:
        """The declared reason why this target cannot be asked, None where it can; Deviates if no reason is given."""
        capabilities = self.target.cls.capabilities
        needs = [f"{need}:{self.target.device}" if need == "doubles" else need for need in self.case.needs]
        reason = capabilities.unmet(needs)
        if reason == "":
            without = next(need for need in needs if capabilities.missing(need) == "")
            message = f"{without} is not among the capabilities, and `absent` gives no reason"
            raise Deviates(Observation("unsupported without a reason", False, message=message))
        return reason

    def withheld(self) -> str | None:
        """Why this target is not asked although it could answer, None where it is."""
        if ended := self.bench.ended(self.target):
            return ended
        if not self.case.memory or self.target.device != "cpu" or self.bench.large:
            return None
        return f"takes {self.case.memory / 1e9:.1f} GB: a CPU is asked with --large"

    def asked(self) -> bool:
        """Whether this target is there, can answer and is not spared. Raises as `unmet_need`."""
        self.bench.renew(self.target)
        return not (self.target.unavailable or self.unmet_need() or self.withheld())

    def golden(self, role: str) -> np.ndarray:
        """The golden array in this role; read-only."""
        return self.bench.golden[self.case.arrays[role]]

    def expected(self, make: Callable[[], Made], *what: str) -> Made:
        """What follows from the case's golden arrays alone: made once, and kept for the other targets."""
        if not isinstance(self.bench.golden, Store):  # arrays of a generated case
            return make()
        key = ("expected", *what, str(self.scheme), *sorted(self.case.arrays.items()))
        if key not in self.bench.kept:
            self.bench.kept[key] = make()
        made: Made = self.bench.kept[key]
        return made

    @property
    def weight_role(self) -> str:
        """The role of the matrix that the case is about: "table" or "weight"."""
        return "table" if "table" in self.case.arrays else "weight"

    @property
    def bias(self) -> np.ndarray | None:
        """The case's bias, None where it has none."""
        return self.golden("bias") if "bias" in self.case.arrays else None

    def where(self, role: str) -> str:
        return self.bench.golden.where(self.case.arrays[role])

    @property
    def scheme(self) -> Scheme:
        return Scheme(self.params.get("bits", 4), self.params.get("group_size", 32), self.params.get("mode", "affine"))

    def ask(self, probe: Callable[..., Any], **arguments: Any) -> Outcome:
        """Run a probe in the target's process; in this one under ``--in-process``, where the case is not hazardous."""
        if self.case.process:
            return self.bench.worker(self.target, self.case.process).run(probe, arguments)
        if self.case.hazard:
            # A GPU's context may be lost with the first error: the next probe gets a new one.
            unsafe = self.target.cls.corrupts_memory and self.case.hazard == "writes"
            return self.bench.worker(self.target).run(
                probe,
                arguments,
                discard=unsafe,
                discard_after_error=self.target.device != "cpu",
                limit=LARGE_LIMIT if self.case.memory else None,
                may_die=True,
            )
        return self.bench.ask(self.target, probe, arguments)

    def ask_anew(self, probe: Callable[..., Any], **arguments: Any) -> Outcome:
        """Run a probe in a process of its own, which ends with it."""
        anew = Isolation(self.target.adapter_spec, self.target.device, time_limit=self.bench.time_limit)
        try:
            return anew.run(probe, arguments)
        finally:
            anew.close()

    def value(self, outcome: Outcome) -> Any:
        """The value of an outcome; raises Deviates where there is none."""
        if outcome.kind != "value":
            raise Deviates(Observation(outcome.behaviour, False, message=outcome.message))
        return outcome.value

    def _keep(self, found: Observation) -> None:
        """Keep what was seen; of several comparisons the one with the largest headroom."""
        if self.observed is None or (found.headroom or 0) >= (self.observed.headroom or 0):
            self.observed = found

    def same_bits(self, got: Any, want: np.ndarray, role: str = "", *, signed_zero: bool = True) -> None:
        golden = self.where(role) if role else ""
        self._keep(comparing.same_bits(got, want, golden, signed_zero=signed_zero))

    def within(self, got: Any, want: np.ndarray, bound: np.ndarray, dtype: str, role: str = "") -> None:
        self._keep(comparing.within(got, want, bound, dtype, self.where(role) if role else ""))

    def behaves(self, behaviour: str, *, conforms: bool = True, message: str = "") -> None:
        """Record a class of behaviour; for a characterised requirement its pin decides, not `conforms`."""
        golden = self.where(self.weight_role) if self.weight_role in self.case.arrays else ""
        self.observed = Observation(behaviour, conforms, message=message, golden=golden)
        if not conforms:
            raise Deviates(self.observed)
