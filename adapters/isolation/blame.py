"""Whose is an exception: the framework's answer to a call, or a slip in the project's own code around it?"""

from __future__ import annotations

import dis
import inspect
import traceback
from pathlib import Path
from types import TracebackType

from touchstone.adapters.interface import Adapter
from touchstone.adapters.isolation import touching

_ASKS = ("jax", "libraries", "mlx", "torch")
"""Packages of adapters whose modules call a framework: what is raised there may be its answer."""
_SPELLS = ("touchstone.adapters.calls", "touchstone.adapters.members", "touchstone.adapters.array_files")
"""Modules in which a framework's function or a member of its array is called by its name."""
_ASKS_NOTHING = ("touchstone.adapters.libraries.conversion",)
_IS_NUMPY = "touchstone.adapters.reference."
"""The package whose framework NumPy itself is."""
_EXPLICIT = ("RAISE_VARARGS", "RERAISE")


def slipped(error: BaseException) -> bool:
    """Whether the exception comes from an expression of the project that touches no framework, and is not meant.

    What a ``raise`` statement says is an answer, as of an adapter that refuses a size; an attribute that is not there,
    a key, or a failed assertion is not. In a module that calls a framework (`touchstone.adapters.mlx.adapter`) the
    expression decides: ``mx.take`` that a release lacks is an answer, ``None.shape`` is a slip.
    """
    last = error.__traceback__
    if last is None:
        return False
    while last.tb_next is not None:
        last = last.tb_next
    module = str(last.tb_frame.f_globals.get("__name__", ""))
    if not module.startswith("touchstone."):
        return False
    if isinstance(error, AssertionError | NameError):
        return True
    if _is_explicit(last) or module.startswith(_IS_NUMPY):
        return False
    return not (_asks(module) and _can_touch(error, last))


def _is_explicit(last: TracebackType) -> bool:
    return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] in _EXPLICIT


def _asks(module: str) -> bool:
    packages = tuple(f"touchstone.adapters.{package}." for package in _ASKS)
    return module in _SPELLS or (module.startswith(packages) and module not in _ASKS_NOTHING)


def _can_touch(error: BaseException, last: TracebackType) -> bool:
    if isinstance(error, AttributeError) and error.obj is not None:
        return touching.is_of_framework(error.obj)
    return touching.can_touch(last)


def answered(error: BaseException, cls: type[Adapter]) -> bool:
    """Whether an exception that was not caught around a call passed through the adapter's own code, and is no slip."""
    bases = [base for base in cls.__mro__ if issubclass(base, Adapter) and base is not Adapter]
    files = {Path(inspect.getfile(base)) for base in bases}
    folders = {file.parent for file in files} - {Path(inspect.getfile(Adapter)).parent}
    passed = (Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(path in files or path.parent in folders for path in passed) and not slipped(error)
