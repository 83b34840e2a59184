"""Reports made up for the tests of the page: one with a little of everything, one of hostile strings, large ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests import made
from tests.made import DEVIATES, KNOWN, MACHINE, REQUIREMENTS, end, finish, run_line, start, target
from touchstone.reports import history, model
from touchstone.reports.changes import Change, Changes, Moved, Streak
from touchstone.reports.history import Night, Seen
from touchstone.reports.model import Column, Report
from touchstone.reports.page import report as page
from touchstone.reports.records import SCHEMA, BenchmarkLine, EndLine, Line, Requirement
from touchstone.reports.regressions import Change as SpeedChange

replace = msgspec.structs.replace
QUANTIZED = Requirement(
    group="Quantization bounds",
    level="required",
    sentence="Quantized weights differ from the originals by at most the bound.",
    source="golden/quantized_bounds.py",
    difference="",
    advice="",
    cases=12,
    layer="quantized weights",
)
ALL = REQUIREMENTS | {"QNT-1": QUANTIZED, "EMB-2": replace(REQUIREMENTS["EMB-1"], sentence="Nobody was asked this.")}
TARGETS = {
    "torch@cpu": target("torch@cpu", versions={"torch": "2.13.0"}),
    "mlx@gpu": target("mlx@gpu", versions={"mlx": "0.32.4"}),
    "jax@cpu": target("jax@cpu", versions={"jax": "0.10.2"}),
    "mlx@cpu": target("mlx@cpu", versions={}, unavailable="no MLX here"),
    "reference@cpu": target("reference@cpu", versions={"numpy": "2.4.6"}, framework=False),
}
RAISES: dict[str, Any] = {"behaviour": "raises IndexError", "headroom": None, "message": "index 9 of 8 rows"}
UNSUPPORTED: dict[str, Any] = {"verdict": "unsupported", "behaviour": "unsupported", "conforms": False}


def rich_lines() -> list[Line]:
    """Every kind of verdict and value on five targets."""
    lines: list[Line] = []
    for name in TARGETS:
        lines += list(_cases(name))
    planned = dict.fromkeys(TARGETS, 40) | {"mlx@cpu": 0}
    for name in TARGETS:
        planned[name] = sum(isinstance(r, EndLine) and r.target == name for r in lines)
    header = run_line(targets=TARGETS, requirements=ALL, planned=planned, deselected={"torch@cpu": 3})
    return [header, *lines, finish(exit_status=1)]


def _cases(name: str) -> Iterator[Line]:
    def one(case: str, requirement: str = "EMB-1", **changed: Any) -> EndLine:
        return end(case, requirement, name, **{"versions": TARGETS[name].versions} | changed)

    if TARGETS[name].unavailable:
        yield one("a", verdict="not run", behaviour="not run", note="no MLX here", headroom=None)
        return
    is_mlx, is_jax = name.startswith("mlx"), name.startswith("jax")
    raw = {"layer": "raw_lookup", "ids": "V"}
    embedding = {"layer": "embedding", "ids": "V+1"}
    yield one("exact", params={"layer": "embedding", "ids": "0"}, headroom=0.0)
    yield one("raw", params=raw, **(KNOWN | {"headroom": None}) if is_mlx else RAISES)
    crash: dict[str, Any] = {
        "verdict": "crashed",
        "behaviour": "crashed",
        "conforms": False,
        "note": "no deviation is registered",
    }
    crash["headroom"] = None
    nan = {"behaviour": "NaN row", "headroom": None}
    yield one("beyond", params=embedding, **crash if is_mlx else nan if is_jax else RAISES)
    numbers = {"error": 2.5e-3, "bound": 1e-3, "headroom": 2.5, "worst_index": (3, 4)}
    wrong = DEVIATES | numbers | {"message": "worst element at (3, 4): got 1.5, want 1.25", "shape": (8, 8)}
    yield one("wrong", params={"layer": "embedding", "dtype": "float16"}, **wrong if is_mlx else {})
    rounding = {"behaviour": "two roundings" if is_mlx else "one rounding", "page": "https://example.org/pin"}
    yield one("x", "LIN-1", params={"dtype": "float16"}, **UNSUPPORTED | {"note": "no float16"} if is_jax else rounding)
    for bits in (2, 3, 4, 6, 8):
        for group in (32, 64):
            bound = 2.0**-bits
            error = bound * (0.5 + group / 200)
            yield one(
                f"{bits}-{group}",
                "QNT-1",
                params={"mode": "affine", "bits": bits, "group_size": group, "dtype": "float32"},
                behaviour="within bound",
                error=error,
                bound=bound,
                headroom=error / bound,
                worst_index=(1, 2),
            )
    yield from (_benchmark(name, *what) for what in _timed(name))


def _timed(name: str) -> Iterator[tuple[str, str, float]]:
    slow = {"torch@cpu": 1.0, "mlx@gpu": 1.4, "jax@cpu": 20.0}
    if name in slow:
        yield from (("embedding", "decode", 1e-5 * slow[name]), ("linear", "prefill", 3e-3 * slow[name]))


def _benchmark(name: str, operation: str, workload: str, seconds: float) -> BenchmarkLine:
    return BenchmarkLine(
        schema=SCHEMA,
        run="run1",
        id=f"{name}-{operation}-{workload}",
        target=name,
        versions=TARGETS[name].versions,
        machine=MACHINE.id,
        operation=operation,
        scheme="",
        dtype="float32",
        workload=workload,
        sizes={"m": 1, "rows": 32000},
        minimum=0.9 * seconds,
        median=seconds,
        q1=0.95 * seconds,
        q3=1.1 * seconds,
        rounds=20,
        bytes=10**5,
        flops=0 if operation == "embedding" else 10**8,
        copy_bandwidth=2e10,
        matmul_peak=1e11,
    )


def rich(folder: Path) -> Report:
    return model.load(made.folder(folder, rich_lines()))


def rich_changes(report: Report) -> Changes:
    """One change of every kind, and two of which the earlier run says nothing."""
    before, after = Seen("EMB-1", "conforms", "exact"), Seen("EMB-1", "deviates", "wrong bits")
    seen = {
        "new": (before, after),
        "changed": (after, replace(after, behaviour="zeros")),
        "varies": (Seen("EMB-1", "known deviation", "crashed"), Seen("EMB-1", "known deviation", "foreign memory")),
        "fixed": (after, before),
        "lost": (before, Seen("EMB-1", "unsupported", "unsupported")),
        "gained": (Seen("EMB-1", "unsupported", "unsupported"), before),
    }
    case = made.case("wrong", target="mlx@gpu")
    found = [Change(kind, "mlx@gpu", "EMB-1", case, *pair) for kind, pair in seen.items()]  # type: ignore[arg-type]
    unknown = Seen("EMB-1", "not run", "not in the previous run")
    found += [Change("new", "mlx@gpu", "EMB-1", made.case(n, target="mlx@gpu"), unknown, after) for n in ("y", "z")]
    return Changes(
        "2026-11-19T03:00:00+00:00",
        compared=4,
        changes=found,
        versions=[Moved("mlx@gpu", "mlx", "0.32.3", "0.32.4")],
        packages=[Moved("mlx@gpu", "numpy", "2.4.5", "2.4.6"), Moved("jax@cpu", "numpy", "2.4.5", "2.4.6")],
        environment=[Moved("mlx@gpu", "system build", "24G90", "24G222")],
        not_compared={"jax@cpu": "not in the previous run"},
    )


def rich_streaks(report: Report) -> dict[tuple[str, str], Streak]:
    column = next(c for c in report.columns if c.target == "mlx@gpu")
    known = made.case("raw", target="mlx@gpu")
    return {
        (column.key, known): Streak(12, "2026-11-09T03:00:00+00:00", at_least=False),
        (column.key, made.case("wrong", target="mlx@gpu")): Streak(1, "2026-11-20T03:00:00+00:00", at_least=False),
    }


SLOWER = SpeedChange(
    kind="regression",
    machine=MACHINE.id,
    target="mlx@gpu",
    operation="linear",
    scheme="",
    dtype="float32",
    workload="prefill",
    ratio=1.7,
    raw=1.8,
    band=1.25,
    earlier=2e-3,
    median=3.4e-3,
    nights=5,
    earlier_versions={"mlx": "0.32.3"},
    versions={"mlx": "0.32.4"},
)


def rich_page(folder: Path) -> str:
    """The page of `rich`, with everything that it can show."""
    report = rich(folder)
    night = history.night_of(report)
    nights = [replace(night, started=f"2026-11-{day:02}T03:00:00+00:00", run=f"run{day}") for day in range(14, 20)]
    return page.render(report, rich_changes(report), rich_streaks(report), [SLOWER], nights)


HIT = "window.hit = 1"
HOSTILE = (
    f"</script><script>{HIT}</script><img src=x onerror='{HIT}'>\"'><svg onload={HIT}>\x00\x1b\u202eabc {{{{7*7}}}}"
)


def hostile_page(folder: Path) -> str:
    """A page in which every text of every record is HOSTILE, or a link that would run a script."""
    machine = replace(MACHINE, chip=HOSTILE, model=HOSTILE, os=HOSTILE, os_build=HOSTILE, python=HOSTILE)
    device = replace(made.DEVICE, name=HOSTILE, os=HOSTILE, precision={HOSTILE: HOSTILE})
    names = (f"mlx@{HOSTILE}", "torch@cpu")
    targets = {n: target(n, versions={HOSTILE: HOSTILE}, device=device) for n in names}
    targets["jax@cpu"] = target("jax@cpu", unavailable=HOSTILE, versions={HOSTILE: HOSTILE})
    bad = Requirement(
        group=HOSTILE, level="required", sentence=HOSTILE, source=HOSTILE, difference=HOSTILE, advice=HOSTILE, cases=1
    )
    names_of_texts = ("behaviour", "note", "advice", "reproduction", "message", "dtype", "golden", "rerun")
    texts = dict.fromkeys(names_of_texts, HOSTILE)
    script = {"upstream": f"javascript:{HIT}", "page": f"https://a.example/'\"><script>{HIT}</script>"}
    facts: dict[str, Any] = {**texts, **script, "params": {HOSTILE: HOSTILE, "bits": 4, "layer": HOSTILE}}
    versions = {HOSTILE: HOSTILE}
    lines: list[Line] = [
        run_line(
            machine=machine,
            command=[HOSTILE],
            packages={HOSTILE: HOSTILE},
            targets=targets,
            requirements={HOSTILE: bad, **REQUIREMENTS},
            planned=dict.fromkeys(names, 4),
        ),
        *(
            end(f"{i}{HOSTILE}", HOSTILE, name, verdict=verdict, conforms=False, versions=versions, **facts)
            for i, (name, verdict) in enumerate(((names[0], "deviates"), (names[0], "known deviation")))
        ),
        end(f"0{HOSTILE}", HOSTILE, names[1], verdict="conforms", versions=versions, **facts | {"behaviour": "exact"}),
        end("z", "unheard of", names[1], versions=versions, **facts),
        start(HOSTILE, HOSTILE, names[0]),
    ]
    report = model.load(made.folder(folder, lines))
    seen = Seen(HOSTILE, "deviates", HOSTILE)
    label = report.columns[0].label
    moved = Moved(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    found = Changes(
        HOSTILE,
        changes=[Change("new", label, HOSTILE, HOSTILE, seen, seen)],
        versions=[moved],
        packages=[moved],
        environment=[moved],
        not_compared={HOSTILE: HOSTILE},
    )
    key = report.columns[0].key
    lasting = {(key, identifier): Streak(3, HOSTILE, at_least=True) for identifier in report.columns[0].cases}
    slower = replace(SLOWER, target=HOSTILE, operation=HOSTILE, versions={HOSTILE: HOSTILE})
    return page.render(report, found, lasting, [slower], [replace(history.night_of(report), started=HOSTILE)])


def large(cases: int) -> Report:
    """A report of that many cases on four targets, a fifth of them known deviations, with messages as suites write."""
    stream = random.Random(7)
    requirements = {f"REQ-{i}": replace(REQUIREMENTS["EMB-1"], group=f"Group {i // 8}") for i in range(80)}
    names = list(requirements)
    targets = {name: target(name) for name in ("torch@cpu", "mlx@gpu", "jax@cpu", "reference@cpu")}
    columns = []
    for name, facts in targets.items():
        column = Column(name, MACHINE, facts, name, planned=cases // len(targets))
        for i in range(cases // len(targets)):
            error, bound = stream.uniform(1e-8, 1e-6), 1e-6
            got, want = stream.uniform(-2, 2), stream.uniform(-2, 2)
            usual = {"behaviour": "within bound"}
            departs = KNOWN | {"behaviour": "beyond bound"}
            record = end(
                f"float32-ids=V+{i}-mode=affine-bits={i % 8}",
                names[i % len(names)],
                name,
                params={"layer": "embedding", "dtype": "float32", "ids": f"V+{i}", "mode": "affine", "bits": i % 8},
                headroom=error / bound,
                error=error,
                bound=bound,
                worst_index=(i % 7, i % 11),
                golden=f"golden/data/rows.safetensors:rows/tables/float32/V=37-D=5/ids/{i}",
                message=f"worst element at ({i % 7}, {i % 11}): got {got!r}, want {want!r}, "
                f"error {error:.3g}, bound {bound:.3g}, error/bound {error / bound:.3g}",
                **departs if name == "mlx@gpu" and i % 5 == 0 else usual,
            )
            column.cases[record.id] = record
        columns.append(column)
    return Report(columns, [run_line(targets=targets, requirements=requirements)], requirements, [])


def nights(folder: Path, number: int = 12) -> list[Night]:
    """A history: a first night unreviewed, one that died, one that deviates, new versions, new golden data."""
    night = history.night_of(rich(folder))
    out = []
    for day in range(1, number + 1):
        columns = dict(night.columns)
        for key, column in columns.items():
            if column.target != "mlx@gpu":
                continue
            state = {1: "unreviewed", 3: "incomplete", 5: "deviates"}.get(day, "conforms")
            versions = {"mlx": "0.32.3" if day < 7 else "0.32.4"}
            slower = 1.0 if day < 9 else 1.6
            benchmarks = [replace(b, median=b.median * slower) for b in column.benchmarks]
            headroom = {name: value * (1 if day < 8 else 0.3) for name, value in column.headroom.items()}
            columns[key] = replace(
                column,
                state=state,
                versions=versions,
                benchmarks=benchmarks,
                headroom=headroom,
            )
        golden = "901de0000000" if day > 2 else "olderdata000"
        started = f"2026-11-{day:02}T03:00:00+00:00"
        out.append(replace(night, columns=columns, started=started, run=f"run{day}", golden_hash=golden))
    return out
