"""Which targets does a selection give, which errors does a wrong one give, and how are devices found and remembered?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests import hazards
from touchstone.adapters import conditions
from touchstone.adapters.discovery import devices, instructions, machine, registry
from touchstone.adapters.discovery.devices import Found
from touchstone.adapters.discovery.registry import BUILT_IN, TargetError, adapter_class, resolve
from touchstone.adapters.interface import DECLARED, Adapter, Unsupported


@pytest.fixture(autouse=True)
def cache(tmp_path: Path) -> Iterator[Path]:
    """A cache folder of this test's own; whatever a target puts into the environment is taken out again."""
    with mock.patch.dict(os.environ, {"TOUCHSTONE_CACHE": str(tmp_path / "cache")}):
        yield tmp_path / "cache"


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the adapters that were probed; each has a CPU."""
    asked: list[str] = []

    def probe(name: str, *args: Any, **kwargs: Any) -> Found:
        asked.append(name)
        return Found({"cpu": {"name": "cpu", "precision": {}}})

    monkeypatch.setattr(devices, "probe", probe)
    return asked


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the adapters whose framework counts as installed; a test removes some."""
    names = set(registry.BUILT_IN)
    monkeypatch.setattr(registry, "is_installed", lambda cls: cls.name in names)
    return names


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_built_in_adapters_are_complete(name: str) -> None:
    assert adapter_class(name).name == name


def test_a_third_party_adapter_is_found_by_module_and_class() -> None:
    assert adapter_class("tests.hazards:Minimal") is hazards.Minimal


