"""Cases of the members and operators of an array: each member with its options, each operator, property and way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from touchstone.golden.cases.operations import told
from touchstone.golden.catalogue import Case, spell_shape
from touchstone.golden.streams import DTYPES

FLOATS = ("float32", "float16", "bfloat16")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
EVERY = (*FLOATS, *SIGNED, *UNSIGNED, "bool", "complex64")
"""Every dtype but float64, which not every device has."""


def need_of(dtype: str) -> str:
    """The need of a case with an array of this dtype."""
    return f"{'dtype' if dtype in FLOATS else 'array_dtype'}:{dtype}"


def numpy_dtype(name: str) -> np.dtype:
    """NumPy's dtype of that name, ml_dtypes' of bfloat16."""
    return DTYPES.get(name) or np.dtype(name)


def values(dtype: str, shape: tuple[int, ...], scale: float = 0.25) -> np.ndarray:
    """Numbers none of whose rows and columns are alike: multiples of `scale` of both signs, or small integers."""
    size = int(np.prod(shape))
    flat = (np.arange(size) * 7 + 3) % 13 - 5
    found: Any
    if dtype in FLOATS or dtype == "float64":
        found = flat * scale
    elif dtype == "complex64":
        found = flat * scale + 1j * ((flat * 5) % 7 - 3)
    elif dtype == "bool":
        found = flat % 3 == 0
    else:
        found = np.abs(flat) if dtype in UNSIGNED else flat
    return np.array(found).astype(numpy_dtype(dtype)).reshape(shape)


SHAPE = (2, 3, 4)
ORDINARY = (np.arange(24, dtype=np.float64) * 0.7368421 % 1.5 + 0.503).astype(np.float32).reshape(SHAPE)
"""Positive, and near 1: neither products nor logarithms leave what a float holds well."""
INPUTS: Mapping[str, np.ndarray] = {
    "positive": ORDINARY,
    "signed": (ORDINARY - np.float32(1.2)) * np.float32(3),
    "truth": np.where(np.arange(24).reshape(SHAPE) % 5 == 0, np.float32(0), np.float32(2)),
    "thin": ORDINARY[:, :1, :3],
    "matrix": ORDINARY[0],
    "complex": (ORDINARY + 1j * ORDINARY[::-1, ::-1]).astype(np.complex64),
}
NEAR = 32
"""Units of roundoff, of the largest element, that a member which rounds may be away from its formula."""


@dataclass(frozen=True)
class Member:
    """A method: what it is asked of, the answer of NumPy, and the options it is asked with.

    exact: the answer is to the bit; index: in whatever integers.
    """

    of: str
    right: Callable[..., Any]
    asked: tuple[Mapping[str, Any], ...] = ({},)
    exact: bool = True
    index: bool = False


_ONE: tuple[Mapping[str, Any], ...] = ({}, {"axis": 1}, {"axis": 1, "keepdims": True})
_SEVERAL = (*_ONE, {"axis": (0, 2)})
_SPREAD = (*_SEVERAL, {"axis": 1, "keepdims": True, "ddof": 1}, {"axis": -1, "correction": 1})
_ALONG: tuple[Mapping[str, Any], ...] = ({}, {"axis": 1}, {"axis": 1, "reverse": True}, {"axis": 1, "inclusive": False})


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, **options: function(x.astype(np.float64), **options)


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    def right(x: np.ndarray, correction: int = 0, ddof: int = 0, **options: Any) -> Any:
        return function(x.astype(np.float64), ddof=ddof or correction, **options)

    return right


def _along(function: Any, first: float, wide: bool = True) -> Callable[..., Any]:
    """The running answer of a ufunc; first: what an answer without its own element begins with."""

    def right(x: np.ndarray, axis: int | None = None, reverse: bool = False, inclusive: bool = True) -> np.ndarray:
        x = x.astype(np.float64) if wide else x
        x = x.reshape(-1) if axis is None else x
        x = np.moveaxis(x, axis or 0, 0)
        found = function.accumulate(x[::-1] if reverse else x, axis=0)
        if not inclusive:
            found = np.concatenate([np.full_like(found[:1], first), found[:-1]])
        return np.moveaxis(found[::-1] if reverse else found, 0, axis or 0)

    return right


def _reshaped(x: np.ndarray, shape: Any = None, spread: Any = None) -> np.ndarray:
    return x.reshape(shape or spread)


def _transposed(x: np.ndarray, axes: Any = None, spread: Any = None) -> np.ndarray:
    return x.transpose(axes or spread)


def _flattened(x: np.ndarray, start_axis: int = 0, end_axis: int = -1) -> np.ndarray:
    end = end_axis % x.ndim
    return x.reshape(*x.shape[:start_axis], -1, *x.shape[end + 1 :])


def _split(x: np.ndarray, indices_or_sections: Any, axis: int = 0) -> list[np.ndarray]:
    return np.split(x, indices_or_sections, axis)


def _logsumexp(x: np.ndarray, **options: Any) -> Any:
    return np.log(np.sum(np.exp(x.astype(np.float64)), **options))


_INFINITE = float("inf")
MEMBERS: Mapping[str, Member] = {
    "abs": Member("signed", np.abs),
    "all": Member("truth", np.all, _SEVERAL),
    "any": Member("truth", np.any, _SEVERAL),
    "argmax": Member("signed", np.argmax, _ONE, index=True),
    "argmin": Member("signed", np.argmin, _ONE, index=True),
    "conj": Member("complex", np.conj),
    "cos": Member("signed", _wide(np.cos), exact=False),
    "cummax": Member("signed", _along(np.maximum, -_INFINITE, False), _ALONG),
    "cummin": Member("signed", _along(np.minimum, _INFINITE, False), _ALONG),
    "cumprod": Member("positive", _along(np.multiply, 1), _ALONG, exact=False),
    "cumsum": Member("positive", _along(np.add, 0), _ALONG, exact=False),
    "diag": Member("matrix", np.diag, ({}, {"k": 1})),
    "diagonal": Member("signed", np.diagonal, ({}, {"offset": 1}, {"offset": -1, "axis1": 1, "axis2": 2})),
    "exp": Member("signed", _wide(np.exp), exact=False),
    "flatten": Member("signed", _flattened, ({}, {"start_axis": 1}, {"start_axis": 0, "end_axis": 1})),
    "log": Member("positive", _wide(np.log), exact=False),
    "log10": Member("positive", _wide(np.log10), exact=False),
    "log1p": Member("positive", _wide(np.log1p), exact=False),
    "log2": Member("positive", _wide(np.log2), exact=False),
    "logcumsumexp": Member("positive", _along(np.logaddexp, -_INFINITE), _ALONG, exact=False),
    "logsumexp": Member("positive", _logsumexp, _SEVERAL, exact=False),
    "max": Member("signed", np.max, _SEVERAL),
    "mean": Member("positive", _wide(np.mean), _SEVERAL, exact=False),
    "min": Member("signed", np.min, _SEVERAL),
    "moveaxis": Member("signed", np.moveaxis, ({"source": 0, "destination": 2}, {"source": -1, "destination": 0})),
    "prod": Member("positive", _wide(np.prod), _SEVERAL, exact=False),
    "reciprocal": Member("positive", _wide(lambda x: 1 / x), exact=False),
    "reshape": Member("signed", _reshaped, ({"shape": (4, -1)}, {"spread": (4, -1)}, {"spread": (2, 2, 3, 2)})),
    "round": Member("signed", _wide(np.round), ({}, {"decimals": 1}), exact=False),
    "rsqrt": Member("positive", _wide(lambda x: 1 / np.sqrt(x)), exact=False),
    "sin": Member("signed", _wide(np.sin), exact=False),
    "split": Member(
        "signed",
        _split,
        (
            {"indices_or_sections": 2},
            {"indices_or_sections": 2, "axis": 2},
            {"indices_or_sections": (1, 3), "axis": -1},
        ),
    ),
    "sqrt": Member("positive", _wide(np.sqrt), exact=False),
    "square": Member("signed", np.square),
    "squeeze": Member("thin", np.squeeze, ({}, {"axis": 1})),
    "std": Member("positive", _spread(np.std), _SPREAD, exact=False),
    "sum": Member("positive", _wide(np.sum), _SEVERAL, exact=False),
    "swapaxes": Member("signed", np.swapaxes, ({"axis1": 0, "axis2": 2}, {"axis1": 1, "axis2": -1})),
    "transpose": Member("signed", _transposed, ({}, {"axes": (1, 2, 0)}, {"spread": (2, 0, 1)})),
    "var": Member("positive", _spread(np.var), _SPREAD, exact=False),
}
"""Methods that have a function of their name."""


def _option(name: str, value: Any) -> str:
    return "axes" if name == "axis" and isinstance(value, tuple) else name


def _member_cases() -> Iterator[Case]:
    for name, member in MEMBERS.items():
        for options in member.asked:
            needs = [f"array:option {name} {_option(option, value)}" for option, value in options.items()]
            needs = needs or [f"array:member {name}"]
            yield Case({"member": name, **told(options)}, {}, (*needs, need_of(INPUTS[member.of].dtype.name)))


MEMBER_CASES = list(_member_cases())


def options_of(case: Case) -> Mapping[str, Any]:
    """The options that a case of a member names."""
    given = {name: value for name, value in case.params.items() if name != "member"}
    return next(options for options in MEMBERS[case.params["member"]].asked if told(options) == given)


ATTRIBUTE_CASES = [
    Case(
        {"attribute": name, "shape": spell_shape(shape), "dtype": dtype},
        {},
        (f"array:attribute {name}", need_of(dtype)),
    )
    for name, shapes, dtypes in (
        ("T", ((), (3,), (2, 3), (2, 3, 4)), ("float32", "int8")),
        ("mT", ((2, 3), (2, 3, 4)), ("float32", "int8")),
        ("real", ((2, 3),), ("complex64",)),
        ("imag", ((2, 3),), ("complex64",)),
    )
    for shape in shapes
    for dtype in dtypes
]
SHAPES: Mapping[str, tuple[int, ...]] = {
    spell_shape(shape): shape
    for shape in ((), (1,), (1, 1), (3,), (2, 3), (2, 3, 4), (1, 2, 1, 3), (0,), (2, 0), (0, 2))
}
"""As a case spells them."""


def _case(question: str, dtype: str, shape: str = "", **params: Any) -> Case:
    given = {**params, "dtype": dtype, **({"shape": shape} if shape else {})}
    return Case(given, {}, (f"array:{question}", need_of(dtype)))


FACT_CASES = [_case("facts", dtype, shape) for dtype in EVERY for shape in SHAPES]

ARITHMETIC = ("+", "-", "*", "/", "//", "%", "**")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
BITS = ("&", "|", "^", "<<", ">>")
UNARY = ("negative", "abs", "~")
NUMBERS = (*FLOATS, "int32", "uint8")
SCALARS: Mapping[str, Any] = {"two": 2, "seven": 7, "two and a half": 2.5, "true": True}
"""Scalars of Python's, by the word of a case."""


