"""Rules as entries of a ``--map`` file, read and written.

[[rule]]
target = "layers.{n}.experts.up_proj.weight"
sources = ["layers.{n}.experts.{e}.up_proj.weight"]
stack = "e"                                  # which letter of the source runs
steps = ["permute 0 2 1"]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from touchstone.errors import InputError
from touchstone.migration.mapping.expressions import Add, Flip, Part, Permute, Range, Reshape, Step
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.mapping.templates import spelled

_LETTER = re.compile(r"\{([a-z])\}")
_STEPS: Mapping[str, tuple[str, Callable[[Sequence[int]], Step | None]]] = {
    "permute": ("permute AXIS AXIS …", lambda n: Permute(tuple(n)) if sorted(n) == list(range(len(n))) and n else None),
    "part": ("part AXIS K N", lambda n: Part(n[0], n[1], n[2]) if len(n) == 3 and 0 <= n[1] < n[2] else None),
    "every": ("every AXIS K N", lambda n: Part(n[0], n[1], n[2], True) if len(n) == 3 and 0 <= n[1] < n[2] else None),
    "range": ("range AXIS START STOP", lambda n: Range(*n) if len(n) == 3 and 0 <= n[1] < n[2] else None),
    "reshape": ("reshape SIZE …", lambda n: Reshape(tuple(n))),
    "add": ("add NUMBER", lambda n: Add(float(n[0])) if len(n) == 1 else None),
    "reverse": ("reverse AXIS", lambda n: Flip(n[0]) if len(n) == 1 else None),
}
"""Word of a step -> how it is written, and what makes it of its numbers."""


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
    word, *rest = text.split()
    form, make = _STEPS.get(word, ("", lambda n: None)) if text.split() else ("", lambda n: None)
    try:
        made = make([float(t) if word == "add" else int(t) for t in rest])  # type: ignore[misc]
    except ValueError:
        made = None
    if made is None or any(n < 0 for n in (int(float(t)) for t in rest) if word != "add"):
        known = form or ", ".join(form for form, _ in _STEPS.values())
        raise InputError(f"step {text!r} is none; write {known}")
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
        out += [f"steps = [{', '.join(map(_step, rule.steps))}]"]
    return out


def _step(step: Step) -> str:
    if isinstance(step, Permute):
        words: Sequence[object] = ("permute", *step.axes)
    elif isinstance(step, Part):
        words = ("every" if step.is_interleaved else "part", step.axis, step.k, step.n)
    elif isinstance(step, Range):
        words = ("range", step.axis, step.start, step.stop)
    elif isinstance(step, Reshape):
        words = ("reshape", *step.to)
    elif isinstance(step, Flip):
        words = ("reverse", step.axis)
    else:
        assert isinstance(step, Add)
        words = ("add", f"{step.value:g}")
    return f'"{" ".join(map(str, words))}"'


def _letters(text: str) -> str:
    """A template of a [rename]: every number is {n}."""
    return text.replace("{}", "{n}")


def _with_letters(text: str, letters: Sequence[str]) -> str:
    for letter in letters:
        text = text.replace("{}", f"{{{letter}}}", 1)
    return text
