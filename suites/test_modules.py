"""Nested models: is every parameter, layer and mode of them where it is to be, through training, files and casts?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from touchstone.adapters.isolation.outcome import Outcome
from touchstone.golden.cases import module_trees, modules
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

Arrays = Mapping[str, np.ndarray]


def _outcome(assay: Assay, **given: Any) -> Outcome:
    """What the case's question comes to, of its model; given: what the question takes beside the tree."""
    (question,) = (need.partition(":")[2] for need in assay.case.needs if need.startswith("module:"))
    return assay.ask(probes.module_answer, question=question, tree=modules.tree(assay.case), **given)


def _answer(assay: Assay, **given: Any) -> Any:
    return assay.value(_outcome(assay, **given))


def _held(assay: Assay, phase: int = 0) -> dict[str, np.ndarray]:
    """Every array of the case's model, or of another one of the same form, by path."""
    return dict(module_trees.arrays(modules.tree(assay.case, phase)))


def _same_names(assay: Assay, got: Any, want: Any, kind: str) -> None:
    """The same names, each once. Raises Deviates where one is missing, too many, or comes twice."""
    if sorted(got) != sorted(want):
        missing, more = sorted(set(want) - set(got)), sorted(set(got) - set(want))
        twice = sorted({name for name in got if list(got).count(name) > 1})
        message = f"missing: {missing}; too many: {more}; twice: {twice}"
        assay.behaves(f"other {kind}", conforms=False, message=message)


def _same(assay: Assay, got: Arrays, want: Arrays, *, signed_zero: bool = True) -> None:
    """Exactly these arrays under these paths."""
    _same_names(assay, got, want, "names")
    for name, value in want.items():
        assay.same_bits(got[name], value, signed_zero=signed_zero)


def _trained(assay: Assay, names: Any) -> list[str]:
    """Those of the names that the case's steps leave trained."""
    _, _, frozen = modules.STEPS[assay.params["frozen"]]
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in frozen)]


_RUN = {"x": modules.X, "cotangent": modules.COTANGENT}
"""How a chain of layers is called and differentiated."""


@requirement("MOD-PARAMETERS-1", modules.PARAMETER_CASES)
def test_every_parameter_is_listed(assay: Assay) -> None:
    _same(assay, _answer(assay), _held(assay))


@requirement("MOD-PARAMETERS-2", modules.BUFFER_CASES)
def test_running_statistics_among_the_parameters(assay: Assay) -> None:
    found = _answer(assay)
    assay.behaves("listed" if any(name.endswith("running_mean") for name in found) else "not listed")


@requirement("MOD-FREEZE-1", modules.FREEZE_CASES)
def test_what_is_trained_after_freezing(assay: Assay) -> None:
    found = _answer(assay, steps=modules.STEPS[assay.params["frozen"]][1])
    _same_names(assay, found, _trained(assay, _held(assay)), "parameters trained")
    assay.behaves("as it was told")


@requirement("MOD-FREEZE-2", modules.STRICT_CASES)
def test_freezing_by_a_key_that_is_not_there(assay: Assay) -> None:
    key, verb = assay.params["named"], assay.params["verb"]
    found = _answer(assay, steps=modules.strict_steps(assay.case))
    if bool(found["ended"]) != (key == "in none"):
        assay.behaves(found["ended"] or "not refused", conforms=False)
    before = verb == "freeze"
    changed = key != "in none"
    want = [name for name in _held(assay) if before != (changed and name.endswith(".bias"))]
    _same_names(assay, found["trained"], want, "parameters trained")
    assay.behaves(found["ended"] or "as it is documented")


