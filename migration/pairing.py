"""Which tensor of the target holds which tensor of the source, why we think so, and what has no partner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from touchstone.migration import conventions, gguf_names, lora, rope
from touchstone.migration.bounds import SIGNIFICAND
from touchstone.migration.checkpoint import Checkpoint, CheckpointError
from touchstone.migration.conventions import KEY, QUERY, Convention, Heads, Name, is_buffer, rope_of
from touchstone.migration.keymap import KeyMap
from touchstone.migration.mapping.knowledge import mlx_lm, renamed
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.parameters import Parameter, parameters

Side = Literal["source", "target"]


@dataclass(frozen=True)
class Pair:
    """One parameter of the target and the one of the source that it must hold.

    how: why they are a pair, in words. transposed: the target holds the transpose. rope: q or k rows change to this
    order; heads: how many heads they have, 0 where no configuration says. is_tied: one side has a head, the other ties
    its head to this table. is_table: an embedding's table or the head, whose first axis is the vocabulary. through: the
    narrower dtype that a converter cast the model to before it quantized, "" for none. rule: how the source is made
    where it is made of other tensors.
    """

    source: Parameter
    target: Parameter
    how: str
    transposed: bool = False
    rope: conventions.Rope | None = None
    heads: int = 0
    is_tied: bool = False
    is_table: bool = False
    through: str = ""
    rule: Rule | None = None

    @property
    def name(self) -> str:
        return f"{self.target.name} (tied)" if self.is_tied else self.target.name

    @property
    def wanted_shape(self) -> tuple[int, ...]:
        """The shape that the target must have."""
        shape = self.source.shape
        return shape[::-1] if self.transposed else shape

    @property
    def nbytes(self) -> int:
        return self.source.nbytes + self.target.nbytes


@dataclass(frozen=True)
class Alone:
    """A parameter without a partner. reason: why it needs none, "" where it should have one."""

    side: Side
    parameter: Parameter
    reason: str = ""


@dataclass(frozen=True)
class Pairing:
    """Which tensor of the source is which of the target, those that have no partner, and what was found on the way."""

    pairs: Sequence[Pair]
    alone: Sequence[Alone]
    source: Mapping[str, Parameter]
    target: Mapping[str, Parameter]
    table: tuple[str | None, str | None] = (None, None)
    """The names of the embedding's table on either side."""
    head: tuple[str | None, str | None] = (None, None)
    notes: Sequence[str] = ()
    by_source: Mapping[str, Pair] = field(default_factory=dict)
    heads: int = 0
    """Heads of q, 0 where no configuration or map says."""
    mapped: Collection[str] = ()
    """Names of the target that the user's map gives a source."""
    ignored: Sequence[str] = ()
    """Names of either side that the user's map leaves out."""
    rules: Sequence[Rule] = ()
    """Rules of the user's map."""


