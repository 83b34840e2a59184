"""What nested models of `flax.nnx.Module` list, train, save, load, cast and visit: a function for each question."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters import example_answers, nested
from touchstone.adapters.isolation.outcome import ended
from touchstone.adapters.jax import layer_training

if TYPE_CHECKING:
    from touchstone.adapters.jax.adapter import JaxAdapter

Arrays = dict[str, np.ndarray]
_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
"""What Flax calls a parameter of `nnx.Linear` and `nnx.BatchNorm` -> what a tree calls it."""


def _built(adapter: JaxAdapter, tree: Any) -> Any:
    """The model of a tree."""
    nnx = adapter.nnx

    def linear(content: Mapping[str, np.ndarray]) -> Any:
        out = nnx.Linear(*reversed(content["weight"].shape), use_bias="bias" in content, rngs=adapter.rngs)
        out.kernel = nnx.Param(adapter.place(content["weight"].T))
        if "bias" in content:
            out.bias = nnx.Param(adapter.place(content["bias"]))
        return out

    makers: nested.Makers = {
        "module": lambda members: nested.holding(nnx.Module(), members),
        "list": nnx.List,
        "dictionary": nnx.Dict,
        "linear": linear,
        "parameter": lambda value: nnx.Param(adapter.place(value)),
        "parameters": lambda values: nnx.List([nnx.Param(adapter.place(value)) for value in values]),
        "dropout": lambda share: nnx.Dropout(share, rngs=nnx.Rngs(7)),
        "batch_norm": lambda size: nnx.BatchNorm(size, rngs=adapter.rngs),
    }
    return nested.built(tree, makers)


def _at(root: Any, path: str) -> Any:
    """What lies at a path; the whole at ""."""
    for step in path.split(".") if path else ():
        root = root[int(step)] if step.isdigit() else getattr(root, step)
    return root


def _named(path: Sequence[Any]) -> str:
    *parents, name = map(str, path)
    return ".".join((*parents, _NAMES.get(name, name)))


def _flat(adapter: JaxAdapter, state: Any) -> dict[tuple[Any, ...], Any]:
    """Arrays by path as Flax has them."""
    from flax.traverse_util import flatten_dict

    flat: dict[tuple[Any, ...], Any] = flatten_dict(adapter.nnx.to_pure_dict(state))
    return flat


def _arrays(adapter: JaxAdapter, state: Any) -> Arrays:
    """Arrays by path as a tree has them: weights as ``[out, in]``."""
    flat = {path: adapter.fetch(value) for path, value in _flat(adapter, state).items()}
    return {_named(path): value.T if path[-1] == "kernel" else value for path, value in flat.items()}


def _parameters(adapter: JaxAdapter, root: Any) -> Arrays:
    return _arrays(adapter, adapter.nnx.state(root, adapter.nnx.Param))


def _called(root: Any, order: Sequence[str], x: Any) -> Any:
    for path in order:
        x = _at(root, path)(x)
    return x


def _result(adapter: JaxAdapter, root: Any, order: Sequence[str], x: np.ndarray) -> np.ndarray:
    return adapter.fetch(_called(root, order, adapter.place(x)))


def parameters(adapter: JaxAdapter, tree: Any) -> Arrays:
    """Every parameter by its path."""
    return _parameters(adapter, _built(adapter, tree))


def _trained(adapter: JaxAdapter, steps: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Any:
    """The filter of what an optimizer and a gradient are given: every Param but those below a path or of a name."""
    nnx, kept = adapter.nnx, [adapter.nnx.Param]
    for _, path, options in steps:
        below = tuple(int(step) if step.isdigit() else step for step in path.split(".")) if path else ()
        keys = options.get("keys", ())
        names = {"weight": "kernel"}
        own = len(below) + 1 if not options.get("recurse", True) else None
        wanted = {names.get(key, key) for key in ([keys] if isinstance(keys, str) else keys)}

        def frozen(at: Any, value: Any, below: Any = below, wanted: Any = wanted, own: Any = own) -> bool:
            is_below = tuple(at[: len(below)]) == below and own in (None, len(at))
            return is_below and (not wanted or at[-1] in wanted)

        kept.append(nnx.Not(frozen))
    return nnx.All(*kept)


def freeze(adapter: JaxAdapter, tree: Any, steps: Any) -> list[str]:
    """Paths of what is trained afterwards."""
    return sorted(_arrays(adapter, adapter.nnx.state(_built(adapter, tree), _trained(adapter, steps))))


def _gradients(
    adapter: JaxAdapter, root: Any, wrt: Any, order: Sequence[str], x: np.ndarray, cotangent: np.ndarray
) -> tuple[Any, Any]:
    """Of the sum of the result times the cotangent, by what is trained."""

    def loss(root: Any, x: Any, cotangent: Any) -> Any:
        return (_called(root, order, x) * cotangent).sum()

    differentiated = adapter.nnx.value_and_grad(loss, argnums=adapter.nnx.DiffState(0, wrt))
    found: tuple[Any, Any] = differentiated(root, adapter.place(x), adapter.place(cotangent))
    return found


def gradients(adapter: JaxAdapter, tree: Any, steps: Any, **given: Any) -> tuple[float, Arrays]:
    """The value, and the gradients of what is trained after the steps."""
    value, found = _gradients(adapter, _built(adapter, tree), _trained(adapter, steps), **given)
    return float(value), _arrays(adapter, found)


def _step(adapter: JaxAdapter, root: Any, wrt: Any, rate: float, **given: Any) -> None:
    import optax

    from touchstone.adapters.jax import releases

    optimizer = adapter.nnx.Optimizer(root, optax.sgd(rate), wrt=wrt)
    releases.update(optimizer, root, _gradients(adapter, root, wrt, **given)[1])


def step(adapter: JaxAdapter, tree: Any, steps: Any, rate: float, **given: Any) -> Arrays:
    """Parameters after one step of plain SGD."""
    root = _built(adapter, tree)
    _step(adapter, root, _trained(adapter, steps), rate, **given)
    return _every_path(adapter, root)


def _every_path(adapter: JaxAdapter, root: Any) -> Arrays:
    """Parameters, those of a layer in two places under both paths."""
    out: Arrays = {}
    for name, module in _walked(adapter, root):
        if isinstance(module, adapter.nnx.Linear):
            out |= {f"{name}.{inner}": value for inner, value in _parameters(adapter, module).items()}
    return {**_parameters(adapter, root), **out}


def _walked(adapter: JaxAdapter, module: Any, path: str = "") -> Any:
    """Every module by every path that leads to it."""
    yield path, module
    for name, child in adapter.nnx.iter_children(module):
        if isinstance(child, adapter.nnx.Module):
            yield from _walked(adapter, child, f"{path}.{name}" if path else str(name))


def tie(adapter: JaxAdapter, tree: Any, after: str, path: str, to: str, other: Any, **given: Any) -> Arrays:
    """Parameters after the array of one layer became that of another too, and something was done."""
    nnx, root = adapter.nnx, _built(adapter, tree)
    _at(root, path).kernel = _at(root, to).kernel
    if after == "a step":
        _step(adapter, root, nnx.Param, 1.0, **given)
    else:
        names = _flat(adapter, nnx.state(root))
        _assign(
            adapter, root, {p: v for p, v in _flat(adapter, nnx.state(_built(adapter, other))).items() if p in names}
        )
    return _every_path(adapter, root)


def _assign(adapter: JaxAdapter, root: Any, values: Mapping[tuple[Any, ...], Any]) -> None:
    from flax.traverse_util import unflatten_dict

    state = adapter.nnx.state(root)
    adapter.nnx.replace_by_pure_dict(state, unflatten_dict(dict(values)))
    adapter.nnx.update(root, state)


def _save_msgpack(adapter: JaxAdapter, saved: Any, root: Any, path: Path) -> None:
    from flax import serialization

    state = adapter.nnx.to_pure_dict(adapter.nnx.state(saved))
    path.write_bytes(serialization.to_bytes(state))
    target = adapter.nnx.state(root)
    pure = serialization.from_bytes(adapter.nnx.to_pure_dict(target), path.read_bytes())
    adapter.nnx.replace_by_pure_dict(target, pure)
    adapter.nnx.update(root, target)


def _save_orbax(adapter: JaxAdapter, saved: Any, root: Any, path: Path) -> None:
    import orbax.checkpoint as orbax

    nnx = adapter.nnx
    with orbax.StandardCheckpointer() as files:
        files.save(path, nnx.state(saved))
        files.wait_until_finished()
        _, target = nnx.split(root)
        nnx.update(root, files.restore(path, target))


def _hand_over(adapter: JaxAdapter, saved: Any, root: Any, form: str) -> None:
    way = {"msgpack": _save_msgpack, "orbax": _save_orbax}[form]
    with tempfile.TemporaryDirectory() as folder:
        way(adapter, saved, root, Path(folder) / "model")


def _save(form: str) -> Callable[..., Arrays]:
    def save(adapter: JaxAdapter, tree: Any, into: Any) -> Arrays:
        """Parameters of a model that has loaded what another one saved."""
        saved, root = _built(adapter, tree), _built(adapter, into)
        _hand_over(adapter, saved, root, form)
        return _every_path(adapter, root)

    return save


def _with_statistics(adapter: JaxAdapter, root: Any) -> Arrays:
    nnx = adapter.nnx
    return _arrays(adapter, nnx.state(root, nnx.Any(nnx.Param, nnx.BatchStat)))


def _paths(adapter: JaxAdapter, values: Arrays) -> dict[tuple[Any, ...], Any]:
    """Arrays of a tree by Flax's paths."""
    out = {}
    for name, value in values.items():
        *parents, last = (int(step) if step.isdigit() else step for step in name.split("."))
        stored = value.T if last == "weight" else value
        out[(*parents, "kernel" if last == "weight" else last)] = adapter.place(np.ascontiguousarray(stored))
    return out


