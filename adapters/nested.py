"""A nested model from plain data, whatever framework its modules are of: the trees of `Adapter.module_answer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Makers = Mapping[str, Callable[[Any], Any]]
"""Kind of a tree -> what makes it of its content; of those that hold others, with the others made already.

"list" and "dictionary" may be missing where the framework's own are Python's; those of Python need no maker.
"""


def built(tree: Any, makers: Makers) -> Any:
    """The model of a tree."""
    return _built(tree, {"list": list, "dictionary": dict, **makers, **_PLAIN}, {}, "")


_PLAIN: Makers = {"plain list": list, "plain tuple": tuple, "plain dictionary": dict}


def _built(tree: Any, makers: Makers, made: dict[str, Any], path: str) -> Any:
    """made: what was built by its path."""
    kind, content = tree

    def inner(name: Any) -> Any:
        return _built(content[name], makers, made, f"{path}.{name}" if path else str(name))

    if kind in ("module", "dictionary", "plain dictionary"):
        content = {name: inner(name) for name in content}
    elif kind in ("list", "plain list", "plain tuple"):
        content = [inner(number) for number in range(len(content))]
    made[path] = made[content] if kind == "shared" else makers[kind](content)
    return made[path]


def holding(module: Any, members: Mapping[str, Any]) -> Any:
    """The module with these as its attributes."""
    for name, value in members.items():
        setattr(module, name, value)
    return module


def told(root: Any, at: Callable[[Any, str], Any], steps: Sequence[tuple[str, bool]]) -> Any:
    """The model after each module at a path was told that it is trained, or evaluated; at: what lies at a path."""
    for path, training in steps:
        module = at(root, path)
        module.train() if training else module.eval()
    return root


def through_a_file(
    build: Callable[[Any, Any], Any],
    hand_over: Callable[[Any, Any, Any, str], None],
    call: Callable[[Any, Any, Sequence[str], np.ndarray], np.ndarray],
    arrays: Callable[[Any, Any], Any],
    form: str,
) -> Callable[..., list[dict[str, Any]]]:
    """An answer about running statistics. After the adapter, each takes a model, but `build` a tree.

    hand_over: from one model to another, by a file of that form. call: the layers to be called in order, and the input.
    """

    def statistics(adapter: Any, tree: Any, order: Sequence[str], x: np.ndarray) -> list[dict[str, Any]]:
        """What a model holds, and gives in evaluation, after two calls in training; the same of one that loaded it."""
        saved, root = build(adapter, tree), build(adapter, tree)
        saved.train()
        for times in (1, 2):
            call(adapter, saved, order, times * x)
        hand_over(adapter, saved, root, form)
        for model in (saved, root):
            model.eval()
        return [{"result": call(adapter, model, order, x), "arrays": arrays(adapter, model)} for model in (saved, root)]

    return statistics