@requirement("MOD-FREEZE-3", modules.STATISTICS_CASES)
def test_running_statistics_are_not_trained(assay: Assay) -> None:
    found = _answer(assay, steps=modules.STATISTICS[assay.params["done"]])
    norms = [path for path in module_trees.layers(modules.tree(assay.case)) if path.endswith(("norm", "layers.1"))]
    want = [*_held(assay), *(f"{path}.{name}" for path in norms for name in ("weight", "bias"))]
    _same_names(assay, found, want, "parameters trained")
    assay.behaves("never trained")


@requirement("MOD-GRADIENT-1", modules.GRADIENT_CASES)
def test_gradients_of_what_is_trained(assay: Assay) -> None:
    held, dtype = _held(assay), DTYPES[assay.params.get("dtype", "float32")]
    order = modules.ORDER if assay.params["model"] == "nested" else modules.SHORT_ORDER
    rows = held[f"{order[-1]}.weight"].shape[0]
    x, cotangent = modules.X.astype(dtype), module_trees.integers((2, rows), 3).astype(dtype)
    steps = modules.STEPS[assay.params["frozen"]][1]
    value, found = _answer(assay, steps=steps, order=order, x=x, cotangent=cotangent)
    want, every = modules.gradients(held, order, x, cotangent)
    _same(assay, found, {name: every[name].astype(dtype) for name in _trained(assay, held)}, signed_zero=False)
    assay.same_bits(np.array([value]), np.array([want]))


@requirement("MOD-GRADIENT-2", modules.ALL_FROZEN_CASES)
def test_gradients_where_nothing_is_trained(assay: Assay) -> None:
    outcome = _outcome(assay, steps=modules.STEPS["the whole"][1], order=modules.ORDER, **_RUN)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    assay.behaves("gradients" if outcome.value[1] else "no gradients")


@requirement("MOD-GRADIENT-3", modules.UNUSED_CASES)
def test_gradients_of_a_layer_that_is_not_called(assay: Assay) -> None:
    cotangent = module_trees.integers((2, 5), 3)
    _, found = _answer(assay, steps=(), order=modules.ORDER[:-1], x=modules.X, cotangent=cotangent)
    of_it = [value for name, value in found.items() if name.startswith("head.")]
    assay.behaves("zeros" if of_it and not any(value.any() for value in of_it) else "something" if of_it else "none")


@requirement("MOD-GRADIENT-4", modules.BESIDE_CASES)
def test_gradients_beside_what_is_frozen(assay: Assay) -> None:
    """Of a layer that is trained, in a model whose own arrays are not."""
    held = _held(assay)
    x, cotangent = modules.X, module_trees.integers((2, 2), 3)
    _, found = _answer(
        assay, steps=modules.BESIDE[assay.params["frozen"]], order=("inner.proj",), x=x, cotangent=cotangent
    )
    _, every = modules.gradients(held, ("inner.proj",), x, cotangent)
    of_it = {name: value.astype(np.float32) for name, value in every.items() if name.startswith("inner.proj.")}
    _same(assay, {name: value for name, value in found.items() if name in of_it}, of_it, signed_zero=False)


@requirement("MOD-STEP-1", modules.STEP_CASES)
def test_a_step_changes_what_is_trained_alone(assay: Assay) -> None:
    held = _held(assay)
    steps = modules.STEPS[assay.params["frozen"]][1]
    found = _answer(assay, steps=steps, rate=0.5, order=modules.ORDER, **_RUN)
    _, every = modules.gradients(held, modules.ORDER, modules.X, modules.COTANGENT)
    trained = _trained(assay, held)
    want = {name: value - 0.5 * every[name] * (name in trained) for name, value in held.items()}
    _same(assay, found, {name: value.astype(np.float32) for name, value in want.items()}, signed_zero=False)


