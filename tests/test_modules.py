"""Is a fault of nested models red in its own requirement, planted in mlx.nn itself or in what an adapter answers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_planted_defects import Planted
from touchstone.golden.cases import module_trees, modules
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of

FRAMEWORKS = ("mlx", "jax", "torch")
GROUP = "Modules"
OVER_PROCESSES = "MOD-AVERAGE-2"
"""A second for each case, and beyond the reach of what is planted in this process."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


@cache
def questions() -> tuple[direct.Question, ...]:
    return tuple(q for q in direct.questions() if q.requirement.group == GROUP)


def red(name: str, bench: Bench, answers: Answering | None = None, *, over_processes: bool = False) -> set[str]:
    """Requirements with a red case, for an adapter whose answers are changed so."""
    target = on_cpu(name)
    adapter: Any = target.cls("cpu")
    real = adapter.module_answer
    if answers is not None:
        adapter.module_answer = lambda question, **given: answers(question, real(question, **given), given)
    found = set()
    for question in questions():
        if (question.requirement.id == OVER_PROCESSES) != over_processes:
            continue
        for case in question.cases:
            assay, error = direct.run(question, Planted(target, adapter), replace(case, hazard=None), bench)
            if verdict_of(assay, error, entries_of(name), bootstrap=False)[0].verdict.is_red:
                found.add(question.requirement.id.removeprefix("MOD-"))
    return found


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_nothing_is_red_without_a_fault(name: str, bench: Bench) -> None:
    assert red(name, bench) == set()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_question_is_answered_or_absent_with_a_reason(name: str) -> None:
    capabilities = on_cpu(name).cls.capabilities
    needs = {n for q in direct.questions() for case in q.cases for n in case.needs if n.startswith("module:")}
    assert all(capabilities.missing(need) != "" for need in needs)
    asked = {need.partition(":")[2] for need in needs}
    assert capabilities.module_questions <= asked
    absent = {need.partition(":")[2] for need in capabilities.absent if need.startswith("module:")}
    assert absent == asked - capabilities.module_questions


def test_the_gradients_of_a_chain_are_those_of_differences() -> None:
    """Of a multilinear function the quotient of differences is the derivative."""
    held = dict(module_trees.arrays(module_trees.MODELS["nested"]()))
    value, found = modules.gradients(held, modules.ORDER, modules.X, modules.COTANGENT)
    for name, gradient in found.items():
        for place in np.ndindex(gradient.shape):
            moved = held[name].copy()
            moved[place] += 1
            other, _ = modules.gradients({**held, name: moved}, modules.ORDER, modules.X, modules.COTANGENT)
            assert other - value == gradient[place]


Answering = Callable[[str, Any, dict[str, Any]], Any]
"""(question, the right answer, what was given) -> the answer."""


def _of(questions: Sequence[str], change: Callable[[Any], Any]) -> Answering:
    return lambda question, answer, given: change(answer) if question in questions else answer


def _as_text(question: str, answer: Any, given: dict[str, Any]) -> Any:
    """Numbers of a list sorted as text: the parameters of layers 2 and 10 change places."""
    if question != "parameters":
        return answer
    swap = {"layers.2.": "layers.10.", "layers.10.": "layers.2."}
    return {next((swap[s] + n[len(s) :] for s in swap if n.startswith(s)), n): v for n, v in answer.items()}


def _with_containers(question: str, answer: Any, given: dict[str, Any]) -> Any:
    return [*answer, *module_trees.containers(given["tree"])] if question == "modules" else answer


def _with_tuples(question: str, answer: Any, given: dict[str, Any]) -> Any:
    is_tuple = question == "parameters" and given["tree"][1].get("held", ("",))[0] == "plain tuple"
    return {**answer, "held.0.weight": np.zeros(1)} if is_tuple else answer


def _without_loading(question: str, answer: Any, given: dict[str, Any]) -> Any:
    """Statistics are those of a fresh layer after a file was loaded."""
    if not question.startswith("statistics"):
        return answer
    fresh = {n: v * 0 + ("var" in n) if "running" in n else v for n, v in answer[1]["arrays"].items()}
    return [answer[0], {**answer[1], "arrays": fresh}]