UNKNOWN = {
    "numpy": ["unknown adapter 'numpy'", "mlx, jax, torch, reference", "package.module:Class"],
    "": ["unknown adapter ''"],
    "no_such_package.adapter:X": ["'no_such_package.adapter:X'", "cannot import no_such_package.adapter"],
    ":Minimal": ["':Minimal'"],
    "tests.hazards:Missing": ["'tests.hazards:Missing'", "tests.hazards has no Missing"],
    "tests.hazards:Unrelated": ["Unrelated is not a subclass of touchstone.adapters.interface.Adapter"],
    "tests.hazards:answer": ["answer is not a subclass of touchstone.adapters.interface.Adapter"],
    "tests.hazards:Incomplete": ["Incomplete declares layers that `layers` lacks: linear"],
    "tests.hazards:Impostor": ["the name 'mlx' is taken by an adapter of Touchstone"],
    "tests.hazards:Placed": ["its name 'mine@gpu' is to be letters, digits"],
    "tests.hazards:Idle": ["Idle declares exercises and lacks exercise"],
    "tests.hazards:Undeclared": ["Undeclared does not declare name, distributions, module, devices, capabilities"],
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_only_known_layers_are_constructed(name: str) -> None:
    adapter = adapter_class(name)("cpu")
    with pytest.raises(Unsupported):
        adapter.construct("layer_norm", (4,), 0)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_no_adapter(name: str) -> None:
    with pytest.raises(TargetError) as error:
        adapter_class(name)
    assert [part for part in UNKNOWN[name] if part not in str(error.value)] == [], str(error.value)


@pytest.mark.parametrize(("need", "method"), [(need, m) for need, methods in DECLARED.items() for m in methods])
def test_a_class_that_declares_what_it_lacks(need: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One method at a time is the interface's own, which every adapter inherits."""
    everything = {name: lambda self, *_: None for methods in DECLARED.values() for name in methods}
    kind, _, name = need.partition(":")
    facts = replace(hazards.Minimal.capabilities, models=frozenset({"llama"}))
    facts = replace(facts, construction=True, conversion=True)
    facts = replace(facts, module_questions=frozenset({"parameters"}), array_questions=frozenset({"tolist"}))
    members = {**everything, "capabilities": facts, method: getattr(Adapter, method)}
    made = type("Without", (hazards.Minimal,), members)
    monkeypatch.setattr(hazards, "Without", made, raising=False)
    with pytest.raises(TargetError, match=f"Without declares {need} and lacks {method}$"):
        adapter_class("tests.hazards:Without")
    without = replace(facts, **({f"{kind}s": getattr(facts, f"{kind}s") - {name}} if name else {kind: False}))
    monkeypatch.setattr(made, "capabilities", without)
    assert adapter_class("tests.hazards:Without") is made


def test_layers_that_are_declared_and_not_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    made = type("Without", (hazards.Minimal,), {"layers": {"embedding": hazards.Minimal.layers["embedding"]}})
    monkeypatch.setattr(hazards, "Without", made, raising=False)
    lacking = "linear, quantized_embedding, quantized_linear, raw_lookup"
    with pytest.raises(TargetError, match=f"Without declares layers that `layers` lacks: {lacking}$"):
        adapter_class("tests.hazards:Without")
    one = replace(hazards.Minimal.capabilities, layers=frozenset({"embedding"}))
    monkeypatch.setattr(made, "capabilities", one)
    assert adapter_class("tests.hazards:Without") is made
    with pytest.raises(Unsupported, match=r"^minimal has no layer linear$"):
        made("cpu").layer("linear", np.ones((2, 2)))


@pytest.mark.parametrize("method", sorted(Adapter.__abstractmethods__))
def test_a_class_without_one_method(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    incomplete = type("Without", (hazards.Minimal,), {method: getattr(Adapter, method)})
    monkeypatch.setattr(hazards, "Without", incomplete, raising=False)
    with pytest.raises(TargetError, match=f"adapter 'tests.hazards:Without': Without lacks {method}$"):
        adapter_class("tests.hazards:Without")


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "touchstone_broken_adapter.py").write_text("raise RuntimeError('no licence found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TargetError, match=r"'touchstone_broken_adapter:X'.*no licence found"):
        adapter_class("touchstone_broken_adapter:X")


def test_without_a_selection_every_adapter_runs_on_its_best_device(probes: list[str], installed: set[str]) -> None:
    found = resolve()
    assert [t.id for t in found] == ["mlx@cpu", "jax@cpu", "torch@cpu", "reference@cpu"]
    assert [t.unavailable for t in found] == [None] * 4
    assert probes == list(registry.BUILT_IN)


def test_the_first_device_found_is_the_best(monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    monkeypatch.setattr(devices, "probe", lambda *a, **k: Found({"gpu": {}, "cpu": {}}))
    assert [t.id for t in resolve()] == ["mlx@gpu", "jax@gpu", "torch@gpu", "reference@gpu"]
    assert [t.id for t in resolve(["torch", "jax@cpu"])] == ["torch@gpu", "jax@cpu"]


def test_a_missing_framework_is_not_run(probes: list[str], installed: set[str]) -> None:
    installed -= {"torch"}
    absent = {t.cls.name: t for t in resolve()}["torch"]
    assert (absent.id, absent.unavailable, absent.version) == ("torch@absent", "torch is not installed", "0")
    assert "torch" not in probes


UNUSABLE = {
    "the device probe of jax failed: no driver": Found(error="the device probe of jax failed: no driver"),
    "jax found no device": Found(),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_an_installed_framework_without_a_device_is_an_error(
    reason: str, monkeypatch: pytest.MonkeyPatch, installed: set[str]
) -> None:
    """It is never silently *not run*: that would be a green run without the framework."""
    finds = {"jax": UNUSABLE[reason]}
    monkeypatch.setattr(devices, "probe", lambda name, *a, **k: finds.get(name, Found({"cpu": {}})))
    with pytest.raises(TargetError, match=f"^{reason}; select the others with --adapter$"):
        resolve()
    with pytest.raises(TargetError, match=f"^TOUCHSTONE_REQUIRE names 'jax', but {reason}$"):
        resolve(["torch"], required=["torch", "jax"])
    assert [t.id for t in resolve(["torch"], required=["torch"])] == ["torch@cpu"]


def test_a_target_keeps_what_the_probe_found(monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    finds = {name: {"name": f"a {name}", "precision": {"matmul": "highest"}} for name in ("gpu", "cpu")}
    monkeypatch.setattr(devices, "probe", lambda *a, **k: Found(finds))
    installed -= {"mlx"}
    assert [t.facts for t in resolve()] == [{}, *[finds["gpu"]] * 3]
    assert [t.facts for t in resolve(["torch", "jax@cpu"])] == [finds["gpu"], finds["cpu"]]


def test_without_any_framework_there_is_nothing_to_run(probes: list[str], installed: set[str]) -> None:
    installed &= {"reference"}
    with pytest.raises(
        TargetError, match="no framework is installed: install at least one of mlx, jax with flax, torch"
    ):
        resolve()


SELECTIONS = {
    ("torch@xpu",): "--adapter torch@xpu: no xpu device here; torch has cpu (of mps, cuda, cpu)",
    ("torch@mps",): "--adapter torch@mps: no mps device here; torch has cpu (of mps, cuda, cpu)",
    ("torch", "torch"): "selected twice: torch@cpu",
    ("torch@cpu", "jax", "torch"): "selected twice: torch@cpu",
    ("torch@cpu@cpu",): "unknown adapter 'torch@cpu'",
    ("@cpu",): "unknown adapter ''",
    ("mlx",): "--adapter mlx: mlx is not installed",
    ("tests.hazards:NotInstalled",): "surely_not_installed is not installed",
}


@pytest.mark.parametrize("selected", SELECTIONS, ids=" ".join)
def test_a_wrong_selection(selected: tuple[str, ...], probes: list[str], installed: set[str]) -> None:
    installed -= {"mlx"}
    with pytest.raises(TargetError, match=re.escape(SELECTIONS[selected])):
        resolve(selected)


def test_a_third_party_target_keeps_its_spec(probes: list[str]) -> None:
    (found,) = resolve(["tests.hazards:Minimal@cpu"])
    assert (found.id, found.spec, found.device) == ("minimal@cpu", "tests.hazards:Minimal", "cpu")
    assert found.adapter.target == "minimal@cpu"


@pytest.mark.parametrize(
    ("required", "message"),
    [
        (["torch", "tinygrad"], "TOUCHSTONE_REQUIRE names 'tinygrad'; known: mlx, jax, torch, reference"),
        (["torch", "mlx"], "TOUCHSTONE_REQUIRE names 'mlx', but mlx is not installed"),
    ],
)
def test_a_required_framework_that_is_absent(
    required: list[str], message: str, probes: list[str], installed: set[str]
) -> None:
    assert resolve(required=["jax", "torch", "mlx"])
    installed -= {"mlx"}
    with pytest.raises(TargetError, match=re.escape(message)):
        resolve(required=required)


@pytest.mark.parametrize("cls", [hazards.NotInstalled, hazards.NotInstalledAtAll])
def test_a_missing_module_is_not_installed(cls: type[Adapter]) -> None:
    assert not registry.is_installed(cls)


def test_versions_come_from_metadata_and_leave_out_what_is_missing() -> None:
    found = registry.versions(type("Some", (hazards.Minimal,), {"distributions": ("numpy", "surely-not-installed")}))
    assert list(found) == ["numpy"]
    assert found["numpy"][0].isdigit()


def test_the_environment_is_prepared_and_a_users_setting_is_kept() -> None:
    cls = type("Sets", (hazards.Minimal,), {"environment": {"TOUCHSTONE_A": "0", "TOUCHSTONE_B": "0"}})
    os.environ["TOUCHSTONE_B"] = "1"
    registry.prepare_environment(cls)
    assert (os.environ["TOUCHSTONE_A"], os.environ["TOUCHSTONE_B"]) == ("0", "1")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tests.hazards:Aborts", "the device probe of tests.hazards:Aborts failed: exit status -6"),
        (
            "tests.hazards:Complains",
            "the device probe of tests.hazards:Complains failed: OSError: the driver is too old",
        ),
        ("tests.hazards:Refuses", "failed: RuntimeError: refuses has no cpu device here"),
        ("tests.hazards:Minimal@gpu", "no gpu device here; tests.hazards:Minimal has cpu (of gpu, cpu)"),
        ("tests.hazards:HasNoDevice", ": no device here; tests.hazards:HasNoDevice has none"),
    ],
)
def test_a_probe_in_a_child_process(spec: str, message: str) -> None:
    with pytest.raises(TargetError) as error:
        resolve([spec])
    assert str(error.value).startswith(f"--adapter {spec}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_probe_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: Any, **options: Any) -> Any:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    assert probe().error == "the device probe of minimal did not answer within 120 s"


def probe(*, fresh: bool = False, **versions: str) -> Found:
    return devices.probe("minimal", hazards.Minimal, versions, fresh=fresh)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Child processes that were started; none really is, each finds one CPU and has a number."""
    started: list[list[str]] = []

    def answer(command: list[str], **options: Any) -> Any:
        started.append(command)
        answered = json.dumps({"cpu": {"name": f"cpu {len(started)}", "precision": {}}})
        return subprocess.CompletedProcess(command, 0, f"a framework greets\n{answered}\n", "")

    monkeypatch.setattr(subprocess, "run", answer)
    return started


def test_a_probe_is_remembered_per_version(children: list[list[str]], cache: Path) -> None:
    names = [probe(numpy=v).devices["cpu"]["name"] for v in ("1", "1", "2", "1")]
    assert names == ["cpu 1", "cpu 1", "cpu 2", "cpu 1"]
    assert children[0] == [sys.executable, "-P", "-m", "touchstone.adapters.discovery.devices", "minimal"]
    assert [p.name for p in cache.iterdir()] == ["devices.json"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_probe_is_announced_to_who_waits_at_a_terminal(
    terminal: bool,
    children: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    for _ in range(2):  # the second is remembered
        probe()
    assert capsys.readouterr().err == ("asking minimal which devices it finds\n" if terminal else "")


def test_a_probe_is_remembered_per_numerics_setting(children: list[list[str]]) -> None:
    """Precision settings are part of what is remembered."""
    cls = type("Sets", (hazards.Minimal,), {"environment": {"TOUCHSTONE_A": "0"}})

    def number(**environment: str) -> str:
        with mock.patch.dict(os.environ, environment):
            return devices.probe("minimal", cls, {}).devices["cpu"]["name"]

    names = [number(), number(TOUCHSTONE_A="0"), number(TOUCHSTONE_A="1"), number(TOUCHSTONE_A="0"), number(OTHER="1")]
    assert names == ["cpu 1", "cpu 2", "cpu 3", "cpu 2", "cpu 1"]


@pytest.mark.parametrize("variable", instructions.VARIABLES)
def test_a_probe_is_remembered_per_setting_of_instructions_and_threads(
    variable: str, children: list[list[str]]
) -> None:
    """What was read back under one setting says nothing of another."""

    def number(**environment: str) -> str:
        with mock.patch.dict(os.environ, environment):
            return probe().devices["cpu"]["name"]

    assert [number(), number(**{variable: "planted"}), number()] == ["cpu 1", "cpu 2", "cpu 1"]


def test_a_probe_is_remembered_per_processor(children: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that moved with its home folder, or between runners."""
    names = [probe().devices["cpu"]["name"]]
    monkeypatch.setattr(machine, "facts", lambda: {"instruction_set": "another"})
    names.append(probe().devices["cpu"]["name"])
    assert names == ["cpu 1", "cpu 2"]


def test_the_place_of_a_target_has_the_facts_of_machine_and_libraries() -> None:
    (found,) = resolve(["reference"])
    assert (found.place.framework, found.place.device) == ("reference", "cpu")
    assert found.place.facts.keys() >= {"system", "machine", "instruction_set", "threads", "numpy"}
    assert found.describe()["device"]["facts"] == found.place.facts


def test_a_fresh_probe_asks_again_and_is_remembered(children: list[list[str]]) -> None:
    names = [probe(fresh=f).devices["cpu"]["name"] for f in (False, True, False)]
    assert names == ["cpu 1", "cpu 2", "cpu 2"]


def test_a_failed_probe_is_not_remembered(children: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        failed = subprocess.CompletedProcess([], 1, "", "Traceback\nOSError: no driver\n")
        broken.setattr(subprocess, "run", lambda *a, **k: failed)
        assert probe().error == "the device probe of minimal failed: OSError: no driver"
    assert probe().devices["cpu"]["name"] == "cpu 1"


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "3", '"x"', b"\xff"], ids=repr)
def test_a_corrupted_cache_is_ignored_and_replaced(
    content: str | bytes, children: list[list[str]], cache: Path
) -> None:
    cache.mkdir()
    (cache / "devices.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [probe().devices["cpu"]["name"] for _ in range(2)] == ["cpu 1", "cpu 1"]


@pytest.mark.parametrize("value", [None, [], "cpu", {}], ids=repr)
def test_a_cached_probe_of_another_form_is_ignored(value: Any, children: list[list[str]], cache: Path) -> None:
    probe()
    path = cache / "devices.json"
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), value)))
    assert probe().devices["cpu"]["name"] == "cpu 2"


def test_a_cache_that_cannot_be_written_costs_only_a_probe(children: list[list[str]], cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert [probe().devices["cpu"]["name"] for _ in range(2)] == ["cpu 1", "cpu 2"]
    assert cache.read_text() == "a file where the folder should be"


def test_a_real_probe_answers_with_precision() -> None:
    (found,) = resolve(["reference"])
    assert (found.id, found.unavailable) == ("reference@cpu", None)
    assert list(found.versions) == ["numpy", "ml_dtypes"]
    cached = devices.probe("reference", found.cls, found.versions)
    facts = cached.devices["cpu"]
    assert (facts["name"], facts["precision"]) == ("cpu", {"accumulation": "float32"})
    assert facts["uses"]["numpy"] in conditions.VALUES["numpy"]