@requirement("MOD-STEP-2", modules.SHARED_STEP_CASES)
def test_a_step_of_a_layer_in_two_places(assay: Assay) -> None:
    """Its gradient is the sum over both, it is changed once, and it is still in both places."""
    alias = {name.replace("first", "again"): value for name, value in _held(assay).items() if "first" in name}
    found = _answer(assay, steps=(), rate=0.5, order=modules.SHARED_ORDER, **_RUN)
    held = {**_held(assay), **alias}
    _, every = modules.gradients(held, modules.SHARED_ORDER, modules.X, modules.COTANGENT)
    want = {name: value - 0.5 * every[name] for name, value in held.items() if name.startswith("head")}
    for name in alias:
        other = name.replace("again", "first")
        want[name] = want[other] = held[name] - 0.5 * (every[name] + every[other])
    _same(assay, found, {name: value.astype(np.float32) for name, value in want.items()}, signed_zero=False)


@requirement("MOD-TIED-1", modules.TIED_CASES)
def test_an_array_in_two_layers(assay: Assay) -> None:
    other, after = modules.tree(assay.case, 3), assay.params["after"]
    run = {"order": modules.SHORT_ORDER, "x": modules.X, "cotangent": module_trees.integers((2, 3), 3)}
    found = _answer(assay, after=after, path="head", to="proj", other=other, **run)
    alike = "head.weight" not in found or np.array_equal(found["head.weight"], found["proj.weight"])
    assay.behaves("one array" if alike else "two arrays")


def _saved(assay: Assay) -> Outcome:
    return _outcome(assay, into=modules.tree(assay.case, 3))


@requirement("MOD-SAVE-1", modules.SAVE_CASES)
def test_what_was_saved_is_loaded(assay: Assay) -> None:
    held = _held(assay)
    if assay.params["model"] == "shared":
        held |= {name.replace("first", "again"): value for name, value in held.items() if "first" in name}
    _same(assay, assay.value(_saved(assay)), held)


@requirement("MOD-SAVE-2", modules.KEY_CASES)
def test_files_of_models_with_unusual_keys(assay: Assay) -> None:
    """Refused by whatever error, or loaded as they were saved."""
    outcome = _saved(assay)
    if outcome.kind == "raised":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    _same(assay, assay.value(outcome), _held(assay))


def _after_training(assay: Assay) -> Any:
    """What a model is after calls in training, and one that has loaded it."""
    x = np.arange(24, dtype=np.float32).reshape(8, 3) ** 2
    return _answer(assay, order=modules.NORMS[assay.params["model"]], x=x)


@requirement("MOD-SAVE-3", modules.SAVED_STATISTICS_CASES)
def test_running_statistics_survive_a_file(assay: Assay) -> None:
    saved, loaded = _after_training(assay)
    for path in modules.NORMS[assay.params["model"]]:
        name = f"{path}.running_mean" if path else "running_mean"
        if name not in saved["arrays"] or not saved["arrays"][name].any():
            assay.behaves("no statistics", conforms=False, message=f"{name} of {sorted(saved['arrays'])}")
    _same(assay, loaded["arrays"], saved["arrays"])
    assay.same_bits(loaded["result"], saved["result"])


@requirement("MOD-SAVE-4", modules.COUNT_CASES)
def test_a_count_of_batches(assay: Assay) -> None:
    """After two calls in training."""
    counts = [one["arrays"].get("num_batches_tracked") for one in _after_training(assay)]
    told = {(None, None): "none", (2, 2): "kept and saved"}
    shown = told.get(tuple(None if count is None else int(count) for count in counts), "another count")  # type: ignore[arg-type]
    assay.behaves(shown, conforms=shown != "another count", message=str(counts))


def _changed(before: Arrays, after: Arrays) -> list[str]:
    """Paths of the parameters that are others now."""
    return [name for name in before if after[name].tobytes() != before[name].tobytes()]


@requirement("MOD-LOAD-1", modules.LOAD_CASES)
def test_a_file_that_does_not_fit(assay: Assay) -> None:
    held = _held(assay)
    found = _answer(assay, file=module_trees.misfit(_held(assay, 3), assay.params["file"]))
    if not found["ended"]:
        assay.behaves("not refused", conforms=False)
    changed = _changed(held, found["parameters"])
    told = f"{found['ended']}, and changes parameters" if changed else found["ended"]
    assay.behaves(told, conforms=not changed, message=f"changed: {changed}")