def asked_of(name: str) -> tuple[str, ...]:
    """Dtypes that an operator is asked in."""
    if name in ("<<", ">>"):
        return ("int32", "uint8")
    if name in (*BITS, "~"):
        return ("int32", "uint8", "bool")
    if name in ("==", "!="):
        return (*NUMBERS, "bool", "complex64")
    return ("float32",) if name == "@" else NUMBERS


def _scalars(name: str, dtype: str) -> tuple[str, ...]:
    """What an operator is asked with beside another array."""
    if dtype == "bool":
        return ("true",)
    if name in BITS or dtype == "complex64":
        return ("two",)
    return ("two", "seven", "two and a half") if name in ("//", "%") else ("two", "two and a half")


def _operator(name: str, dtype: str, by: str, after: bool = False) -> Case:
    word = f"operator {name}{' after a scalar' if after else ''}"
    return Case({"operator": name, "dtype": dtype, "by": by, "after": after}, {}, (f"array:{word}", need_of(dtype)))


def _operator_cases() -> Iterator[Case]:
    for name in (*ARITHMETIC, "@", *COMPARISONS, *BITS):
        for dtype in asked_of(name):
            yield _operator(name, dtype, "an array")
            for scalar in _scalars(name, dtype) if name != "@" else ():
                yield _operator(name, dtype, scalar)
                yield _operator(name, dtype, scalar, after=True)
    for name in UNARY:
        for dtype in asked_of(name):
            if (name, dtype) != ("negative", "uint8"):
                yield Case({"operator": name, "dtype": dtype}, {}, (f"array:operator {name}", need_of(dtype)))


