"""From ``NAME[@DEVICE]`` to an adapter: which targets exist, which run here, and why the others do not."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any

from touchstone.adapters.discovery import devices, machine
from touchstone.adapters.interface import DECLARED, Adapter
from touchstone.errors import InputError
from touchstone.verdict.expectation import Place

BUILT_IN = {
    "mlx": "touchstone.adapters.mlx.adapter:MLXAdapter",
    "jax": "touchstone.adapters.jax.adapter:JaxAdapter",
    "torch": "touchstone.adapters.torch.adapter:TorchAdapter",
    "reference": "touchstone.adapters.reference.adapter:ReferenceAdapter",
}
"""Adapters that run without a selection."""
OPT_IN = {
    "torchao": "touchstone.adapters.libraries.torchao:TorchaoAdapter",
    "keras": "touchstone.adapters.libraries.keras:KerasAdapter",
    "qwix": "touchstone.adapters.libraries.qwix:QwixAdapter",
    "gguf": "touchstone.adapters.libraries.gguf:GGUFAdapter",
}
"""Adapters of quantization libraries, which run only when ``--adapter`` names them."""
SHIPPED = {**BUILT_IN, **OPT_IN}
TAKEN = {*SHIPPED, "checkpoint"}
"""Names that no third party's adapter may have."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
ABSENT = "absent"
"""Device name of a target whose framework is not installed."""


class TargetError(InputError):
    """A target cannot be selected; the message names it and says what to do."""


def adapter_class(name: str) -> type[Adapter]:
    """The adapter called `name`: built in, or ``package.module:Class``. Raises TargetError."""
    path = SHIPPED.get(name, name)
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        known = ", ".join(SHIPPED)
        raise TargetError(f"unknown adapter {name!r}: use one of {known}, or package.module:Class")
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except Exception as error:  # whatever a third party's module does while it is imported
        raise TargetError(f"adapter {name!r}: cannot import {module_name} ({error})") from error
    if found is None:
        raise TargetError(f"adapter {name!r}: {module_name} has no {class_name}")
    if not (inspect.isclass(found) and issubclass(found, Adapter)):
        raise TargetError(f"adapter {name!r}: {class_name} is not a subclass of touchstone.adapters.interface.Adapter")
    if found.__abstractmethods__:
        raise TargetError(f"adapter {name!r}: {class_name} lacks {', '.join(sorted(found.__abstractmethods__))}")
    _check_declarations(name, found)
    return found


def _check_declarations(spec: str, cls: type[Adapter]) -> None:
    """Raises TargetError where the class lacks a declaration, or a layer or method that it declares."""
    required = ("name", "distributions", "module", "devices", "capabilities")
    if missing := [a for a in required if not hasattr(cls, a)]:
        raise TargetError(f"adapter {spec!r}: {cls.__name__} does not declare {', '.join(missing)}")
    if spec not in SHIPPED:
        _check_name(spec, cls)
    if cls.capabilities.exercises and cls.exercise is Adapter.exercise:
        raise TargetError(f"adapter {spec!r}: {cls.__name__} declares exercises and lacks exercise")
    if absent := sorted(cls.capabilities.layers - cls.layers.keys()):
        raise TargetError(f"adapter {spec!r}: {cls.__name__} declares layers that `layers` lacks: {', '.join(absent)}")
    for need, methods in DECLARED.items():
        absent = [m for m in methods if getattr(cls, m) is getattr(Adapter, m)]
        if cls.capabilities.missing(need) is None and absent:
            raise TargetError(f"adapter {spec!r}: {cls.__name__} declares {need} and lacks {', '.join(absent)}")


def _check_name(spec: str, cls: type[Adapter]) -> None:
    """A third party's name stands in targets, case ids and files. Raises TargetError."""
    if not isinstance(cls.name, str) or not _NAME.fullmatch(cls.name):
        raise TargetError(
            f"adapter {spec!r}: its name {cls.name!r} is to be letters, digits, '_' and '.', beginning with a letter"
        )
    if cls.name in TAKEN:
        raise TargetError(f"adapter {spec!r}: the name {cls.name!r} is taken by an adapter of Touchstone")