@requirement("MOD-LOAD-2", modules.LENIENT_CASES)
def test_a_file_that_fits_in_part(assay: Assay) -> None:
    held = _held(assay)
    file = module_trees.misfit(_held(assay, 3), assay.params["file"])
    found = _answer(assay, file=file, strict=False)
    after = found["parameters"]
    if found["ended"]:
        assay.behaves(found["ended"])
    elif any(after[name].shape != value.shape for name, value in held.items()):
        assay.behaves("takes another shape")
    else:
        fits = [name for name in held if name in file and file[name].shape == held[name].shape]
        assay.behaves("takes what fits" if _changed(held, after) == fits else "takes something else")


@requirement("MOD-LOAD-3", modules.FILE_DTYPE_CASES)
def test_a_file_of_another_dtype(assay: Assay) -> None:
    dtype = DTYPES[assay.params["file_dtype"]]
    found = _answer(assay, file={name: value.astype(dtype) for name, value in _held(assay, 3).items()})
    dtypes = {value.dtype.name for value in found["parameters"].values()}
    whose = "the file's dtype" if dtypes == {np.dtype(dtype).name} else "the model's dtype"
    assay.behaves(found["ended"] or (whose if len(dtypes) == 1 else "several dtypes"))


@requirement("MOD-LOAD-4", modules.FROZEN_LOAD_CASES)
def test_a_file_for_what_is_frozen(assay: Assay) -> None:
    """Of arrays that the model holds itself from then on, in their dtype."""
    file = {name: value.astype(DTYPES[assay.params["file_dtype"]]) for name, value in _held(assay, 3).items()}
    found = _answer(assay, file=file, steps=modules.STEPS[assay.params["frozen"]][1])
    _same(assay, found["parameters"], file)
    _same_names(assay, found["trained"], _trained(assay, file), "parameters trained")


@requirement("MOD-UPDATE-1", modules.UPDATE_CASES)
def test_an_update_of_some_parameters(assay: Assay) -> None:
    held, others = _held(assay), _held(assay, 3)
    values = {name: others[name] for name in held if name.startswith(modules.UPDATES[assay.params["of"]])}
    found = _answer(assay, values=values)
    if found["ended"]:
        assay.behaves(found["ended"], conforms=False)
    _same(assay, found["parameters"], {**held, **values})


@requirement("MOD-UPDATE-2", modules.WRONG_UPDATE_CASES)
def test_an_update_that_does_not_fit(assay: Assay) -> None:
    path, shape = modules.WRONG_UPDATES[assay.params["of"]]
    how = {} if assay.params["strict"] else {"strict": False}
    held, found = _held(assay), _answer(assay, values={path: module_trees.integers(shape, 0)}, **how)
    after = found["parameters"]
    told = "takes another shape" if path in held and after[path].shape == shape else "adds it"
    assay.behaves(found["ended"] or (told if after.get(path, path) is not path else "leaves it out"))


@requirement("MOD-REPLACE-1", modules.REPLACE_CASES)
def test_another_module_in_the_place_of_one(assay: Assay) -> None:
    path, by = assay.params["path"], module_trees.linear(6, 7, 2)
    found = _answer(assay, path=path, by=by)
    if found["ended"]:
        assay.behaves(found["ended"], conforms=False)
    kept = {name: value for name, value in _held(assay).items() if not name.startswith(f"{path}.")}
    _same(assay, found["parameters"], kept | {f"{path}{name}": value for name, value in module_trees.arrays(by)})


