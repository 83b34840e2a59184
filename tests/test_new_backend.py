"""Can a stranger follow docs/new-adapter.md, and does the worked third-party adapter do what the page says?"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from examples.onnxruntime_backend.touchstone import OnnxRuntimeAdapter
from tests import hazards
from tests.command import ROOT, in_shell, run
from touchstone.adapters import known
from touchstone.adapters.discovery.registry import TargetError, adapter_class
from touchstone.adapters.interface import DECLARED, Capabilities
from touchstone.reports import model
from touchstone.suites import requirements
from touchstone.verdict import expectation
from touchstone.verdict.expectation import Deviation, Pin

PAGE = (ROOT / "docs" / "new-adapter.md").read_text()
WORKED = "examples.onnxruntime_backend.touchstone:OnnxRuntimeAdapter"
KNOWN = ROOT / "examples" / "onnxruntime_backend" / "known" / "onnxruntime.toml"


BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
"""Of a template's first steps, of its first run, and of the worked example."""


def written(folder: Path) -> Path:
    """The folder that holds the template as the page has it."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    package = folder / "mybackend"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "touchstone.py").write_text(source)
    return folder


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return written(tmp_path)


def suites(*arguments: str, adapter: str, path: Path = ROOT) -> str:
    """What a run of some suites prints."""
    command = ["-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=native", "--adapter", adapter, *arguments]
    return run(*command, PYTHONPATH=f"{path}:{ROOT}").stdout


def typed(block: str, folder: Path) -> str:
    """What a block of the page prints in a shell in this folder: as it stands, but for the checkout's own path."""
    done = in_shell(block.replace("/path/to/touchstone", str(ROOT)), folder)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the template, with the report of its first run."""
    folder = written(tmp_path_factory.mktemp("template"))
    (folder / "said").write_text(typed(BLOCKS[1], folder))
    return folder


def test_every_block_of_commands_is_tried() -> None:
    assert len(BLOCKS) == 3
    assert sum(PAGE.count(f"```{language}\n") for language in ("sh", "bash", "shell", "console")) == 3


def test_the_template_is_seen_to_run(template: Path) -> None:
    said = typed(BLOCKS[0], template)
    (line,) = re.findall(r"^mybackend@cpu +(\d+ conforms.*)$", said, re.MULTILINE)
    assert re.match(r"\d{3} ", line), said[-2000:]
    assert not re.search("deviates|crashed|timed out", line)


def test_the_template_runs_as_it_stands(first_run: Path) -> None:
    """Every requirement of the kind "required" is met; only choices wait for a review."""
    (column,) = model.load(first_run / "report").columns
    said, levels = (first_run / "said").read_text(), requirements.load()
    assert column.counts["conforms"] > 100, said[-2000:]
    fine = ("conforms", "unsupported", "not run")
    wrong = [r for r in column.cases.values() if r.verdict not in fine]
    assert [r.id for r in wrong if levels[r.requirement].level == "required"] == [], said[-2000:]
    assert "without a reason" not in said


def test_update_writes_the_candidates_beside_the_template(first_run: Path) -> None:
    assert "mybackend.toml: added a candidate pin: LIN-PRECISION-1" in (first_run / "said").read_text()
    cls = type("MyAdapter", (hazards.Minimal,), {"name": "mybackend"})
    path = first_run / "mybackend" / "known" / "mybackend.toml"
    entries = known.load(path, cls, requirements.load().keys())
    assert entries.pins
    assert all(pin.is_candidate for pin in entries.pins)


def test_a_layer_that_is_declared_and_not_there_is_named(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = template / "mybackend" / "touchstone.py"
    path.write_text(path.read_text().replace("frozenset(layers)", 'frozenset({*layers, "stack"})'))
    monkeypatch.syspath_prepend(template)
    with pytest.raises(TargetError, match="MyAdapter declares layers that `layers` lacks: stack"):
        adapter_class("mybackend.touchstone:MyAdapter")


def test_the_page_names_every_field_that_can_be_declared() -> None:
    for name in Capabilities.__dataclass_fields__:
        assert f"`{name}`" in PAGE or name == "exercises", name
    for methods in DECLARED.values():
        assert all(f"`{method}`" in PAGE or method in PAGE for method in methods)


def test_what_goes_together_is_unsupported_with_its_reason() -> None:
    declared = adapter_class(WORKED).capabilities
    both = ("layer:linear", "dtype:bfloat16")
    assert [declared.unmet([need]) for need in both] == [None, None]
    assert "no MatMul of bfloat16" in str(declared.unmet(both))
    assert declared.unmet(["layer:embedding", "dtype:bfloat16"]) is None


@pytest.fixture(scope="module")
def worked_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worked adapter's block was typed; `said` is what it printed."""
    try:
        metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        pytest.skip("onnxruntime is not installed: pip install -c constraints.txt onnxruntime onnx")
    folder = tmp_path_factory.mktemp("onnxruntime")
    (folder / "said").write_text(typed(BLOCKS[2], folder))
    return folder


