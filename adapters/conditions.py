"""Where an entry of known deviations holds: a framework, devices of it, machines by what they are and use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Annotated

import msgspec

from touchstone.adapters.discovery import instructions
from touchstone.adapters.discovery.machine import ARM, X86
from touchstone.adapters.interface import Adapter
from touchstone.errors import InputError
from touchstone.verdict.expectation import Scope

LEVELS = {"x86_64": X86, "arm64": ARM}
_ALL = (*X86, *ARM)
VALUES: Mapping[str, tuple[str, ...]] = {
    "system": ("Linux", "Darwin", "Windows"),
    "machine": tuple(LEVELS),
    "instruction_set": _ALL,
    "numpy": _ALL,
    "xla": _ALL,
    "torch": ("default", *_ALL),
    "onednn": _ALL,
}
"""Facts that a condition may name -> the values that each can have. The last four are what the libraries use."""
SYSTEMS_OF = {"mps": ("Darwin",), "coreml": ("Darwin",), "cuda": ("Linux", "Windows"), "rocm": ("Linux",)}
"""Devices that some systems lack -> the systems that have them."""
_LIBRARIES = ("numpy", "xla", "torch", "onednn")


AT_LEAST_ONE = msgspec.Meta(min_length=1)
NotEmpty = Annotated[list[str], AT_LEAST_ONE]


class ConditionError(InputError):
    """Where an entry holds is spelled wrongly, or can be nowhere; the message names the field."""


def overlap(first: Scope, second: Scope) -> bool:
    """Whether there is a machine and a device on which both hold."""
    if first.framework != second.framework:
        return False
    devices = [d for d in (first.devices or second.devices) if not second.devices or d in second.devices]
    if not devices and (first.devices or second.devices):
        return False
    both = {name: _both(first.where.get(name), second.where.get(name)) for name in {**first.where, **second.where}}
    return _possible(devices, both)


def _both(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...]:
    if first is None or second is None:
        return first or second or ()
    return tuple(value for value in first if value in second)


class Placed(msgspec.Struct, kw_only=True):
    """What an entry of known/NAME.toml is about, and where it holds."""

    requirement: str
    framework: str
    seen_on: Annotated[list[str | dict[str, str]], AT_LEAST_ONE]
    device: str | NotEmpty | None = None
    where: Annotated[dict[str, NotEmpty], AT_LEAST_ONE] | None = None


def scope(entry: Placed, cls: type[Adapter], devices: Collection[str] = ()) -> Scope:
    """Where an entry holds. Raises ConditionError.

    cls: the adapter whose file it stands in; devices: those that it has beyond the ones that it declares.
    """
    if entry.framework != cls.name:
        raise ConditionError(f"framework must be {cls.name!r}, whose file this is, not {entry.framework!r}")
    known = dict.fromkeys((*cls.devices, *devices))
    chosen = _devices(entry.device or [], known)
    where = _where(entry.where or {}, cls)
    if not _possible(chosen, where):
        parts = [f"device {' or '.join(chosen)}"] * bool(chosen)
        parts += [f"{name} {' or '.join(values)}" for name, values in where.items()]
        raise ConditionError(f"where can hold nowhere: no machine has {', '.join(parts)}")
    return Scope(cls.name, chosen, where, _seen_on(entry.seen_on, chosen or tuple(known), where))


def _devices(raw: str | list[str], known: Collection[str]) -> tuple[str, ...]:
    values = _each_once("device", [raw] if isinstance(raw, str) else raw)
    if unknown := [d for d in values if d not in known]:
        raise ConditionError(f"device {unknown[0]!r} is none of the adapter's: {', '.join(known)}")
    return values


def _where(raw: Mapping[str, list[str]], cls: type[Adapter]) -> dict[str, tuple[str, ...]]:
    recorded = [n for n in VALUES if n not in _LIBRARIES or n in instructions.readable(cls.distributions)]
    for name, values in raw.items():
        if name not in VALUES:
            raise ConditionError(f"where names an unknown condition {name!r}: use one of {', '.join(VALUES)}")
        if name not in recorded:
            raise ConditionError(f"where names {name!r}, which a run of {cls.name} does not record")
        if wrong := [v for v in _each_once(f"where.{name}", values) if v not in VALUES[name]]:
            raise ConditionError(f"where.{name} can never be {wrong[0]!r}: it is one of {', '.join(VALUES[name])}")
    return {name: tuple(values) for name, values in raw.items()}


def _each_once(name: str, raw: list[str]) -> tuple[str, ...]:
    if len(set(raw)) < len(raw):
        raise ConditionError(f"{name} names {max(raw, key=raw.count)!r} twice")
    return tuple(raw)


def _seen_on(
    raw: list[str | dict[str, str]], devices: Collection[str], where: Mapping[str, tuple[str, ...]]
) -> tuple[Mapping[str, str], ...]:
    """Device names, or of an entry with `where` tables that give the device and each of its facts."""
    names = {"device", *where}
    seen = [{"device": one} if isinstance(one, str) else one for one in raw]
    form = f"tables with {', '.join(('device', *where))}" if where else "devices"
    if any(set(one) != names for one in seen) or any(isinstance(one, str) == bool(where) for one in raw):
        raise ConditionError(f"seen_on must be a list of {form}, each a string, not {raw!r}")
    for one in seen:
        for name, value in one.items():
            allowed = devices if name == "device" else where[name]
            if value not in allowed:
                raise ConditionError(f"seen_on names {name} {value!r}, where the entry speaks of {', '.join(allowed)}")
    return tuple(seen)


def _possible(devices: Collection[str], where: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether any machine with one of these devices fulfils every condition."""
    allowed = {s for d in devices for s in SYSTEMS_OF.get(d, VALUES["system"])} if devices else set(VALUES["system"])
    wanted = {name: values for name, values in where.items() if name != "system"}
    if not allowed.intersection(where.get("system", VALUES["system"])):
        return False
    return any(all(here[name] in values for name, values in wanted.items()) for here in _processors())


def _processors() -> Iterator[dict[str, str]]:
    """Every processor, with what a library may use on it: nothing beyond what the processor has."""
    for kind, ladder in LEVELS.items():
        for number, level in enumerate(ladder):
            used = ladder[: number + 1]
            for numpy, xla, torch, onednn in product(used, used, ("default", *used), used):
                facts = {"numpy": numpy, "xla": xla, "torch": torch, "onednn": onednn}
                yield {"machine": kind, "instruction_set": level, **facts}
