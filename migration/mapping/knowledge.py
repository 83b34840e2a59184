"""What a converter is documented to do with the tensors of an architecture: read from `mlx_lm.toml`, with its page."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from touchstone import documents
from touchstone.adapters.axes import permutation
from touchstone.errors import InputError
from touchstone.migration import gguf_names
from touchstone.migration.checkpoint import Checkpoint
from touchstone.migration.conventions import Name, count
from touchstone.migration.fields import plain
from touchstone.migration.mapping.expressions import Add, Multiply, Normalize, Part, Permute, Range, Reshape, Step
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.mapping.templates import canonical, example, path_of

PAGE = "mlx-lm 0.32.2, mlx_lm/models/{}.py (sanitize)"
_FLAX = "Flax stores kernels […, in, out], heads on an axis of their own (flax.nnx.Conv, MultiHeadAttention)"
_CONVOLUTION = (
    "MLX stores convolutions [out, …, in], PyTorch [out, in, …], transposed ones [in, out, …] (mlx.nn.Conv1d)"
)
FUSED: Mapping[str, tuple[str, ...]] = {
    "gate_up_proj": ("gate_proj", "up_proj"),
    "gate_and_up_proj": ("gate_proj", "up_proj"),
    "input_linear": ("gate_proj", "up_proj"),
    "kv_b_proj": ("embed_q", "unembed_out"),
}
"""A matrix that holds several -> which they are, in their usual order."""


class _PlusOne(msgspec.Struct, forbid_unknown_fields=True):
    models: list[str]
    names: list[str]


class _Fused(msgspec.Struct, forbid_unknown_fields=True):
    halves: list[str]
    interleaved: list[str]
    exchanged: list[str]


class _Experts(msgspec.Struct, forbid_unknown_fields=True):
    transposed: list[str]


class _Dropped(msgspec.Struct, forbid_unknown_fields=True):
    always: list[str]
    towers: list[str]
    models: dict[str, list[str]]


class Converter(msgspec.Struct, forbid_unknown_fields=True):
    """The file's content; its comments say what each table means."""

    models: str
    plus_one: _PlusOne
    fused: _Fused
    experts: _Experts
    dropped: _Dropped
    unquantized: dict[str, list[str]]
    multimodal: list[str]
    adding_nothing: str
    multiplied: dict[str, dict[str, str]]
    pages: dict[str, str]
    renamed: dict[str, list[tuple[str, str]]]


def _number(config: Mapping[str, Any], path: str) -> float:
    """A number of a configuration, of a list the n-th where the path ends so; 1 where there is none."""
    name, _, place = path.partition(".")
    found = config.get(name)
    if place and isinstance(found, Sequence) and int(place) < len(found):
        found = found[int(place)]
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else 1.0


def renamed(model: str, name: str) -> str:
    """What a converter calls a tensor of an architecture, "" where it is not known to rename any."""
    changes = mlx_lm().renamed.get(model, [])
    for old, new in changes:
        name = name.replace(old, new)
    return name if changes else ""


@cache
def mlx_lm() -> Converter:
    """What mlx-lm's converters do, read once."""
    path = Path(__file__).with_name("mlx_lm.toml")
    return documents.converted(documents.load(path, InputError, str(path)), Converter, str(path), InputError)


def is_for_mlx(checkpoint: Checkpoint) -> bool:
    """Whether a file says that it is MLX's, or holds what only MLX packs."""
    packed = any(name.endswith(".scales") for name in checkpoint.tensors)
    return checkpoint.framework == "mlx" or checkpoint.format == "npz" or (packed and not checkpoint.framework)


