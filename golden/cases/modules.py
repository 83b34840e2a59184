"""Cases about nested models: what they list, train, save, load, cast and visit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from touchstone.golden.cases.module_trees import MISFITS, MODELS, RESERVED, Tree, integers
from touchstone.golden.catalogue import Case

FLOATS = ("float32", "float16", "bfloat16")
WHOLE = ("nested", "arrays", "long list", "lists of lists", "empty")
ORDER = ("layers.0", "layers.1", "parts.left", "parts.right", "block.proj", "block.rest.0", "head")
"""The layers of the nested model, one after the other, as its call runs them."""
SHARED_ORDER = ("first", "again", "head")


def tree(case: Case, phase: int = 0) -> Tree:
    """The tree of a case's model."""
    made: Tree = MODELS[case.params["model"]](phase, case.params.get("dtype", "float32"))
    return made


def chain(values: Mapping[str, np.ndarray], order: Sequence[str], x: np.ndarray) -> list[np.ndarray]:
    """The input of every layer in turn and the last result, by NumPy."""
    out = [x.astype(np.float64)]
    for path in order:
        weight = values[f"{path}.weight"].astype(np.float64)
        out.append(out[-1] @ weight.T + values.get(f"{path}.bias", np.zeros(len(weight))).astype(np.float64))
    return out