def load(adapter: JaxAdapter, tree: Any, file: Arrays) -> dict[str, Any]:
    """How loading a file of these arrays ended, and the parameters afterwards."""
    from flax import serialization

    root, given = _built(adapter, tree), _paths(adapter, file)
    stored = serialization.msgpack_serialize({"/".join(map(str, path)): value for path, value in given.items()})
    read = serialization.msgpack_restore(stored)
    values = {tuple(int(s) if s.isdigit() else s for s in path.split("/")): value for path, value in read.items()}
    how = ended(lambda: _assign(adapter, root, values))
    return {"ended": how, "parameters": _parameters(adapter, root)}


def update(adapter: JaxAdapter, tree: Any, values: Arrays) -> dict[str, Any]:
    """How an update of some parameters ended, and the parameters afterwards."""
    from flax.traverse_util import unflatten_dict

    nnx, root = adapter.nnx, _built(adapter, tree)
    state = nnx.State(unflatten_dict({path: nnx.Param(value) for path, value in _paths(adapter, values).items()}))
    how = ended(lambda: nnx.update(root, state))
    return {"ended": how, "parameters": _parameters(adapter, root)}


def replace(adapter: JaxAdapter, tree: Any, path: str, by: Any) -> dict[str, Any]:
    """How giving a module another one's place ended, and what the model lists afterwards; by: a tree, or a text."""
    root = _built(adapter, tree)
    new = by if isinstance(by, str) else _built(adapter, by)
    *parents, name = path.split(".")
    holder = _at(root, ".".join(parents))

    def put() -> None:
        if name.isdigit():
            holder[int(name)] = new
        else:
            setattr(holder, name, new)

    how = ended(put)
    return {"ended": how, "parameters": _parameters(adapter, root), "modules": _names(adapter, root)}


