"""How activations are seen: the small interface behind which every framework records a module's operations.

An operation is a call of a submodule, or of a tied head's method, named by its dotted path; the module itself is "".
One that is called again has "#2" behind its name. Operations are listed as they end, so that what a module is made of
comes before the module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

Change = Callable[[str, np.ndarray], np.ndarray]
"""What a parameter, by its name within the operation's module, is to be during one call."""


@dataclass(frozen=True)
class Recording:
    """One call: the arrays that went in, positional before named, depth first; and the first array that came out."""

    inputs: tuple[np.ndarray, ...]
    output: np.ndarray


@dataclass(frozen=True)
class Known:
    """A layer whose result is known in float64 from its parameters.

    kind "embedding" has a table ``[rows, dims]``, "linear" a weight ``[out, in]`` and perhaps a bias, "rms_norm" a
    weight ``[dims]`` and epsilon.
    """

    kind: Literal["embedding", "linear", "rms_norm"]
    weight: np.ndarray
    bias: np.ndarray | None = None
    eps: float = 0.0


class Traceable(Protocol):
    """A module whose operations can be recorded, and carried out one at a time on other inputs."""

    def record(self, *inputs: Any) -> dict[str, Recording]:
        """Call the module and keep what each operation was given and gave, in the order in which they ended.

        Whatever was put in place to see it is gone afterwards, also where the call raises.
        """
        ...

    def apply(self, operation: str, inputs: tuple[np.ndarray, ...], change: Change | None = None) -> np.ndarray:
        """The operation as it was last recorded, with these arrays for those that went in.

        change: applied to every floating parameter of the operation's module for this call only.
        """
        ...

    def known(self, operation: str) -> Known | None:
        """The operation's layer and parameters, where this is a layer of one of those kinds; else None."""
        ...


@dataclass
class Call:
    """What was passed, as the framework has it."""

    module: Any
    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass
class Log:
    """Calls as they end, under names of which none occurs twice."""

    is_array: Callable[[Any], bool]
    fetch: Callable[[Any], np.ndarray]
    calls: dict[str, Call] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def inputs(self, call: Call) -> tuple[np.ndarray, ...]:
        return tuple(np.array(self.fetch(x)) for x in leaves((call.args, call.kwargs), self.is_array))

    def add(self, path: str, call: Call, inputs: tuple[np.ndarray, ...], output: Any) -> None:
        """Keep a call that gave an array; one that gave none is no operation."""
        found = next(leaves(output, self.is_array), None)
        if found is None:
            return
        count = self.counts[path] = self.counts.get(path, 0) + 1
        name = path if count == 1 else f"{path}#{count}"
        self.calls[name] = call
        self.recordings[name] = Recording(inputs, np.array(self.fetch(found)))

    def again(self, operation: str, arrays: Iterator[Any]) -> np.ndarray:
        """What the operation gives when its call is repeated with these arrays, which the framework can take."""
        call = self.calls[operation]
        args, kwargs = replaced((call.args, dict(call.kwargs)), self.is_array, arrays)
        output = getattr(call.module, call.method)(*args, **kwargs)
        return np.array(self.fetch(next(leaves(output, self.is_array))))


def leaves(value: Any, is_array: Callable[[Any], bool]) -> Iterator[Any]:
    """Arrays in nested tuples, lists and dictionaries, depth first."""
    if is_array(value):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from leaves(part, is_array)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from leaves(part, is_array)


def replaced(value: Any, is_array: Callable[[Any], bool], arrays: Iterator[Any]) -> Any:
    """The same nesting with the next of `arrays` for each array in it."""
    if is_array(value):
        return next(arrays)
    if isinstance(value, dict):
        return {name: replaced(part, is_array, arrays) for name, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [replaced(part, is_array, arrays) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


@contextmanager
def patched(modules: Iterable[tuple[str, Any]], methods: Iterable[str], log: Log) -> Iterator[None]:
    """Log every call of the modules' methods, for frameworks without hooks.

    Python looks up ``__call__`` on the class: the classes of the modules are changed, and changed back. Other instances
    of them are called as ever.
    """
    paths = {id(module): path for path, module in modules}
    classes = {type(module) for _, module in modules}
    # Not hasattr: every class has a __call__, that of its metaclass.
    has = {cls: {name for base in cls.__mro__ for name in vars(base)} for cls in classes}
    wanted = [(cls, name) for cls in classes for name in methods if name in has[cls]]
    own = [(cls, name, cls.__dict__.get(name)) for cls, name in wanted]
    active: list[tuple[int, str]] = []

    def wrap(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def logged(module: Any, *args: Any, **kwargs: Any) -> Any:
            key = (id(module), name)
            if id(module) not in paths or key in active:  # a call of super() is no call of its own
                return original(module, *args, **kwargs)
            call = Call(module, name, args, kwargs)
            inputs = log.inputs(call)
            active.append(key)
            try:
                output = original(module, *args, **kwargs)
            finally:
                active.pop()
            path = paths[id(module)]
            log.add(path if name == "__call__" else f"{path}.{name}", call, inputs, output)
            return output

        return logged

    try:
        for cls, name in wanted:
            setattr(cls, name, wrap(getattr(cls, name), name))
        yield
    finally:
        for cls, name, original in own:
            if original is None:
                delattr(cls, name)
            else:
                setattr(cls, name, original)
