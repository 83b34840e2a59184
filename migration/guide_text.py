"""How a guide reads: Markdown from the differences between two observed targets, worst first, like ones together."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from touchstone.reports.cases import UNKNOWN, case_name
from touchstone.reports.differences import Difference
from touchstone.reports.records import EndLine, Requirement, Scalar
from touchstone.reports.severity import MEANINGS, ORDER, TITLES, Severity

TITLES_OF = {"mlx": "MLX", "jax": "JAX/Flax NNX", "torch": "PyTorch", "reference": "the NumPy reference"}
TOGETHER: tuple[Severity, ...] = ("unavailable", "better")
"""Severities that ask little of the reader: told by reason, not requirement by requirement."""
_MOST_VALUES = 8
_MARKUP = re.compile(r"[\\`*<>\[\]|#~]|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True)
class Side:
    """One target of a guide. stamp: what each line about it rests on."""

    name: str
    target: str
    stamp: str

    @property
    def title(self) -> str:
        """As people call it; with its device where a device was asked for."""
        name, at, _ = self.name.partition("@")
        return f"{TITLES_OF.get(name, name)} ({self.target})" if at else TITLES_OF.get(name, name)


@dataclass(frozen=True)
class Section:
    """Differences that are told together: of one requirement, or, of those that ask little, with one reason."""

    severity: Severity
    title: str
    anchor: str
    differences: Sequence[Difference]


@dataclass(frozen=True)
class Guide:
    """What differs for who moves from `source` to `target`, of `compared` cases that both were asked."""

    source: Side
    target: Side
    compared: int
    differences: Sequence[Difference]
    requirements: Mapping[str, Requirement]

    @property
    def counts(self) -> Counter[Severity]:
        """Severity -> how many requirements differ so."""
        return Counter(severity for severity, _ in {(d.severity, d.requirement) for d in self.differences})

    @property
    def cases(self) -> Counter[Severity]:
        out: Counter[Severity] = Counter()
        for difference in self.differences:
            out[difference.severity] += len(difference.cases)
        return out

    @cached_property
    def sections(self) -> dict[Severity, list[Section]]:
        """Severity, worst first -> its sections, in the order of the differences."""
        out: dict[Severity, list[Section]] = {}
        for severity in ORDER:
            found = [d for d in self.differences if d.severity == severity]
            if found:
                out[severity] = self._by_reason(found) if severity in TOGETHER else self._by_requirement(found)
        return out

    def _by_requirement(self, found: Iterable[Difference]) -> list[Section]:
        groups: dict[str, list[Difference]] = {}
        for difference in found:
            groups.setdefault(difference.requirement, []).append(difference)
        return [
            Section(some[0].severity, f"{name}: {self._group(name)}", f"{some[0].severity}-{name.lower()}", some)
            for name, some in groups.items()
        ]

    def _by_reason(self, found: Iterable[Difference]) -> list[Section]:
        """Why a target cannot answer; what is better needs no reason."""
        groups: dict[str, list[Difference]] = {}
        for difference in found:
            groups.setdefault(difference.advice, []).append(difference)
        return [
            Section(some[0].severity, reason, f"{some[0].severity}-{number}", some)
            for number, (reason, some) in enumerate(groups.items(), 1)
        ]

    def _group(self, requirement: str) -> str:
        return self.requirements.get(requirement, UNKNOWN).group.lower()

    def render(self) -> str:
        """The guide as Markdown."""
        command = f"touchstone guide {self.source.name} {self.target.name}"
        lines = [
            f"# From {self.source.title} to {self.target.title}\n",
            f"What behaves differently for the same weights and inputs, in {self.compared:,} cases that both were "
            "asked. Each line was observed, on\n",
            f"- source: {self.source.stamp}",
            f"- target: {self.target.stamp}\n",
            f"`{command}` prints this page.\n",
            *self._summary(),
            *self._contents(),
        ]
        for severity, sections in self.sections.items():
            lines.append(f"## {TITLES[severity]}\n\n{MEANINGS[severity].capitalize()}.\n")
            for section in sections:
                lines.append(f'### <a id="{section.anchor}"></a>{prose(section.title)}\n')
                lines += self._together(section) if severity in TOGETHER else self._apart(section)
        return "\n".join(lines).rstrip() + "\n"

    def _summary(self) -> Iterator[str]:
        if not self.differences:
            yield "**No difference was observed.**\n"
            return
        yield "| severity | what it means | requirements | cases |\n|---|---|---:|---:|"
        for severity in self.sections:
            yield f"| {TITLES[severity]} | {MEANINGS[severity]} | {self.counts[severity]} | {self.cases[severity]:,} |"
        yield ""

    def _contents(self) -> Iterator[str]:
        for severity, sections in self.sections.items():
            yield f"- {TITLES[severity]}"
            for section in sections:
                if severity in TOGETHER:
                    seen = ", ".join(dict.fromkeys(d.requirement for d in section.differences))
                else:
                    seen = _seen(section.differences)
                yield f"  - [{prose(section.title)}](#{section.anchor}): {seen}"
        yield ""

    def _apart(self, section: Section) -> Iterator[str]:
        """What was seen on both, for which cases, why, what to do, an example."""
        requirement = self.requirements.get(section.differences[0].requirement, UNKNOWN)
        yield f"{requirement.level.capitalize()}: {prose(requirement.sentence)}\n"
        for (advice, cause), alike in _alike(section.differences):
            for difference in alike:
                yield f"- {_cases(difference)}"
                yield from self._observed(difference)
            yield ""
            if cause:
                yield f"Why: {prose(cause)}\n"
            yield f"What to do: {prose(advice)}\n"
            yield from _example(alike)

    def _together(self, section: Section) -> Iterator[str]:
        """A line for each difference, with the cause of what departed and the shortest example."""
        for difference in section.differences:
            yield f"- {difference.requirement}, {prose(self._group(difference.requirement))}: {_cases(difference)}"
            yield from self._observed(difference)
            if section.severity == "better" and (cause := _cause(difference)):
                yield f"  - what departed: {prose(cause)}"
            before, after = difference.example
            codes = map(_code, (before, after))
            registered = [code for language, _, code in codes if language == "python" and "\n" not in code]
            yield f"  - example: {_span((registered or [after.rerun])[0])}"
        yield ""

    def _observed(self, difference: Difference) -> Iterator[str]:
        yield f"  - {self.source.stamp}: **{prose(difference.before)}**"
        yield f"  - {self.target.stamp}: **{prose(difference.after)}**"


def prose(text: str) -> str:
    """`text` on one line, with what Markdown would read as markup escaped, so that it can also be read unrendered."""
    return " ".join(_MARKUP.sub(lambda m: f"\\{m[0]}", text).split())


def _seen(found: Sequence[Difference]) -> str:
    """The pairs of behaviours, most cases first."""
    count: Counter[tuple[str, str]] = Counter()
    for difference in found:
        count[difference.before, difference.after] += len(difference.cases)
    pairs = [f"{before} → {after}" for (before, after), _ in count.most_common()]
    shown = "; ".join(pairs[:3]) + (f"; and {len(pairs) - 3} more" if len(pairs) > 3 else "")
    return prose(shown)


def _alike(found: Iterable[Difference]) -> list[tuple[tuple[str, str], list[Difference]]]:
    """Differences by what to do and why, in their order."""
    out: dict[tuple[str, str], list[Difference]] = {}
    for difference in found:
        out.setdefault((difference.advice, _cause(difference)), []).append(difference)
    return list(out.items())


def _cause(difference: Difference) -> str:
    """The registered cause on the side that departs, the target's first."""
    before, after = difference.example
    notes = [line.note for line in (after, before) if line.verdict == "known deviation"]
    return next(iter(notes), "")


