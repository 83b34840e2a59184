"""Cases of files of arrays: round trips, what others read and wrote, names, metadata, and files that lie."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from touchstone.golden.cases import hostile_files
from touchstone.golden.cases.array_members import EVERY, need_of, values
from touchstone.golden.catalogue import Case, spell_shape

FORMS = ("npy", "npz", "npz compressed", "safetensors", "gguf")
GGUF_KINDS = {0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32"}
"""Kinds of arrays in a GGUF file that MLX writes -> their dtypes."""
GGUF_DTYPES = tuple(GGUF_KINDS.values())
SHAPES = {
    spell_shape(shape): shape for shape in ((), (3,), (2, 3), (2, 3, 4), (2, 1, 3, 2), (0,), (2, 0, 3), (1,), (1, 1))
}
"""As a case spells them."""
WHOLE = "2x3"
VIEWS = ("transposed", "strided", "offset", "reversed")
"""Layouts of what is saved (`touchstone.adapters.array_files.LAYOUTS`)."""


def takes(form: str, dtype: str) -> bool:
    """Whether the format holds arrays of this dtype."""
    return form != "gguf" or dtype in GGUF_DTYPES


def named(form: str) -> bool:
    """Whether a format holds arrays by name, and none without."""
    return form in ("safetensors", "gguf")


def loads(form: str) -> str:
    """The format as it is read: npz, whether compressed or not."""
    return form.partition(" ")[0]


def _needs(form: str, *dtypes: str) -> tuple[str, ...]:
    return (f"array:save {form}", f"array:load {loads(form)}", *map(need_of, dtypes))


def _round_cases() -> Iterator[Case]:
    for form in FORMS:
        for dtype in (one for one in EVERY if takes(form, one)):
            shapes = SHAPES if dtype in ("float32", "int8") else (WHOLE,)
            for shape in shapes:
                if (form, shape) != ("npz compressed", "2x1x3x2"):
                    yield Case({"file": form, "dtype": dtype, "shape": shape}, {}, _needs(form, dtype))
        for layout in VIEWS:
            for dtype in ("float32", "int16" if form == "gguf" else "uint8"):
                yield Case({"file": form, "dtype": dtype, "shape": "2x3x4", "layout": layout}, {}, _needs(form, dtype))


ROUND_CASES = list(_round_cases())
READ_CASES = [
    case
    for case in ROUND_CASES
    if (loads(case.params["file"]), case.params["dtype"]) not in (("npy", "bfloat16"), ("npz", "bfloat16"))
]
"""Those whose files others can read: NumPy's format has no name for bfloat16."""
BFLOAT16_CASES = [Case({"file": form}, {}, (f"array:save {form}", "dtype:bfloat16")) for form in ("npy", "npz")]
NO_DTYPE_CASES = [
    Case({"file": "gguf", "dtype": dtype}, {}, ("array:save gguf", need_of(dtype)))
    for dtype in EVERY
    if dtype not in GGUF_DTYPES
]
PLACES_CASES = [
    Case({"file": form, "through": through}, {}, _needs(form, "float32"))
    for form in ("npy", "npz", "safetensors", "gguf")
    for through in ("a path", "a file")
    if (form, through) != ("gguf", "a file")
]

ORDERS = ("C", "F", "swapped bytes", "version 2", "version 3", "with more after it")
"""Forms of a file of NumPy's of one array."""


def _load(form: str, dtype: str, **params: Any) -> Case:
    return Case({"file": form, "dtype": dtype, **params}, {}, (f"array:load {form}", need_of(dtype)))


LOAD_CASES = [
    *(_load("npy", dtype, order="C", shape=WHOLE) for dtype in EVERY if dtype != "bfloat16"),
    *(_load("npy", "float32", order="C", shape=shape) for shape in SHAPES if shape != WHOLE),
    *(_load("npy", dtype, order=order, shape="2x3x4") for order in ORDERS[1:] for dtype in ("float32", "int16")),
    *(
        _load(form, dtype, order=order, shape=WHOLE)
        for form, order in (("npz", "stored"), ("npz", "compressed"))
        for dtype in EVERY
        if dtype != "bfloat16"
    ),
    *(_load("safetensors", dtype, order="C", shape=WHOLE) for dtype in EVERY),
    *(_load("safetensors", "float32", order="C", shape=shape) for shape in ("scalar", "0", "2x0x3", "2x1x3x2")),
    *(_load("gguf", dtype, order="C", shape=shape) for dtype in GGUF_DTYPES for shape in (WHOLE, "2x3x4")),
]


def file_of(form: str, order: str, x: np.ndarray) -> bytes:
    """A file of one array, x where it has a name, that NumPy or the format's own library writes."""
    if form == "npy":
        return _npy(order, x)
    out = io.BytesIO()
    if form == "npz":
        (np.savez if order == "stored" else np.savez_compressed)(out, x=x)
        return out.getvalue()
    if form == "safetensors":
        from safetensors.numpy import save

        made: bytes = save({"x": x}, {"made": "here"})
        return made
    return _gguf(x)