def _counting_one(question: str, answer: Any, given: dict[str, Any]) -> Any:
    """A count of batches that is saved as one."""
    if not question.startswith("statistics"):
        return answer
    counts = np.array(2), np.array(1)
    return [
        {**one, "arrays": {**one["arrays"], "num_batches_tracked": n}} for one, n in zip(answer, counts, strict=True)
    ]


ANSWERS: dict[str, tuple[Answering, set[str]]] = {
    "biases are not counted": (_of(["count"], lambda a: a - 266), {"EXAMPLE-1"}),
    "a list is printed without its layers": (_of(["text"], lambda a: a.replace("(layers.2)", "")), {"EXAMPLE-2"}),
    "a loss of half the squares": (_of(["l2 loss"], lambda a: (a[0] / 2, a[1])), {"EXAMPLE-3"}),
    "a gradient of sums in half precision": (
        _of(["l2 loss"], lambda a: (a[0], {n: v.astype(np.float16).astype(np.float32) for n, v in a[1].items()})),
        {"EXAMPLE-3"},
    ),
    "what is loaded is trained": (
        lambda q, a, g: {**a, "trained": sorted(a["parameters"])} if q == "load what is frozen" else a,
        {"LOAD-4"},
    ),
    "the model's dtype is kept": (
        _of(
            ["load what is frozen"],
            lambda a: {**a, "parameters": {n: v * np.float32(1) for n, v in a["parameters"].items()}},
        ),
        {"LOAD-4"},
    ),
    "statistics that a file has lost": (_without_loading, {"SAVE-3"}),
    "a count that a file has lost": (_counting_one, {"SAVE-3", "SAVE-4"}),
    "a parameter is not listed": (_of(["parameters"], lambda a: dict(list(a.items())[1:])), {"PARAMETERS-1", "NAME-1"}),
    "layers sorted as text": (_as_text, {"PARAMETERS-1"}),
    "statistics are no parameters": (
        _of(["parameters"], lambda a: {n: v for n, v in a.items() if "running" not in n}),
        {"PARAMETERS-2"},
    ),
    "gradients by weights alone": (
        _of(["gradients"], lambda a: (a[0], {n: v for n, v in a[1].items() if n.endswith("weight")})),
        {"GRADIENT-1", "GRADIENT-4"},
    ),
    "gradients of the mean": (
        _of(["gradients"], lambda a: (a[0], {n: v / 2 for n, v in a[1].items()})),
        {"GRADIENT-1", "GRADIENT-4"},
    ),
    "a sum instead of a mean": (_of(["average"], lambda a: {n: 2 * v for n, v in a.items()}), {"AVERAGE-1"}),
    "the filter's paths are shortened": (
        _of(["filter"], lambda a: {n.split(".", 1)[1]: v for n, v in a.items()}),
        {"FILTER-1"},
    ),
    "a leaf is missing": (_of(["leaves"], lambda a: a[1:]), {"LIST-4"}),
    "children of children": (_of(["children"], lambda a: [*a, "block.proj"]), {"LIST-3"}),
    "lists are modules": (_with_containers, {"LIST-2"}),
    "the root is visited last": (_of(["visit"], lambda a: [*a[1:], a[0]]), {"VISIT-1"}),
    "shared layers once": (
        _of(["modules", "visit"], lambda a: [name for name in a if name != "again"]),
        {"SHARED-1"},
    ),
    "a state that is a copy": (_of(["state"], lambda a: {n: v + 1 for n, v in a.items()}), {"STATE-1"}),
    "one array after all": (_of(["tie"], lambda a: dict.fromkeys(a, a["head.weight"])), {"TIED-1"}),
    "tuples are listed": (_with_tuples, {"PLAIN-1"}),
    "a method returns nothing": (_of(["return of eval"], lambda a: "nothing"), {"RETURN-1"}),
    "a shared layer is left alone in its second place": (
        _of(["step"], lambda a: {n: v + n.startswith("again") for n, v in a.items()}),
        {"STEP-2"},
    ),
    "a lenient load takes nothing": (
        _of(["load leniently"], lambda a: {**a, "parameters": dict.fromkeys(a["parameters"], np.zeros(0))}),
        {"LOAD-2"},
    ),
    "no gradient of what is not called": (
        _of(["gradients"], lambda a: (a[0], {n: v for n, v in a[1].items() if v.any()})),
        {"GRADIENT-3", "SHARED-1"},
    ),
}
"""Fault in what MLX's adapter answers -> the requirements that turn red, and no other does."""


