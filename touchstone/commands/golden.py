"""The golden arrays: is what is stored what its manifest says, and what generating it again gives?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from touchstone import command
from touchstone.golden import store, writer


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where the golden data are not what they must be, 2 where something cannot be read or run."""
    parser = command.parser_of("golden", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("verify", help="hashes, manifest and files agree; nothing missing or extra")
    generating = commands.add_parser("generate", help="write the golden arrays; recorded parts are never touched")
    generating.add_argument("--check", action="store_true", help="compare with what is stored, write nothing")
    generating.add_argument(
        "--share",
        type=_count,
        default=1,
        metavar="N",
        help="with --check: of the operations' results one in N, which takes a tenth of the time with 10",
    )
    recording = commands.add_parser("record", help="store what MLX makes of the golden tables in golden/recorded")
    recording.add_argument("target", nargs="?", default="mlx", metavar="NAME[@DEVICE]")
    options = parser.parse_args(arguments)
    import touchstone.golden.cases  # noqa: F401  fills the catalogue

    try:
        if options.command == "record":
            from touchstone.adapters import record

            print(record.record(options.target))
        elif options.command == "verify":
            print(_verify())
        else:
            if options.share > 1 and not options.check:
                parser.error("--share N is for --check: whatever is written is made whole")
            print(_check(options.share) if options.check else _generate())
    except store.GoldenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _verify() -> str:
    count = store.open_golden().verify()
    recorded = sum(s.verify() for s in store.open_recorded())
    size = sum(p.stat().st_size for p in store.HERE.rglob("*") if p.suffix in {".safetensors", ".json"})
    return f"golden: {count} arrays and {recorded} recorded parts agree with their manifests ({size / 1e6:.1f} MB)"


def _generate() -> str:
    files = writer.generated()
    writer.write(files, store.DATA, store.HERE / store.MANIFEST)
    return f"golden: wrote {len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB"


def _check(share: int) -> str:
    if share > 1:
        return _check_share(share)
    files = writer.generated()
    for name, content in files.items():
        path = store.HERE / name if name == store.MANIFEST else store.DATA / name
        if not path.exists() or path.read_bytes() != content:
            raise store.GoldenError(f"{path}: {_AGAIN}")
    store.open_golden()
    return f"golden: {len(files)} files are byte-identical when generated again"


def _check_share(share: int) -> str:
    stored = store.open_golden().arrays
    made = writer.recomputed(share)
    for key, sha256 in made.items():
        if stored[key]["sha256"] != sha256:
            raise store.GoldenError(f"{key!r}: {_AGAIN}")
    return f"golden: {len(made)} of {len(stored)} arrays are byte-identical when generated again"


_AGAIN = "generating it again gives other bytes; run `touchstone golden generate`"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: one array in how many, 1 or more")
    return int(text)