OPERATOR_CASES = list(_operator_cases())
OTHERS: Mapping[str, Any] = {"nothing": None, "a text": "text"}
EQUAL_CASES = [_case("equal to", "float32", to=to) for to in OTHERS]


def operand(case: Case) -> tuple[np.ndarray, Any]:
    """The array of a case of an operator, and the other operand, None where it has one alone."""
    name, dtype = case.params["operator"], case.params["dtype"]
    x, by = values(dtype, (3, 4)), case.params.get("by")
    after = case.params.get("after")
    if name == "**" and dtype not in FLOATS:
        x = np.abs(x)
    if name in ("<<", ">>") and after:
        x = np.abs(x) % 5
    if name == "**" and dtype in FLOATS:
        x = np.abs(x) + np.array(0.5, x.dtype)
    if name in ("//", "%", "/") and (after or by == "an array"):
        x = np.where(x == 0, np.array(3, x.dtype), x)
    if by != "an array":
        return x, None if by is None else SCALARS[by]
    other = x[::-1].copy()
    if name == "@":
        return x, other.T.copy()
    if name in ("<<", ">>", "**"):
        other = (np.abs(other.astype(np.float64)) % 4).astype(x.dtype)
    return x, other


IN_PLACE = {"+=": "+", "-=": "-", "*=": "*", "//=": "//", "**=": "**", "%=": "%"}
IN_PLACE_BITS = {"&=": "&", "|=": "|", "^=": "^", "<<=": "<<", ">>=": ">>"}
STATEMENTS = {"/=": "/", **IN_PLACE, **IN_PLACE_BITS}
"""Statement -> the operator that it computes."""
_IN_PLACE_DTYPES = {
    **dict.fromkeys(IN_PLACE, ("float32", "float16", "int32")),
    **dict.fromkeys(IN_PLACE_BITS, ("int32",)),
    "/=": ("float32", "bfloat16"),
    "[1] =": ("float32", "int32"),
}
IN_PLACE_CASES = [
    Case({"statement": name, "dtype": dtype, "by": by}, {}, (f"array:in place {name}", need_of(dtype)))
    for name, dtypes in _IN_PLACE_DTYPES.items()
    for dtype in dtypes
    for by in (("two",) if name == "[1] =" else ("an array", "two"))
]
ALIAS_CASES = [
    Case({"statement": name, "alias": alias}, {}, (f"array:in place {name}", "dtype:float32"))
    for name in ("+=", "[1] =")
    for alias in ("name", "view")
]
OTHER_DTYPE_CASES = [
    Case({"statement": name, "dtype": dtype, "by": by}, {}, (f"array:in place {name}", need_of(dtype)))
    for name, dtype, by in (
        ("+=", "int32", "two and a half"),
        ("*=", "int32", "two and a half"),
        ("/=", "int32", "two"),
        ("&=", "bool", "two"),
    )
]

