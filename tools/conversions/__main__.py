"""``python -m tools.conversions``: is every sound conversion green, and every planted fault red and named?

Makes each architecture with transformers, converts it with mlx-lm, mlx-vlm, mlx-embeddings and to GGUF, and plants
faults in the first form that is not quantized.
Ends with 1 where a sound conversion is red, or a fault is green or has no name that it could have. ``--write`` replaces
docs/architectures.md by what was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from safetensors.numpy import load_file, save_file

from tools.conversions import faults, making
from touchstone import files
from touchstone.migration.check import Check

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architectures.md"


UNQUANTIZED = ("plain", "with images", "embedding")
"""Forms in which faults are planted."""


@dataclass
class Seen:
    """What the checks of one architecture showed.

    forms: form -> "green", how many tensors are inferred, "red", or why there is none; rules: the program of the plain
    conversion; named, missed: faults that were, and that were not, red by a name of theirs.
    """

    architecture: str
    forms: dict[str, str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.missed and "red" not in self.forms.values()


def red(source: Path, target: Path) -> tuple[dict[str, str], Check]:
    """(tensor -> behaviour of what deviates, the check)."""
    check = Check(source, target)
    findings = [(q.name, check.finding(q)) for q in check.questions]
    return {name: f.behaviour for name, f in findings if not f.conforms}, check


def of_forms(seen: Seen, folder: Path, forms: Sequence[str]) -> None:
    """Convert to every form, and check each."""
    for form in forms:
        target = folder / form.replace(" ", "-")
        try:
            making.convert(folder / "hub", target, form)
        except Exception as error:  # whatever a converter raises: it is said, and no fault of the check
            seen.forms[form] = f"{making.FORMS[form].by}: {type(error).__name__}"
            shutil.rmtree(target, ignore_errors=True)
            continue
        wrong, check = red(folder / "hub", target)
        seen.forms[form] = "red" if wrong else f"green, {check.inferred} inferred" if check.inferred else "green"
        if wrong:
            print(f"{seen.architecture}, {form}: {wrong}")
        if form == forms[0]:
            seen.rules = sorted({f"{rule.how or 'renamed'} ({rule.why})" for rule in check.rules})


def of_faults(seen: Seen, folder: Path, form: str) -> None:
    """Plant every fault in one layer and in all of what was converted so, and look whether it is named."""
    sound = folder / form.replace(" ", "-")
    whole = {k: t for file in sorted(sound.glob("*.safetensors")) for k, t in load_file(file).items()}
    for fault in faults.FAULTS:
        for everywhere in (False, True):
            planted = fault.planted(whole, everywhere=everywhere)
            changed = set(faults.touched(whole, planted))
            if not changed:
                continue
            target = folder / "planted"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(sound, target, ignore=shutil.ignore_patterns("*.safetensors*"))
            save_file(planted, target / "model.safetensors", {"format": "mlx"})
            found, _ = red(folder / "hub", target)
            where = f"{fault.name}, {form}, {'all layers' if everywhere else 'one layer'}"
            is_named = set(found.values()) & {*fault.names} and any(
                name.split(" of the ")[0] in changed for name in found
            )
            (seen.named if is_named else seen.missed).append(where)
            if not is_named:
                print(f"{seen.architecture}, {where}: {found}")


def run(architectures: Sequence[str], converters: Sequence[str]) -> Iterator[Seen]:
    """What each architecture shows, converted by some of the converters."""
    with tempfile.TemporaryDirectory() as temporary:
        for name in architectures:
            folder = Path(temporary) / name
            making.make(name, folder / "hub")
            seen = Seen(name)
            of_forms(seen, folder, making.forms_of(name, converters))
            for form in UNQUANTIZED:
                if seen.forms.get(form, "").startswith("green"):
                    of_faults(seen, folder, form)
            shutil.rmtree(folder)
            yield seen


def page(found: Sequence[Seen]) -> str:
    """docs/architectures.md."""
    packages = ("transformers", "mlx-lm", "mlx-vlm", "mlx-embeddings")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    named, missed = (sum(len(x) for x in lists) for lists in zip(*((s.named, s.missed) for s in found), strict=True))
    lines = [
        "# What is checked of conversions",
        "",
        "`tox -e conversions` makes a tiny model of each architecture with transformers, converts it with mlx-lm (to",
        "GGUF too, where it can), mlx-vlm and mlx-embeddings, and checks every form",
        f"({versions}).",
        "Then it plants faults in what was converted without quantization, in one layer and in all, and looks whether",
        f"the check calls each by a name that it could have: {named} of {named + missed}.",
        "",
        f"| architecture | {' | '.join(making.FORMS)} | faults named |",
        f"|---|{'---|' * len(making.FORMS)}---|",
    ]
    for s in found:
        cells = " | ".join(s.forms.get(form, "") for form in making.FORMS)
        lines.append(f"| {s.architecture} | {cells} | {len(s.named)} of {len(s.named) + len(s.missed)} |")
    lines += [
        "",
        "## What the converters do",
        "",
        "The rules of the plain conversions, where a tensor is not its namesake:",
        "",
    ]
    rules: dict[str, list[str]] = {}
    for s in found:
        for rule in s.rules:
            rules.setdefault(rule, []).append(s.architecture)
    lines += [f"- {rule}: {', '.join(names)}" for rule, names in rules.items()]
    counts = Counter(where.split(", ", 1)[0] for s in found for where in (*s.named, *s.missed))
    lines += ["", "## The faults", "", "| fault | planted |", "|---|---:|"]
    lines += [f"| {f.name} | {counts[f.name]} |" for f in faults.FAULTS]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where anything is not as it should be, 2 where a converter is not installed."""
    parser = argparse.ArgumentParser(prog="python -m tools.conversions", description=__doc__)
    parser.add_argument("architectures", nargs="*", help="only these (default: all)")
    parser.add_argument(
        "--converter", action="append", choices=making.CONVERTERS, help="only these packages' forms (default: all)"
    )
    parser.add_argument("--write", action="store_true", help="write docs/architectures.md")
    options = parser.parse_args(arguments)
    converters = options.converter or making.CONVERTERS
    if missing := [name for name in converters if importlib.util.find_spec(name.replace("-", "_")) is None]:
        print(f"error: {missing[0]} is not installed: tox -e conversions installs it, or leave it out by --converter")
        return 2
    found = []
    for seen in run(options.architectures or making.architectures(), converters):
        found.append(seen)
        faults_named = f"{len(seen.named)} of {len(seen.named) + len(seen.missed)} faults named"
        print(
            f"{seen.architecture:<14} {', '.join(f'{k}: {v}' for k, v in seen.forms.items())}; {faults_named}",
            flush=True,
        )
    if options.write and not (options.architectures or options.converter):
        files.write(PAGE, page(found))
    bad = [s.architecture for s in found if not s.is_good]
    print(
        f"{len(found) - len(bad)} of {len(found)} architectures are as they should be"
        + (f"; not {', '.join(bad)}" * bool(bad))
    )
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
