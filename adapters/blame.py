"""Whose is an exception: the framework's answer to a call, or a slip in the project's own code around it?"""

from __future__ import annotations

import dis
import inspect
import traceback
from pathlib import Path
from types import FrameType

from touchstone.adapters.interface import Adapter

_ASKS = ("jax", "libraries", "mlx", "reference", "torch")
"""Packages of adapters whose modules call a framework: what is raised there may be its answer."""
_ASKS_NOTHING = ("touchstone.adapters.libraries.conversion",)
_EXPLICIT = ("RAISE_VARARGS", "RERAISE")


def slipped(error: BaseException) -> bool:
    """Whether the exception comes from a line of the project that calls no framework, and did not mean to raise it.

    What a ``raise`` statement there says is an answer, as of an adapter that refuses a size; an attribute that is not
    there, a key, or a failed assertion is not.
    """
    last = error.__traceback__
    if last is None:
        return False
    while last.tb_next is not None:
        last = last.tb_next
    if not _is_own(last.tb_frame):
        return False
    instruction = dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]]
    return isinstance(error, AssertionError) or instruction not in _EXPLICIT


def _is_own(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    asks = tuple(f"touchstone.adapters.{package}." for package in _ASKS)
    return module.startswith("touchstone.") and (module in _ASKS_NOTHING or not module.startswith(asks))


def answered(error: BaseException, cls: type[Adapter]) -> bool:
    """Whether an exception that was not caught around a call passed through the adapter's own code, and is no slip."""
    bases = [base for base in cls.__mro__ if issubclass(base, Adapter) and base is not Adapter]
    files = {Path(inspect.getfile(base)) for base in bases}
    folders = {file.parent for file in files} - {Path(__file__).parent}
    passed = (Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(path in files or path.parent in folders for path in passed) and not slipped(error)