_EXTREMES = {name: np.iinfo(name) for name in (*SIGNED, *UNSIGNED)}


def elements(dtype: str) -> list[Any]:
    """Numbers of a dtype that Python is asked for: the ends of an integer's range, fractions of both signs."""
    if dtype in _EXTREMES:
        return [int(_EXTREMES[dtype].min), int(_EXTREMES[dtype].max), 7]
    if dtype == "bool":
        return [True, False]
    if dtype == "complex64":
        return [1.5 - 2.25j, complex(np.complex64(0.1 + 0.2j))]
    low = np.array([-2.7, 0.1, 3.0], numpy_dtype(dtype)).tolist()
    return [*map(float, low), float(ml_dtypes.finfo(numpy_dtype(dtype)).max)]


ELEMENT_CASES = [
    Case({"member": "item", "dtype": dtype, "element": number}, {}, ("array:python", need_of(dtype)))
    for dtype in EVERY
    for number in range(len(elements(dtype)))
]
PYTHON_CASES = [
    Case({"python": name, "dtype": dtype, "element": number}, {}, ("array:python", need_of(dtype)))
    for name in ("bool", "int", "float", "complex", "index")
    for dtype in EVERY
    for number in range(len(elements(dtype)))
    if (dtype in (*SIGNED, *UNSIGNED) if name == "index" else dtype == "complex64" if name == "complex" else True)
    and (name not in ("int", "float") or dtype != "complex64")
    and not (name == "int" and elements(dtype)[number] > 1e30)
]
ONE_ELEMENT_CASES = [
    Case({"python": name, "shape": shape}, {}, ("array:python", "dtype:float32"))
    for name in ("bool", "int", "float", "item")
    for shape in ("1", "1x1")
]
SEVERAL_CASES = [
    Case({"python": name, "shape": shape}, {}, ("array:python", "dtype:float32"))
    for name in ("bool", "int", "float", "item", "index")
    for shape in ("3", "2x3")
]
EMPTY_CASES = [Case({"python": "bool", "shape": "0"}, {}, ("array:python", "dtype:float32"))]
LENGTH_CASES = [_case("rows", dtype, shape) for dtype in ("float32", "int32") for shape in SHAPES]
CONTAINS_CASES = [
    _case("contains", dtype, found=found) for dtype in (*FLOATS, "int32", "bool") for found in (True, False)
]
CONTAINS_MATRIX_CASES = [_case("contains", "float32", "2x3", found=found) for found in (True, False)]
LIST_CASES = [
    _case("python", dtype, shape) for dtype in EVERY for shape in ("scalar", "3", "2x3", "0", "2x0", "0x2", "1x2x1x3")
]
REPR_CASES = [_case("repr", dtype) for dtype in EVERY]