def versions(cls: type[Adapter]) -> dict[str, str]:
    """Installed versions of the adapter's distributions, from package metadata; nothing is imported."""
    out = {}
    for distribution in cls.distributions:
        try:
            out[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return out


def is_installed(cls: type[Adapter]) -> bool:
    """Whether the adapter's module can be found; only the package before its dot, if there is one, is imported."""
    try:
        return importlib.util.find_spec(cls.module) is not None
    except ModuleNotFoundError:  # the package before the dot is missing
        return False


def prepare_environment(cls: type[Adapter]) -> None:
    """Set the adapter's numerics variables; to be called before its framework is imported."""
    for name, value in cls.environment.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("TOUCHSTONE_JAX_CACHE", str(devices.cache_folder() / "jax"))


@dataclass
class Target:
    """One adapter on one device, not yet imported. `unavailable` says why its cases are *not run*.

    facts: the device's description, precision settings and what its libraries use, as the probe found them; empty
    where nothing was probed.
    """

    spec: str
    cls: type[Adapter]
    device: str
    unavailable: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.cls.name}@{self.device}"

    @property
    def adapter_spec(self) -> str:
        """`spec` without a device: a shipped adapter's name, or ``package.module:Class``."""
        return self.spec.partition("@")[0]

    @property
    def selector(self) -> str:
        """What ``--adapter`` selects exactly this target by."""
        return f"{self.adapter_spec}@{self.device}"

    def describe(self) -> dict[str, Any]:
        """Fields: spec, framework, versions, device (`touchstone.adapters.discovery.machine.device`), unavailable."""
        return {
            "spec": self.adapter_spec,
            "framework": self.cls.is_framework,
            "versions": self.versions,
            "device": machine.device(
                self.facts.get("name", self.device), self.facts.get("precision", {}), self.facts.get("uses", {})
            ),
            "unavailable": self.unavailable,
        }

    @property
    def place(self) -> Place:
        """Where this target runs, as entries of known deviations name it."""
        return Place(self.cls.name, self.device, {**machine.facts(), **self.facts.get("uses", {})})

    @property
    def version(self) -> str:
        return self.versions.get(self.cls.distributions[0], "0")

    @cached_property
    def adapter(self) -> Adapter:
        """The adapter itself; the first use imports the framework."""
        return self.cls(self.device)


def resolve(selected: Sequence[str] = (), required: Sequence[str] = ()) -> list[Target]:
    """Targets for this run: those selected, or every adapter on its best device.

    Without a selection a framework that is not installed becomes a target that is *not run*; selected or `required`
    it raises TargetError, as does a run without any framework. A framework that is installed but cannot be probed,
    or finds no device, raises TargetError in every case.
    """
    targets = [chosen(spec) for spec in selected] if selected else [default(name) for name in BUILT_IN]
    if duplicates := {t.id for t in targets if [u.id for u in targets].count(t.id) > 1}:
        raise TargetError(f"selected twice: {', '.join(sorted(duplicates))}")
    for name in required:
        if name not in BUILT_IN:
            raise TargetError(f"TOUCHSTONE_REQUIRE names {name!r}; known: {', '.join(BUILT_IN)}")
        if all(t.cls.name != name or t.unavailable for t in targets):
            _require(name)
    if not selected and all(t.unavailable for t in targets if t.cls.is_framework):
        raise TargetError("no framework is installed: install at least one of mlx, jax with flax, torch")
    return targets


def default(name: str) -> Target:
    """The adapter on its best device, or a target that is *not run* where it is not installed. Raises TargetError."""
    cls = adapter_class(name)
    if not is_installed(cls):
        return Target(name, cls, ABSENT, f"{cls.module} is not installed")
    found = _probe(name, cls)
    if found.error:
        raise TargetError(f"{found.error}; select the others with --adapter")
    return _found(name, cls, found)


def _probe(name: str, cls: type[Adapter]) -> devices.Found:
    """What is remembered of an installed framework, or found now; to have no device is an error."""
    prepare_environment(cls)
    found = devices.probe(name, cls, versions(cls))
    return found if found.devices or found.error else devices.Found(error=f"{name} found no device")


def _require(name: str) -> None:
    """Raises TargetError where the framework is not installed or has no device that works."""
    cls = adapter_class(name)
    if reason := _probe(name, cls).error if is_installed(cls) else f"{cls.module} is not installed":
        raise TargetError(f"TOUCHSTONE_REQUIRE names {name!r}, but {reason}")


def _found(spec: str, cls: type[Adapter], found: devices.Found, device: str = "") -> Target:
    """The target on `device`, or on the best device found."""
    chosen = device or next(iter(found.devices))
    return Target(spec, cls, chosen, None, versions(cls), found.devices[chosen])


def chosen(spec: str, option: str = "--adapter") -> Target:
    """The target called ``NAME[@DEVICE]``, by an option of the command. Raises TargetError."""
    name, _, device = spec.rpartition("@") if "@" in spec else (spec, "", "")
    cls = adapter_class(name)
    if not is_installed(cls):
        raise TargetError(f"{option} {spec}: {cls.module} is not installed")
    prepare_environment(cls)
    found = devices.probe(name, cls, versions(cls), fresh=True)
    if found.error:
        raise TargetError(f"{option} {spec}: {found.error}")
    if not found.devices or (device and device not in found.devices):
        here = ", ".join(found.devices) or "none"
        known = ", ".join(cls.devices)
        raise TargetError(
            f"{option} {spec}: no {device}{' ' * bool(device)}device here; {name} has {here} (of {known})"
        )
    return _found(name, cls, found, device)