def pair(source: Checkpoint, target: Checkpoint, keymap: KeyMap, adapter: Checkpoint | None = None) -> Pairing:
    """Pair by the user's map, exact names, known conventions, Flax's names of leaves, and a prefix, in this order.

    adapter: what is added to the source. Raises CheckpointError for a map that names what is not there, for a name that
    two parameters claim, and for an adapter of another model.
    """
    before, after = parameters(source), parameters(target)
    for checkpoint, held in ((source, before), (target, after)):
        if not held:
            raise CheckpointError(f"{checkpoint.path}: holds no tensor")
    notes = [f"{c.path.name}: {note}" for c in (source, target) for note in c.notes]
    if adapter:
        before, note = lora.added(before, adapter)
        notes.append(note)
    theirs, ours = conventions.convention_of(before.keys()), conventions.convention_of(after.keys())
    heads = _heads(keymap, source, target)
    table_and_head = [conventions.table_and_head(p.keys(), c[1]) for p, c in ((before, theirs), (after, ours))]
    tables, lasts = zip(*table_and_head, strict=True)
    mapped = keymap.targets(before.keys(), after.keys())
    by_map = set(mapped.values())
    found: dict[tuple[str, str], str] = dict.fromkeys(mapped.items(), f"the map {keymap.path}")
    # Names that are paired, or are to be left alone.
    gone = {n for n in before if keymap.ignores_source(n)} | mapped.keys()
    gone_there = {n for n in after if keymap.ignores_target(n)} | by_map
    ruled, ruled_there = keymap.of_rules(before.keys(), after.keys())
    gone, gone_there = gone | ruled, gone_there | ruled_there
    architecture = gguf_names.architecture_of(source, target)
    model = str(source.config.get("model_type", ""))
    for how, names in _ways(before, after, theirs, ours, architecture, model):
        new_pairs = {(old, new): how for old, new in names.items() if old not in gone and new not in gone_there}
        found |= new_pairs
        gone |= {old for old, _ in new_pairs}
        gone_there |= {new for _, new in new_pairs}
    pairs = []
    for (old, new), how in found.items():
        a, b = settled(before[old], after[new])
        if keymap.transposes(new) and len(a.shape) != 2:
            raise CheckpointError(f"--map {keymap.path}: [transpose] {new!r} has {len(a.shape)} axes, not two")
        transposed = keymap.transposes(new) or (new not in by_map and _kernels(a, b))
        pairs.append(Pair(a, b, how, transposed, is_table=new in (tables[1], lasts[1]) or old in (tables[0], lasts[0])))
    ropes = [rope_of(c[0], k.config) if c[0] else None for c, k in ((theirs, source), (ours, target))]
    pairs = [_with_rope(p, theirs, ours, ropes, heads) for p in _oriented(pairs, by_map)]
    left = [before[n] for n in before if n not in gone or n in ruled]
    right = [after[n] for n in after if n not in gone_there or n in ruled_there]
    tied = _tied(left, right, before, after, tables, lasts)
    alone = [_alone("source", p) for p in left if all(p.name != t.source.name for t in tied)]
    alone += [_alone("target", p) for p in right if all(p.name != t.target.name for t in tied)]
    order = {name: i for i, name in enumerate(after)}
    pairs = cast_before(sorted(pairs, key=lambda p: order[p.target.name]) + tied)
    for checkpoint, (convention, _) in ((source, theirs), (target, ours)):
        if convention:
            notes.append(f"{checkpoint.path.name}: names as in {convention.name}")
    by_source = {p.source.name: p for p in pairs if not p.is_tied}
    ignored = [n for n in before if keymap.ignores_source(n)] + [n for n in after if keymap.ignores_target(n)]
    return Pairing(
        pairs, alone, before, after, tables, lasts, notes, by_source, heads.query, by_map, ignored, keymap.rules
    )


def _heads(keymap: KeyMap, source: Checkpoint, target: Checkpoint) -> Heads:
    return keymap.heads if keymap.heads.query else Heads.of(source.config, target.config)


Understood = tuple[Convention | None, Mapping[str, str]]


def _ways(
    before: Mapping[str, Parameter],
    after: Mapping[str, Parameter],
    theirs: Understood,
    ours: Understood,
    architecture: str,
    model: str,
) -> list[tuple[str, dict[str, str]]]:
    """(why, source -> target) of each way to pair, best first."""
    ways: list[tuple[str, dict[str, str]]] = [("the same name", {n: n for n in before if n in after})]
    if architecture:
        ways.append((f"gguf's names of {architecture}", gguf_names.pairs(before.keys(), after.keys(), architecture)))
    if to_mlx := {name: new for name in before if (new := renamed(model, name)) in after}:
        ways.append((f"the names of {mlx_lm().pages[model]}", to_mlx))
    if theirs[0] and ours[0]:
        by_role = {role: name for name, role in ours[1].items()}
        if len(by_role) < len(ours[1]):
            twice = next(r for r, n in Counter(ours[1].values()).items() if n > 1)
            both = " and ".join(n for n, role in ours[1].items() if role == twice)
            raise CheckpointError(f"{both} of the target are both the {twice}; rename one of them in a --map FILE")
        why = f"{theirs[0].name} to {ours[0].name}" if theirs[0] is not ours[0] else f"both as in {ours[0].name}"
        ways.append((why, _joined(theirs[1], by_role)))
    names = _names(before), _names(after)
    ways.append(("the same path, with another framework's leaf", _joined(names[0], _unique(names[1]))))
    prefixes = _prefixes(before, after)
    return ways + [(f"the same name after {p!r}", _without_prefix(*names, p)) for p in prefixes]