def cast_values(dtype: str, to: str) -> np.ndarray:
    """What both dtypes hold, whole or, from a float, with a fraction."""
    if dtype == "bool":
        return np.array([True, False, True])
    if dtype == "complex64":
        return np.array([0, 2, 3.5, 1 - 2j], np.complex64)
    found = [0, 1, 2, 100] if {dtype, to} & set(UNSIGNED) else [0, 1, -1, 2, -100]
    fractions = [0.5, 2.75, *([] if to in UNSIGNED else [-2.75, -0.5])]
    return np.array([*found, *(fractions if dtype in FLOATS else [])]).astype(numpy_dtype(dtype))


CAST_CASES = [
    Case({"dtype": dtype, "to": to}, {}, ("array:cast", *sorted({need_of(dtype), need_of(to)})))
    for dtype in EVERY
    for to in EVERY
    if dtype != "complex64" or to in ("complex64", "bool")
]
VIEWS = {
    "float32": ("int32", "uint8", "float16", "bool"),
    "float16": ("int16", "float32", "bfloat16", "int8"),
    "bfloat16": ("uint16", "uint8"),
    "int32": ("float32", "uint32", "int16"),
    "uint8": ("int8", "uint16", "float32"),
    "bool": ("uint8",),
}
VIEW_CASES = [
    Case({"dtype": dtype, "to": to}, {}, ("array:view", *sorted({need_of(dtype), need_of(to)})))
    for dtype, others in VIEWS.items()
    for to in others
    if to != "bool"
]
NO_VIEW_CASES = [
    Case({"dtype": dtype, "to": to, "shape": shape}, {}, ("array:view", *sorted({need_of(dtype), need_of(to)})))
    for dtype, to, shape in (
        ("uint8", "int16", "3"),
        ("int8", "float32", "2x3"),
        ("float32", "uint8", "scalar"),
        ("uint8", "float32", "scalar"),
    )
]
NUMPY_CASES = [
    _case("to numpy", dtype, shape) for dtype in EVERY if dtype != "bfloat16" for shape in ("scalar", "2x3", "2x0")
]
NUMPY_BFLOAT16_CASES = [_case("to numpy", "bfloat16", "2x3")]
WRITE_CASES = [_case("write through", dtype) for dtype in ("float32", "int32")]

