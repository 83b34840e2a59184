"""Where do two models first differ? Activations compared operation by operation, in one framework or across two.

    from touchstone.migration.trace import compare, first_beyond

    steps = compare(torch_model, mlx_model, ids)
    print(first_beyond(steps) or "no operation is beyond its bound")

Each operation of the target is given what the *source's* operation was given, so that a fault shows where it is and
nowhere else; its result may differ from the source's by its own bound. Modules are called as they are: put them into
evaluation mode first, or dropout will differ. docs/migration-trace.md shows a whole example.

Bounds, both results having been computed from the same inputs in arithmetic of the same unit roundoff u:

- An embedding copies rows: bit for bit.
- Of a linear layer or an RMSNorm the result is known in float64 from the source's parameters. Each side may be off by
  the bound of `touchstone.golden.bounds` or `touchstone.golden.llama_bounds`, and both together by twice as much.
- Anything else: `golden.llama_bounds.FACTOR` times the largest change that random perturbations of its inputs and
  parameters, each by one unit in the last place, cause in the source's operation, in the maximum norm over the last
  axis; and a rounding of each result. What 64 such calls show includes the source's own rounding errors.

Where the two compute in different dtypes, inputs are rounded to the narrower one, a unit in the last place is that of
the narrower one, and every operation but an embedding has a bound of the last kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Adapter
from touchstone.adapters.tracing import Known, Recording, Traceable
from touchstone.golden import bounds, llama, llama_bounds
from touchstone.golden.streams import SIGNIFICAND_BITS, words
from touchstone.migration import conventions

Names = Mapping[str, str] | Callable[[str], str | None]
"""The source's path of an operation -> the target's. A path that is not mapped keeps its name."""
_DTYPES = {"float16": np.dtype("f2"), "bfloat16": np.dtype(ml_dtypes.bfloat16), "float32": np.dtype("f4")}


@dataclass(frozen=True)
class Step:
    """One operation of the source, and what the target's does with the same inputs.

    target: the name of its partner, "" where it has none. problem: why nothing was compared, what differs that is no
    number, or between which of its parts a whole module goes wrong. fails: the target's operation gave another shape,
    or raised. headroom: the largest error over its bound; error, bound, got, want and index belong to the element that
    has it.
    """

    source: str
    target: str
    kind: str = ""
    headroom: float | None = None
    error: float | None = None
    bound: float | None = None
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    problem: str = ""
    fails: bool = False

    @property
    def is_beyond(self) -> bool:
        return self.fails or (self.headroom is not None and not self.headroom <= 1)

    def __str__(self) -> str:
        name = self.source or "the whole model"
        pair = name if self.target in (self.source, "") else f"{name} (there {self.target})"
        if self.headroom is None:
            return f"{pair}: {self.problem}"
        verdict = "beyond its bound" if self.is_beyond else "within its bound"
        where = f"; {self.problem}" if self.problem else ""
        return (
            f"{pair}, {self.kind}: {verdict}, worst element {self.index}: got {self.got!r}, want {self.want!r}, "
            f"error {self.error:.3g}, bound {self.bound:.3g}, error/bound {self.headroom:.3g}{where}"
        )


def compare(
    source: Any, target: Any, inputs: Any, names: Names | None = None, *, samples: int = llama_bounds.SAMPLES
) -> list[Step]:
    """Every operation of `source` in the order in which they end, compared with its partner in `target`.

    source, target: modules of PyTorch, MLX or Flax NNX, or anything `Traceable`. inputs: a NumPy array, or a tuple of
    them, that both are called with. names: see `Names`; without it, operations are paired by name, then by what
    `touchstone.migration.conventions` knows of Llamas. samples: calls of the source's operation that a bound may take.
    Raises TypeError for a module of no framework that is known here, and whatever the modules raise when called.
    """
    made: list[Adapter] = []
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    try:
        left, right = (_traceable(model, made) for model in (source, target))
        before, after = left.record(*given), right.record(*given)
        partners = _partners(before, after, names)
        comparison = _Comparison(left, right, samples)
        steps = [comparison.step(name, one, partners.get(name), after) for name, one in before.items()]
        steps = _between(steps, before, after, partners)
    finally:
        for adapter in reversed(made):
            adapter.default_precision()
    lonely = [name for name in after if name not in partners.values()]
    return steps + [Step(name, name, problem="only the target has this operation") for name in lonely]


def first_beyond(steps: Sequence[Step]) -> Step | None:
    """The first operation beyond its bound, None where there is none."""
    return next((step for step in steps if step.is_beyond), None)


def _between(
    steps: list[Step], before: Mapping[str, Recording], after: Mapping[str, Recording], partners: Mapping[str, str]
) -> list[Step]:
    """The steps, the first beyond its bound with a word of where its parts part, if none of them is.

    That is the first of them that in the target's own run is given something else: the two agree in less than half of
    the digits, where rounding would have left most.
    """
    first = first_beyond(steps)
    if first is None or first.fails:
        return steps
    inside = f"{first.source}." if first.source else ""
    previous = ""
    for name, one in before.items():
        if not name.startswith(inside) or name == first.source or name not in partners:
            continue
        if not _alike(one.inputs, after[partners[name]].inputs):
            follows = f", behind {previous}" if previous else ""
            hint = f"its parts are within their bounds, and {name} is the first that is given something else{follows}"
            return [replace(step, problem=hint) if step is first else step for step in steps]
        previous = name
    return steps


def _alike(ours: tuple[np.ndarray, ...], theirs: tuple[np.ndarray, ...]) -> bool:
    """Whether floating inputs of the same shape agree in half of their digits, measured against the largest number."""
    for a, b in zip(ours, theirs, strict=False):
        if a.shape != b.shape or a.dtype.kind not in "fV" or not a.size:
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        if np.abs(x - y).max() > np.sqrt(bounds.unit_roundoff(_narrower(a.dtype, b.dtype))) * np.abs(x).max():
            return False
    return True


def _traceable(model: Any, made: list[Adapter]) -> Traceable:
    """The model itself, or how its framework's adapter, added to `made`, sees it."""
    if all(hasattr(model, name) for name in ("record", "apply", "known")):
        return model
    packages = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    for name in registry.BUILT_IN:
        cls = registry.adapter_class(name)
        if cls.module in packages:
            registry.prepare_environment(cls)
            made.append(cls(cls.device_of(model)))
            return made[-1].traceable(model)
    raise TypeError(f"{type(model).__name__} is a module of none of {', '.join(registry.BUILT_IN)}")


