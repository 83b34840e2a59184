"""What nested models of `torch.nn.Module` list, train, save, load, cast and visit: a function for each question."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters import example_answers, nested
from touchstone.adapters.isolation.outcome import ended
from touchstone.adapters.torch import layer_training

if TYPE_CHECKING:
    from touchstone.adapters.torch.adapter import TorchAdapter

Arrays = dict[str, np.ndarray]


def _built(adapter: TorchAdapter, tree: Any) -> Any:
    """The model of a tree."""
    nn = adapter.torch.nn

    def linear(content: Mapping[str, np.ndarray]) -> Any:
        out = nn.Linear(*reversed(content["weight"].shape), bias="bias" in content)
        return nested.holding(out, {name: adapter.parameter(value) for name, value in content.items()})

    makers: nested.Makers = {
        "module": lambda members: nested.holding(nn.Module(), members),
        "list": nn.ModuleList,
        "dictionary": nn.ModuleDict,
        "linear": linear,
        "parameter": lambda value: _parameter(adapter, value),
        "parameters": lambda values: nn.ParameterList([_parameter(adapter, value) for value in values]),
        "dropout": nn.Dropout,
        "batch_norm": lambda size: nn.BatchNorm1d(size).to(adapter.device),
    }
    return nested.built(tree, makers)


def _parameter(adapter: TorchAdapter, value: np.ndarray) -> Any:
    placed = adapter.place(value)
    return adapter.torch.nn.Parameter(placed, requires_grad=placed.is_floating_point())


def _at(root: Any, path: str) -> Any:
    return root.get_submodule(path)


def _arrays(adapter: TorchAdapter, values: Any) -> Arrays:
    """Copies: on the CPU what is fetched shares its memory with the parameter."""
    return {path: np.array(adapter.fetch(value)) for path, value in dict(values).items()}


def _parameters(adapter: TorchAdapter, root: Any) -> Arrays:
    return _arrays(adapter, root.named_parameters())


def _state(adapter: TorchAdapter, root: Any) -> Arrays:
    return _arrays(adapter, root.state_dict())


def _called(root: Any, order: Sequence[str], x: Any) -> Any:
    for path in order:
        x = _at(root, path)(x)
    return x


def _result(adapter: TorchAdapter, root: Any, order: Sequence[str], x: np.ndarray) -> np.ndarray:
    return np.array(adapter.fetch(_called(root, order, adapter.place(x))))


def parameters(adapter: TorchAdapter, tree: Any) -> Arrays:
    """Every parameter by its path."""
    return _parameters(adapter, _built(adapter, tree))


def _told(root: Any, steps: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Any:
    """The model after ("freeze" or "unfreeze", path, options) one after the other."""
    for verb, path, options in steps:
        module, keys = _at(root, path), options.get("keys")
        if not options:
            module.requires_grad_(verb == "unfreeze")
            continue
        for name, value in module.named_parameters(recurse=options.get("recurse", True)):
            if keys is None or name.split(".")[-1] in ([keys] if isinstance(keys, str) else keys):
                value.requires_grad_(verb == "unfreeze")
    return root


def _trained(root: Any) -> dict[str, Any]:
    return {name: value for name, value in root.named_parameters() if value.requires_grad}


def freeze(adapter: TorchAdapter, tree: Any, steps: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[str]:
    """Paths of what is trained afterwards."""
    root = _told(_built(adapter, tree), steps)
    return sorted(_trained(root))


def _backward(adapter: TorchAdapter, root: Any, order: Sequence[str], x: np.ndarray, cotangent: np.ndarray) -> Any:
    value = (_called(root, order, adapter.place(x)) * adapter.place(cotangent)).sum()
    value.backward()
    return value


def gradients(adapter: TorchAdapter, tree: Any, steps: Any, **given: Any) -> tuple[float, Arrays]:
    """Of the sum of the result times the cotangent, by what is trained."""
    root = _told(_built(adapter, tree), steps)
    value = _backward(adapter, root, **given)
    found = {name: one.grad for name, one in _trained(root).items() if one.grad is not None}
    return float(value.detach()), _arrays(adapter, found)


def step(adapter: TorchAdapter, tree: Any, steps: Any, rate: float, **given: Any) -> Arrays:
    """Parameters after one step of plain SGD."""
    root = _told(_built(adapter, tree), steps)
    _backward(adapter, root, **given)
    adapter.torch.optim.SGD(root.parameters(), lr=rate).step()
    return _state(adapter, root)


def tie(adapter: TorchAdapter, tree: Any, after: str, path: str, to: str, other: Any, **given: Any) -> Arrays:
    """Parameters after the array of one layer became that of another too, and something was done."""
    root = _built(adapter, tree)
    _at(root, path).weight = _at(root, to).weight
    if after == "a step":
        _backward(adapter, root, **given)
        adapter.torch.optim.SGD(root.parameters(), lr=1.0).step()
    else:
        root.load_state_dict(_built(adapter, other).state_dict())
    return _state(adapter, root)


def _hand_over(adapter: TorchAdapter, saved: Any, root: Any, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        if form == "safetensors":
            from safetensors import torch as files

            files.save_model(saved, str(path))
            files.load_model(root, str(path))
        else:
            adapter.torch.save(saved.state_dict(), path)
            root.load_state_dict(adapter.torch.load(path, weights_only=True))


def _save(form: str) -> Callable[..., Arrays]:
    def save(adapter: TorchAdapter, tree: Any, into: Any) -> Arrays:
        """Parameters of a model that has loaded what another one saved."""
        saved, root = _built(adapter, tree), _built(adapter, into)
        _hand_over(adapter, saved, root, form)
        return _state(adapter, root)

    return save


def load(adapter: TorchAdapter, tree: Any, file: Arrays, strict: bool = True) -> dict[str, Any]:
    """How loading a file of these arrays ended, and the parameters afterwards."""
    root = _built(adapter, tree)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        adapter.torch.save({name: adapter.place(value) for name, value in file.items()}, path)
        how = ended(lambda: root.load_state_dict(adapter.torch.load(path, weights_only=True), strict=strict))
        return {"ended": how, "parameters": _state(adapter, root)}


def load_what_is_frozen(adapter: TorchAdapter, tree: Any, file: Arrays, steps: Any) -> dict[str, Any]:
    """Parameters, and which of them are trained, of a model that has taken the arrays of a file for its own."""
    root = _told(_built(adapter, tree), steps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        adapter.torch.save({name: adapter.place(value) for name, value in file.items()}, path)
        root.load_state_dict(adapter.torch.load(path, weights_only=True), assign=True)
        return {"parameters": _state(adapter, root), "trained": sorted(_trained(root))}


def update(adapter: TorchAdapter, tree: Any, values: Arrays) -> dict[str, Any]:
    """How an update of some parameters ended, and the parameters afterwards: load_state_dict that is not strict."""
    root, given = _built(adapter, tree), {name: adapter.place(value) for name, value in values.items()}
    how = ended(lambda: root.load_state_dict(given, strict=False))
    return {"ended": how, "parameters": _state(adapter, root)}


def replace(adapter: TorchAdapter, tree: Any, path: str, by: Any) -> dict[str, Any]:
    """How giving a module another one's place ended, and what the model lists afterwards; by: a tree, or a text."""
    root = _built(adapter, tree)
    new = by if isinstance(by, str) else _built(adapter, by)
    how = ended(lambda: root.set_submodule(path, new))
    return {"ended": how, "parameters": _state(adapter, root), "modules": _names(root)}