@dataclass(frozen=True)
class Knowledge:
    """What is documented of one conversion.

    model: `model_type` of either configuration, "" where none says. to_mlx: whether the target is laid out for MLX,
    and its source is not. gguf: the architecture that a GGUF file among both says it is; to_gguf: whether the target
    is that file. has_mlx: whether either side is laid out for MLX. config: the source's, or the target's where that
    has none.
    """

    model: str = ""
    to_mlx: bool = False
    gguf: str = ""
    to_gguf: bool = False
    has_mlx: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Checkpoint, target: Checkpoint) -> Knowledge:
        config = source.config or target.config
        inner = config.get("text_config")
        nested = inner.get("model_type") if isinstance(inner, Mapping) else None
        model = config.get("model_type") or nested or ""
        to_mlx = is_for_mlx(target) and not is_for_mlx(source)
        architecture = gguf_names.architecture_of(source, target)
        has_mlx = is_for_mlx(source) or is_for_mlx(target)
        return cls(str(model), to_mlx, architecture, target.format == "gguf", has_mlx, config)

    @property
    def is_known(self) -> bool:
        """Whether a converter's source says what happens to this architecture."""
        return self.to_mlx and self.model in mlx_lm().models.split()

    @property
    def says_of_vectors(self) -> bool:
        """Whether a converter's source says what is added to norms, which is nothing where `steps` has none."""
        table = mlx_lm()
        return bool(self.gguf) or self.is_known or (self.to_mlx and self.model in table.adding_nothing.split())

    @property
    def page(self) -> str:
        return mlx_lm().pages.get(self.model, PAGE.format(self.model))

    def steps(self, source: str, target: str, axes: int) -> tuple[tuple[Step, ...], str]:
        """(what a convention does to the numbers of namesakes, its page); nothing where it keeps them."""
        if self.gguf:
            found = gguf_names.steps(self.gguf, target if self.to_gguf else source, axes, to_gguf=self.to_gguf)
            return found, gguf_names.PAGE.format(self.gguf)
        table = mlx_lm().plus_one
        if self.to_mlx and self.model in table.models and axes == 1 and target.endswith(tuple(table.names)):
            return (Add(1.0),), self.page
        if self.to_mlx and target.endswith("lm_head.weight") and (axis := self._norm_of_head()) is not None:
            return (Normalize(axis),), self.page
        if self.to_mlx and axes == 2 and (factors := self._factors(target)):
            return (Multiply(factors),), self.page
        return (), ""

    def _norm_of_head(self) -> int | None:
        """Along which axis a converter divides the head by its length, None where it does not."""
        if self.model == "baichuan_m1":
            return 1
        return 0 if self.model in ("bailing_moe", "bailing_moe_linear") and self.config.get("norm_head") else None

    def _factors(self, name: str) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """(rows, factors) by which a matrix is multiplied, of one stretch 0 rows; nothing where all factors are 1."""
        layer = f".{name.removesuffix('.weight')}"
        fields = mlx_lm().multiplied.get(self.model, {})
        if fields and layer.endswith(".mamba.in_proj"):
            found = self._of_mamba()
        else:
            path = next((path for end, path in fields.items() if layer.endswith(f".{end}")), "")
            found = ((0, (_number(self.config, path),)),) if path else ()
        return found if any(factor != 1 for _, factors in found for factor in factors) else ()

    def _of_mamba(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """Falcon-H1's rows of gate, x, B, C and dt, each with a factor of its own (`compute_mup_vector`)."""
        inner, state = count(self.config, "mamba_d_ssm"), count(self.config, "mamba_d_state")
        groups = state * count(self.config, "mamba_n_groups")
        sizes = (inner, inner, groups, groups, count(self.config, "mamba_n_heads"))
        whole = _number(self.config, "ssm_in_multiplier")
        return tuple((size, (whole, _number(self.config, f"ssm_multipliers.{i}"))) for i, size in enumerate(sizes))

    def cut(self, source: str, target: str, before: tuple[int, ...], after: tuple[int, ...]) -> tuple[Step, ...]:
        """How a documented converter cuts the target out of a fused source of this shape; nothing where none does.

        Hunyuan's qkv_proj holds, for each head of k, the heads of q that share it, then k's, then v's.
        """
        if self.model != "hunyuan" or not self.to_mlx or not source.endswith("qkv_proj.weight") or len(before) != 2:
            return ()
        query, key = (count(self.config, name) for name in ("num_attention_heads", "num_key_value_heads"))
        part = next((i for i, p in enumerate(("q_proj", "k_proj", "v_proj")) if f".{p}." in target), -1)
        groups = query // key if key else 0
        if part < 0 or not groups or before[0] % (key * (groups + 2)):
            return ()
        dims = before[0] // (key * (groups + 2))
        start = (0, groups, groups + 1)[part]
        stop = (groups, groups + 1, groups + 2)[part]
        return Reshape((key, groups + 2, dims, before[1])), Range(1, start, stop), Reshape(after)

    def leaves_unquantized(self, name: str) -> bool:
        """Whether a matrix stays as it is when MLX quantizes the model."""
        ends = mlx_lm().unquantized.get(self.model, ())
        return any(f".{name}".removesuffix(".weight").endswith(f".{end}") for end in ends)

    @staticmethod
    def of_images(name: str) -> bool:
        """Whether a matrix belongs to what sees or hears, which mlx-vlm does not quantize."""
        return any(word in name for word in mlx_lm().multimodal)

    def drops(self, name: str, target: Collection[str]) -> str:
        """Why a tensor of the source has no partner by documented convention, "" where there is none.

        target: the parts of all names of the target.
        """
        parts = path_of(name)
        table = mlx_lm().dropped
        if self.to_mlx and any(p in table.always for p in parts):
            return "mlx-lm's converters leave it out (mtp layers, rotary tables)"
        tower = next((p for p in parts if p in table.towers), "")
        if self.to_mlx and tower and not any(p in target for p in table.towers):
            return f"{tower} is left out of a text model by mlx-lm's converters"
        is_converted = self.to_mlx or self.model in mlx_lm().renamed
        if is_converted and any(f".{path}." in f".{name}." for path in table.models.get(self.model, ())):
            return f"left out by {self.page}"
        layers = count(plain(self.config), "num_hidden_layers")
        layer = next((int(b) for a, b in pairwise(parts) if a == "layers" and b.isdigit()), -1)
        if self.is_known and 0 < layers <= layer:
            return (
                f"of layer {layer}, beyond num_hidden_layers {layers}: a layer for training that converters leave out"
            )
        return ""

    def documents(self, rule: Rule, before: tuple[int, ...], after: tuple[int, ...], *, in_blocks: bool = False) -> str:
        """The page of a convention that says this rule, "" where none does.

        before, after: shapes of a source tensor and of a target; in_blocks: whether the source is packed.
        """
        if len(rule.sources) > 1:
            return ""
        if self.gguf:
            names = example(rule.sources[0]), example(rule.target)
            is_so = gguf_names.documents(self.gguf, *names, rule.steps, in_blocks=in_blocks)
            return gguf_names.PAGE.format(self.gguf) if is_so else ""
        if rule.steps and rule.steps == self.cut(example(rule.sources[0]), example(rule.target), before, after):
            return self.page
        old, new = canonical(rule.sources[0]), canonical(rule.target)
        if old == new:
            return self._of_one(rule, before, after)
        owners = [tuple(p for p in name[:-2] if p != "experts") for name in (old, new)]
        if old[-1] == new[-1] and owners[0] == owners[1] and new[-2] in FUSED.get(old[-2], ()):
            return self._of_fused(rule, FUSED[old[-2]], new[-2], before, after)
        if "experts" in new and owners[0] == owners[1] and old[-2:] == new[-2:] and self.is_known:
            return self._of_one(rule, before, after)
        return ""

    def _of_one(self, rule: Rule, before: tuple[int, ...], after: tuple[int, ...]) -> str:
        """What is said of tensors that are called alike."""
        said, page = self.steps(example(rule.sources[0]), example(rule.target), len(after))
        if said:
            return page if rule.steps == said and rule.over is None else ""
        kernels = [Name.of(text).is_kernel for text in (rule.sources[0], rule.target)]
        if kernels[0] != kernels[1] and max(len(before), len(after)) >= 3:
            return _FLAX if rule.steps == self._of_kernel(before, after, to_flax=kernels[1]) else ""
        stored_together = "experts" in canonical(rule.target) and rule.over is None and len(before) == 3
        if rule.part_of is not None:  # dbrx
            wanted: tuple[Step, ...] = (Permute((1, 0)),) if ".w2" in rule.sources[0] else ()
            return self.page if self.model == "dbrx" and rule.steps == wanted else ""
        if stored_together and self.model in mlx_lm().experts.transposed:
            return self.page if rule.steps == (Permute((0, 2, 1)),) else ""
        if is_convolution(rule.target) and len(after) >= 3 and self.to_mlx:
            kind = "transposed convolution" if is_transposed(rule.target) else "convolution"
            return _CONVOLUTION if rule.steps == (Permute(permutation(kind, "torch", "mlx", len(after))),) else ""
        if rule.steps and isinstance(rule.steps[0], Reshape):
            return self.page if self.is_known and len(rule.steps) == 1 else ""
        if rule.steps:
            return ""
        if rule.over is not None:
            return self.page if self.is_known else "experts are stacked in their order (mlx_lm/models/switch_layers.py)"
        return "names that mean the same"

    def _of_kernel(self, before: tuple[int, ...], after: tuple[int, ...], *, to_flax: bool) -> tuple[Step, ...]:
        """From or to a kernel of Flax: of a convolution ``[…, in, out]``, or of attention with heads on an axis."""
        axes = len(after)
        if len(before) != axes:
            ends = (math.prod(before[:-1]), before[-1]), (before[0], math.prod(before[1:]))
            merged = ends[0] if before[-1] in after else ends[1]
            return (Permute((1, 0)), Reshape(after)) if to_flax else (Reshape(merged), Permute((1, 0)))
        other = "mlx" if self.has_mlx else "torch"
        source, target = (other, "flax") if to_flax else ("flax", other)
        return (Permute(permutation("convolution", source, target, axes)),)

    def _of_fused(
        self, rule: Rule, parts: Sequence[str], part: str, before: tuple[int, ...], after: tuple[int, ...]
    ) -> str:
        """What is said of the parts of a fused tensor."""
        if parts[0] == "embed_q":
            return self._of_latent(rule, part, before, after) if self.is_known else ""
        if parts[0] != "gate_proj" or not rule.steps or rule.over is not None:
            return ""
        table, place = mlx_lm().fused, parts.index(part)
        if self.model in table.exchanged:
            place = 1 - place
        split, *rest = rule.steps
        if not isinstance(split, Part) or (split.k, split.n) != (place, 2):
            return ""
        if split.is_interleaved != (self.model in table.interleaved):
            return ""
        known = self.model in (*table.halves, *table.interleaved, *table.exchanged)
        turned = self.model in mlx_lm().experts.transposed
        fits = rest == [Permute((0, 2, 1))] if turned else not rest
        return self.page if known and fits else ""

    def _of_latent(self, rule: Rule, part: str, before: tuple[int, ...], after: tuple[int, ...]) -> str:
        """kv_b_proj: of each head the rows of k without rotation, transposed, then the rows of v."""
        wanted = latent_steps(before, after, part)
        return self.page if rule.steps == wanted else ""


def latent_steps(before: tuple[int, ...], after: tuple[int, ...], part: str) -> tuple[Step, ...] | None:
    """How a part of MLA's kv_b_proj ``[heads * (nope + value), rank]`` is cut out of it. after: ``[heads, …, …]``."""
    if len(before) != 2 or len(after) != 3 or before[0] % after[0]:
        return None
    heads, each = after[0], before[0] // after[0]
    size = after[2] if part == "embed_q" else after[1]
    split = Range(1, 0, size) if part == "embed_q" else Range(1, each - size, each)
    turned: tuple[Step, ...] = (Permute((0, 2, 1)),) if part == "embed_q" else ()
    return (Reshape((heads, each, before[1])), split, *turned)


def is_convolution(text: str) -> bool:
    """Whether a tensor of three axes or more is a convolution's, by its name."""
    return any(word in text.lower() for word in ("conv", "patch_embed", "patch_proj"))


def is_transposed(text: str) -> bool:
    """Whether a convolution is a transposed one, by its name."""
    return any(word in text.lower() for word in ("transpose", "convtr", "conv_tr", "deconv"))
