"""``python -m tools.versions list | run | record | timeline | page | ranges``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.versions import observed, page, ranges, releases, running, upstream
from tools.versions.observed import Observed
from tools.versions.timeline import KINDS, by_release
from touchstone.errors import InputError

FOLDER = Path(__file__).parents[2] / ".tox" / "versions"


def _list(options: argparse.Namespace) -> int:
    for release in releases.select(releases.load(), options.names):
        print(f"{release.name:16} {' '.join(release.pins) or 'of the environment'}")
    return 0


def _run(options: argparse.Namespace) -> int:
    """Run what is asked for, then print its timeline; 1 where a release did not run."""
    chosen = releases.select(releases.load(), options.names)
    for number, release in enumerate(chosen, 1):
        said = running.run(release, options.folder, again=options.again)
        print(f"{number}/{len(chosen)} {release.name}: {said}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        observed.record(chosen, options.folder / "records", Path(folder))
        found = observed.load(Path(folder))
        _print(found)
    return int(any(release.error for one in found for release in one.head.releases))


def _record(options: argparse.Namespace) -> int:
    chosen = releases.of_adapters(releases.load(), options.adapters)
    for path in observed.record(chosen, options.folder / "records"):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(f"now: {page.WRITE}")
    return 0


def _timeline(options: argparse.Namespace) -> int:
    """Print the timeline of what is recorded in the repository; 1 where upstream's changes are not in their place."""
    found = observed.load()
    _print(found)
    faults = 0
    for change in upstream.load():
        finding = upstream.find(change, found)
        faults += bool(finding.fault)
        print(f"{change.adapter} {change.release:8} {finding.fault or 'as upstream'}: {change.says} ({change.thread})")
    return int(bool(faults))


def _print(found: Sequence[Observed]) -> None:
    for one in found:
        print(f"\n{one.head.target:44} {'conform':>8} " + " ".join(f"{kind:>10}" for kind in KINDS))
        for release, outcomes, step in by_release(one):
            if release.error:
                print(f"{release.spelled:44} {release.error}")
                continue
            conform = sum(outcome.conforms for outcome in outcomes)
            counts = step.counts() if step else {}
            print(f"{release.spelled:44} {conform:8,} " + " ".join(f"{counts.get(k, 0) or '':>10}" for k in KINDS))
            for group in page.grouped([c for c in step.changes if c.kind == "regression"] if step else []):
                names = ", ".join(sorted({change.requirement for change in group}))
                print(f"    regression: {group[0].before} -> {group[0].after}: {names}")
    print()


def _page(options: argparse.Namespace) -> int:
    if options.write:
        print(f"{page.PATH}: {'written' if page.write() else 'is current'}")
        return 0
    stale = page.check()
    print(stale or f"{page.PATH}: is current")
    return int(bool(stale))


def _ranges(options: argparse.Namespace) -> int:
    """1 where an entry does not hold in the last release that was recorded."""
    lines = ranges.update() if options.write else ranges.tell()
    contradicted, unobserved = ranges.contradicted(), ranges.unobserved()
    others = "every other range" if contradicted or unobserved else "every range"
    print("\n".join([*contradicted, *unobserved, *(lines or [f"{others} is what was observed"])]))
    return int(bool(contradicted))


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 where a check finds something, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tools.versions", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    listing = commands.add_parser("list", help="the releases, and what each overlay installs")
    listing.set_defaults(run=_list)
    running_ = commands.add_parser("run", help="run the suites on releases, and print the timeline")
    running_.add_argument("--again", action="store_true", help="also those whose records are there")
    running_.set_defaults(run=_run)
    for each in (listing, running_):
        each.add_argument("names", nargs="*", metavar="NAME", help="mlx-0.30.0, or mlx for all of them (default: all)")
    recording = commands.add_parser("record", help="keep what every release showed, for the page")
    recording.add_argument("adapters", nargs="*", metavar="ADAPTER", help="whose releases (default: all)")
    recording.set_defaults(run=_record)
    for each in (running_, recording):
        each.add_argument(
            "--folder", type=Path, default=FOLDER, help="of overlays and records (default: .tox/versions)"
        )
    commands.add_parser("timeline", help="print the recorded timeline").set_defaults(run=_timeline)
    paging = commands.add_parser("page", help="docs/versions.md")
    which = paging.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", action="store_true", help="write it")
    which.add_argument("--check", action="store_true", help="exit status 1 where it is stale")
    paging.set_defaults(run=_page)
    ranging = commands.add_parser("ranges", help="from which release on each known deviation is observed")
    ranging.add_argument("--write", action="store_true", help="write them into the files of known deviations")
    ranging.set_defaults(run=_ranges)

    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