def apply(adapter: TorchAdapter, tree: Any) -> Arrays:
    """Parameters after each was doubled."""
    root = _built(adapter, tree)
    with adapter.torch.no_grad():
        for value in root.parameters():
            value.mul_(2)
    return _state(adapter, root)


def cast(adapter: TorchAdapter, tree: Any, to: str) -> Arrays:
    """Parameters after the model was set to another dtype."""
    return _state(adapter, _built(adapter, tree).to(adapter.dtypes[to]))


def _names(root: Any) -> list[str]:
    return [name for name, _ in root.named_modules()]


def modules(adapter: TorchAdapter, tree: Any) -> list[str]:
    """Paths of every module, "" for the whole, in the order in which they are listed."""
    root = _built(adapter, tree)
    named = list(root.named_modules())
    return _names(root) if [id(one) for one in root.modules()] == [id(one) for _, one in named] else []


def visit(adapter: TorchAdapter, tree: Any) -> list[str]:
    """Paths of the modules to which a function is applied, in their order."""
    root, seen = _built(adapter, tree), list[str]()
    names = {id(module): name for name, module in root.named_modules()}
    root.apply(lambda module: seen.append(names[id(module)]))
    return seen


def children(adapter: TorchAdapter, tree: Any) -> list[str]:
    """Paths of the modules that are right inside."""
    return [name for name, _ in _built(adapter, tree).named_children()]


