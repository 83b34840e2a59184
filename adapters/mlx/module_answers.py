"""What nested models of `mlx.nn.Module` list, train, save, load, cast and visit: a function for each question."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters import example_answers, nested
from touchstone.adapters.isolation.outcome import ended
from touchstone.adapters.mlx import layer_training, ring

if TYPE_CHECKING:
    from touchstone.adapters.mlx.adapter import MLXAdapter

Arrays = dict[str, np.ndarray]


def _built(adapter: MLXAdapter, tree: Any) -> Any:
    """The model of a tree."""
    nn = adapter.nn

    def linear(content: Mapping[str, np.ndarray]) -> Any:
        out = nn.Linear(*reversed(content["weight"].shape), bias="bias" in content)
        out.update({name: adapter.place(value) for name, value in content.items()})
        return out

    makers: nested.Makers = {
        "module": lambda members: nested.holding(nn.Module(), members),
        "linear": linear,
        "parameter": adapter.place,
        "parameters": lambda values: [adapter.place(value) for value in values],
        "dropout": nn.Dropout,
        "batch_norm": nn.BatchNorm,
    }
    return nested.built(tree, makers)


def _at(root: Any, path: str) -> Any:
    """What lies at a path; the whole at ""."""
    for step in path.split(".") if path else ():
        root = root[int(step)] if isinstance(root, list) else root[step]
    return root


def _arrays(adapter: MLXAdapter, parameters: Any) -> Arrays:
    return {path: adapter.fetch(value) for path, value in adapter.tree_flatten(parameters)}


def _called(root: Any, order: Sequence[str], x: Any) -> Any:
    for path in order:
        x = _at(root, path)(x)
    return x


def _result(adapter: MLXAdapter, root: Any, order: Sequence[str], x: np.ndarray) -> np.ndarray:
    return adapter.fetch(_called(root, order, adapter.place(x)))


def _parameters(adapter: MLXAdapter, root: Any) -> Arrays:
    return _arrays(adapter, root.parameters())


def parameters(adapter: MLXAdapter, tree: Any) -> Arrays:
    """Every parameter by its path."""
    return _arrays(adapter, _built(adapter, tree).parameters())


def _told(root: Any, steps: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Any:
    """The model after ("freeze" or "unfreeze", path, options) one after the other."""
    for verb, path, options in steps:
        getattr(_at(root, path), verb)(**options)
    return root


def freeze(adapter: MLXAdapter, tree: Any, steps: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[str]:
    """Paths of what is trained afterwards."""
    return sorted(_arrays(adapter, _told(_built(adapter, tree), steps).trainable_parameters()))


def freeze_strictly(adapter: MLXAdapter, tree: Any, steps: Any) -> dict[str, Any]:
    """How the steps ended, and what is trained afterwards."""
    root = _built(adapter, tree)
    how = ended(lambda: _told(root, steps))
    return {"ended": how, "trained": sorted(_arrays(adapter, root.trainable_parameters()))}


def _gradients(
    adapter: MLXAdapter, root: Any, order: Sequence[str], x: np.ndarray, cotangent: np.ndarray
) -> tuple[Any, Any]:
    """Of the sum of the result times the cotangent, by what is trained."""

    def loss(x: Any, cotangent: Any) -> Any:
        return (_called(root, order, x) * cotangent).sum()

    found: tuple[Any, Any] = adapter.nn.value_and_grad(root, loss)(adapter.place(x), adapter.place(cotangent))
    return found


def gradients(adapter: MLXAdapter, tree: Any, steps: Any, **given: Any) -> tuple[float, Arrays]:
    """The value, and the gradients of what is trained after the steps."""
    value, found = _gradients(adapter, _told(_built(adapter, tree), steps), **given)
    return float(value), _arrays(adapter, found)


def step(adapter: MLXAdapter, tree: Any, steps: Any, rate: float, **given: Any) -> Arrays:
    """Parameters after one step of plain SGD."""
    root = _told(_built(adapter, tree), steps)
    adapter.optimizers.SGD(rate).update(root, _gradients(adapter, root, **given)[1])
    return _parameters(adapter, root)


def tie(adapter: MLXAdapter, tree: Any, after: str, path: str, to: str, other: Any, **given: Any) -> Arrays:
    """Parameters after the array of one layer became that of another too, and something was done."""
    root = _built(adapter, tree)
    _at(root, path).weight = _at(root, to).weight
    if after == "a step":
        adapter.optimizers.SGD(1.0).update(root, _gradients(adapter, root, **given)[1])
    else:
        names = set(_parameters(adapter, root))
        root.load_weights(
            [pair for pair in adapter.tree_flatten(_built(adapter, other).parameters()) if pair[0] in names]
        )
    return _parameters(adapter, root)


def _hand_over(adapter: MLXAdapter, saved: Any, root: Any, extension: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / f"model.{extension}")
        saved.save_weights(path)
        root.load_weights(path)


def _save(extension: str) -> Callable[..., Arrays]:
    def save(adapter: MLXAdapter, tree: Any, into: Any) -> Arrays:
        """Parameters of a model that has loaded what another one saved."""
        saved, root = _built(adapter, tree), _built(adapter, into)
        _hand_over(adapter, saved, root, extension)
        return _parameters(adapter, root)

    return save


def load(adapter: MLXAdapter, tree: Any, file: Arrays, strict: bool = True) -> dict[str, Any]:
    """How loading a file of these arrays ended, and the parameters afterwards."""
    root = _built(adapter, tree)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.safetensors")
        adapter.mx.save_safetensors(path, {name: adapter.place(value) for name, value in file.items()})
        how = ended(lambda: root.load_weights(path, strict=strict))
        return {"ended": how, "parameters": _parameters(adapter, root)}


def load_what_is_frozen(adapter: MLXAdapter, tree: Any, file: Arrays, steps: Any) -> dict[str, Any]:
    """Parameters, and which of them are trained, of a model that has taken the arrays of a file for its own."""
    root = _told(_built(adapter, tree), steps)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.safetensors")
        adapter.mx.save_safetensors(path, {name: adapter.place(value) for name, value in file.items()})
        root.load_weights(path)
        trained = _arrays(adapter, root.trainable_parameters())
        return {"parameters": _parameters(adapter, root), "trained": sorted(trained)}


def update(adapter: MLXAdapter, tree: Any, values: Arrays, strict: bool = True) -> dict[str, Any]:
    """How an update of some parameters ended, and the parameters afterwards."""
    root = _built(adapter, tree)
    given = adapter.tree_unflatten([(path, adapter.place(value)) for path, value in values.items()]) if values else {}
    how = ended(lambda: root.update(given, strict=strict))
    return {"ended": how, "parameters": _parameters(adapter, root)}


def replace(adapter: MLXAdapter, tree: Any, path: str, by: Any, strict: bool = True) -> dict[str, Any]:
    """How giving a module another one's place ended, and what the model lists afterwards; by: a tree, or a text."""
    root = _built(adapter, tree)
    new = by if isinstance(by, str) else _built(adapter, by)
    given = adapter.tree_unflatten([(path, new)])
    how = ended(lambda: root.update_modules(given, strict=strict))
    return {"ended": how, "parameters": _parameters(adapter, root), "modules": _names(root)}


