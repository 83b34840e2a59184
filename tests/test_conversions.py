"""Does the gate of conversions hold for some architectures of every kind, and is it red where a check says nothing?"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.command import run
from tools.conversions import faults, making

SOME = ("mixtral", "deepseek_v3", "gpt_neox", "mamba", "qwen3_next", "gpt_oss", "dbrx", "llama4")
gate = importlib.import_module("tools.conversions.__main__")


def test_the_gate_is_green_for_architectures_of_every_kind() -> None:
    done = run("-m", "tools.conversions", *SOME, "--converter", "mlx-lm", "--converter", "gguf")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SOME)} of {len(SOME)} architectures are as they should be" in done.stdout


def test_a_fault_that_no_finding_names_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    making.make("llama", tmp_path / "hub")
    making.convert(tmp_path / "hub", tmp_path / "plain", "plain")
    seen = gate.Seen("llama")
    monkeypatch.setattr(gate, "red", lambda source, target: ({}, None))
    gate.of_faults(seen, tmp_path, "plain")
    assert not seen.named
    assert len(seen.missed) == 14
    assert not seen.is_good


def test_every_architecture_of_the_page_is_made() -> None:
    page = gate.PAGE.read_text()
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert [r for r in rows if r in making.architectures()] == making.architectures()
    assert all(f"| {fault.name} |" in page for fault in faults.FAULTS)
    assert "| red |" not in page.partition("## What")[0]