def _in_mode(adapter: TorchAdapter, tree: Any, steps: Sequence[tuple[str, bool]]) -> Any:
    return nested.told(_built(adapter, tree), _at, steps)


def modes(adapter: TorchAdapter, tree: Any, steps: Sequence[tuple[str, bool]]) -> dict[str, bool]:
    """Whether each module is being trained, by its path."""
    return {name: module.training for name, module in _in_mode(adapter, tree, steps).named_modules()}


def run(adapter: TorchAdapter, tree: Any, training: bool, order: Sequence[str], x: np.ndarray) -> dict[str, Any]:
    """The result of the layers one after the other, and the model's arrays afterwards."""
    root = _in_mode(adapter, tree, [("", training)])
    with adapter.torch.random.fork_rng(), adapter.torch.no_grad():
        adapter.torch.manual_seed(7)
        result = _result(adapter, root, order, x)
    state = {name: value for name, value in _state(adapter, root).items() if "num_batches" not in name}
    return {"result": result, "arrays": state}


def state(adapter: TorchAdapter, tree: Any, path: str) -> Arrays:
    """Parameters after one of the model's state was set to zero."""
    root = _built(adapter, tree)
    root.state_dict()[path].zero_()
    return _state(adapter, root)


def _returned(action: Callable[[TorchAdapter, Any], Any]) -> Callable[..., str]:
    def returned(adapter: TorchAdapter, tree: Any) -> str:
        """What a method gives back: "the module", "nothing" or "something else"."""
        root = _built(adapter, tree)
        found = action(adapter, root)
        return "the module" if found is root else "nothing" if found is None else "something else"

    return returned


def _cast_to_half(adapter: TorchAdapter, root: Any) -> Any:
    return root.to(adapter.torch.float16)


ANSWERS: Mapping[str, Callable[..., Any]] = {
    **example_answers.answers("touchstone.adapters.torch.examples", _built, _arrays),
    "step of a layer": layer_training.step,
    "modes of a layer": layer_training.modes,
    "parameters of a layer": layer_training.parameters,
    "parameters": parameters,
    "freeze": freeze,
    "unfreeze": freeze,
    "gradients": gradients,
    "step": step,
    "tie": tie,
    "save torch": _save("torch"),
    "statistics safetensors": nested.through_a_file(_built, _hand_over, _result, _state, "safetensors"),
    "statistics torch": nested.through_a_file(_built, _hand_over, _result, _state, "torch"),
    "save safetensors": _save("safetensors"),
    "load": load,
    "load what is frozen": load_what_is_frozen,
    "load leniently": load,
    "update": update,
    "replace": replace,
    "apply": apply,
    "cast": cast,
    "modules": modules,
    "visit": visit,
    "children": children,
    "modes": modes,
    "run": run,
    "state": state,
    "return of freeze": _returned(lambda adapter, root: root.requires_grad_(False)),
    "return of unfreeze": _returned(lambda adapter, root: root.requires_grad_(True)),
    "return of train": _returned(lambda adapter, root: root.train()),
    "return of eval": _returned(lambda adapter, root: root.eval()),
    "return of apply": _returned(lambda adapter, root: root.apply(lambda module: None)),
    "return of cast": _returned(_cast_to_half),
    "return of load": _returned(lambda adapter, root: root.load_state_dict(root.state_dict())),
}
_NO_FILTER = "torch.nn.Module has no filter of its members"
_STRICT = "torch.nn.Module.load_state_dict has one strictness, which MOD-LOAD-1 and MOD-LOAD-2 ask"
_AVERAGE = "PyTorch averages gradients by DistributedDataParallel, which wraps a model in a process group"
ABSENT: Mapping[str, str] = {
    **dict.fromkeys(
        (f"module:{what} {form}" for what in ("save", "statistics") for form in ("npz", "msgpack", "orbax")),
        "PyTorch saves by torch.save, or safetensors",
    ),
    "module:freeze strictly": "PyTorch freezes a parameter, not a name",
    "module:update leniently": _STRICT,
    "module:return of update": _STRICT,
    "module:replace leniently": "torch.nn.Module.set_submodule has no such word for names that are not there",
    "module:apply to some": _NO_FILTER,
    "module:filter": _NO_FILTER,
    "module:cast by predicate": "torch.nn.Module.to casts what is floating, and takes no predicate",
    "module:leaves": "torch.nn.Module lists modules whether they hold others or not",
    **dict.fromkeys(("module:average", "module:average over processes"), _AVERAGE),
}