def _npy(order: str, x: np.ndarray) -> bytes:
    if order == "swapped bytes":
        x = x.astype(x.dtype.newbyteorder())
    version = (int(order[-1]), 0) if order.startswith("version") else None
    made = hostile_files.npy(np.asfortranarray(x) if order == "F" else x, version=version)
    return made + b"more" if order == "with more after it" else made


def _gguf(x: np.ndarray) -> bytes:
    (kind,) = [number for number, name in GGUF_KINDS.items() if name == x.dtype.name]
    return hostile_files.gguf(shape=tuple(reversed(x.shape)), kind=kind, data=x.tobytes())


WIDE_CASES = [
    Case({"file": "npy", "dtype": dtype}, {}, ("array:load npy",))
    for dtype in ("float64", "int64", "uint64", "complex128")
]
NAMES: Mapping[str, tuple[str, ...]] = {
    "dots": ("layers.0.weight", "layers.10.weight", "layers.0"),
    "spaces": ("a name", " x", "y "),
    "other scripts": ("größe", "重み"),
    "slashes": ("a/b", "a/b/c"),
    "endings": ("x.npy", "x.npz"),
    "a hundred": tuple(f"x{number}" for number in range(100)),
    "a long name": ("x" * 60,),
}
NAME_CASES = [
    Case({"file": form, "names": names}, {}, _needs(form, "float32"))
    for form in FORMS[1:]
    for names in NAMES
    if not (form == "gguf" and names == "a long name")
]
POSITION_CASES = [
    Case({"file": form, "named": also}, {}, _needs(form, "float32"))
    for form in ("npz", "npz compressed")
    for also in (False, True)
]
CLASH_CASES = [Case({"file": form}, {}, (f"array:save {form}", "dtype:float32")) for form in ("npz", "npz compressed")]
METADATA: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "texts": {"format": "here", "made.by": "a case"},
    "an empty text": {"empty": ""},
    "other scripts": {"größe": "重み \U0001f511"},
    "quotes": {"quoted": '"a" \\ \n b'},
    "a long text": {"long": "text " * 5000},
}
GGUF_METADATA: Mapping[str, Mapping[str, Any]] = {
    "a number": {"n": np.array(3, np.int32)},
    "a large number": {"n": np.array(2**31 + 5, np.uint32)},
    "a fraction": {"n": np.array(2.5, np.float32)},
    "numbers": {"list": np.array([3, -1, 2], np.int32)},
    "fractions": {"list": np.array([0.5, 2.5], np.float32)},
    "a list of texts": {"tokens": ["a", "", "größe"]},
}
METADATA_CASES = [
    Case({"file": form, "metadata": name}, {}, _needs(form, "float32"))
    for form in ("safetensors", "gguf")
    for name in (*METADATA, *(GGUF_METADATA if form == "gguf" else ()))
]


def metadata_of(case: Case) -> Mapping[str, Any]:
    """The metadata that a case names."""
    return {**METADATA, **GGUF_METADATA}[case.params["metadata"]]


LATE = (
    "cut before its data",
    "cut in its data",
    "a longer shape",
    "an entry that is cut",
    "an entry of a longer shape",
)
"""Faults of NumPy's formats that MLX finds when it reads values: an error that another thread meets may end later work,
so that the process is replaced afterwards."""


def _hazard(form: str, fault: str) -> Literal["reads", "writes"]:
    return "writes" if form in ("npy", "npz") and fault in LATE else "reads"


HOSTILE_CASES = [
    Case({"file": form, "fault": fault}, {}, (f"array:load {form}",), hazard=_hazard(form, fault))
    for form, faults in hostile_files.FAULTS.items()
    for fault in faults
]
WITHIN_CASES = [
    Case({"file": "safetensors", "fault": fault}, {}, ("array:load safetensors",), hazard="reads")
    for fault in hostile_files.SAFETENSORS_WITHIN
]

AGAIN_CASES = [
    Case({"file": "npy", "fault": fault}, {}, ("array:ask npy again",), hazard="writes")
    for fault in ("cut before its data", "cut in its data", "a longer shape")
]


def hostile(case: Case) -> bytes:
    """The file of a case with a fault."""
    faults: Mapping[str, Callable[[], bytes]] = {
        **hostile_files.FAULTS[case.params["file"]],
        **(hostile_files.SAFETENSORS_WITHIN if case.params["file"] == "safetensors" else {}),
    }
    return faults[case.params["fault"]]()


def array_of(case: Case) -> np.ndarray:
    """The array that a case saves or loads."""
    return values(case.params["dtype"], SHAPES[case.params["shape"]])