@requirement("MOD-REPLACE-2", modules.WRONG_REPLACE_CASES)
def test_another_module_where_there_is_none(assay: Assay) -> None:
    path = modules.WRONG_REPLACEMENTS[assay.params["what"]]
    by: Any = "no module" if assay.params["what"] == "no module" else module_trees.linear(3, 3, 2)
    how = {} if assay.params["strict"] else {"strict": False}
    found = _answer(assay, path=path, by=by, **how)
    is_there = any(name.startswith(f"{path}.") for name in found["parameters"])
    if isinstance(by, str):
        assay.behaves(found["ended"] or ("leaves it out" if is_there else "takes it"))
    else:
        assay.behaves(found["ended"] or ("adds it" if is_there else "leaves it out"))


@requirement("MOD-APPLY-1", modules.APPLY_CASES)
def test_a_function_of_every_parameter(assay: Assay) -> None:
    """Each is doubled once, that of a layer in two places too."""
    held = _held(assay)
    held |= {name.replace("first", "again"): value for name, value in held.items() if name.startswith("first")}
    found = dict(_answer(assay))
    chosen = "*.bias" if assay.params["some"] else "*"
    want = {name: value * (1 + fnmatchcase(name, chosen)) for name, value in held.items()}
    _same(assay, found, {name: value.astype(held[name].dtype) for name, value in want.items()})


@requirement("MOD-FILTER-1", modules.FILTER_CASES)
def test_a_filter_of_the_parameters(assay: Assay) -> None:
    want = {name: value * 2 for name, value in _held(assay).items() if name.endswith("bias")}
    _same(assay, _answer(assay), want)


def _cast_arrays(assay: Assay, to: str, chosen: Any) -> dict[str, np.ndarray]:
    held = _held(assay)
    held |= {name.replace("first", "again"): value for name, value in held.items() if name.startswith("first")}
    return {n: v.astype(DTYPES[to]) if chosen(v.dtype) else v for n, v in held.items()}


@requirement("MOD-CAST-1", modules.CAST_CASES)
def test_a_model_in_another_dtype(assay: Assay) -> None:
    to = assay.params["to"]
    _same(assay, _answer(assay, to=to), _cast_arrays(assay, to, lambda dtype: dtype.kind != "i"))


@requirement("MOD-CAST-2", modules.PREDICATE_CASES)
def test_a_predicate_of_what_is_cast(assay: Assay) -> None:
    """Integers stay, unless the predicate takes everything."""
    which = assay.params["predicate"]
    given = {} if which == "floating by default" else {"which": which}
    chosen = {
        "floating by default": lambda dtype: dtype.kind != "i",
        "none": lambda dtype: True,
        "float32 alone": lambda dtype: dtype == np.float32,
        "never": lambda dtype: False,
    }[which]
    _same(assay, _answer(assay, to="bfloat16", **given), _cast_arrays(assay, "bfloat16", chosen))


def _without_containers(assay: Assay, names: Any) -> list[str]:
    containers = set(module_trees.containers(modules.tree(assay.case)))
    return [name for name in names if name not in containers]


@requirement("MOD-LIST-1", modules.LISTED_CASES)
def test_every_module_is_listed(assay: Assay) -> None:
    tree = modules.tree(assay.case)
    found = _without_containers(assay, _answer(assay))
    known = set(module_trees.modules(tree))
    _same_names(assay, [name for name in found if name in known or _is_layer(found, name)], known, "modules")
    assay.behaves("each once")


def _is_layer(found: list[str], name: str) -> bool:
    """Not one that a framework has inside a layer of its own, such as the streams of a dropout."""
    return not any(name.startswith(f"{other}.") for other in found if other)


@requirement("MOD-LIST-2", modules.CONTAINER_CASES)
def test_lists_among_the_modules(assay: Assay) -> None:
    found = _answer(assay)
    containers = list(module_trees.containers(modules.tree(assay.case)))
    listed = [name for name in containers if name in found]
    assay.behaves("listed" if listed == containers else "some listed" if listed else "not listed")


