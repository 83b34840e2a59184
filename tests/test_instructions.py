"""Are the instructions and threads that each library uses read back, whatever processor this is?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.command import ROOT, clean
from touchstone.adapters import conditions
from touchstone.adapters.discovery import instructions, machine
from touchstone.adapters.discovery.machine import ARM, X86

LADDER = X86 if machine.facts()["machine"] == "x86_64" else ARM


def used(*distributions: str, **environment: str) -> dict[str, str]:
    """What the libraries of these distributions say in a process of its own, with these variables."""
    code = (
        "import json, sys; from touchstone.adapters.discovery.instructions import used; "
        "print(json.dumps(used(sys.argv[1:])))"
    )
    unset = {name: value for name, value in clean().items() if name not in instructions.VARIABLES}
    command = [sys.executable, "-c", code, *distributions]
    done = subprocess.run(command, cwd=ROOT, env=unset | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_no_library_uses_more_than_the_processor_has() -> None:
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    found = used("jax", "torch")
    here = machine.instruction_set()
    assert found.keys() >= {"numpy", "xla", "torch", "torch_threads"}
    for name in {"numpy", "xla", "torch", "onednn"} & found.keys():
        assert found[name] in conditions.VALUES[name]
        assert found[name] == "default" or LADDER.index(found[name]) <= LADDER.index(here), name


def test_only_what_an_adapter_brings_is_read() -> None:
    assert set(used()) <= {"numpy", "numpy_threads"}


@pytest.mark.parametrize(
    ("module", "name", "variable", "value", "wanted"),
    [
        ("torch", "torch", "ATEN_CPU_CAPABILITY", "default", "default"),
        ("torch", "torch_threads", "OMP_NUM_THREADS", "1", "1"),
    ],
)
def test_a_setting_is_seen_where_it_took_effect(module: str, name: str, variable: str, value: str, wanted: str) -> None:
    pytest.importorskip(module)
    assert used(module, **{variable: value})[name] == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted on Linux only")
def test_the_threads_of_xla_are_counted() -> None:
    pytest.importorskip("jax")
    assert used("jax", NPROC="1")["xla_threads"] == "1"


@pytest.mark.skipif(LADDER is not X86, reason="the variable names x86 instructions")
@pytest.mark.parametrize(("value", "wanted"), [("SSE4_2", "sse4"), ("AVX", "avx"), ("BOGUS", None)])
def test_xla_compiles_for_less_where_it_is_told_to(value: str, wanted: str | None) -> None:
    """A value that XLA does not know changes nothing, and that is seen too."""
    pytest.importorskip("jax")
    found = used("jax", XLA_FLAGS=f"--xla_cpu_max_isa={value}")["xla"]
    assert found == (instructions.lower(wanted, machine.instruction_set()) if wanted else used("jax")["xla"])


@pytest.mark.skipif(LADDER is not X86, reason="the variable names x86 instructions")
def test_a_level_that_the_processor_lacks_is_not_believed() -> None:
    """PyTorch reports what the variable asks for; recorded is no more than the processor has."""
    pytest.importorskip("torch")
    here = machine.instruction_set()
    assert used("torch", ATEN_CPU_CAPABILITY="avx512")["torch"] == instructions.lower("avx512", here)


def test_onednn_is_read_from_its_log() -> None:
    torch = pytest.importorskip("torch")
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    if LADDER is X86:
        assert used("torch", ONEDNN_MAX_CPU_ISA="SSE41")["onednn"] == "sse4"
    else:
        assert used("torch")["onednn"] in ARM


@pytest.mark.parametrize(
    ("features", "level"),
    [
        (["sse", "sse4_2"], "sse4"),
        (["sse4_2", "avx"], "avx"),
        (["SSE4.2", "AVX1.0", "AVX2"], "avx2"),
        (["sse4_2", "avx", "avx2", "avx512f", "avx512bw"], "avx512"),
        (["fp", "asimd"], "neon"),
        (["asimd", "sve", "sve2"], "sve"),
        (["avx512vnni"], ""),
        ([], ""),
    ],
)
def test_the_level_that_features_amount_to(features: list[str], level: str) -> None:
    assert machine.level(features) == level


@pytest.mark.parametrize(
    ("one", "other", "lower"),
    [
        ("avx512", "avx2", "avx2"),
        ("avx", "avx2", "avx"),
        ("sve", "neon", "neon"),
        ("default", "avx2", "default"),
        ("avx512", "unknown", "avx512"),
    ],
)
def test_the_lower_of_two_levels(one: str, other: str, lower: str) -> None:
    assert instructions.lower(one, other) == lower


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("Intel AVX-512 with Intel DL Boost", "avx512"),
        ("Intel AVX2 with Intel DL Boost", "avx2"),
        ("Intel AVX", "avx"),
        ("Intel SSE4.1", "sse4"),
        ("AArch64 SVE (256 bits)", "sve"),
        ("AArch64 (with Advanced SIMD & floating-point)", ""),
    ],
)
def test_onednns_words(said: str, level: str) -> None:
    assert instructions._named(said) == level


def test_a_library_that_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> str:
        raise AttributeError("an old release")

    monkeypatch.setitem(instructions._READ, "numpy", ("", fails))
    assert "numpy" not in instructions.used(())


def test_the_facts_of_a_machine_are_values_of_conditions() -> None:
    facts = machine.facts()
    assert facts["machine"] in conditions.VALUES["machine"]
    assert facts["system"] in conditions.VALUES["system"]
    assert facts["instruction_set"] in LADDER
    assert int(facts["threads"]) >= 1