@pytest.mark.parametrize("fault", ANSWERS)
def test_a_planted_answer_is_red_where_it_is(fault: str, bench: Bench) -> None:
    answers, where = ANSWERS[fault]
    assert red("mlx", bench, answers) == where


def test_a_sum_over_processes_is_red(bench: Bench) -> None:
    def doubled(question: str, answer: Any, given: dict[str, Any]) -> Any:
        return [{name: 2 * value for name, value in one.items()} for one in answer]

    assert red("mlx", bench, over_processes=True) == set()
    assert red("mlx", bench, doubled, over_processes=True) == {"AVERAGE-2"}


Plant = Callable[[Any], dict[str, Any]]
"""Given mlx.nn -> names in it or in its Module -> what takes their place."""


def _freezes_what_is_inside_too(nn: Any) -> dict[str, Any]:
    real = nn.Module.freeze
    return {"Module.freeze": lambda self, **options: real(self, **{**options, "recurse": True})}


def _freezes_every_key(nn: Any) -> dict[str, Any]:
    real = nn.Module.freeze
    return {"Module.freeze": lambda self, **options: real(self, **{**options, "keys": None})}


def _unfreezes_everything(nn: Any) -> dict[str, Any]:
    return {"Module.unfreeze": lambda self, **options: self.apply_to_modules(lambda _, m: m._no_grad.clear())}


def _sets_the_mode_of_one_module(nn: Any) -> dict[str, Any]:
    def train(self: Any, mode: bool = True) -> Any:
        self._set_training_mode(mode)
        return self

    return {"Module.train": train}


def _mode_skips_lists(nn: Any) -> dict[str, Any]:
    def train(self: Any, mode: bool = True) -> Any:
        self._set_training_mode(mode)
        for value in self.values():
            if isinstance(value, nn.Module):
                value.train(mode)
        return self

    return {"Module.train": train}


def _checks_no_shapes(nn: Any) -> dict[str, Any]:
    real = nn.Module.load_weights

    def load(self: Any, weights: Any, strict: bool = True) -> Any:
        fits = "block.proj.weight" in dict(nn.layers.base.tree_flatten(self.parameters()))
        return real(self, weights, strict=strict and not fits)

    return {"Module.load_weights": load}


def _saves_in_half_precision(nn: Any) -> dict[str, Any]:
    real = nn.Module.save_weights

    def save(self: Any, file: str) -> None:
        import mlx.core as mx

        self.set_dtype(mx.float16)
        real(self, file)

    return {"Module.save_weights": save}


def _updates_no_lists(nn: Any) -> dict[str, Any]:
    real = nn.Module.update

    def update(self: Any, parameters: Any, strict: bool = True) -> Any:
        return real(self, {k: v for k, v in parameters.items() if not isinstance(v, list)}, strict=strict)

    return {"Module.update": update}


def _adds_modules(nn: Any) -> dict[str, Any]:
    def update(self: Any, modules: Any, strict: bool = True) -> Any:
        dict.update(self, modules)
        return self

    return {"Module.update_modules": update}


def _casts_integers(nn: Any) -> dict[str, Any]:
    def cast(self: Any, dtype: Any, predicate: Any = None) -> None:
        self.apply(lambda value: value.astype(dtype))

    return {"Module.set_dtype": cast}


def _casts_itself_alone(nn: Any) -> dict[str, Any]:
    def cast(self: Any, dtype: Any, predicate: Any = None) -> None:
        for name, value in self.items():
            if hasattr(value, "astype"):
                self[name] = value.astype(dtype)

    return {"Module.set_dtype": cast}


def _applies_twice_where_shared(nn: Any) -> dict[str, Any]:
    def apply(self: Any, function: Any, chosen: Any = None) -> Any:
        for _, module in self.named_modules():
            for name, value in list(module.items()):
                if hasattr(value, "astype"):
                    module[name] = function(value)
        return self

    return {"Module.apply": apply}