@requirement("MOD-LIST-3", modules.CHILDREN_CASES)
def test_the_modules_right_inside(assay: Assay) -> None:
    found = sorted(_answer(assay))
    opened = ["block", "head", "layers.0", "layers.1", "parts.left", "parts.right"]
    kinds = {"lists opened": opened, "lists as modules": ["block", "head", "layers", "parts"]}
    assay.behaves(next((kind for kind, names in kinds.items() if names == found), "others"), message=str(found))


@requirement("MOD-LIST-4", modules.LEAF_CASES)
def test_the_modules_that_hold_no_other(assay: Assay) -> None:
    _same_names(assay, _answer(assay), list(module_trees.layers(modules.tree(assay.case))), "modules")
    assay.behaves("each once")


@requirement("MOD-VISIT-1", modules.VISIT_CASES)
def test_the_order_of_a_visit(assay: Assay) -> None:
    found = _without_containers(assay, _answer(assay))
    want = list(module_trees.modules(modules.tree(assay.case)))
    _same_names(assay, found, want, "modules")
    inner = {name: next((o for o in found if o and name.startswith(f"{o}.")), "") for name in found if name}
    first = all(found.index(outer) < found.index(name) for name, outer in inner.items())
    last = all(found.index(outer) > found.index(name) for name, outer in inner.items())
    assay.behaves("holders first" if first else "holders last" if last else "mixed", message=str(found))


@requirement("MOD-SHARED-1", modules.SHARED_CASES)
def test_a_layer_in_two_places(assay: Assay) -> None:
    """How often it is listed."""
    run = {"steps": (), "order": modules.SHARED_ORDER, **_RUN} if assay.params["by"] == "gradients" else {}
    found = _answer(assay, **run)
    names = list(found[1]) if run else list(found)
    places = {name.split(".")[0] for name in names} & {"first", "again"}
    times = max(sum(name.split(".")[0] in places for name in names), len(places))
    assay.behaves("under both paths" if len(places) == 2 else "once" if times <= 2 else "twice", message=str(names))


@requirement("MOD-MODE-1", modules.MODE_CASES)
def test_modes_reach_every_module(assay: Assay) -> None:
    steps = modules.MODE_STEPS[assay.params["done"]]
    found = _answer(assay, steps=steps)
    for name in module_trees.moded(modules.tree(assay.case)):
        due = [training for path, training in steps if not path or f"{name}.".startswith(f"{path}.")]
        want = due[-1] if due else True
        if found.get(name) != want:
            assay.behaves("another mode", conforms=False, message=f"{name} is {found.get(name)}, not {want}")
    assay.behaves("as it was told")


@requirement("MOD-MODE-2", modules.RUN_CASES)
def test_what_the_modes_do(assay: Assay) -> None:
    """In evaluation a dropout is the identity and statistics stay; in training it drops, and they move."""
    training, x = assay.params["training"], np.arange(1, 193, dtype=np.float32).reshape(64, 3)
    order = ("drop", "layers.0", "parts.inner.drop") if not training else ("drop",)
    found = _answer(assay, training=training, order=order, x=x)
    dropped = int((found["result"] == 0).sum())
    if not training:
        assay.same_bits(found["result"], x)
    elif not 0 < dropped < x.size:
        assay.behaves("drops nothing" if not dropped else "drops everything", conforms=False)
    for norm in ("layers.1", "parts.inner.norm"):
        found = _answer(assay, training=training, order=(norm,), x=x)
        moved = [name for name, value in found["arrays"].items() if name.endswith("running_mean") and value.any()]
        if moved != [f"{norm}.running_mean"] * training:
            assay.behaves("other statistics", conforms=False, message=f"moved: {moved}")
    assay.behaves("as documented")


@requirement("MOD-RETURN-1", modules.RETURN_CASES)
def test_what_a_method_gives_back(assay: Assay) -> None:
    assay.behaves(_answer(assay))