def _partners(before: Iterable[str], after: Iterable[str], names: Names | None) -> dict[str, str]:
    """The target's name of each operation of the source that has a partner; no operation has two."""
    theirs = set(after)
    chosen: dict[str, str] = {}
    by_role = {role: name for name, role in _roles(theirs).items()}
    roles = _roles(before)
    for name in before:
        path, mark, use = name.partition("#")
        if names is not None:
            found = names.get(path) if isinstance(names, Mapping) else names(path)
        else:
            found = path if path in {n.partition("#")[0] for n in theirs} else by_role.get(roles.get(path, ""))
        partner = (path if found is None else found) + mark + use
        if partner in theirs and partner not in chosen.values():
            chosen[name] = partner
    return chosen


def _roles(names: Iterable[str]) -> dict[str, str]:
    """Operation -> its role in a Llama, by the convention that explains most of them."""
    paths = {f"{name}.weight": name for name in names if "#" not in name}
    return {paths[weight]: role for weight, role in conventions.convention_of(list(paths))[1].items()}


class _Comparison:
    def __init__(self, source: Traceable, target: Traceable, samples: int) -> None:
        self.source, self.target, self.samples = source, target, samples

    def step(self, name: str, one: Recording, partner: str | None, after: Mapping[str, Recording]) -> Step:
        if partner is None:
            return Step(name, "", problem="only the source has this operation")
        other = after[partner]
        theirs, ours = ([x.shape for x in recording.inputs] for recording in (one, other))
        if theirs != ours:
            return Step(name, partner, problem=f"not comparable: takes {ours}, the source's takes {theirs}")
        dtype = _narrower(one.output.dtype, other.output.dtype)
        inputs = tuple(_to(x, dtype, (x.dtype, y.dtype)) for x, y in zip(one.inputs, other.inputs, strict=True))
        want = one.output if _same(inputs, one.inputs) else self.source.apply(name, _cast(inputs, one.inputs))
        try:
            got = self.target.apply(partner, _cast(inputs, other.inputs))
        except Exception as error:  # what the target's operation does with the source's inputs is what is asked
            return Step(name, partner, problem=f"raises {type(error).__name__}: {error}", fails=True)
        if got.shape != want.shape:
            return Step(name, partner, problem=f"gives shape {got.shape}, the source's {want.shape}", fails=True)
        if got.dtype.kind not in "fV":
            same = bool((got == want).all())
            return Step(
                name, partner, problem="equal" if same else "differs in values that are no floats", fails=not same
            )
        kind, bound = self._bound(name, one, want, got, inputs, dtype)
        return _worst(Step(name, partner, kind), got.astype(np.float64), want.astype(np.float64), bound)

    def _bound(
        self, name: str, one: Recording, want: np.ndarray, got: np.ndarray, inputs: tuple[np.ndarray, ...], dtype: str
    ) -> tuple[str, np.ndarray]:
        """The kind of the operation, and the bound on the difference of two results, per element."""
        known = self.source.known(name)
        if known and known.kind == "embedding" and want.dtype == got.dtype:
            return "embedding", np.zeros(want.shape)
        if known and known.kind != "embedding" and {x.dtype for x in (want, got, *inputs)} == {_DTYPES[dtype]}:
            return known.kind, 2 * _derived(known, inputs[0].astype(np.float64), dtype)
        two = 2 * bounds.rounding(np.maximum(np.abs(want.astype(np.float64)), np.abs(got.astype(np.float64))), dtype)
        if (np.abs(got.astype(np.float64) - want.astype(np.float64)) <= two).all():
            return known.kind if known else "rounding", two  # the perturbations would only widen it
        return "perturbed", two + llama_bounds.FACTOR * self._change(name, one, want, inputs, dtype)

    def _change(
        self, name: str, one: Recording, want: np.ndarray, inputs: tuple[np.ndarray, ...], dtype: str
    ) -> np.ndarray:
        """The largest change over the last axis that perturbations cause in the source's operation.

        A change from or to what is not finite counts for nothing.
        """
        exact, out = want.astype(np.float64), np.zeros(want.shape)
        for sample in range(self.samples):
            moved = tuple(_nudge(x, dtype, f"{sample}/input {i}") for i, x in enumerate(inputs))

            def change(path: str, x: np.ndarray, sample: int = sample) -> np.ndarray:
                return _nudge(x, dtype, f"{sample}/{path}")

            found = self.source.apply(name, _cast(moved, one.inputs), change).astype(np.float64)
            finite = np.isfinite(found) & np.isfinite(exact)
            out = np.maximum(out, np.abs(np.subtract(found, exact, out=np.zeros(want.shape), where=finite)))
        return np.broadcast_to(out.max(-1, keepdims=True), out.shape) if out.ndim else out


