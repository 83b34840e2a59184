"""The user's own arrays (``--table FILE:KEY``, ``--linear FILE:KEY``) as cases beside the golden ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from touchstone.errors import InputError
from touchstone.golden.catalogue import Case
from touchstone.golden.packing import FORMATS
from touchstone.golden.store import Store
from touchstone.golden.streams import SIGNIFICAND_BITS, words

TABLE, QUANTIZED_TABLE, LINEAR, QUANTIZED_LINEAR = "table", "quantized table", "linear", "quantized linear"
KINDS = (TABLE, QUANTIZED_TABLE, LINEAR, QUANTIZED_LINEAR)
SAMPLE = 64
"""Ids and input rows drawn for one real table or weight."""


class RealInputError(InputError):
    """A file or key given by the user cannot be used; the message names it."""


@dataclass
class RealInput:
    """The user's own arrays, and the cases that are made of them by kind."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    by_kind: dict[str, list[Case]] = field(default_factory=dict)
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Array -> the option that named it, for the command that runs a case again. Arrays whose keys are alike bring
    each other's along: alone they would be called by the key, and the case would have another id."""

    def __bool__(self) -> bool:
        return bool(self.arrays)

    @classmethod
    def open(cls, tables: Sequence[str], linears: Sequence[str]) -> RealInput:
        """Read the arrays. Raises RealInputError for anything but a readable matrix of a known dtype."""
        made = cls()
        for option, specs in (("--table", tables), ("--linear", linears)):
            for spec in specs:
                made._add(option, spec, [s for s in specs if s.rpartition(":")[2] == spec.rpartition(":")[2]])
        return made

    def _add(self, option: str, spec: str, alike: Sequence[str]) -> None:
        """Add one array. alike: every spec of this option with the same key, this one too."""
        path, _, key = spec.rpartition(":")
        if not path or not key:
            raise RealInputError(f"{option} {spec}: write FILE:KEY")
        if alike.count(spec) > 1:
            raise RealInputError(f"{option} {spec}: given twice")
        weight = _read(option, Path(path), key)
        if weight.ndim != 2 or 0 in weight.shape:
            raise RealInputError(f"{option} {spec}: {key} has shape {weight.shape}; a matrix is needed")
        if weight.dtype.name not in SIGNIFICAND_BITS:
            known = ", ".join(SIGNIFICAND_BITS)
            raise RealInputError(f"{option} {spec}: {key} is {weight.dtype.name}; use one of {known}")
        if not np.isfinite(weight.astype(np.float32)).all():
            raise RealInputError(f"{option} {spec}: {key} holds infinities or NaN")
        if not weight.astype(np.float32).any():
            raise RealInputError(f"{option} {spec}: {key} holds only zeros, so nothing could be assayed")
        dtype, (rows, columns) = weight.dtype.name, weight.shape
        arrays = {"weight": f"{option} {spec}"}
        self.arrays[arrays["weight"]] = weight
        self.options[arrays["weight"]] = tuple(word for other in alike for word in (option, _from_anywhere(other)))
        bias_key = f"{key.removesuffix('.weight')}.bias"
        may_have_one = option == "--linear" and key.endswith(".weight")
        bias = _read_optional(option, Path(path), bias_key) if may_have_one else None
        if bias is not None and bias.shape == (rows,):
            arrays["bias"] = f"{option} {path}:{bias_key}"
            self.arrays[arrays["bias"]] = bias.astype(weight.dtype)
        params: dict[str, Any] = {"key": key if len(alike) == 1 else _from_anywhere(spec), "dtype": dtype}
        layer = "embedding" if option == "--table" else "linear"
        plain, quantized = (TABLE, QUANTIZED_TABLE) if option == "--table" else (LINEAR, QUANTIZED_LINEAR)
        needs = (f"layer:{layer}", f"dtype:{dtype}")
        self.by_kind.setdefault(plain, []).append(Case(params, arrays, needs))
        for form in FORMATS:
            if columns % form.group_size == 0:
                packed_needs = (f"layer:quantized_{layer}", f"dtype:{dtype}", f"scheme:{form.name}")
                case = Case({**params, **form.params}, arrays, packed_needs)
                self.by_kind.setdefault(quantized, []).append(case)

    def cases(self, cases: str | Sequence[Case]) -> Sequence[Case]:
        """Cases as given, or the user's cases of a kind."""
        return self.by_kind.get(cases, []) if isinstance(cases, str) else cases

    def extend(self, store: Store) -> Store:
        """The golden store with the user's arrays beside it."""
        store.add_external(self.arrays)
        return store


def _from_anywhere(spec: str) -> str:
    """``FILE:KEY`` with the file's full path."""
    path, _, key = spec.rpartition(":")
    return f"{Path(path).resolve()}:{key}"


def sample_ids(rows: int) -> np.ndarray:
    """The first and the last row, and `SAMPLE` rows between them, int32."""
    drawn = (words("real ids", SAMPLE) % np.uint64(rows)).astype(np.int32)
    return np.concatenate([np.array([0, rows - 1], np.int32), drawn])


def sample_inputs(columns: int, dtype: str, count: int = 4) -> np.ndarray:
    """``[count, columns]`` multiples of 2**-7 in [-1, 1): exact in every dtype."""
    raw = (words("real inputs", count * columns) >> np.uint64(56)).astype(np.int64) - 128
    target = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    return (raw.reshape(count, columns) / 128).astype(target)


def _read(option: str, path: Path, key: str) -> np.ndarray:
    try:
        with safe_open(path, framework="numpy") as file:
            if key not in file.keys():  # noqa: SIM118  not a mapping
                near = ", ".join(sorted(file.keys())[:5])
                raise RealInputError(f"{option} {path}: no array {key!r}; the file holds {near}, …")
            return _tensor(file, option, path, key)
    except (OSError, SafetensorError) as error:
        raise RealInputError(f"{option} {path}: not a readable safetensors file ({error})") from error


def _read_optional(option: str, path: Path, key: str) -> np.ndarray | None:
    with safe_open(path, framework="numpy") as file:
        return _tensor(file, option, path, key) if key in file.keys() else None  # noqa: SIM118  not a mapping


def _tensor(file: Any, option: str, path: Path, key: str) -> np.ndarray:
    try:
        return file.get_tensor(key)
    except (AttributeError, TypeError) as error:  # a dtype that NumPy lacks, such as float8
        known, dtype = ", ".join(SIGNIFICAND_BITS), file.get_slice(key).get_dtype()
        raise RealInputError(f"{option} {path}:{key}: {key} is {dtype}; use one of {known}") from error
