"""The documentation's own model, whatever framework its layers are of: what it counts, prints and differentiates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

Answers = Mapping[str, Callable[..., Any]]


def answers(path: str, build: Callable[[Any, Any], Any], arrays: Callable[[Any, Any], Any]) -> Answers:
    """Answers of an adapter about it. path: the module that has it. build: the model of a tree. arrays: by path."""

    def example(adapter: Any, tree: Any) -> tuple[Any, Any]:
        examples = import_module(path)
        return examples, examples.MLP(build(adapter, tree).layers)

    def count(adapter: Any, tree: Any) -> int:
        """How many numbers its parameters have, as the documentation counts them."""
        examples, model = example(adapter, tree)
        return int(examples.count(model))

    def text(adapter: Any, tree: Any) -> str:
        """What it prints."""
        return str(example(adapter, tree)[1])

    def l2_loss(adapter: Any, tree: Any, x: np.ndarray, y: np.ndarray, by: str) -> tuple[float, Any]:
        """The documentation's loss of it, and its gradients."""
        examples, model = example(adapter, tree)
        value, found = examples.l2_loss(model, adapter.place(x), adapter.place(y), by)
        return float(adapter.fetch(value)), arrays(adapter, found)

    return {"count": count, "text": text, "l2 loss": l2_loss}