@pytest.fixture(scope="module")
def worked(worked_folder: Path) -> model.Column:
    """The worked adapter's answers in every suite."""
    (column,) = model.load(worked_folder / "onnx").columns
    return column


def test_the_worked_adapter_is_green(worked: model.Column) -> None:
    assert worked.state == "conforms", worked.counts
    assert worked.counts["conforms"] > 600


def summary(text: str) -> str:
    """The lines of a run's end that speak of the worked adapter alone."""
    return "\n".join(re.findall(r"^(?:known deviation +\S+ +)?onnxruntime@cpu .*$", text, re.MULTILINE))


def test_the_page_shows_what_the_run_ends_with(worked_folder: Path) -> None:
    """Counts too: paste what is printed here when there are more cases."""
    said, shown = (summary(text) for text in ((worked_folder / "said").read_text(), PAGE))
    assert said == shown, f"put this into docs/new-adapter.md:\n{said}"


def worked_entries() -> expectation.Expectations:
    return known.load(KNOWN, OnnxRuntimeAdapter, requirements.load().keys())


def test_every_entry_was_reviewed() -> None:
    entries = worked_entries()
    every: list[Pin | Deviation] = [*entries.pins, *entries.deviations]
    assert [e.origin for e in every if e.is_candidate] == []
    assert {str(e.scope) for e in every} == {"onnxruntime", "onnxruntime on cpu"}


def test_the_reproductions_of_its_faults(worked: model.Column) -> None:
    """Run as they are registered, without Touchstone."""
    of_products, of_sigmoid, of_tanh = dict.fromkeys(d.reproduction for d in worked_entries().deviations)
    done = run("-c", of_products, cwd=Path("/"))
    assert done.returncode == 1
    assert "NotImplemented" in done.stderr
    assert "MatMul" in done.stderr
    assert float(run("-c", of_sigmoid, cwd=Path("/")).stdout) == 0
    assert 0 < abs(float(run("-c", of_tanh, cwd=Path("/")).stdout) - 1e-39) < 1e-42


def test_a_lookup_that_lies_is_seen(template: Path, tmp_path: Path) -> None:
    """The template with its rows in reverse turns red: the run above could have failed."""
    path = template / "mybackend" / "touchstone.py"
    path.write_text(path.read_text().replace('p["weight"][ids]', 'p["weight"][::-1][ids]'))
    options = ["--bootstrap", "mybackend@cpu", "--report", str(tmp_path / "report")]
    asked = ["suites/test_lookup.py", "-k", "test_shapes"]
    suites(*asked, *options, adapter="mybackend.touchstone:MyAdapter", path=template)
    (column,) = model.load(tmp_path / "report").columns
    wrong = {r.requirement for r in column.cases.values() if r.behaviour == "wrong bits"}
    assert "EMB-SHAPE-1" in wrong