def _lists_one_level(nn: Any) -> dict[str, Any]:
    def apply_to_modules(self: Any, function: Any) -> Any:
        function("", self)
        for name, value in nn.layers.base.tree_flatten(self.children(), is_leaf=self.is_module):
            function(name, value)
        return self

    return {"Module.apply_to_modules": apply_to_modules}


def _differentiates_what_is_frozen(nn: Any) -> dict[str, Any]:
    return {"Module.trainable_parameters": lambda self: self.parameters()}


def _lists_underscores(nn: Any) -> dict[str, Any]:
    def chosen(module: Any, key: str, value: Any) -> bool:
        return isinstance(value, (dict, list)) or hasattr(value, "astype")

    return {"Module.valid_parameter_filter": staticmethod(chosen)}


def _refuses_a_key_that_one_module_lacks(nn: Any) -> dict[str, Any]:
    """As releases before ml-explore/mlx#3966 did."""

    def validate(self: Any, keys: Any) -> None:
        for module in self.modules():
            module._validate_keys(keys, True)

    return {"Module._validate_keys_recursive": validate}


NATIVE: dict[str, tuple[Plant, set[str]]] = {
    "freezes what is inside too": (_freezes_what_is_inside_too, {"FREEZE-1", "GRADIENT-4"}),
    "freezes every key": (_freezes_every_key, {"FREEZE-1", "FREEZE-2", "FREEZE-3", "GRADIENT-1", "LOAD-4", "STEP-1"}),
    "unfreezes everything": (_unfreezes_everything, {"FREEZE-1", "FREEZE-2"}),
    "sets the mode of one module": (_sets_the_mode_of_one_module, {"MODE-1", "MODE-2"}),
    "the mode skips lists": (_mode_skips_lists, {"MODE-1", "MODE-2"}),
    "checks no shapes": (_checks_no_shapes, {"LOAD-1"}),
    "saves in half precision": (_saves_in_half_precision, {"SAVE-1", "SAVE-2", "SAVE-3"}),
    "updates no lists": (
        _updates_no_lists,
        {
            "APPLY-1",
            "CAST-1",
            "EXAMPLE-3",
            "GRADIENT-1",
            "GRADIENT-4",
            "LOAD-2",
            "LOAD-3",
            "LOAD-4",
            "SAVE-1",
            "SAVE-2",
            "SAVE-3",
            "STEP-1",
            "UPDATE-1",
            "UPDATE-2",
        },
    ),
    "adds modules": (_adds_modules, {"REPLACE-1", "REPLACE-2"}),
    "casts integers": (_casts_integers, {"CAST-2"}),
    "casts itself alone": (_casts_itself_alone, {"CAST-1", "CAST-2"}),
    "applies twice where shared": (_applies_twice_where_shared, {"APPLY-1", "CAST-1"}),
    "lists one level": (
        _lists_one_level,
        {
            "FREEZE-1",
            "FREEZE-2",
            "GRADIENT-1",
            "GRADIENT-2",
            "LIST-1",
            "LOAD-4",
            "MODE-1",
            "MODE-2",
            "STEP-1",
            "VISIT-1",
        },
    ),
    "differentiates what is frozen": (
        _differentiates_what_is_frozen,
        {"FREEZE-1", "FREEZE-2", "FREEZE-3", "GRADIENT-1", "GRADIENT-2", "GRADIENT-4", "LOAD-4", "STEP-1"},
    ),
    "lists underscores": (_lists_underscores, {"HIDDEN-1"}),
    "refuses a key that one module lacks": (_refuses_a_key_that_one_module_lacks, {"FREEZE-2"}),
}
"""Fault of mlx.nn -> the requirements that turn red, and no other does."""


@pytest.mark.parametrize("fault", NATIVE)
def test_a_planted_fault_is_red_where_it_is(fault: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    nn = pytest.importorskip("mlx.nn")
    plant, where = NATIVE[fault]
    for path, value in plant(nn).items():
        monkeypatch.setattr(f"mlx.nn.{path}", value)
    assert red("mlx", bench) == where


def test_every_requirement_has_a_planted_fault() -> None:
    planted = {f"MOD-{name}" for faults in (ANSWERS, NATIVE) for _, where in faults.values() for name in where}
    assert {q.requirement.id for q in questions()} - planted == {OVER_PROCESSES}