def gradients(
    values: Mapping[str, np.ndarray], order: Sequence[str], x: np.ndarray, cotangent: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Of sum(result * cotangent): its value, and its gradients by every parameter. A path that comes twice adds up."""
    seen = chain(values, order, x)
    out: dict[str, np.ndarray] = {name: np.zeros(value.shape) for name, value in values.items()}
    back = cotangent.astype(np.float64)
    for path, given in zip(reversed(order), reversed(seen[:-1]), strict=True):
        out[f"{path}.weight"] += back.T @ given
        if f"{path}.bias" in values:
            out[f"{path}.bias"] += back.sum(0)
        back = back @ values[f"{path}.weight"].astype(np.float64)
    return float((seen[-1] * cotangent).sum()), out


X, COTANGENT = integers((2, 3), 1), integers((2, 2), 3)


def _case(model: str, question: str, /, **params: Any) -> Case:
    return Case({"model": model, **params}, {}, ("dtype:float32", f"module:{question}"))


def _dtypes(model: str, question: str, **params: Any) -> Iterator[Case]:
    for dtype in FLOATS:
        yield Case({"model": model, **params, "dtype": dtype}, {}, (f"dtype:{dtype}", f"module:{question}"))


PARAMETER_CASES = [
    case for model in (*WHOLE, "digits as keys", "spaces in keys") for case in _dtypes(model, "parameters")
]

Steps = tuple[tuple[str, str, Mapping[str, Any]], ...]
"""What is done one after the other: "freeze" or "unfreeze", the path of a module, and options in MLX's names."""


def _freezing() -> dict[str, tuple[str, Steps, tuple[str, ...]]]:
    """What is done to a model -> the model, the steps, and beginnings or ends of what is trained afterwards no more."""
    every: Steps = (("freeze", "", {}),)
    return {
        "nothing": ("nested", (), ()),
        "the whole": ("nested", every, ("*",)),
        "a module": ("nested", (("freeze", "block", {}),), ("block.*",)),
        "a layer of a list": ("nested", (("freeze", "layers.1", {}),), ("layers.1.*",)),
        "a layer of a dictionary": ("nested", (("freeze", "parts.left", {}),), ("parts.left.*",)),
        "a layer of a module's list": ("nested", (("freeze", "block.rest.0", {}),), ("block.rest.*",)),
        "the tenth layer": ("long list", (("freeze", "layers.10", {}),), ("layers.10.*",)),
        "every bias": ("nested", (("freeze", "", {"keys": "bias"}),), ("*.bias",)),
        "every bias of a module": ("nested", (("freeze", "block", {"keys": ["bias"]}),), ("block.*.bias",)),
        "weights and biases": ("nested", (("freeze", "", {"keys": ["weight", "bias"]}),), ("*",)),
        "twice": ("nested", every * 2, ("*",)),
        "own arrays and layers": ("arrays", every, ("*",)),
    }


FREEZING = _freezing()


def _unfreezing() -> dict[str, tuple[str, Steps, tuple[str, ...]]]:
    """The same of what takes more than one step, or leaves the modules inside alone."""
    every: Steps = (("freeze", "", {}),)
    alone = {"recurse": False}
    not_head = ("layers.*", "parts.*", "block.*")
    return {
        "biases that are not frozen": ("nested", (("unfreeze", "", {"keys": "bias"}),), ()),
        "biases of a module, of all weights": (
            "nested",
            (("freeze", "", {"keys": "weight"}), ("unfreeze", "block", {"keys": "bias"})),
            ("*.weight",),
        ),
        "and back": ("nested", (*every, ("unfreeze", "", {})), ()),
        "all but one": ("nested", (*every, ("unfreeze", "head", {})), not_head),
        "all but biases": ("nested", (*every, ("unfreeze", "", {"keys": "bias"})), ("*.weight",)),
        "a module and back in part": (
            "nested",
            (("freeze", "block", {}), ("unfreeze", "block.proj", {})),
            ("block.rest.*",),
        ),
        "arrays and back": ("arrays", (*every, ("unfreeze", "", {})), ()),
        "without what is inside": ("own arrays", (("freeze", "", alone),), ("gain",)),
        "a module without what is inside": ("own arrays", (("freeze", "inner", alone),), ("inner.table",)),
        "back without what is inside": ("own arrays", (*every, ("unfreeze", "", alone)), ("inner.*",)),
        "nothing without what is inside": ("nested", (("freeze", "block", alone),), ()),
    }


UNFREEZING = _unfreezing()
STEPS = {**FREEZING, **UNFREEZING}
FREEZE_CASES = [
    *(_case(model, "freeze", frozen=what) for what, (model, _, _) in FREEZING.items()),
    *(_case(model, "unfreeze", frozen=what) for what, (model, _, _) in UNFREEZING.items()),
]
KEYS: dict[str, Mapping[str, Any]] = {
    "in some modules": {"keys": "bias", "strict": True},
    "in none": {"keys": ["bias", "gain"], "strict": True},
    "in none, but leniently": {"keys": ["bias", "gain"], "strict": False},
}
"""A key of a call of freeze, or of unfreeze after everything was frozen -> the options of that call."""
STRICT_CASES = [
    Case(
        {"model": "nested", "named": key, "verb": verb},
        {},
        ("dtype:float32", "module:freeze strictly"),
        upstream="https://github.com/ml-explore/mlx/pull/3966",
    )
    for verb, key in product(("freeze", "unfreeze"), KEYS)
]


def strict_steps(case: Case) -> Steps:
    """What such a case does."""
    before: Steps = (("freeze", "", {}),) if case.params["verb"] == "unfreeze" else ()
    return (*before, (case.params["verb"], "", KEYS[case.params["named"]]))


STATISTICS: dict[str, Steps] = {
    "nothing": (),
    "unfreeze": (("unfreeze", "", {}),),
    "freeze and unfreeze": (("freeze", "", {}), ("unfreeze", "", {})),
    "unfreeze by their names": (("unfreeze", "", {"keys": ["running_mean", "running_var"]}),),
}
STATISTICS_CASES = [_case("norms", "unfreeze" if steps else "freeze", done=done) for done, steps in STATISTICS.items()]
SHORT_ORDER = ("proj", "head")
GRADIENT_CASES = [
    *(
        _case("nested", "gradients", frozen=what)
        for what in ("nothing", "a module", "a layer of a list", "a layer of a dictionary", "every bias")
    ),
    *(case for case in _dtypes("projections", "gradients", frozen="nothing")),
]
BESIDE: dict[str, Steps] = {"nothing": (), "arrays of the model": (("freeze", "", {"recurse": False}),)}
BESIDE_CASES = [_case(model, "gradients", frozen=what) for model in ("own arrays", "arrays") for what in BESIDE]
ALL_FROZEN_CASES = [_case("nested", "gradients", frozen="the whole")]
UNUSED_CASES = [_case("nested", "gradients", unused="head")]
STEP_CASES = [
    _case("nested", "step", frozen=what)
    for what in ("nothing", "a module", "a layer of a list", "a layer of a dictionary", "every bias")
]
SHARED_STEP_CASES = [_case("shared", "step")]
TIED_CASES = [_case("projections", "tie", after=after) for after in ("a step", "a load")]
FORMATS = ("npz", "safetensors", "torch", "msgpack", "orbax")
"""Files that a framework's documentation names for its models."""
SAVE_CASES = [
    *(case for form in FORMATS for case in _dtypes("nested", f"save {form}", format=form)),
    *(
        _case(model, f"save {form}", format=form)
        for form, model in product(FORMATS, (*WHOLE[1:], "shared", "mixed dtypes"))
    ),
    *(case for form in FORMATS for case in _dtypes("specials", f"save {form}", format=form)),
]
KEY_CASES = [
    _case(model, f"save {form}", format=form)
    for form, model in product(FORMATS, ("digits as keys", "dots in keys", "spaces in keys"))
]
NORMS: Mapping[str, tuple[str, ...]] = {"norm alone": ("",), "norms": ("layers.1", "parts.inner.norm")}
"""Model -> the paths of its normalizations, one after the other, as its call runs them."""
SAVED_STATISTICS_CASES = [_case(model, f"statistics {form}", format=form) for form, model in product(FORMATS, NORMS)]
COUNT_CASES = [case for case in SAVED_STATISTICS_CASES if case.params["model"] == "norm alone"]
LOAD_CASES = [_case("nested", "load", file=what) for what in MISFITS]
FROZEN_LOAD_CASES = [
    Case(
        {"model": "nested", "frozen": what, "file_dtype": dtype},
        {},
        ("dtype:float32", f"dtype:{dtype}", "module:load what is frozen"),
    )
    for what, dtype in product(("nothing", "a module", "every bias"), ("float32", "bfloat16"))
]
LENIENT_CASES = [_case("nested", "load leniently", file=what) for what in MISFITS]
FILE_DTYPE_CASES = [_case("nested", "load", file_dtype=dtype) for dtype in ("float16", "bfloat16")]
UPDATES = {
    "one": "head.weight",
    "a layer of a list": "layers.1.",
    "a layer of a dictionary": "parts.right.",
    "a module": "block.",
    "all": "",
    "nothing": "-",
}
"""What an update holds -> the beginning of its paths."""
UPDATE_CASES = [_case("nested", "update", of=of) for of in UPDATES]
WRONG_UPDATES: dict[str, tuple[str, tuple[int, ...]]] = {
    "an unknown name": ("head.gain", (2,)),
    "an unknown module": ("tail.weight", (2, 2)),
    "an unknown place in a list": ("layers.5.weight", (3, 3)),
    "another shape": ("block.proj.weight", (7, 3)),
    "another rank": ("head.bias", (2, 1)),
}
"""What an update names that the model does not hold so -> the path, and the shape it is given."""
WRONG_UPDATE_CASES = [
    *(_case("nested", "update", of=of, strict=True) for of in WRONG_UPDATES),
    *(_case("nested", "update leniently", of=of, strict=False) for of in WRONG_UPDATES),
]
REPLACE_CASES = [
    _case("nested", "replace", path=path) for path in ("head", "layers.1", "parts.left", "block.rest.0", "block")
]
WRONG_REPLACEMENTS = {"an unknown name": "tail", "an unknown place in a list": "layers.5", "no module": "head"}
WRONG_REPLACE_CASES = [
    *(_case("nested", "replace", what=what, strict=True) for what in WRONG_REPLACEMENTS),
    *(_case("nested", "replace leniently", what=what, strict=False) for what in WRONG_REPLACEMENTS),
]
APPLY_CASES = [
    *(_case(model, "apply", some=False) for model in (*WHOLE, "shared", "mixed dtypes")),
    *(_case(model, "apply to some", some=True) for model in ("nested", "arrays")),
]
FILTER_CASES = [_case("nested", "filter")]
CAST_CASES = [
    Case({"model": model, "dtype": dtype, "to": to}, {}, (f"dtype:{dtype}", f"dtype:{to}", "module:cast"))
    for model in ("nested", "arrays", "shared")
    for dtype, to in product(FLOATS, FLOATS)
    if dtype != to
]
PREDICATES = ("floating by default", "none", "float32 alone", "never")
PREDICATE_CASES = [
    _case("mixed dtypes", "cast" if which == "floating by default" else "cast by predicate", predicate=which)
    for which in PREDICATES
]
LISTED_CASES = [_case(model, "modules") for model in (*WHOLE, "norms")]
CONTAINER_CASES = [_case("nested", "modules", what="lists and dictionaries")]
VISIT_CASES = [_case(model, "visit") for model in ("nested", "long list", "lists of lists")]
CHILDREN_CASES = [_case("nested", "children")]
LEAF_CASES = [_case(model, "leaves") for model in ("nested", "lists of lists", "long list")]
SHARED_CASES = [_case("shared", question, by=question) for question in ("parameters", "modules", "visit", "gradients")]
MODE_STEPS: dict[str, tuple[tuple[str, bool], ...]] = {
    "nothing": (),
    "eval": (("", False),),
    "eval and train": (("", False), ("", True)),
    "eval of a module": (("parts.inner", False),),
    "eval, and train of a layer": (("", False), ("layers.1", True)),
}
"""What is done -> (path of a module, whether it is to be trained), one after the other."""
MODE_CASES = [_case("norms", "modes", done=done) for done in MODE_STEPS]
RUN_CASES = [_case("norms", "run", training=training) for training in (False, True)]
RETURNED = ("freeze", "unfreeze", "train", "eval", "apply", "update", "cast", "load")
RETURN_CASES = [_case("nested", f"return of {method}", method=method) for method in RETURNED]
STATE_CASES = [_case("nested", "state")]
HIDDEN_CASES = [
    _case("hidden", question, by=question, member=member)
    for question, member in (("parameters", "array"), ("parameters", "layer"), ("modules", "layer"))
]
RESERVED_CASES = [_case(f"called {name}", "parameters", called=name) for name in RESERVED]
PLAIN_CASES = [
    _case(f"plain {kind}", question, by=question)
    for kind, question in product(("list", "tuple", "dictionary"), ("parameters", "modules"))
]
BUFFER_CASES = [_case("norms", "parameters", what="running statistics")]
AVERAGE_CASES = [_case(model, "average", processes=1) for model in ("nested", "arrays")]
BYTES = ("by default", 0, 16)
"""From how many bytes on gradients are sent: all in one message, each in its own, or a few together."""
RING_CASES = [
    *(_case("nested", "average over processes", processes=2, bytes=size) for size in BYTES),
    *(_case("mixed floats", "average over processes", processes=2, bytes=size) for size in BYTES[:1]),
    *(
        Case(
            {"model": "arrays", "processes": 2, "bytes": size, "dtype": dtype},
            {},
            (f"dtype:{dtype}", "module:average over processes"),
        )
        for dtype, size in (("float16", BYTES[0]), ("bfloat16", BYTES[2]))
    ),
]
COUNT_OF_PARAMETERS_CASES = [_case("MLP", "count")]
TEXT_CASES = [_case("MLP", "text")]
LOSS_CASES = [_case("MLP", "l2 loss", by=by) for by in ("module", "function")]


def example_loss(
    values: Mapping[str, np.ndarray], x: np.ndarray, apart: np.ndarray
) -> tuple[np.ndarray, float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of the documentation's model: targets that lie `apart` from its results, the mean of squares, gradients, bounds.

    Results are exact in float32: sums of multiples of an eighth below 2**21. What is rounded is the mean's factor, and
    every product and sum behind it; n of them in a row stray by n u / (1 - n u) of the same sums of absolute values
    (Higham 2002, section 3.1).
    """
    wide = {name: value.astype(np.float64) for name, value in values.items()}
    layers = range(len(values) // 2)
    inputs = [x.astype(np.float64)]
    for n in layers:
        made = inputs[-1] @ wide[f"layers.{n}.weight"].T + wide[f"layers.{n}.bias"]
        inputs.append(np.maximum(made, 0) if n < layers[-1] else made)
    back, largest, roundings = 2 * apart / apart.size, 2 * np.abs(apart) / apart.size, 4 + len(x)
    gradients: dict[str, np.ndarray] = {}
    bounds: dict[str, np.ndarray] = {}
    for n in reversed(layers):
        share = roundings * 2.0**-24 / (1 - roundings * 2.0**-24)
        gradients |= {f"layers.{n}.weight": back.T @ inputs[n], f"layers.{n}.bias": back.sum(0)}
        bounds |= {
            f"layers.{n}.weight": share * (largest.T @ np.abs(inputs[n])),
            f"layers.{n}.bias": share * largest.sum(0),
        }
        weight, seen = wide[f"layers.{n}.weight"], inputs[n] > 0
        back, largest, roundings = back @ weight * seen, largest @ np.abs(weight) * seen, roundings + weight.shape[0]
    return (inputs[-1] - apart).astype(np.float32), float((apart**2).mean()), gradients, bounds
