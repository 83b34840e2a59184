"""What does a waiting user see of a run?"""

from __future__ import annotations

import io
import time

import pytest

from tests.command import run
from touchstone.reports.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def test_a_line_a_minute_where_the_output_is_no_terminal(clock: Clock) -> None:
    file = io.StringIO()
    shown = Progress({"mlx@cpu": 4056, "jax@cpu": 4056}, file, terminal=False)
    for _ in range(240):
        clock.now += 0.5
        shown.add("mlx@cpu")
    assert file.getvalue().splitlines() == [
        "mlx@cpu 120 of 4,056, 2/s, 33 min left; jax@cpu 0 of 4,056",
        "mlx@cpu 240 of 4,056, 2/s, 32 min left; jax@cpu 0 of 4,056",
    ]


def test_a_finished_target_has_no_rate(clock: Clock) -> None:
    shown = Progress({"mlx@cpu": 2, "jax@cpu": 10}, io.StringIO(), terminal=False)
    for target in ("mlx@cpu", "mlx@cpu", "jax@cpu", "jax@cpu"):
        shown.add(target)
        clock.now += 4
    assert shown.line(clock.now) == "mlx@cpu 2 of 2; jax@cpu 2 of 10, 0/s, 32 s left"


def test_a_line_per_target_on_a_terminal() -> None:
    file = io.StringIO()
    shown = Progress({"mlx@cpu": 3, "jax@cpu": 5}, file, terminal=True)
    for _ in range(3):
        shown.add("mlx@cpu")
    shown.close()
    text = file.getvalue()
    assert "mlx@cpu          100%" in text
    assert "3 of 3 cases" in text
    assert "jax@cpu            0%" in text
    assert "0 of 5 cases" in text


@pytest.mark.parametrize(("option", "dots"), [((), False), (("-q",), True), (("-v",), False)], ids=str)
def test_v_and_q_show_what_pytest_shows(option: tuple[str, ...], dots: bool) -> None:
    done = run("-m", "pytest", "suites/test_lookup.py", "--adapter", "reference", "-k", "not compiled", *option)
    assert done.returncode == 1, "the reference alone is no framework"
    assert ("......" in done.stdout) == dots, done.stdout[:3000]
    assert ("test_sizes[reference@cpu-embedding-float32-num_embeddings=1-dims=2] PASSED" in done.stdout) == (
        option == ("-v",)
    )
    assert ("target reference@cpu: cpu; numpy" in done.stdout) == (option != ("-q",))
