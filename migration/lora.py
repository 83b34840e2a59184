"""A LoRA adapter and its base as one source: W + scale · B A, and how far a library's own sum may be from it.

PEFT (`peft.tuners.lora.layer`, `get_delta_weight`; `LoraConfig`): ``base_model.model.X.lora_A.weight`` ``[r, in]`` and
``lora_B`` ``[out, r]``, of tables ``lora_embedding_A`` ``[r, rows]`` and ``_B`` ``[dims, r]``; the scale is
lora_alpha / r, or lora_alpha / sqrt(r) with ``use_rslora``; ``fan_in_fan_out`` says that the weight is ``[in, out]``.

mlx-lm (``mlx_lm/tuner/lora.py``, `fuse`): ``X.lora_a`` ``[in, r]`` and ``X.lora_b`` ``[r, out]``, of tables
``[rows, r]`` and ``[r, dims]``, of experts ``[experts, r, in]`` and ``[experts, out, r]``; the scale is
``lora_parameters.scale``.

Let u be the larger unit roundoff of the factors' and the weight's dtype, and P = scale · |B| |A|. Both factors and
their product are rounded, and each sum of r products is computed in float32 at least: 3 u P + (r + 2) 2**-24 P; the
product as it is added and the sum are rounded once each: u (|scale B A| + |W + scale B A|). A quantized base is
dequantized first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.migration.bounds import FLOAT32, SIGNIFICAND, SMALLEST, dequantized
from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.parameters import Fusion, Parameter

LORA = "LoRA"
"""The encoding of a parameter to which an adapter was added."""
TABLES = ("embed_tokens", "wte", "word_embeddings", "tok_embeddings", "embedding")
"""Modules that are tables, which a square one does not show."""
CONFIG = "adapter_config.json"
FACTOR = re.compile(r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?:embedding_)?(?P<which>[abAB])(?:\.|$)")
"""PEFT's and mlx-lm's names of the two factors."""
_MAGNITUDE = re.compile(r"\.(lora_magnitude_vector(\.weight)?|m)$")
"""PEFT's and mlx-lm's names of what DoRA adds."""
_PEFT = "base_model.model."
_LONGEST = 200
"""Characters of a pattern."""


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to one weight: scale · left @ right, float64.

    left ``[rows, r]`` or ``[experts, rows, r]``, right ``[r, columns]`` or ``[experts, r, columns]``.
    """

    left: np.ndarray
    right: np.ndarray
    scale: float
    dtype: str

    @property
    def rank(self) -> int:
        return self.right.shape[-2]

    def rows(self, start: int, stop: int) -> np.ndarray:
        right = self.right[start:stop] if self.right.ndim == 3 else self.right
        return self.scale * (self.left[start:stop] @ right)

    @property
    def magnitude(self) -> Delta:
        """The same sum of magnitudes: P."""
        return Delta(np.abs(self.left), np.abs(self.right), abs(self.scale), self.dtype)


def added(base: Mapping[str, Parameter], adapter: Checkpoint) -> tuple[dict[str, Parameter], str]:
    """The base's parameters with the adapter's products added, and a sentence on what was.

    Raises CheckpointError for an adapter of another kind, and for one that does not belong to this base.
    """
    where, config = adapter.path, adapter.config
    kind = str(config.get("peft_type", config.get("fine_tune_type", LORA))).lower()
    if config.get("use_dora") or any(_MAGNITUDE.search(name) for name in adapter.tensors):
        kind = "dora"
    if kind != LORA.lower():
        raise CheckpointError(f"--lora {where}: is an adapter of kind {kind!r}; only LoRA's can be added to a base")
    out = dict(base)
    factors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in adapter.tensors.items():
        if found := FACTOR.match(name):
            factors.setdefault(found["module"], {})[found["which"]] = tensor
        else:  # PEFT's modules_to_save and biases, trained as a whole
            own = _of_base(name.removeprefix(_PEFT), base, where)
            out[own] = Parameter(own, (tensor,))
    deltas = {}
    for module, both in factors.items():
        own = _of_base(f"{module}.weight", base, where)
        deltas[own] = _delta(module, both, base[own].shape, config, where)
        out[own] = _fused(base[own], deltas[own])
    ranks = ", ".join(sorted({str(d.rank) for d in deltas.values()}))
    scales = ", ".join(sorted({f"{d.scale:g}" for d in deltas.values()}))
    return out, f"{where}: a LoRA adapter of {len(deltas):,} weights, rank {ranks}, scale {scales}"


def _of_base(name: str, base: Mapping[str, Parameter], where: Path) -> str:
    """The base's name of a weight that an adapter calls `name`; one of them may have a prefix more."""
    if name in base:
        return name
    found = [own for own in base if own.endswith(f".{name}") or name.endswith(f".{own}")]
    if len(found) != 1:
        what = f"fits {' and '.join(found[:2])} of the base" if found else "is no weight of the base"
        layout = ", in MLX's layout, which keeps all experts of a layer together" if "switch_" in name else ""
        raise CheckpointError(f"--lora {where}: {name} {what}; name the base that it was trained on{layout}")
    return found[0]