def _joined(roles: Mapping[str, str], by_role: Mapping[str, str]) -> dict[str, str]:
    """Source -> target where both have the same role; of two sources with one role neither is paired."""
    count = Counter(roles.values())
    return {name: by_role[role] for name, role in roles.items() if role in by_role and count[role] == 1}


def _names(these: Mapping[str, Parameter]) -> dict[str, str]:
    """Name -> module path and leaf, as every framework would write them."""
    return {text: ".".join((*(n := Name.of(text)).module, n.leaf)) for text in these}


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    """Understood name -> name, of those that are understood like no other."""
    count = Counter(names.values())
    return {name: text for text, name in names.items() if count[name] == 1}


def _prefixes(before: Mapping[str, Parameter], after: Mapping[str, Parameter]) -> list[str]:
    """First parts of names that one side has and the other lacks."""
    first = [Counter(t.partition(".")[0] + "." for t in side if "." in t) for side in (before, after)]
    only = [p for p in first[0] if p not in first[1]] + [p for p in first[1] if p not in first[0]]
    return [p for p in only if not p[:-1].isdigit()]


def _without_prefix(before: Mapping[str, str], after: Mapping[str, str], prefix: str) -> dict[str, str]:
    by_name = {name.removeprefix(prefix): t for t, name in after.items()}
    return {s: by_name[n] for s, name in before.items() if (n := name.removeprefix(prefix)) in by_name}


def settled(a: Parameter, b: Parameter) -> tuple[Parameter, Parameter]:
    """Packed parameters with the form that fits the other side's columns, where shapes alone allow several."""
    if a.is_packed and b.is_packed and not (a.form and b.form):
        form = a.form or b.form or next((f for f in a.possible if f in b.possible), a.possible[0])
        return (a if a.form else a.as_form(form)), (b if b.form else b.as_form(form))
    return _fitted(a, b), _fitted(b, a)


def _fitted(packed: Parameter, other: Parameter) -> Parameter:
    """`packed` in the form that has as many columns as the other side; its configuration may have said otherwise."""
    if not packed.is_packed or other.is_packed or not other.shape:
        return packed
    groups = packed.parts[1].shape[-1]
    fitting = [f for f in packed.possible if groups * f.group_size == other.shape[-1]]
    if packed.form in fitting or (packed.form and packed.shape == other.shape[::-1]):
        return packed
    return packed.as_form(fitting[0] if fitting else packed.form or packed.possible[0])


def _kernels(a: Parameter, b: Parameter) -> bool:
    """Whether one side's leaf is a kernel ``[in, out]`` and the other's is not."""
    matrices = len(a.shape) == len(b.shape) == 2
    return matrices and Name.of(a.name).is_kernel != Name.of(b.name).is_kernel