def _cases(difference: Difference) -> str:
    count = len(difference.cases)
    many = f"{count:,} case{'s' if count > 1 else ''}"
    return f"{many}: {prose(spelled(difference.where))}" if difference.where else f"{many}, all there are"


def spelled(where: Mapping[str, Sequence[Scalar]]) -> str:
    """Parameters and their values as words: "ids V, V+1, -1; dtype float16"."""
    parts = []
    for name, values in where.items():
        numbers = all(isinstance(value, int | float) for value in values)
        texts = [
            "none" if value is None else str(value) for value in (sorted(values, key=_size) if numbers else values)
        ]
        shown = ", ".join(texts[:_MOST_VALUES])
        rest = len(texts) - _MOST_VALUES
        parts.append(f"{name.replace('_', ' ')} {shown}" + (f" and {rest:,} more" if rest > 0 else ""))
    return "; ".join(parts)


def _size(value: Scalar) -> float:
    return float(value or 0)


def _example(alike: Sequence[Difference]) -> Iterator[str]:
    """The smallest thing to run on both sides: what is registered, else the command that asks this case alone."""
    before, after = max(alike, key=lambda d: len(d.cases)).example
    yield f"Example: `{case_name(after.id, after.target)}`\n"
    sides = [
        (language, list(lines)) for language, lines in itertools.groupby(map(_code, (before, after)), lambda c: c[0])
    ]
    for language, codes in sides:
        yield f"```{language}"
        yield from ("\n".join(code[1:]) for code in codes)
        yield "```\n"


def _span(code: str) -> str:
    """`code` on one line, as a code span."""
    shown = " ".join(code.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"`{shown}`"


def _code(line: EndLine) -> tuple[str, str, str]:
    """(language, a comment that says what was seen where, code)."""
    seen = f"# {line.target}: {line.behaviour}"
    if line.verdict == "known deviation" and line.reproduction:
        return "python", seen, line.reproduction.strip()
    return "sh", seen, line.rerun
