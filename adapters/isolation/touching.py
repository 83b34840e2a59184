"""Does the expression that raised touch anything of a framework's, such as its arrays, layers and functions?"""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
import types
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

_LOOKED_AT = 1000
"""Elements of a container that are looked at."""
_NOT_A_FRAMEWORK = {"touchstone", "numpy", "ml_dtypes", *sys.stdlib_module_names}


def can_touch(raised: types.TracebackType) -> bool:
    """Whether the expression in the traceback's frame names what is of a framework, or what cannot be told.

    Names and attributes are looked up in the frame; what an inner call gave is not known afterwards.
    """
    expression = _expression(raised)
    if expression is None:
        return True
    frame = raised.tb_frame
    names = {**vars(builtins), **frame.f_globals, **frame.f_locals}
    try:
        return any(is_of_framework(value) for value in _values(expression, names))
    except LookupError:
        return True


def _expression(raised: types.TracebackType) -> ast.expr | None:
    """The expression whose instruction raised; None where its source is not there, or it is a statement."""
    code = raised.tb_frame.f_code
    line, last_line, start, end = next(islice(code.co_positions(), raised.tb_lasti // 2, None))
    if line is None or last_line is None or start is None or end is None:
        return None
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(line, last_line + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    try:
        return ast.parse(b"(" + b"".join(lines) + b"\n)", mode="eval").body if any(lines) else None
    except SyntaxError:
        return None


def _values(expression: ast.expr, names: Mapping[str, Any]) -> Iterator[Any]:
    """What the expression names. Raises LookupError where that cannot be told without calling something again."""
    if isinstance(expression, ast.Name | ast.Attribute | ast.Constant) and _is_path(expression):
        yield _value(expression, names)
        return
    for part in ast.iter_child_nodes(expression):
        if isinstance(part, ast.Call | ast.comprehension | ast.Lambda):
            raise LookupError
        if isinstance(part, ast.keyword | ast.Starred):
            part = part.value
        if isinstance(part, ast.expr):
            yield from _values(part, names)


def _is_path(expression: ast.expr) -> bool:
    """Whether it is a name or a constant, with attributes or without."""
    while isinstance(expression, ast.Attribute):
        expression = expression.value
    return isinstance(expression, ast.Name | ast.Constant)


def _value(expression: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(expression, ast.Constant):
        return expression.value
    if isinstance(expression, ast.Name):
        return names[expression.id]
    assert isinstance(expression, ast.Attribute)
    owner = _value(expression.value, names)
    try:
        return getattr(owner, expression.attr)
    except Exception:  # what is missing is asked of its owner
        return owner


def is_of_framework(value: Any) -> bool:
    """Whether it is a framework's module, class, function or object, or a container that holds one."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(is_of_framework, islice(value, _LOOKED_AT)))
    return any(home.partition(".")[0] not in _NOT_A_FRAMEWORK for home in _homes(value))


def _homes(value: Any) -> list[str]:
    """The modules that an object comes from."""
    if isinstance(value, types.ModuleType):
        return [value.__name__]
    owner = getattr(value, "__self__", None)
    if isinstance(value, types.BuiltinMethodType) and not isinstance(owner, types.ModuleType | None):
        return _homes(owner)
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
        return [str(value.__module__)]
    return [cls.__module__ for cls in (value if isinstance(value, type) else type(value)).__mro__]
