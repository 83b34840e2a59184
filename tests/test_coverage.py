"""Is every name of MLX's documents asked, and every public name of the pinned release in a list?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import coverage
from tools.nightly import NEW_NAMES, report

NAMES = coverage.load()


def test_every_name_is_asked_of_mlx_and_of_the_others_or_says_why_not() -> None:
    for (part, name), found in coverage.asked().items():
        assert found.cases["mlx"], f"{part}: {name} has no case on MLX"
        for framework in coverage.FRAMEWORKS:
            assert found.cases[framework] or found.reasons[framework], f"{part}: {name} on {framework}"


def test_the_documents_are_there_as_a_whole() -> None:
    """Operations, members, functions with softsign, losses, initializers, layers."""
    counts = {part.title: len(part.names) for part in NAMES.part}
    assert [*counts.values()][:6] == [174, 54, 27, 14, 8, 59]


def test_every_public_name_of_the_pinned_release_is_in_a_list() -> None:
    assert list(coverage.unclassified()) == []


def test_a_new_public_name_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import mlx.core as mx

    monkeypatch.setattr(mx, "brand_new", mx.abs, raising=False)
    assert coverage.main(["unclassified"]) == 1
    assert capsys.readouterr().out == "mlx.core.brand_new\n"


def test_a_name_without_a_case_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    part = coverage.Part(title="New", module="mlx.core", same=["nowhere"])
    monkeypatch.setattr(coverage, "load", lambda: coverage.Names(part=[part], beyond={}))
    found = coverage.asked()["New", "nowhere"]
    assert [found.told(framework) for framework in coverage.FRAMEWORKS] == ["no case"] * 3


def test_the_page_is_current() -> None:
    assert coverage.main(["page"]) == 0


def test_without_mlx_there_is_one_clear_error() -> None:
    block = "import sys; sys.modules['mlx.core'] = None; from tools import coverage"
    code = f"{block}; sys.exit(coverage.main(['unclassified']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_a_night_tells_new_names(tmp_path: Path) -> None:
    (tmp_path / "macos").mkdir()
    (tmp_path / "macos" / NEW_NAMES).write_text("mlx.core.brand_new\n")
    (told,) = report._new_names(tmp_path)
    assert told == "macos: public names that are in no list of suites/names.toml: mlx.core.brand_new"