def _derived(known: Known, x: np.ndarray, dtype: str) -> np.ndarray:
    weight = known.weight.astype(np.float64)
    if known.kind == "rms_norm":
        return llama_bounds.rms_norm(x, llama.rms_norm(x, weight, known.eps), dtype)
    product, magnitude, terms = x @ weight.T, np.abs(x) @ np.abs(weight).T, x.shape[-1]
    if known.bias is None:
        return bounds.linear(product, magnitude, terms, dtype)
    bias = known.bias.astype(np.float64)
    return bounds.linear_with_bias(product, magnitude, bias, terms, dtype)


def _narrower(*dtypes: np.dtype) -> str:
    """The name of the dtype with the fewest significant bits; float32 for what is wider or no float."""
    names = [d.name if d.name in SIGNIFICAND_BITS else "float32" for d in dtypes]
    return min(names, key=lambda name: SIGNIFICAND_BITS[name])


def _to(x: np.ndarray, dtype: str, seen: tuple[np.dtype, np.dtype]) -> np.ndarray:
    """The source's input, rounded where one of the two models takes floats that are narrower."""
    if seen[0] == seen[1] or seen[0].name not in SIGNIFICAND_BITS or seen[1].name not in SIGNIFICAND_BITS:
        return x
    return x.astype(_DTYPES[_narrower(*seen)])


def _cast(inputs: tuple[np.ndarray, ...], like: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(x.astype(y.dtype) for x, y in zip(inputs, like, strict=True))


def _same(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> bool:
    return all(x is y for x, y in zip(a, b, strict=True))


def _nudge(x: np.ndarray, dtype: str, key: str) -> np.ndarray:
    """Every finite float one unit in the last place of `dtype` away, up or down as PCG64's bits say; others as is."""
    if x.dtype.name not in SIGNIFICAND_BITS:
        return x
    bits = words(f"trace/{key}", -(-x.size // 64))
    up = np.unpackbits(bits.view(np.uint8), count=x.size).reshape(x.shape)
    wide = x.astype(np.float64)
    _, exponent = np.frexp(np.abs(wide))
    unit = np.maximum(np.ldexp(1.0, exponent - SIGNIFICAND_BITS[dtype]), bounds.SMALLEST_SUBNORMAL[dtype])
    return np.where(np.isfinite(wide), wide + np.where(up, unit, -unit), wide).astype(x.dtype)


def _worst(step: Step, got: np.ndarray, want: np.ndarray, bound: np.ndarray) -> Step:
    """The step with its worst element. Equal elements, infinities and NaN included, have no error."""
    if not got.size:
        return replace(step, problem="gives no element")
    equal = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(equal, 0.0, np.abs(got - want))
        ratio = np.where(equal, 0.0, error / bound)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(ratio), ratio.shape))
    worst, off, allowed = (float(x[at]) for x in (ratio, error, np.broadcast_to(bound, ratio.shape)))
    return replace(step, headroom=worst, error=off, bound=allowed, index=at, got=float(got[at]), want=float(want[at]))