@requirement("MOD-STATE-1", modules.STATE_CASES)
def test_a_change_of_the_state(assay: Assay) -> None:
    found = _answer(assay, path="block.proj.weight")
    assay.behaves("reaches the model" if not found["block.proj.weight"].any() else "stays in the state")


@requirement("MOD-HIDDEN-1", modules.HIDDEN_CASES)
def test_members_with_an_underscore(assay: Assay) -> None:
    found = _answer(assay)
    name = "_array" if assay.params["member"] == "array" else "_layer"
    assay.behaves("listed" if any(one.split(".")[0] == name for one in found) else "not listed")


@requirement("MOD-PLAIN-1", modules.PLAIN_CASES)
def test_members_in_a_list_of_python(assay: Assay) -> None:
    outcome = _outcome(assay)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    assay.behaves("listed" if any(name.startswith("held.") for name in outcome.value) else "not listed")


@requirement("MOD-NAME-1", modules.RESERVED_CASES)
def test_a_parameter_called_as_a_method(assay: Assay) -> None:
    outcome = _outcome(assay)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    assay.behaves("listed" if list(outcome.value) == [assay.params["called"]] else "not listed")


@requirement("MOD-AVERAGE-1", modules.AVERAGE_CASES)
def test_gradients_averaged_in_one_process(assay: Assay) -> None:
    _same(assay, _answer(assay), _held(assay))


@requirement("MOD-AVERAGE-2", modules.RING_CASES)
def test_gradients_averaged_over_two_processes(assay: Assay) -> None:
    """Of integers the mean is exact, and both processes have it."""
    size = assay.params["bytes"]
    options = {"all_reduce_size": size} if isinstance(size, int) else {}
    held, others = _held(assay), _held(assay, 3)
    want = {name: ((value + others[name]) / 2).astype(value.dtype) for name, value in held.items()}
    for found in _answer(assay, other=modules.tree(assay.case, 3), **options):
        _same(assay, found, want, signed_zero=False)


@requirement("MOD-EXAMPLE-1", modules.COUNT_OF_PARAMETERS_CASES)
def test_the_count_of_parameters(assay: Assay) -> None:
    found, due = _answer(assay), sum(value.size for value in _held(assay).values())
    assay.behaves(f"{found} parameters", conforms=found == due, message=f"{found} instead of {due}")


_SIZES = re.compile(r"\bin\w*=(\d+),\s*out\w*=(\d+)")


@requirement("MOD-EXAMPLE-2", modules.TEXT_CASES)
def test_what_a_model_prints(assay: Assay) -> None:
    text = _answer(assay)
    sizes = tuple((int(inputs), int(outputs)) for inputs, outputs in _SIZES.findall(text))
    by_path = all(f"(layers.{number})" in text for number in range(len(module_trees.MLP_SIZES)))
    shown = "layers by path" if by_path else "layers in a list, with arrays" if "shape=" in text else "layers in a list"
    assay.behaves(shown if sizes == module_trees.MLP_SIZES else "other sizes", message=text)


@requirement("MOD-EXAMPLE-3", modules.LOSS_CASES)
def test_a_loss_of_squares(assay: Assay) -> None:
    """Of a module, and of a function that is given the parameters."""
    x, apart = module_trees.integers((4, 2), 1), module_trees.integers((4, 10), 2).astype(np.float64)
    targets, want, gradients, bounds = modules.example_loss(_held(assay), x, apart)
    value, found = _answer(assay, x=x, y=targets, by=assay.params["by"])
    # The sum of squares is an integer: what may be rounded is its quotient, or the reciprocal and the product.
    assay.within(np.array([value], np.float32), np.array([want]), np.array([2.0**-23 * want]), "float32")
    _same_names(assay, found, gradients, "names")
    for name, gradient in gradients.items():
        assay.within(found[name], gradient, bounds[name], "float32")