def _delta(
    module: str, both: Mapping[str, Tensor], shape: tuple[int, ...], config: Mapping[str, Any], where: Path
) -> Delta:
    """Raises CheckpointError where the factors do not make a matrix of the weight's shape."""
    is_peft = "A" in both or "B" in both
    first, second = (both.get(which) for which in ("AB" if is_peft else "ab"))
    if first is None or second is None:
        raise CheckpointError(f"--lora {where}: {module} has one of its two factors; save the adapter again")
    a, b = (t.rows(0, t.length).astype(np.float64) for t in (first, second))
    dtype = min((first.dtype, second.dtype), key=lambda d: SIGNIFICAND.get(d, 0))
    scale = _scale(module, config, a.shape[0] if is_peft else 0, where)
    if is_peft and a.ndim == b.ndim == 2:
        products = [(b, a), (a.T, b.T)]
    elif b.ndim == 3 and a.ndim in (2, 3) and not a.size % (len(b) * a.shape[-1]):
        products = [(b, a.reshape(len(b), -1, a.shape[-1]))]
    elif a.ndim == b.ndim == 2:
        products = [(b.T, a.T), (a, b)]
    else:
        products = []
    if _is_turned(module, config):
        products.reverse()
    for left, right in products:
        if left.shape[-1] == right.shape[-2] and (*left.shape[:-1], right.shape[-1]) == shape:
            return Delta(left, right, scale, dtype)
    shapes = " and ".join(str(list(t.shape)) for t in (first, second))
    raise CheckpointError(
        f"--lora {where}: the factors {shapes} of {module} make no weight {list(shape)}; "
        "name the base that it was trained on"
    )


def _is_turned(module: str, config: Mapping[str, Any]) -> bool:
    """Whether a weight is stored ``[in, out]``, or is a table; tells only what shapes do not."""
    return bool(config.get("fan_in_fan_out")) or module.rpartition(".")[2] in TABLES


def _scale(module: str, config: Mapping[str, Any], rank: int, where: Path) -> float:
    """rank: of PEFT's factors, 0 for mlx-lm's."""
    settings = config if rank else config.get("lora_parameters")
    name = "lora_alpha" if rank else "scale"
    value = settings.get(name) if isinstance(settings, Mapping) else None
    patterns = config.get("alpha_pattern") if rank else None
    for pattern, alpha in patterns.items() if isinstance(patterns, Mapping) else ():
        if _matches(pattern, module, where):
            value = alpha
    if isinstance(value, bool) or not isinstance(value, int | float):
        at = name if rank else f"lora_parameters.{name}"
        raise CheckpointError(f"--lora {where}: {CONFIG} says no number {at}, by which the adapter is scaled")
    if not rank:
        return float(value)
    return float(value) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _matches(pattern: str, module: str, where: Path) -> bool:
    """Whether PEFT's pattern, a regular expression of the end of a module's path, means it.

    Raises CheckpointError for one that could take for ever: a repetition of what may repeat itself.
    """
    if re.search(r"[)*+}][*+{]", pattern) or len(pattern) > _LONGEST:
        raise CheckpointError(f"--lora {where}: the pattern {pattern[:80]!r} of {CONFIG} is not understood")
    try:
        return bool(re.fullmatch(rf"(.*\.)?({pattern})", module))
    except re.error as error:
        raise CheckpointError(f"--lora {where}: the pattern {pattern!r} of {CONFIG} is none ({error})") from error


def _fused(base: Parameter, delta: Delta) -> Parameter:
    u = 2.0 ** -min(SIGNIFICAND.get(base.dtype, 53), SIGNIFICAND.get(delta.dtype, 53))

    sizes = delta.magnitude

    def before(start: int, stop: int) -> np.ndarray:
        return base.rows(start, stop).astype(np.float64)

    def rows(start: int, stop: int) -> np.ndarray:
        return before(start, stop) + delta.rows(start, stop)

    def slack(start: int, stop: int) -> np.ndarray:
        stored, more = before(start, stop), delta.rows(start, stop)
        product = (3 * u + (delta.rank + 2) * FLOAT32) * sizes.rows(start, stop)
        out = product + u * (np.abs(more) + np.abs(stored + more)) + SMALLEST[base.dtype]
        if base.form:
            out += dequantized(stored, base.dtype, base.dtype, base.form.group_size)
        return out

    tensor = Tensor(base.name, base.dtype, base.shape, base.parts[0].file, rows, LORA)
    return Parameter(base.name, (tensor,), fusion=Fusion(before, slack))
