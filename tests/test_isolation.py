"""Does a probe that raises, crashes, hangs or leaves become an observation, and does the next one run anew?"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import hazards
from touchstone.adapters.isolation.outcome import Outcome, attempt
from touchstone.adapters.isolation.process import Isolation


@pytest.fixture
def isolation() -> Iterator[Isolation]:
    made = Isolation("reference", "cpu")
    yield made
    made.close()


def pid(isolation: Isolation) -> int:
    return isolation.run(hazards.process_id, {}).value


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_values_and_exceptions_come_back_from_one_worker(isolation: Isolation) -> None:
    first = pid(isolation)
    assert first != os.getpid()
    assert isolation.run(hazards.target, {}).value == "reference@cpu"
    assert isolation.run(hazards.answer, {"value": {"a": [1, None]}}) == Outcome("value", {"a": [1, None]})
    raised = isolation.run(hazards.fail, {"message": "no row 40"})
    assert (raised.kind, raised.behaviour, raised.message) == ("raised", "raises LookupError", "no row 40")
    assert raised.error_types == ("LookupError", "Exception")
    panicked = isolation.run(hazards.panic, {})
    assert (panicked.behaviour, panicked.message) == ("raises Interrupts", "panicked")
    assert pid(isolation) == first


CRASHES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "segmentation fault": (hazards.send_signal, {"name": "SIGSEGV"}, "SIGSEGV"),
    "floating-point exception": (hazards.send_signal, {"name": "SIGFPE"}, "SIGFPE"),
    "killed for memory": (hazards.send_signal, {"name": "SIGKILL"}, "SIGKILL"),
    "abort": (hazards.abort, {}, "SIGABRT"),
    "sys.exit": (hazards.leave, {"status": 3}, "exit status 3"),
    "os._exit": (hazards.leave_at_once, {"status": 4}, "exit status 4"),
}


def test_a_crash_is_an_outcome_and_the_next_probe_runs_in_a_new_worker(isolation: Isolation) -> None:
    pids = [pid(isolation)]
    for name, (probe, arguments, message) in CRASHES.items():
        outcome = isolation.run(probe, arguments)
        assert (outcome.kind, outcome.behaviour, outcome.value) == ("crashed", "crashed", None), name
        assert outcome.message == message, name
        assert not is_alive(pids[-1])
        pids.append(pid(isolation))
    assert len(set(pids)) == len(CRASHES) + 1


def test_a_process_that_leaves_with_status_0_has_not_crashed_and_not_answered(isolation: Isolation) -> None:
    first = pid(isolation)
    outcome = isolation.run(hazards.leave_at_once, {"status": 0})
    assert (outcome.behaviour, outcome.message) == ("ended without an answer", "exit status 0")
    assert pid(isolation) != first


def test_three_unexpected_deaths_in_a_row_end_the_target(isolation: Isolation) -> None:
    for _ in range(2):
        isolation.run(hazards.abort, {})
    assert pid(isolation), "an answer in between starts the count again"
    for _ in range(2):
        isolation.run(hazards.abort, {})
        isolation.run(hazards.abort, {}, may_die=True)
    assert isolation.ended == "", "a death that the probe is about does not count"
    isolation.run(hazards.leave_at_once, {"status": 0})
    assert isolation.ended == "its process ended in 3 cases in a row, at last with exit status 0"


def test_a_process_that_has_grown_is_replaced_between_cases(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pid(isolation)
    isolation.renew_if_grown()
    assert pid(isolation) == first
    isolation.run(hazards.grow, {"megabytes": 64})
    monkeypatch.setattr("touchstone.adapters.isolation.process.GROWN", 64e6)
    assert pid(isolation) == first, "not within a case"
    isolation.renew_if_grown()
    assert not is_alive(first)
    assert pid(isolation) != first


def test_a_hang_is_an_outcome_and_the_next_probe_runs_in_a_new_worker(isolation: Isolation) -> None:
    first, isolation.time_limit = pid(isolation), 0.3
    started = time.perf_counter()
    outcome = isolation.run(hazards.hang, {})
    assert time.perf_counter() - started < 5
    assert (outcome.kind, outcome.behaviour) == ("timed out", "timed out")
    assert outcome.message == "no answer within 0.3 s"
    assert not is_alive(first)
    isolation.time_limit = 60
    assert pid(isolation) != first


def test_a_worker_that_died_between_probes_is_replaced(isolation: Isolation) -> None:
    first = pid(isolation)
    worker = isolation._worker
    assert worker is not None
    os.kill(first, signal.SIGKILL)
    worker.process.wait()
    assert isolation.run(hazards.process_id, {}).message == "SIGKILL"
    assert pid(isolation) != first


def test_noise_on_stdout_does_not_disturb_the_answers(isolation: Isolation) -> None:
    assert isolation.run(hazards.shout, {"megabytes": 8}).value == "done"
    assert isolation.run(hazards.answer, {"value": 1}).value == 1


def test_the_last_words_of_a_crash_are_kept_short(isolation: Isolation) -> None:
    outcome = isolation.run(hazards.shout_and_abort, {})
    assert outcome.message.startswith("SIGABRT: ")
    assert outcome.message.endswith("the last words")
    assert len(outcome.message) < 3000


def test_large_arguments_and_answers_pass(isolation: Isolation) -> None:
    value = os.urandom(4_000_000)
    assert isolation.run(hazards.answer, {"value": value}).value == value


def test_an_answer_that_cannot_travel_is_not_taken_for_a_crash(isolation: Isolation) -> None:
    """It is a fault of the probe, not of the framework."""
    outcome = isolation.run(hazards.cannot_travel, {})
    assert outcome.kind == "raised"
    assert pid(isolation)


def test_discard_replaces_a_worker_that_is_still_alive(isolation: Isolation) -> None:
    first = pid(isolation)
    outcome = isolation.run(hazards.answer, {"value": 7}, discard=True)
    assert outcome.value == 7
    assert not is_alive(first)
    assert pid(isolation) != first


def test_the_environment_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_TEST_KEPT", "kept")
    monkeypatch.setenv("TOUCHSTONE_TEST_REMOVED", "here")
    changed = Isolation("reference", "cpu", {"TOUCHSTONE_TEST_SET": "set", "TOUCHSTONE_TEST_REMOVED": None})
    seen = [changed.run(hazards.variable, {"name": f"TOUCHSTONE_TEST_{n}"}).value for n in ("SET", "REMOVED", "KEPT")]
    changed.close()
    assert seen == ["set", None, "kept"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tests.hazards:Refuses", "RuntimeError: refuses has no cpu device here"),
        ("tests.hazards:Missing", "adapter 'tests.hazards:Missing': tests.hazards has no Missing"),
    ],
)
def test_a_worker_that_cannot_start_says_why(spec: str, message: str) -> None:
    isolation = Isolation(spec, "cpu")
    try:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=f"the worker for {spec}@cpu did not start: exit status 1") as error:
                isolation.run(hazards.process_id, {})
            assert message in str(error.value)
    finally:
        isolation.close()


def test_closing_leaves_no_process(isolation: Isolation) -> None:
    answered = pid(isolation)
    isolation.run(hazards.abort, {})
    replaced = isolation._worker
    assert replaced is not None
    isolation.close()
    isolation.close()
    assert not is_alive(answered)
    assert not is_alive(replaced.process.pid)
    assert pid(isolation) not in (answered, replaced.process.pid)


def test_a_worker_ends_with_its_parent(isolation: Isolation) -> None:
    """A killed run closes the pipe and nothing else."""
    pid(isolation)
    worker = isolation._worker
    assert worker is not None
    worker.pipe.close()
    assert worker.process.wait(timeout=20) == 0


def test_an_attempt_in_this_process() -> None:
    assert attempt(hazards.answer, None, {"value": 3}) == Outcome("value", 3)
    assert attempt(hazards.fail, None, {"message": "x" * 5000}).message == "x" * 2000
    with pytest.raises(SystemExit):
        attempt(hazards.leave, None, {"status": 3})
