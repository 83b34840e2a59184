"""``python -m adapters list | record | update``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from adapters import known, machine, registry
from adapters.devices import probe


def list_targets() -> str:
    """Targets, versions, devices, precision settings and capabilities, and why something is unavailable."""
    lines = [f"this machine: {', '.join(f'{n} {v}' for n, v in machine.facts().items())}"]
    for name in registry.SHIPPED:
        cls = registry.adapter_class(name)
        versions = registry.versions(cls)
        lines.append(f"{name}: {', '.join(f'{n} {v}' for n, v in versions.items()) or 'not installed'}")
        if not registry.is_installed(cls):
            lines.append(f"  unavailable: {cls.module} is not installed")
            continue
        registry.prepare_environment(cls)
        found = probe(name, cls, versions, fresh=True)
        if found.error:
            lines.append(f"  unavailable: {found.error}")
        for number, (device, facts) in enumerate(found.devices.items()):
            precision = ", ".join(f"{k}={v}" for k, v in facts["precision"].items())
            default = " (default)" if number == 0 else ""
            lines.append(f"  {name}@{device}{default}: {facts['name']}; precision {precision}")
        if found.devices:
            uses = next(iter(found.devices.values()))["uses"]
            lines.append(f"  uses: {', '.join(f'{k} {v}' for k, v in uses.items())}")
        missing = [d for d in cls.devices if d not in found.devices and not found.error]
        lines += [f"  {name}@{device}: unavailable, no such device here" for device in missing]
        capabilities = cls.capabilities
        for field in ("layers", "dtypes", "id_dtypes", "layouts", "schemes", "compilers", "exercises"):
            text = f"{field}: {', '.join(sorted(getattr(capabilities, field))) or 'none'}"
            lines += textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="    ")
        for need, reason in capabilities.absent.items():
            lines.append(f"  without {need}: {reason}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m adapters", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="targets, versions, devices, precision settings and capabilities")
    recording = commands.add_parser("record", help="store what MLX makes of the golden tables in golden/recorded")
    recording.add_argument("target", nargs="?", default="mlx", metavar="NAME[@DEVICE]")
    updating = commands.add_parser("update", help="add candidates to the known deviations from a run, drop stale ones")
    updating.add_argument("report", type=Path, metavar="DIR", help="the folder that a run with --report wrote")
    options = parser.parse_args()
    from adapters import record, update
    from golden.store import GoldenError

    try:
        if options.command == "list":
            print(list_targets())
        elif options.command == "record":
            print(record.record(options.target))
        else:
            print(update.update(options.report))
    except (registry.TargetError, known.KnownError, GoldenError, update.UpdateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
