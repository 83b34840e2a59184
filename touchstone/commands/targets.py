"""Frameworks, versions, devices, precision settings and capabilities that are here, and why something is not."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from touchstone import command
from touchstone.adapters.discovery import machine, registry
from touchstone.adapters.discovery.devices import probe


def main(arguments: Sequence[str]) -> int:
    """Print `list_targets`; the exit status is 0, whatever is unavailable."""
    command.parser_of("targets", __doc__).parse_args(arguments)
    print(list_targets())
    return 0


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
