"""``touchstone guide``: what behaves differently after a move, from recorded observations alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from touchstone import files
from touchstone.errors import InputError
from touchstone.migration.guide_observations import FULL_RUN, TARGETS, Observations, load
from touchstone.migration.guide_text import TITLES_OF, Guide, Side
from touchstone.reports.differences import by_name, differences
from touchstone.reports.model import Column
from touchstone.reports.severity import MEANINGS, ORDER, TITLES

PAGES = Path(__file__).parent.parent / "docs" / "guides"
INDEX = "README.md"
WRITE = "python -m tools.guides write"


_Place = tuple[Observations, Column]


class GuideError(InputError):
    """A guide that cannot be made; the message says which target, and what there is."""


def guide(source: str, target: str, observed: Sequence[Observations] | None = None) -> Guide:
    """The guide from `source` to `target`, each ``name`` or ``name@device``.

    Raises GuideError for an unknown target, one without observations, or the same one twice; ObservationsError where
    the recorded observations are damaged.
    """
    found = load() if observed is None else observed
    (here, before), (there, after) = _pick(found, source, target)
    compared = by_name(before).keys() & by_name(after).keys()
    return Guide(
        Side(source, before.target, here.stamp(before)),
        Side(target, after.target, there.stamp(after)),
        len(compared),
        differences(here.report, before, after),
        here.report.requirements,
    )


def _pick(found: Sequence[Observations], source: str, target: str) -> tuple[_Place, _Place]:
    """The two columns: of one system where one has both, the latest of several."""
    sources, targets = _columns(found, source), _columns(found, target)
    pairs = [(a, b) for a in sources for b in targets if a[1] is not b[1]]
    if not pairs:
        raise GuideError(f"{source} and {target} are the same target, {sources[0][1].target}; name two")

    def rank(pair: tuple[_Place, _Place]) -> tuple[bool, str]:
        (here, before), (there, after) = pair
        return here is there, min(here.dates[before.target], there.dates[after.target])

    return max(pairs, key=rank)


def _columns(found: Sequence[Observations], name: str) -> list[_Place]:
    if name.partition("@")[0] not in TARGETS:
        raise GuideError(f"unknown target {name!r}; choose {', '.join(TARGETS[:-1])} or {TARGETS[-1]}, or NAME@DEVICE")
    columns = [(one, column) for one in found if (column := one.column(name))]
    if not columns:
        there = ", ".join(sorted({c.target for one in found for c in one.report.columns}))
        raise GuideError(f"no observations of {name!r}; there are those of {there}. To add it: {FULL_RUN}")
    return columns


def pages() -> dict[str, str]:
    """File name -> content of the guides for every ordered pair of targets, and of their index."""
    observed = load()
    guides = {pair: guide(*pair, observed) for pair in itertools.permutations(TARGETS, 2)}
    out = {_file(*pair): made.render() for pair, made in guides.items()}
    out[INDEX] = _index(guides)
    return out


def _file(source: str, target: str) -> str:
    return f"{source}-to-{target}.md"


def _index(guides: Mapping[tuple[str, str], Guide]) -> str:
    lines = [
        "# Behaviour guides\n",
        "What behaves differently when a model moves from one framework to another: for the same weights and inputs, "
        "by severity, with what to do and an example of each. Every line was observed, on\n",
        *dict.fromkeys(f"- {side.stamp}" for made in guides.values() for side in (made.source, made.target)),
        "\nIn how many requirements they differ:\n",
        "| from | to | " + " | ".join(TITLES[s].lower() for s in ORDER) + " |",
        "|---|---|" + "---:|" * len(ORDER),
    ]
    for (source, target), made in guides.items():
        counts = " | ".join(str(made.counts[s] or "") for s in ORDER)
        lines.append(f"| {TITLES_OF[source]} | [{TITLES_OF[target]}]({_file(source, target)}) | {counts} |")
    lines += [
        "",
        *(f"- {TITLES[s].lower()}: {MEANINGS[s]}" for s in ORDER),
        "\n`touchstone guide torch mlx` prints one guide, for any pair of targets or of targets with their "
        "device (`mlx@gpu`).\n",
        "The observations lie in `migration/observations`. After a change of the suites, of a known deviation or of a "
        "framework's version, record a new run of all targets and write the guides again:\n",
        f"```sh\n{FULL_RUN} && {WRITE}\n```",
    ]
    return "\n".join(lines) + "\n"


def write(folder: Path = PAGES) -> list[Path]:
    """Write every guide and the index, each under a temporary name first; the files that changed."""
    changed = []
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for name, content in made.items():
        path = folder / name
        if path.is_file() and path.read_bytes() == content.encode():
            continue
        files.write(path, content)
        changed.append(path)
    for path in _left_over(folder, made):
        path.unlink()
        changed.append(path)
    return changed


def check(folder: Path = PAGES) -> list[str]:
    """A sentence for each guide that is missing, stale, or belongs to no pair; nothing where all are current."""
    made = pages()
    out = []
    for name, content in made.items():
        path = folder / name
        if not path.is_file():
            out.append(f"{path}: is missing; run {WRITE}")
        elif path.read_bytes() != content.encode():
            out.append(f"{path}: is not what the recorded observations say; run {WRITE}")
    return out + [f"{path}: is a guide of no pair of targets; run {WRITE}" for path in _left_over(folder, made)]


def _left_over(folder: Path, made: Mapping[str, str]) -> list[Path]:
    return sorted(path for path in folder.glob("*-to-*.md") if path.name not in made)
