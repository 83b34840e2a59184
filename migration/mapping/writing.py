"""Rules as entries of a ``--map`` file, read and written.

[[rule]]
target = "layers.{n}.experts.up_proj.weight"
sources = ["layers.{n}.experts.{e}.up_proj.weight"]
stack = "e"                                  # which letter of the source runs
steps = ["permute 0 2 1"]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from touchstone.errors import InputError
from touchstone.migration.mapping.expressions import (
    FUNCTIONS,
    Add,
    Apply,
    Flip,
    Multiply,
    Normalize,
    Part,
    Permute,
    Range,
    Reshape,
    Step,
)
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.mapping.templates import spelled

_LETTER = re.compile(r"\{([a-z])\}")


def _whole(texts: Sequence[str], count: int | None = None) -> list[int]:
    """Numbers from 0 on, so many of them. Raises ValueError."""
    numbers = [int(t) for t in texts]
    if min(numbers, default=0) < 0 or len(numbers) != (len(numbers) if count is None else count):
        raise ValueError(f"{texts} are no such numbers")
    return numbers


def _permute(texts: Sequence[str]) -> Step | None:
    axes = _whole(texts)
    return Permute(tuple(axes)) if axes and sorted(axes) == list(range(len(axes))) else None


def _part(texts: Sequence[str], *, is_interleaved: bool) -> Step | None:
    axis, k, n = _whole(texts, 3)
    return Part(axis, k, n, is_interleaved) if k < n else None


def _range(texts: Sequence[str]) -> Step | None:
    axis, start, stop = _whole(texts, 3)
    return Range(axis, start, stop) if start < stop else None


def _multiply(texts: Sequence[str]) -> Step | None:
    factors = [tuple(map(float, text.split("*"))) for text in texts[1::2]]
    return Multiply(tuple(zip(_whole(texts[::2]), factors, strict=True))) if factors else None


def _apply(texts: Sequence[str]) -> Step | None:
    return Apply(texts[0]) if len(texts) == 1 and texts[0] in FUNCTIONS else None


_STEPS: Mapping[str, tuple[str, Callable[[Sequence[str]], Step | None]]] = {
    "permute": ("permute AXIS AXIS …", _permute),
    "part": ("part AXIS K N", partial(_part, is_interleaved=False)),
    "every": ("every AXIS K N", partial(_part, is_interleaved=True)),
    "range": ("range AXIS START STOP", _range),
    "reshape": ("reshape SIZE …", lambda texts: Reshape(tuple(_whole(texts)))),
    "add": ("add NUMBER", lambda texts: Add(float(texts[0])) if len(texts) == 1 else None),
    "multiply": ("multiply ROWS FACTOR*FACTOR …", _multiply),
    "normalize": ("normalize AXIS", lambda texts: Normalize(*_whole(texts, 1)) if texts[0] in "01" else None),
    "apply": (f"apply {' or '.join(FUNCTIONS)}", _apply),
    "reverse": ("reverse AXIS", lambda texts: Flip(*_whole(texts, 1))),
}
"""Word of a step -> how it is written, and what makes it of the words after it."""


def rule_of(target: str, sources: Sequence[str], stack: str, parts: str, axis: int, steps: Sequence[str]) -> Rule:
    """The rule that an entry writes. Raises InputError, which says what is wrong with it."""
    letters = _LETTER.findall(target)
    over = part_of = None
    for source in sources:
        own = _LETTER.findall(source)
        rest = [x for x in own if x != stack]
        if stack and own.count(stack) != 1:
            raise InputError(f"stack {stack!r}: {source!r} has no single {{{stack}}}")
        if [x for x in letters if x != parts] != rest:
            raise InputError(f"{source!r} and {target!r} do not have the same {{letters}} in the same order")
        over = own.index(stack) if stack else None
    if parts:
        if letters.count(parts) != 1:
            raise InputError(f"parts {parts!r}: {target!r} has no single {{{parts}}}")
        part_of = letters.index(parts)
    if not sources or (len(sources) > 1 and stack):
        raise InputError("sources must name one template, or several that are not stacked")
    plain = [_LETTER.sub("{}", text) for text in (target, *sources)]
    return Rule(plain[0], tuple(plain[1:]), over, part_of, axis, tuple(map(step_of, steps)), "map")


def step_of(text: str) -> Step:
    """A step as an entry writes it. Raises InputError.

    >>> str(step_of("part 1 0 2"))
    'part 1 of 2 along axis 1'
    """
    word, *rest = text.split() or [""]
    form, make = _STEPS.get(word, ("", lambda texts: None))
    try:
        made = make(rest)
    except ValueError:
        made = None
    if made is None:
        raise InputError(f"step {text!r} is none; write {form or ', '.join(form for form, _ in _STEPS.values())}")
    return made


def written(rules: Iterable[Rule]) -> str:
    """The rules as a map file's text."""
    lines: list[str] = []
    renames = [r for r in rules if r.is_rename]
    if renames:
        lines += ["[rename]", *(f'"{_letters(r.sources[0])}" = "{_letters(r.target)}"' for r in renames), ""]
    for rule in rules:
        if not rule.is_rename:
            lines += [*_entry(rule), ""]
    return "\n".join(lines)


def _entry(rule: Rule) -> list[str]:
    names = ", ".join(f'"{spelled(s)}"' for s in rule.sources)
    out = ["[[rule]]", f'target = "{spelled(rule.target)}"', f"sources = [{names}]"]
    if rule.over is not None:
        letters = _LETTER.findall(spelled(rule.sources[0]))
        out += [f'stack = "{letters[rule.over]}"']
        out[1] = f'target = "{_with_letters(rule.target, [x for i, x in enumerate(letters) if i != rule.over])}"'
    if rule.part_of is not None:
        letters = _LETTER.findall(spelled(rule.target))
        out += [f'parts = "{letters[rule.part_of]}"']
        rest = [x for i, x in enumerate(letters) if i != rule.part_of]
        out[2] = f'sources = ["{_with_letters(rule.sources[0], rest)}"]'
    if len(rule.sources) > 1 and rule.axis:
        out += [f"axis = {rule.axis}"]
    if rule.steps:
        texts = [" ".join(map(str, step.words)) for step in rule.steps]
        out += [f"steps = {json.dumps(texts)}"]
    return out


def _letters(text: str) -> str:
    """A template of a [rename]: every number is {n}."""
    return text.replace("{}", "{n}")


def _with_letters(text: str, letters: Sequence[str]) -> str:
    for letter in letters:
        text = text.replace("{}", f"{{{letter}}}", 1)
    return text