def _oriented(pairs: Sequence[Pair], mapped: Collection[str]) -> list[Pair]:
    """Matrices that no leaf and no map turns, turned as most of their kind of layer are, as far as shapes show it.

    A kind without a matrix that is not square follows most of all matrices. mapped: targets that a map names.
    """
    of_kind: Counter[str] = Counter()
    of_all = 0
    free = [
        p for p in pairs if len(p.source.shape) == 2 and not (p.is_table or p.transposed or p.target.name in mapped)
    ]
    for p in free:
        a, b = p.source.shape, p.target.shape
        if a[0] != a[1] and b in (a, a[::-1]):
            vote = 1 if b == a[::-1] else -1
            of_kind[_kind(p)] += vote
            of_all += vote
    turned = {p.target.name for p in free if of_kind.get(_kind(p), of_all) > 0}
    why = "most matrices like it are transposed"
    return [replace(p, transposed=True, how=f"{p.how}; {why}") if p.target.name in turned else p for p in pairs]


def _kind(p: Pair) -> str:
    """The kind of layer: its module's own name, and the leaf."""
    name = Name.of(p.target.name)
    return ".".join((*[t for t in name.module if not t.isdigit()][-1:], name.leaf))


def _with_rope(
    p: Pair, theirs: Understood, ours: Understood, ropes: Sequence[conventions.Rope | None], heads: Heads
) -> Pair:
    """The pair with the order of rows that q and k take where the two conventions rotate differently."""
    role = theirs[1].get(p.source.name, "").split(".")
    if role[2:3] not in ([QUERY], [KEY]):
        return p
    count = heads.query if role[2] == QUERY else heads.key
    before, after = ropes
    if before is None or after is None or before == after or p.target.name not in ours[1]:
        return replace(p, heads=count)
    return replace(p, rope=after, heads=count, how=f"{p.how}; q and k rows go to {after} order")


def _tied(
    left: Sequence[Parameter],
    right: Sequence[Parameter],
    before: Mapping[str, Parameter],
    after: Mapping[str, Parameter],
    tables: Sequence[str | None],
    heads: Sequence[str | None],
) -> list[Pair]:
    """The head that only one side stores, paired with the other side's table."""
    if heads[0] in {p.name for p in left} and heads[1] is None and tables[1]:
        a, b = settled(before[str(heads[0])], after[tables[1]])
        return [Pair(a, b, "the source stores a head, the target ties it to its table", is_tied=True, is_table=True)]
    if heads[1] in {p.name for p in right} and heads[0] is None and tables[0]:
        a, b = settled(before[tables[0]], after[str(heads[1])])
        kernel = _kernels(a, b)
        how = "the target stores a head, the source ties it to its table"
        return [Pair(a, b, how, transposed=kernel, is_tied=True, is_table=True)]
    return []


def cast_before(pairs: Sequence[Pair]) -> list[Pair]:
    """Quantized pairs with the dtype that the model was cast to, as its tensors that are not quantized show."""
    plain = {(p.source.dtype, p.target.dtype) for p in pairs if not p.source.encoding and not p.target.encoding}
    narrower = {new for old, new in plain if SIGNIFICAND.get(new, 99) < SIGNIFICAND.get(old, 0)}
    through = next(iter(narrower)) if len(narrower) == 1 else ""

    def was_cast(p: Pair) -> bool:
        return p.target.is_packed and SIGNIFICAND.get(through, 99) < SIGNIFICAND.get(p.source.dtype, 0)

    return [replace(p, through=through) if was_cast(p) else p for p in pairs]


def _alone(side: Side, parameter: Parameter) -> Alone:
    if is_buffer(parameter.name, len(parameter.shape)):
        return Alone(side, parameter, "a buffer that models compute")
    return Alone(side, parameter, "training state" if conventions.TRAINING.search(parameter.name) else "")


def rope_axis(p: Pair) -> int:
    """The axis of the source along which heads lie: the outputs, which are the columns of a kernel ``[in, out]``."""
    return 1 if p.transposed and Name.of(p.source.name).is_kernel else 0


def rope_order(p: Pair) -> np.ndarray | None:
    """Index array by which the source is read along `rope_axis`, None where it keeps its order or cannot split."""
    if p.rope is None or not p.heads:
        return None
    try:
        return rope.order(p.source.shape[rope_axis(p)], p.heads, p.rope)
    except ValueError:
        return None