def apply(adapter: JaxAdapter, tree: Any) -> Arrays:
    """Parameters after each was doubled."""
    root = _built(adapter, tree)
    adapter.nnx.update(root, adapter.jax.tree.map(lambda value: value * 2, adapter.nnx.state(root, adapter.nnx.Param)))
    return _every_path(adapter, root)


def apply_to_some(adapter: JaxAdapter, tree: Any) -> Arrays:
    """Parameters after each bias was doubled."""
    nnx, root = adapter.nnx, _built(adapter, tree)
    nnx.update(root, adapter.jax.tree.map(lambda value: value * 2, nnx.state(root, nnx.PathContains("bias"))))
    return _every_path(adapter, root)


def filtered(adapter: JaxAdapter, tree: Any) -> Arrays:
    """The biases alone, doubled."""
    nnx = adapter.nnx
    found = nnx.state(_built(adapter, tree), nnx.PathContains("bias"))
    return _arrays(adapter, adapter.jax.tree.map(lambda value: value * 2, found))


def _cast(adapter: JaxAdapter, root: Any, to: str) -> None:
    jnp, nnx, dtype = adapter.jnp, adapter.nnx, adapter.dtypes[to]

    def convert(value: Any) -> Any:
        return value.astype(dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value

    nnx.update(root, adapter.jax.tree.map(convert, nnx.state(root, nnx.Param)))


def cast(adapter: JaxAdapter, tree: Any, to: str) -> Arrays:
    """Parameters after the model was set to another dtype."""
    root = _built(adapter, tree)
    _cast(adapter, root, to)
    return _every_path(adapter, root)


def _names(adapter: JaxAdapter, root: Any) -> list[str]:
    return [".".join(map(str, path)) for path, _ in adapter.nnx.iter_modules(root)]


def modules(adapter: JaxAdapter, tree: Any) -> list[str]:
    """Paths of every module, "" for the whole, in the order in which they are listed."""
    return _names(adapter, _built(adapter, tree))


def children(adapter: JaxAdapter, tree: Any) -> list[str]:
    """Paths of the modules that are right inside."""
    return [str(name) for name, _ in adapter.nnx.iter_children(_built(adapter, tree))]


def _in_mode(adapter: JaxAdapter, tree: Any, steps: Sequence[tuple[str, bool]]) -> Any:
    return nested.told(_built(adapter, tree), _at, steps)


def modes(adapter: JaxAdapter, tree: Any, steps: Sequence[tuple[str, bool]]) -> dict[str, bool]:
    """Whether each module is being trained, by its path, of those that know it."""
    nnx, out = adapter.nnx, {}
    for path, module in nnx.iter_modules(_in_mode(adapter, tree, steps)):
        name = ".".join(map(str, path))
        if isinstance(module, nnx.Dropout):
            out[name] = not module.deterministic
        elif isinstance(module, nnx.BatchNorm):
            out[name] = not module.use_running_average
    return out


def run(adapter: JaxAdapter, tree: Any, training: bool, order: Sequence[str], x: np.ndarray) -> dict[str, Any]:
    """The result of the layers one after the other, and the model's arrays afterwards."""
    root = _in_mode(adapter, tree, [("", training)])
    result = _result(adapter, root, order, x)
    return {"result": result, "arrays": _with_statistics(adapter, root)}


def state(adapter: JaxAdapter, tree: Any, path: str) -> Arrays:
    """Parameters after one of the model's state was set to zero."""
    from touchstone.adapters.jax import releases

    root = _built(adapter, tree)
    found = adapter.nnx.state(root)
    (place,) = _paths(adapter, {path: np.zeros((1, 1), np.float32)})
    for step in place:
        found = found[step]
    (held,) = adapter.jax.tree.leaves(found)
    releases.assign(found, adapter.jnp.zeros_like(held))
    return _parameters(adapter, root)


def _returned(action: Callable[[JaxAdapter, Any], Any]) -> Callable[..., str]:
    def returned(adapter: JaxAdapter, tree: Any) -> str:
        """What a method gives back: "the module", "nothing" or "something else"."""
        root = _built(adapter, tree)
        found = action(adapter, root)
        return "the module" if found is root else "nothing" if found is None else "something else"

    return returned


def _update_with_its_own(adapter: JaxAdapter, root: Any) -> Any:
    return adapter.nnx.update(root, adapter.nnx.state(root))


ANSWERS: Mapping[str, Callable[..., Any]] = {
    **example_answers.answers("touchstone.adapters.jax.examples", _built, _arrays),
    "step of a layer": layer_training.step,
    "modes of a layer": layer_training.modes,
    "parameters of a layer": layer_training.parameters,
    "parameters": parameters,
    "freeze": freeze,
    "gradients": gradients,
    "step": step,
    "tie": tie,
    "save msgpack": _save("msgpack"),
    "save orbax": _save("orbax"),
    "statistics msgpack": nested.through_a_file(_built, _hand_over, _result, _with_statistics, "msgpack"),
    "statistics orbax": nested.through_a_file(_built, _hand_over, _result, _with_statistics, "orbax"),
    "load": load,
    "update": update,
    "replace": replace,
    "apply": apply,
    "apply to some": apply_to_some,
    "filter": filtered,
    "cast": cast,
    "modules": modules,
    "visit": modules,
    "children": children,
    "modes": modes,
    "run": run,
    "state": state,
    "return of train": _returned(lambda adapter, root: root.train()),
    "return of eval": _returned(lambda adapter, root: root.eval()),
    "return of update": _returned(_update_with_its_own),
}
_BY_FILTER = (
    "Flax freezes by the filter given to an optimizer and a gradient (wrt, nnx.DiffState): modules hold no such state"
)
_ONE_STRICTNESS = "nnx.update and nnx.replace_by_pure_dict know no strictness"
_BY_TREE = "Flax changes a model's state by jax.tree.map and nnx.update: a module has no method for it"
_AVERAGE = "JAX averages by jax.lax.pmean inside a mapped function"
ABSENT: Mapping[str, str] = {
    **dict.fromkeys(
        (f"module:{what} {form}" for what in ("save", "statistics") for form in ("npz", "safetensors", "torch")),
        "Flax saves a state by msgpack or Orbax",
    ),
    **dict.fromkeys(
        (
            *("module:unfreeze", "module:freeze strictly", "module:return of freeze", "module:return of unfreeze"),
            "module:load what is frozen",
        ),
        _BY_FILTER,
    ),
    "module:load leniently": _ONE_STRICTNESS,
    "module:update leniently": _ONE_STRICTNESS,
    "module:replace leniently": "an attribute is set by name, whatever the name",
    "module:cast by predicate": _BY_TREE,
    "module:return of apply": _BY_TREE,
    "module:return of cast": _BY_TREE,
    "module:return of load": _ONE_STRICTNESS,
    "module:leaves": "nnx.iter_modules lists modules whether they hold others or not",
    **dict.fromkeys(("module:average", "module:average over processes"), _AVERAGE),
}