SOURCES: Mapping[str, Any] = {
    "an int": 3,
    "a float": 2.5,
    "a bool": True,
    "a complex": 1 + 2j,
    "ints": [1, 2, 3],
    "floats": [1.0, 2.5],
    "bools": [True, False],
    "complexes": [1j, 2.0],
    "ints and floats": [1, 2.5],
    "bools and ints": [True, 2],
    "bools and floats": [False, 2.5],
    "nothing": [],
    "rows of nothing": [[], []],
    "rows": [[1, 2, 3], [4, 5, 6]],
    "tuples": ((1.5, 2.0), (3.0, 4.0)),
    "an int beyond int32": 2**31,
    "ints beyond int32": [1, 2**40],
    "an int beyond int64": 2**63,
}
MAKE_CASES = [Case({"source": source}, {}, ("array:make",)) for source in SOURCES]
ORDERS = ("C", "F", "strided", "transposed", "offset", "scalar", "empty")
"""Ways in which an array of NumPy's lies in memory (`touchstone.adapters.members.in_order`)."""


FORMS = {"scalar": (), "empty": (2, 0, 3)}
"""Orders that are forms of their own; the others are of three rows and four columns."""


ARRAY_CASES = [
    Case({"dtype": dtype, "order": order}, {}, ("array:make", need_of(dtype)))
    for dtype in EVERY
    if dtype != "bfloat16"
    for order in (ORDERS if dtype in ("float32", "int8") else ("C", "F", "strided"))
]
WIDE_CASES = [
    Case({"dtype": dtype}, {}, ("array:make",)) for dtype in ("float64", "int64", "uint64", "complex128", "bfloat16")
]
ODD_CASES = [
    Case({"dtype": dtype, "order": order}, {}, ("array:make", need_of(dtype)))
    for dtype in ("float32", "int32")
    for order in ("reversed", "of swapped bytes")
]
NOT_ARRAYS: Mapping[str, Any] = {
    "ragged rows": [[1, 2], [3]],
    "a row among numbers": [1, [2]],
    "nothing at all": None,
    "a text": "text",
    "texts": ["a", "b"],
    "texts of NumPy's": np.array(["a", "b"]),
    "objects of NumPy's": np.array([1, {}], object),
}
REFUSED_CASES = [Case({"source": source}, {}, ("array:make",)) for source in NOT_ARRAYS]

UPDATES: Mapping[str, Any] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
AT_CASES = [
    Case({"update": name, "dtype": dtype, "by": by}, {}, (f"array:at {name}", need_of(dtype)))
    for name in UPDATES
    for dtype in ("float32", "float16", "int32")
    if (name, dtype) != ("divide", "int32")
    for by in ("rows", "a scalar")
]