def apply(adapter: MLXAdapter, tree: Any) -> Arrays:
    """Parameters after each was doubled."""
    return _arrays(adapter, _built(adapter, tree).apply(lambda value: value * 2).parameters())


def apply_to_some(adapter: MLXAdapter, tree: Any) -> Arrays:
    """Parameters after each bias was doubled."""

    def chosen(module: Any, key: str, value: Any) -> bool:
        is_parameter = adapter.nn.Module.valid_parameter_filter(module, key, value)
        return is_parameter and (not isinstance(value, adapter.mx.array) or key == "bias")

    return _arrays(adapter, _built(adapter, tree).apply(lambda value: value * 2, chosen).parameters())


def filtered(adapter: MLXAdapter, tree: Any) -> Arrays:
    """The biases alone, doubled."""

    def chosen(module: Any, key: str, value: Any) -> bool:
        return isinstance(value, (dict, list)) or key == "bias"

    return _arrays(adapter, _built(adapter, tree).filter_and_map(chosen, lambda value: value * 2))


def cast(adapter: MLXAdapter, tree: Any, to: str) -> Arrays:
    """Parameters after the model was set to another dtype."""
    root = _built(adapter, tree)
    root.set_dtype(adapter.dtypes[to])
    return _parameters(adapter, root)


def cast_by_predicate(adapter: MLXAdapter, tree: Any, to: str, which: str) -> Arrays:
    """Parameters after those that the predicate chooses were cast."""
    mx = adapter.mx
    predicates = {"none": None, "float32 alone": lambda dtype: dtype == mx.float32, "never": lambda dtype: False}
    root = _built(adapter, tree)
    root.set_dtype(adapter.dtypes[to], predicates[which])
    return _parameters(adapter, root)


def _names(root: Any) -> list[str]:
    return [name for name, _ in root.named_modules()]


def modules(adapter: MLXAdapter, tree: Any) -> list[str]:
    """Paths of every module, "" for the whole, in the order in which they are listed."""
    root = _built(adapter, tree)
    names = _names(root)
    return names if [id(one) for one in root.modules()] == [id(one) for _, one in root.named_modules()] else []


def visit(adapter: MLXAdapter, tree: Any) -> list[str]:
    """Paths of the modules to which a function is applied, in their order."""
    seen: list[str] = []
    _built(adapter, tree).apply_to_modules(lambda name, module: seen.append(name))
    return seen


def children(adapter: MLXAdapter, tree: Any) -> list[str]:
    """Paths of the modules that are right inside."""
    root = _built(adapter, tree)
    return [name for name, _ in adapter.tree_flatten(root.children(), is_leaf=adapter.nn.Module.is_module)]


