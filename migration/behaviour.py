"""The layers that a checkpoint's weights go into: sample ids and activations through both frameworks' own.

Only the first rows of a tensor are loaded (`ROWS`), so that a check of any checkpoint stays small. The bound on the
difference is the sum of three: each framework's forward error (`golden.bounds`), and |x| times the largest permitted
difference of the weights (`touchstone.migration.bounds`), so that a wrong weight is beyond it here too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from touchstone.adapters.interface import FLOATS, Adapter, Layer, Packed, Scheme
from touchstone.golden import bounds as forward
from touchstone.golden.catalogue import Case
from touchstone.golden.streams import words
from touchstone.migration.check import Check
from touchstone.migration.checkpoint import Checkpoint
from touchstone.migration.comparing import comparable, how, source_rows, target_and_bound
from touchstone.migration.conventions import MLX_EXAMPLE, Name, convention_of
from touchstone.migration.pairing import Pair
from touchstone.migration.parameters import Parameter, named

ROWS = 1024
"""Rows of a table, or outputs of a linear layer, that go into the layers."""
IDS, INPUTS = 64, 4
_MOST_LINEARS = 12

Side = Literal["source", "target"]
LOOKUP, LINEAR, LOGITS = "MIG-LOOKUP-1", "MIG-LINEAR-1", "MIG-LOGITS-1"
METHODS = {LOOKUP: "lookup", LINEAR: "linear", LOGITS: "logits"}
"""Requirement -> what `answer` and `bound` are asked for."""


def framework_of(checkpoint: Checkpoint) -> str:
    """The adapter whose layers a checkpoint is for, by its format and names; "reference" where that is not installed.

    A safetensors file says it in its metadata. One that does not is PyTorch's unless its names, or packed parts, are
    another's.
    """
    by_format = {"pytorch": "torch", "npz": "mlx", "msgpack": "jax", "orbax": "jax", "gguf": "reference"}
    by_word = {"mlx": "mlx", "pt": "torch", "flax": "jax"}
    name = by_format.get(checkpoint.format) or by_word.get(checkpoint.framework, "")
    if not name:
        convention, _ = convention_of(checkpoint.tensors.keys())
        packed = any(t.endswith(".scales") for t in checkpoint.tensors)
        kernels = any(Name.of(t).is_kernel for t in checkpoint.tensors)
        name = "mlx" if packed or convention is MLX_EXAMPLE else "jax" if kernels else "torch"
    module = {"mlx": "mlx", "jax": "flax", "torch": "torch"}.get(name)
    return name if module and importlib.util.find_spec(module) else "reference"


def samples(check: Check, source_target: str) -> dict[str, list[Case]]:
    """Requirement -> the cases of a check: the table, its tied logits, and linear weights of each kind of layer."""
    out: dict[str, list[Case]] = {LOOKUP: [], LINEAR: [], LOGITS: []}
    seen: set[str] = set()
    for question in check.questions:
        p = question.subject
        if not isinstance(p, Pair) or not _can_be_asked(p):
            continue
        case = Case({"tensor": question.name, "from": source_target, "dtype": question.params["dtype"]})
        if p.target.name == check.pairing.table[1] and not p.is_tied:
            out[LOOKUP].append(case)
            out[LOGITS].append(case)
            continue
        kind = ".".join(t for t in Name.of(p.target.name).module if not t.isdigit())
        if kind not in seen and len(out[LINEAR]) < _MOST_LINEARS and not p.is_tied:
            seen.add(kind)
            out[LINEAR].append(case)
    return out


def _can_be_asked(p: Pair) -> bool:
    """Matrices of dtypes that every framework has layers for, with as many columns on both sides."""
    plain = all(side.dtype in FLOATS for side in (p.source, p.target))
    return plain and len(p.target.shape) == 2 and comparable(p) and min(p.target.shape) > 0 and _is_weight(p)


def _is_weight(p: Pair) -> bool:
    return Name.of(p.target.name).leaf == "weight"


@dataclass(frozen=True)
class Sample:
    """The first rows of a pair.

    source, target: weights ``[rows, columns]`` float64, as layers read them; permitted: how far they may be apart;
    packed: the target's parts where it is quantized, source_packed: the source's, where its rows lie as the target's;
    ids ``[IDS]``, inputs ``[INPUTS, columns]`` float64, exact in both dtypes.
    """

    pair: Pair
    source: np.ndarray
    target: np.ndarray
    permitted: np.ndarray
    packed: Packed | None
    source_packed: Packed | None
    ids: np.ndarray
    inputs: np.ndarray

    @property
    def source_dtype(self) -> str:
        return self.pair.source.dtype

    @property
    def target_dtype(self) -> str:
        return self.pair.target.dtype


def load(check: Check, tensor: str) -> Sample:
    """The sample of one tensor. Raises CheckpointError where it cannot be read."""
    p = next(p for p in check.pairing.pairs if p.name == tensor and not p.is_tied)
    kernel = Name.of(p.target.name).is_kernel and check.pairing.table[1] != p.target.name
    rows = p.target.length if kernel else min(ROWS, p.target.length)
    kind = how(p.source, p.target)
    want = source_rows(p, 0, rows).astype(np.float64)
    got, permitted = target_and_bound(p, want, kind, lambda read: read(0, rows))
    if kernel:  # layers are given [out, in]
        want, got, permitted = (a[:, :ROWS].T for a in (want, got, permitted))
    rows, columns = got.shape
    ids = np.concatenate([[0, rows - 1], (words("checkpoint ids", IDS - 2) % np.uint64(rows)).astype(np.int64)])
    raw = (words("checkpoint inputs", INPUTS * columns) >> np.uint64(56)).astype(np.int64) - 128
    inputs = raw.reshape(INPUTS, columns) / 128
    ordered = p.rope is None and not p.transposed
    packed = _packed(p.target, rows), _packed(p.source, rows) if ordered else None
    return Sample(p, want, got, permitted, *packed, ids.astype(np.int32), inputs)


def _packed(parameter: Parameter, rows: int) -> Packed | None:
    if not parameter.is_packed or parameter.form is None:
        return None
    form = parameter.form
    words, scales, *biases = (p.rows(0, rows) for p in parameter.parts)
    scheme = Scheme(form.bits, form.group_size, form.mode)
    return Packed(words, scales, biases[0] if biases else None, scheme)


def answer(adapter: Adapter, sample: Sample, side: Side, method: str) -> np.ndarray:
    """What the layer over one side's weights answers: of the source float64, of the target as it came."""
    packed = sample.packed if side == "target" else sample.source_packed
    dtype = sample.target_dtype if side == "target" else sample.source_dtype
    weight = (sample.target if side == "target" else sample.source).astype(named(dtype))
    layer: Layer
    if method == "linear":
        layer = adapter.layer("quantized_linear", packed) if packed else adapter.layer("linear", weight)
        out = layer(sample.inputs.astype(named(dtype)))
    else:
        layer = adapter.layer("quantized_embedding", packed) if packed else adapter.layer("embedding", weight)
        out = layer(sample.ids) if method == "lookup" else layer.as_linear(sample.inputs.astype(named(dtype)))
    return out.astype(np.float64) if side == "source" else out


def bound(sample: Sample, method: str) -> np.ndarray:
    """Largest permitted difference between the two answers, per element, float64."""
    sides: Sequence[tuple[np.ndarray, str, bool]] = (
        (sample.source, sample.source_dtype, bool(sample.pair.source.encoding)),
        (sample.target, sample.target_dtype, bool(sample.pair.target.encoding)),
    )
    if method == "lookup":
        total = sample.permitted[sample.ids]
        for weight, dtype, coded in sides:
            if coded:  # scale times code, and the sum, rounded once each
                rows = weight[sample.ids]
                total = total + 3 * forward.rounding(np.abs(rows).max(-1, keepdims=True) + np.abs(rows), dtype)
        return total
    sizes = np.abs(sample.inputs)
    total = sizes @ sample.permitted.T
    for weight, dtype, coded in sides:
        expected, magnitude = sample.inputs @ weight.T, sizes @ np.abs(weight).T
        total = total + forward.linear(expected, magnitude, weight.shape[1], dtype)
        if coded:
            widest = sizes @ forward.rounding(2 * np.abs(weight).max(-1, keepdims=True) * np.ones_like(weight), dtype).T
            total = total + 2 * widest
    return total
