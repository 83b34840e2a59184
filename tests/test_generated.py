"""Do generated cases find planted defects, repeat exactly, and become stored cases that show the defect again?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import test_planted_defects as planted
from tests.command import copy_repository, run
from tests.test_planted_defects import QUANTIZED, Planted, give, wrap_layers
from tests.test_upstream_cases import changes_products
from touchstone.adapters import known
from touchstone.adapters.checked import checked_lookup
from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Packed
from touchstone.golden.cases import generated, regressions
from touchstone.golden.catalogue import CATALOGUE, Case
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct, probes, requirements
from touchstone.suites.assay import Assay, Bench, Fuzz
from touchstone.suites.conclusion import verdict_of
from touchstone.suites.generated import explore, finding, linear, lookup
from touchstone.suites.generated.drawn import Example, Made, Property
from touchstone.suites.generated.properties import PROPERTIES
from touchstone.verdict.expectation import Deviation, Expectations, Scope
from touchstone.verdict.observation import Deviates
from touchstone.verdict.rule import Judgement

QUESTIONS = [q for q in direct.questions() if any(generated.MARK in c.marks for c in q.cases)]
TEMPLATES = {q.function.__name__: q for q in QUESTIONS}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded(), fuzz=Fuzz(examples=60))
    yield made
    made.close()


@cache
def entries(name: str) -> Expectations:
    cls = registry.adapter_class(name)
    return known.load(known.path_for(cls), cls, requirements.load().keys())


def assayed(
    name: str, case: Case, bench: Bench, plant: Callable[[Any], None] | None = None, target: str = "torch"
) -> tuple[Judgement, str]:
    """The verdict on one generated case by an adapter with a defect, in this process, and what it says."""
    found = registry.default(target)
    adapter: Any = found.cls("cpu")
    adapter.undo = []
    if plant:
        plant(adapter)
    here = replace(bench, known={found.id: entries(target)})
    try:
        assay, error = direct.run(TEMPLATES[name], Planted(found, adapter), case, here)
    finally:
        for undo in adapter.undo:
            undo()
    judgement, seen = verdict_of(assay, error, entries(target), bootstrap=False)
    return judgement, seen.message


def template(name: str, **params: Any) -> Case:
    cases = TEMPLATES[name].cases
    return next(c for c in cases if all(c.params.get(k) == v for k, v in params.items()))


def reads_strided_ids_as_dense(adapter: Any) -> None:
    def change(layer: Any) -> None:
        call = layer._call

        def dense(module: Any, ids: Any) -> Any:
            strided = ids.dim() == 1 and len(ids) > 1 and ids.stride(0) == 2
            return call(module, ids.as_strided(ids.shape, (1,)) if strided else ids)

        layer._call = dense

    wrap_layers(adapter, ("embedding",), change)


def misses_the_last_row(adapter: Any) -> None:
    def change(layer: Any) -> None:
        call = layer._call
        layer._call = lambda module, ids: call(module, ids.clamp(max=max(0, len(module.weight) - 2)))

    wrap_layers(adapter, ("raw_lookup",), change)


def reads_a_strided_weight_as_dense(adapter: Any) -> None:
    def dense(module: Any, x: Any, out: Any) -> Any:
        weight = module.weight
        if weight.is_contiguous():
            return out
        flat = weight.detach().as_strided(weight.shape, (weight.shape[1], 1))
        return adapter.torch.nn.functional.linear(x, flat, module.bias)

    changes_products(adapter, dense)


def halves_the_head(adapter: Any) -> None:
    def change(layer: Any) -> None:
        head = layer.as_linear
        layer.as_linear = lambda x: head(x) / 2

    wrap_layers(adapter, ("embedding",), change)


def forgets_a_row_of_the_batch(adapter: Any) -> None:
    def change(layer: Any) -> None:
        vjp = layer.vjp

        def short(x: Any, cotangent: Any, method: Any = "call") -> Any:
            found = vjp(x, cotangent, method)
            found["weight"] = vjp(x[:-1], cotangent[:-1], method)["weight"] if len(x) > 1 else found["weight"]
            return found

        layer.vjp = short

    wrap_layers(adapter, ("linear",), change)


def multiplies_by_the_bias(adapter: Any) -> None:
    def change(weight: Any, parts: dict[str, Any]) -> Any:
        if parts.get("bias") is not None:
            parts["bias"] = -parts["bias"]
        return weight

    give(adapter, ("quantized_linear",), change)


def shifts_quantized_gradients(adapter: Any) -> None:
    def change(layer: Any) -> None:
        vjp = layer.vjp

        def shifted(*args: Any) -> Any:
            found = vjp(*args)
            found["x"] = found["x"][..., ::-1].copy()
            return found

        layer.vjp = shifted

    wrap_layers(adapter, ("quantized_linear",), change)


PLANTED: list[tuple[Callable[[Any], None], str, dict[str, Any]]] = [
    (planted.loses_signed_zero, "test_rows_of_numbers", {"layer": "embedding", "dtype": "float16"}),
    (planted.loses_signed_zero, "test_rows_of_any_bits", {"layer": "raw_lookup", "dtype": "bfloat16"}),
    (reads_strided_ids_as_dense, "test_rows_of_numbers", {"layer": "embedding", "dtype": "float32"}),
    (misses_the_last_row, "test_rows_of_any_bits", {"layer": "raw_lookup", "dtype": "float32"}),
    (planted.casts_by_truncation, "test_casts", {"layer": "linear", "dtype": "float32"}),
    (planted.counts_a_repeated_id_once, "test_table_gradients", {"layer": "raw_lookup", "dtype": "float32"}),
    (planted.adds_the_bias_twice, "test_linear", {"dtype": "bfloat16"}),
    (reads_a_strided_weight_as_dense, "test_linear", {"dtype": "float32"}),
    (planted.rounds_x_to_tf32, "test_exact_linear", {"dtype": "float32"}),
    (halves_the_head, "test_tied_head", {"dtype": "float16"}),
    (forgets_a_row_of_the_batch, "test_linear_gradients", {"dtype": "float16"}),
    (planted.makes_every_code_one_too_high, "test_quantized_weights", {"dtype": "float32"}),
    (planted.rounds_codes_down, "test_codes_of_two_targets", {"dtype": "float32"}),
    (planted.swaps_codes_that_cross_words, "test_quantized_rows", {"dtype": "bfloat16"}),
    (planted.scales_blocks_by_half, "test_quantized_products", {"layer": "quantized_embedding", "dtype": "float32"}),
    (multiplies_by_the_bias, "test_quantized_products", {"layer": "quantized_linear", "dtype": "float16"}),
    (shifts_quantized_gradients, "test_quantized_input_gradients", {"layer": "quantized_linear", "dtype": "float32"}),
]


@pytest.mark.parametrize(
    ("plant", "name", "params"), PLANTED, ids=[f"{plant.__name__}-{name}" for plant, name, _ in PLANTED]
)
def test_a_planted_defect_is_found(
    plant: Callable[[Any], None], name: str, params: dict[str, Any], bench: Bench
) -> None:
    case = template(name, **params)
    assert assayed(name, case, bench)[0].verdict == "conforms"
    judgement, message = assayed(name, case, bench, plant)
    assert judgement.verdict == "deviates", judgement
    assert finding.HINT in message
    assert "\nneeds = [" in message


def test_an_unchecked_lookup_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    case = template("test_checked_ids")
    assert assayed("test_checked_ids", case, bench)[0].verdict == "conforms"
    checked = checked_lookup
    monkeypatch.setattr(probes, "checked_lookup", lambda layer, ids, size: checked(layer, ids, size + 1))
    assert assayed("test_checked_ids", case, bench)[0].verdict == "deviates"


def test_every_property_has_a_test_of_its_requirement_and_a_planted_defect() -> None:
    assert {q.requirement.id for q in QUESTIONS} == {p.requirement for p in PROPERTIES.values()}
    assert len(QUESTIONS) == len(PROPERTIES)
    assert {name for _, name, _ in PLANTED} | {"test_checked_ids"} == set(TEMPLATES)


def stored(text: str, folder: Path) -> Case:
    """The one case in a file of regressions; its arrays are in the catalogue afterwards."""
    path = folder / "regressions.toml"
    path.write_text(text)
    ((case,),) = regressions.load(path).values()
    return case


def test_a_finding_becomes_a_case_that_is_red_while_the_defect_is_there(bench: Bench, tmp_path: Path) -> None:
    """Found, printed, pasted, asked again by the property that found it: red with the defect, green without."""
    name, plant = "test_linear", reads_a_strided_weight_as_dense
    _, message = assayed(name, template(name, dtype="float32"), bench, plant)
    text = message.partition(finding.HINT)[2].replace('why = ""', 'why = "a weight\'s strides were ignored"')
    before = set(CATALOGUE)
    try:
        case = stored(text, tmp_path)
        arrays = Made({key: CATALOGUE[key] for key in case.arrays.values()})  # type: ignore[misc]
        asked = PROPERTIES[re.search(r'property = "(.*)"', text)[1]]  # type: ignore[index]
        verdicts = []
        for defect in (plant, lambda adapter: None):
            target = registry.default("torch")
            adapter = target.cls("cpu")
            defect(adapter)
            here = replace(bench, golden=arrays)  # type: ignore[arg-type]
            assay = Assay(Planted(target, adapter), case, requirements.load()[asked.requirement], here)
            error = None
            try:
                asked.ask(assay)
            except Deviates as raised:
                error = raised
            verdicts.append(str(verdict_of(assay, error, entries("torch"), bootstrap=False)[0].verdict))
        assert verdicts == ["deviates", "conforms"]
    finally:
        for key in set(CATALOGUE) - before:
            del CATALOGUE[key]


def test_the_name_of_a_finding_is_stable() -> None:
    (case, *_) = regressions.of("rows of numbers")
    recipes = {role: CATALOGUE[key] for role, key in case.arrays.items()}
    again = replace(case, params={k: v for k, v in case.params.items() if k != "regression"})
    names = {finding.name_of("EMB-SHAPE-1", again, recipes) for _ in range(3)}  # type: ignore[arg-type]
    assert len(names) == 1
    assert names.pop().startswith("emb-shape-1-")


GOOD = """[[regression]]
name = "a"
property = "rows of numbers"
found = 2026-11-21
target = "torch@cpu"
why = "because"
needs = []
params = {dtype = "float32"}
[regression.arrays]
"""
TABLE = 'table = {kind = "uniform", dtype = "float32", shape = [2, 3], options = {}, stream = "generated/1"}\n'


MALFORMED = {
    "no why": (GOOD.replace('why = "because"\n', ""), "regression 1 (a): lacks why"),
    "empty why": (GOOD.replace('"because"', '" "'), "regression 1 (a): why must not be blank: write why it is kept"),
    "unknown field": (GOOD.replace("needs", "need"), "regression 1 (a): has an unknown field 'need'"),
    "no date": (
        GOOD.replace("2026-11-21", '"today"'),
        "regression 1 (a): found must be a date such as 2026-11-21, not 'today'",
    ),
    "a number for a list": (GOOD.replace("[]", "3"), "regression 1 (a): needs must be a list, not 3"),
    "numbers in a list": (GOOD.replace("[]", "[3]"), "regression 1 (a): each of needs must be a string, not 3"),
    "a list for a name": (GOOD.replace('"a"', '["a"]'), "regression 1 (['a']): name must be a string"),
    "a list for a parameter": (
        GOOD.replace('"float32"', '["float32"]'),
        "params 'dtype' must be true or false or a number or a string",
    ),
    "an array of no table": (GOOD + "table = 3", "regression 1 (a): arrays 'table' must be a table, not 3"),
    "no recipe": (GOOD + TABLE.replace("uniform", "uniformly"), "array 'table': no recipe makes 'uniformly'"),
    "no stream": (GOOD + TABLE.replace(', stream = "generated/1"', ""), "arrays 'table' lacks stream"),
    "no size": (GOOD + TABLE.replace("[2, 3]", "[2, -3]"), "each of arrays 'table' shape must be 0 or more, not -3"),
    "no such option": (
        GOOD + TABLE.replace("{}", "{nan = 1}"),
        "array 'table': its 'options' and 'shape' make no array",
    ),
    "same name": (GOOD + GOOD, "regression 2 (a): the name occurs twice"),
    "one table": ("[regression]\nname = 1", "'regression' must be a list of tables"),
    "another table": ("[[regressions]]", "unknown table 'regressions'"),
    "no TOML": ("[[regression]", "at the end of an array declaration"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_entry_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """The message names the file, the entry and the key; nothing enters the catalogue."""
    path, before = tmp_path / "regressions.toml", dict(CATALOGUE)
    path.write_text(text)
    with pytest.raises(regressions.RegressionError, match=re.escape(message)) as error:
        regressions.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert before == CATALOGUE


@pytest.mark.parametrize("arguments", [("verify",), ("generate",)], ids=" ".join)
@pytest.mark.parametrize("fault", ["no TOML", "a number for a list"])
def test_a_malformed_entry_ends_the_command_with_one_error(
    fault: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    copy_repository(tmp_path)
    text, message = MALFORMED[fault]
    (tmp_path / "golden" / "cases" / "regressions.toml").write_text(text)
    done = run("-m", "touchstone", "golden", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path / 'golden' / 'cases' / 'regressions.toml'}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def examples(asked: Property, case: Case, bench: Bench, target: str = "reference") -> list[str]:
    """What is drawn, in order."""
    drawn: list[str] = []

    def ask(assay: Assay) -> None:
        drawn.append(repr((dict(assay.params), {k: v.describe() for k, v in assay.bench.golden.recipes.items()})))  # type: ignore[attr-defined]
        assay.behaves("seen")

    found = registry.default(target)
    assay = Assay(found, case, requirements.load()[asked.requirement], bench)
    explore.explore(assay, replace(asked, ask=ask))
    return drawn


@pytest.mark.parametrize("asked", PROPERTIES.values(), ids=list(PROPERTIES))
def test_the_same_seed_draws_the_same_examples(asked: Property, bench: Bench) -> None:
    name = next(q for q in QUESTIONS if q.requirement.id == asked.requirement)
    case = name.cases[0]
    first, again = examples(asked, case, bench), examples(asked, case, bench)
    other = examples(asked, case, replace(bench, fuzz=Fuzz(60, seed=1)))
    assert first == again
    assert first != other
    assert len(set(first)) > len(first) / 2


def test_examples_do_not_depend_on_the_modules_that_are_loaded(bench: Bench, tmp_path: Path) -> None:
    """Hypothesis would draw numbers that it finds in the source of loaded modules of the project."""
    case = template("test_checked_ids")
    first = examples(lookup.CHECKED, case, bench)
    (tmp_path / "newly_loaded.py").write_text("A = [" + ", ".join(str(n) for n in range(10**6, 10**6 + 500)) + "]\n")
    import importlib.util
    import sys

    spec = importlib.util.spec_from_file_location("newly_loaded", tmp_path / "newly_loaded.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["newly_loaded"] = module
    try:
        spec.loader.exec_module(module)
        assert examples(lookup.CHECKED, case, bench) == first
    finally:
        del sys.modules["newly_loaded"]


def test_a_known_deviation_explains_and_the_search_goes_on(bench: Bench) -> None:
    """Rows without the signs of their zeros are registered as wrong bits; a refusal is still a finding."""
    explained = Deviation(
        requirement="EMB-SHAPE-1", scope=Scope("torch", seen_on=({"device": "cpu"},)),
        versions=entries("torch").deviations[0].versions,
        cases=({"layer": ("embedding",)},), origin="a test", observed=frozenset({"wrong bits"}), headroom_at_most=None,
        seen=date(2026, 11, 21), cause="x", reproduction="x", advice="x", some_conform=True,
    )  # fmt: skip
    case = template("test_rows_of_numbers", layer="embedding", dtype="float32")
    found = registry.default("torch")

    def asked(plant: Callable[[Any], None]) -> tuple[str, str]:
        adapter = found.cls("cpu")
        plant(adapter)
        here = replace(bench, known={found.id: Expectations((explained,))})
        assay, error = direct.run(TEMPLATES["test_rows_of_numbers"], Planted(found, adapter), case, here)
        judgement, seen = verdict_of(assay, error, Expectations((explained,)), bootstrap=False)
        return str(judgement.verdict), seen.message

    verdict, message = asked(planted.loses_signed_zero)
    assert verdict == "known deviation"
    assert re.search(r"seed 0: 60 examples, \d+ x wrong bits explained", message)

    def both(adapter: Any) -> None:
        planted.loses_signed_zero(adapter)

        def refuse(layer: Any) -> None:
            call = layer._call

            def refusing(module: Any, ids: Any) -> Any:
                if len(module.weight) == 129:
                    raise MemoryError("planted")
                return call(module, ids)

            layer._call = refusing

        wrap_layers(adapter, ("embedding",), refuse)

    verdict, message = asked(both)
    assert verdict == "deviates"
    assert "num_embeddings=129" in message


def test_examples_that_do_not_show_what_is_registered_say_nothing_of_it(bench: Bench) -> None:
    """An entry is stale where its enumerated cases say so: a few examples may miss what it speaks of."""
    found, case = registry.default("torch"), template("test_rows_of_any_bits", layer="embedding", dtype="float32")
    entry = next(e for e in entries("jax").deviations if e.requirement == "EMB-BITS-1")
    versions = entries("torch").deviations[0].versions
    registered = Expectations(
        (replace(entry, scope=Scope("torch", seen_on=({"device": "cpu"},)), versions=versions, cases=({},)),)
    )
    assay, error = direct.run(
        TEMPLATES["test_rows_of_any_bits"], found, case, replace(bench, known={found.id: registered})
    )
    judgement, _ = verdict_of(assay, error, registered, bootstrap=False)
    assert (judgement.verdict, judgement.note) == ("conforms", "what is registered for this case was not drawn")
    assay.case = replace(assay.case, marks=())
    assert verdict_of(assay, error, registered, bootstrap=False)[0].verdict == "stale deviation"


def changes_the_sign_of_scales(adapter: Any) -> None:
    """Steps and codes both mirrored: the same numbers, in other parts."""
    give(adapter, QUANTIZED, lambda weight, parts: weight if isinstance(weight, Packed) else -weight)


def test_targets_of_the_run_are_compared_with_each_other(bench: Bench) -> None:
    """The reference and the asked target agree; only another target of the run does not."""
    case, other = template("test_codes_of_two_targets", dtype="float32"), registry.default("torch")
    adapter = other.cls("cpu")
    changes_the_sign_of_scales(adapter)

    def verdict(*targets: Any) -> tuple[str, str]:
        here = replace(bench, targets=targets)
        asked = registry.default("torch")
        assay, error = direct.run(TEMPLATES["test_codes_of_two_targets"], asked, case, here)
        judgement, seen = verdict_of(assay, error, Expectations(), bootstrap=False)
        return str(judgement.verdict), seen.message

    assert verdict()[0] == "conforms"
    assert verdict(registry.default("torch"))[0] == "conforms"
    found, message = verdict(Planted(replace(other, device="other"), adapter))
    assert found == "deviates"
    assert "differ from torch@other" in message


def test_a_finding_is_made_smaller_only_on_request(bench: Bench) -> None:
    name = "test_linear"

    def size(shrink: bool) -> int:
        here = replace(bench, fuzz=Fuzz(60, shrink=shrink))
        _, message = assayed(name, template(name, dtype="float32"), here, planted.adds_the_bias_twice)
        shapes = re.findall(r'"shape" = \[([\d, ]*)\]', message)
        return sum(int(n) for shape in shapes for n in shape.split(","))

    assert size(True) <= size(False)


@pytest.mark.parametrize("asked", [linear.LINEAR, linear.TIED, linear.GRADIENT], ids=lambda p: p.name)
def test_no_generated_sum_overflows_float16(asked: Property, bench: Bench) -> None:
    largest = []

    def ask(assay: Assay) -> None:
        arrays = [abs(assay.golden(role).astype(np.float64)) for role in assay.case.arrays]
        terms = max(array.size for array in arrays)
        largest.append(max((array.max(initial=0) for array in arrays), default=0) ** 2 * min(terms, 100))
        assay.behaves("seen")

    found = registry.default("reference")
    case = next(q for q in QUESTIONS if q.requirement.id == asked.requirement).cases[1]
    assert case.params["dtype"] == "float16"
    assay = Assay(found, case, requirements.load()[asked.requirement], replace(bench, fuzz=Fuzz(200)))
    explore.explore(assay, replace(asked, ask=ask))
    assert len(largest) == 200
    assert 0 < max(largest) < 65504 - 2**linear.SPREAD


def test_an_example_says_what_it_needs() -> None:
    case = Example({"a": 1}, {}, ("layout:step", "dtype:float32")).case(
        Case({"dtype": "float32"}, {}, ("dtype:float32",))
    )
    assert case.needs == ("dtype:float32", "layout:step")
    assert case.params == {"dtype": "float32", "a": 1}