def leaves(adapter: MLXAdapter, tree: Any) -> list[str]:
    """Paths of the modules that hold no other."""
    root = _built(adapter, tree)
    return [name for name, _ in adapter.tree_flatten(root.leaf_modules(), is_leaf=adapter.nn.Module.is_module)]


def _in_mode(adapter: MLXAdapter, tree: Any, steps: Sequence[tuple[str, bool]]) -> Any:
    return nested.told(_built(adapter, tree), _at, steps)


def modes(adapter: MLXAdapter, tree: Any, steps: Sequence[tuple[str, bool]]) -> dict[str, bool]:
    """Whether each module is being trained, by its path."""
    return {name: module.training for name, module in _in_mode(adapter, tree, steps).named_modules()}


def run(adapter: MLXAdapter, tree: Any, training: bool, order: Sequence[str], x: np.ndarray) -> dict[str, Any]:
    """The result of the layers one after the other, and the model's arrays afterwards."""
    root = _in_mode(adapter, tree, [("", training)])
    adapter.mx.random.seed(7)
    result = _result(adapter, root, order, x)
    return {"result": result, "arrays": _parameters(adapter, root)}


def state(adapter: MLXAdapter, tree: Any, path: str) -> Arrays:
    """Parameters after one of the model's state was set to zero."""
    root = _built(adapter, tree)
    *parents, name = path.split(".")
    holder = _at(root.state, ".".join(parents))
    holder[name] = adapter.mx.zeros_like(holder[name])
    return _parameters(adapter, root)


def _returned(action: Callable[[MLXAdapter, Any], Any]) -> Callable[..., str]:
    def returned(adapter: MLXAdapter, tree: Any) -> str:
        """What a method gives back: "the module", "nothing" or "something else"."""
        root = _built(adapter, tree)
        found = action(adapter, root)
        return "the module" if found is root else "nothing" if found is None else "something else"

    return returned


def _cast_to_half(adapter: MLXAdapter, root: Any) -> Any:
    return root.set_dtype(adapter.mx.float16)


def _load_its_own(adapter: MLXAdapter, root: Any) -> Any:
    return root.load_weights(adapter.tree_flatten(root.parameters()))


def average(adapter: MLXAdapter, tree: Any) -> Arrays:
    """The parameters, as if they were gradients, averaged over the processes."""
    return _arrays(adapter, adapter.nn.average_gradients(_built(adapter, tree).parameters()))


def average_over_processes(adapter: MLXAdapter, tree: Any, other: Any, **options: Any) -> list[Arrays]:
    """The same in each of two processes, of which one has these parameters and one those of the other tree."""
    given = [_arrays(adapter, _built(adapter, one).parameters()) for one in (tree, other)]
    return ring.averaged(adapter.device, given, options)


ANSWERS: Mapping[str, Callable[..., Any]] = {
    **example_answers.answers("touchstone.adapters.mlx.examples", _built, _arrays),
    "step of a layer": layer_training.step,
    "modes of a layer": layer_training.modes,
    "parameters of a layer": layer_training.parameters,
    "parameters": parameters,
    "freeze": freeze,
    "unfreeze": freeze,
    "freeze strictly": freeze_strictly,
    "gradients": gradients,
    "step": step,
    "tie": tie,
    "save npz": _save("npz"),
    "save safetensors": _save("safetensors"),
    "statistics npz": nested.through_a_file(_built, _hand_over, _result, _parameters, "npz"),
    "statistics safetensors": nested.through_a_file(_built, _hand_over, _result, _parameters, "safetensors"),
    "load": load,
    "load what is frozen": load_what_is_frozen,
    "load leniently": load,
    "update": update,
    "update leniently": update,
    "replace": replace,
    "replace leniently": replace,
    "apply": apply,
    "apply to some": apply_to_some,
    "filter": filtered,
    "cast": cast,
    "cast by predicate": cast_by_predicate,
    "modules": modules,
    "visit": visit,
    "children": children,
    "leaves": leaves,
    "modes": modes,
    "run": run,
    "state": state,
    "average": average,
    "average over processes": average_over_processes,
    "return of freeze": _returned(lambda adapter, root: root.freeze()),
    "return of unfreeze": _returned(lambda adapter, root: root.unfreeze()),
    "return of train": _returned(lambda adapter, root: root.train()),
    "return of eval": _returned(lambda adapter, root: root.eval()),
    "return of apply": _returned(lambda adapter, root: root.apply(lambda value: value)),
    "return of update": _returned(lambda adapter, root: root.update(root.parameters())),
    "return of cast": _returned(_cast_to_half),
    "return of load": _returned(_load_its_own),
}
_ONE_FORMAT = "mlx.nn.Module.save_weights writes .npz and .safetensors"
ABSENT: Mapping[str, str] = dict.fromkeys(
    (f"module:{what} {form}" for what in ("save", "statistics") for form in ("torch", "msgpack", "orbax")), _ONE_FORMAT
)
