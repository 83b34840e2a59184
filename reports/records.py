"""The lines of ``results.jsonl`` and ``benchmarks.jsonl``, as types: what is written, read and validated.

docs/records.schema.json is generated from these types (``touchstone report schema``). A change that a reader could
notice raises `SCHEMA`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from touchstone.verdict.rule import Verdict

SCHEMA = 2

Number = float | Literal["inf", "-inf", "nan"]
"""A float64; JSON has no infinity and no NaN, so these travel as the strings that `float` reads."""
Scalar = str | int | float | bool | None
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e300)]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The computer of a run. `id` is a hash of what makes timings comparable: chip, model, cores, memory, virtual.

    memory: bytes. os_build: "24G90" on macOS, the kernel's release elsewhere. facts: system, machine (as conditions of
    known deviations name the architecture), instruction_set of the processor, threads that the process may use.
    """

    id: str
    chip: str
    model: str
    architecture: str
    cores: int
    memory: int
    os: str
    os_build: str
    virtual: bool
    python: str
    facts: dict[str, str] = {}


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """The device of a target. `chip` is the machine's; `paravirtual`: the GPU is one that a hypervisor offers.

    facts: the machine's, and what NumPy, XLA, oneDNN and PyTorch say they use: instructions and threads.
    """

    name: str
    chip: str
    os: str
    os_build: str
    paravirtual: bool
    precision: dict[str, str]
    facts: dict[str, str] = {}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A target as a run resolved it. `unavailable` says why none of its cases run."""

    spec: str
    framework: bool
    """False for the reference, which never counts as coverage."""
    versions: dict[str, str]
    device: Device
    unavailable: str | None = None
    bootstrap: bool = False


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """`cases`: how many were collected per target, without those behind a marker; 0 where the run did not ask.

    difference, advice: of a characterised one, what it means to move between targets that choose differently
    ("silent", "dtype", "rounding", "convention"), and what to do. layer: what its cases exercise where their
    parameters do not say; empty in records of before that.
    """

    group: str
    level: Literal["required", "characterised"]
    sentence: str
    source: str
    difference: str
    advice: str
    cases: Count
    layer: str = ""


class RunLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="run"):
    """Written first by every process of a run; those of one run share `run`.

    started: UTC, ISO 8601. share: (which, of how many) where other runs ask the rest of the cases. planned,
    deselected: target -> cases; empty in a process that collects nothing itself.
    """

    schema: int
    run: str
    process: str
    started: str
    command: list[str]
    suite_hash: str
    golden_hash: str
    machine: Machine
    packages: dict[str, str]
    targets: dict[str, Target]
    requirements: dict[str, Requirement] = {}
    planned: dict[str, Count] = {}
    deselected: dict[str, Count] = {}
    share: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.started).tzinfo is None:
            raise ValueError(f"started is {self.started!r}, a time without its zone")


class StartLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="start"):
    """A case begins; without an end line it is the case in flight when its process died."""

    schema: int
    run: str
    id: str
    target: str
    requirement: str
    params: dict[str, Scalar]
    rerun: str


class EndLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="end"):
    """One case of one target, finished.

    headroom: max(error / bound); error, bound, worst_index, got and want are of the element where it is reached.
    note: a known deviation's cause, or why the verdict is what it is. duration: seconds.
    missing, sometimes, cases, marked: what `touchstone expectations update` and the search for stale entries need.
    assumed: the verdict rests on an entry that nobody has seen on this device before. unseen: a remark on an entry that
    holds on other machines, and which this case does not show.
    """

    schema: int
    run: str
    id: str
    target: str
    spec: str
    versions: dict[str, str]
    device: Device
    machine: str
    suite_hash: str
    golden_hash: str
    requirement: str
    params: dict[str, Scalar]
    verdict: Verdict
    behaviour: str
    conforms: bool
    rerun: str
    duration: Seconds
    cases: Count
    marked: bool
    note: str = ""
    advice: str = ""
    reproduction: str = ""
    upstream: str = ""
    page: str = ""
    missing: str = ""
    sometimes: str = ""
    assumed: bool = False
    unseen: str = ""
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    headroom: Number | None = None
    error: Number | None = None
    bound: Number | None = None
    worst_index: tuple[int, ...] | None = None
    message: str = ""
    golden: str = ""


class BenchmarkLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="benchmark"):
    """One operation of one target, timed in `rounds` rounds.

    operation: "embedding", "quantized embedding", "linear", "as_linear", "quantized as_linear", ….
    scheme: of the quantization, "" for dense layers. workload: "decode" or "prefill", its sizes in `sizes`.
    Times are seconds; q1 and q3 quartiles. bytes: read and written at least, by one call; flops: of one call.
    copy_bandwidth: bytes read and written per second by a copy on this device, matmul_peak: flop/s of a large product
    in this dtype, both measured in the same run.
    """

    schema: int
    run: str
    id: str
    target: str
    versions: dict[str, str]
    machine: str
    operation: str
    scheme: str
    dtype: str
    workload: str
    sizes: dict[str, int]
    minimum: Positive
    median: Positive
    q1: Positive
    q3: Positive
    rounds: Count
    bytes: Count
    flops: Count
    copy_bandwidth: Positive
    matmul_peak: Positive
    device: Device | None = None
    suite_hash: str = ""
    rerun: str = ""


class FinishLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="finish"):
    """A process of a run came to its end in order; duration in seconds."""

    schema: int
    run: str
    process: str
    exit_status: int
    duration: Seconds


class ProblemLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="problem"):
    """Why what is merged here is not whole, where no record of a run can say so: a machine that was lost."""

    schema: int
    text: str


Line = RunLine | StartLine | EndLine | BenchmarkLine | FinishLine | ProblemLine


def number(value: float | None) -> Number | None:
    """`value` as JSON can hold it."""
    if value is None or value - value == 0:
        return value
    return "nan" if value != value else "inf" if value > 0 else "-inf"
