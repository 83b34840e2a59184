"""What goes wrong: probes that end or hang the process they run in, and adapters with one fault each."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from touchstone.adapters.interface import Adapter, Layer, Unsupported
from touchstone.adapters.reference.adapter import ReferenceAdapter


def answer(adapter: Any, value: Any) -> Any:
    return value


def process_id(adapter: Any) -> int:
    return os.getpid()


def variable(adapter: Any, name: str) -> str | None:
    return os.environ.get(name)


def target(adapter: Any) -> str:
    return adapter.target


def fail(adapter: Any, message: str) -> None:
    raise LookupError(message)


class Interrupts(BaseException):
    """Not an `Exception`: what a framework written in Rust raises when it panics."""


def panic(adapter: Any) -> None:
    raise Interrupts("panicked")


def send_signal(adapter: Any, name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


def abort(adapter: Any) -> None:
    os.abort()


def leave(adapter: Any, status: int) -> None:
    sys.exit(status)


def leave_at_once(adapter: Any, status: int) -> None:
    os._exit(status)


def hang(adapter: Any) -> None:
    while True:
        time.sleep(1)


def write_to(adapter: Any, value: Any) -> None:
    value["inner"][0][:] = 7


_grown: list[bytes] = []


def grow(adapter: Any, megabytes: int) -> None:
    _grown.append(os.urandom(megabytes * 2**20))


def shout(adapter: Any, megabytes: int) -> str:
    for stream in (sys.stdout, sys.stderr):
        for _ in range(megabytes):
            stream.write("x" * 2**20 + "\n")
    return "done"


def shout_and_abort(adapter: Any) -> None:
    sys.stderr.write("x" * 2**20 + " the last words")
    sys.stderr.flush()
    os.abort()


def cannot_travel(adapter: Any) -> Any:
    return threading.Lock()


class Minimal(ReferenceAdapter):
    """Sound, with a second device that is not there; counts as a framework."""

    name = "minimal"
    devices = ("gpu", "cpu")
    is_framework = True


class Impostor(Minimal):
    name = "mlx"


class Placed(Minimal):
    name = "mine@gpu"


class Idle(Minimal):
    """Declares exercises that it inherits no code for."""

    capabilities = replace(ReferenceAdapter.capabilities, exercises=frozenset({"nnx"}))


class Plagued(Minimal):
    """Ends or hangs its process as TOUCHSTONE_TEST_PLAGUE says.

    It does so for a linear layer of 4 outputs and 31 inputs with a bias, or for every linear layer.
    """

    name = "plagued"

    def layer(self, name: str, weight: Any, **parts: Any) -> Layer:
        plague, _, where = os.environ["TOUCHSTONE_TEST_PLAGUE"].partition(" ")
        met = where == "everywhere" or (weight.shape == (4, 31) and parts.get("bias") is not None)
        if name == "linear" and met:
            ends: dict[str, Callable[[], object]] = {
                "abort": os.abort,
                "exit": lambda: os._exit(0),
                "hang": lambda: time.sleep(600),
            }
            ends[plague]()
        return super().layer(name, weight, **parts)


class Refuses(Minimal):
    """Answers the probe, and cannot be constructed."""

    name = "refuses"

    def __init__(self, device: str) -> None:
        raise RuntimeError(f"refuses has no {device} device here")


class Aborts(Minimal):
    name = "aborts"

    @classmethod
    def probe(cls) -> dict[str, str]:
        os.abort()


class Complains(Minimal):
    name = "complains"

    @classmethod
    def probe(cls) -> dict[str, str]:
        raise OSError("the driver is too old")


class HasNoDevice(Minimal):
    name = "has_no_device"

    @classmethod
    def probe(cls) -> dict[str, str]:
        return {}


class NotInstalled(Minimal):
    name = "not_installed"
    module = "surely_not_installed"


class NotInstalledAtAll(Minimal):
    """Its import name has a dot, and the package before the dot is missing too."""

    name = "not_installed_at_all"
    module = "surely_not_installed.core"


class Undeclared(Adapter):
    """What is abstract of an adapter, and no facts about itself."""

    def __init__(self, device: str) -> None: ...

    @classmethod
    def probe(cls) -> dict[str, str]:
        return {"cpu": "cpu"}

    def precision(self) -> dict[str, str]:
        return {}


class Incomplete(Minimal):
    """Declares a layer and a constructor, and has neither."""

    name = "incomplete"
    capabilities = replace(ReferenceAdapter.capabilities, construction=True)
    layers = {name: made for name, made in Minimal.layers.items() if name != "linear"}
    construct = Adapter.construct


class Unrelated:
    """Not an adapter."""


class Faulty(Minimal):
    """Embeddings return another row than asked for; bare indexing shirks what the capabilities promise."""

    name = "faulty"

    def layer(self, name: str, weight: Any, **parts: Any) -> Layer:
        if name == "raw_lookup":
            raise Unsupported("not today")
        return super().layer(name, weight[::-1] if name == "embedding" else weight, **parts)


class Narrow(Minimal):
    """Declares that it has float32 only."""

    name = "narrow"
    capabilities = replace(
        Minimal.capabilities, dtypes=frozenset({"float32"}), absent={"dtype": "the narrow framework has float32 only"}
    )


class Dies(Minimal):
    """Building a layer of bfloat16 kills the process that runs the tests, its parent."""

    name = "dies"

    def layer(self, name: str, weight: Any, **parts: Any) -> Layer:
        if name == "embedding" and weight.dtype.name == "bfloat16":
            os.kill(os.getppid(), signal.SIGKILL)
        return super().layer(name, weight, **parts)


class Shifts(Minimal):
    """Embeddings of float16 return another row than asked for."""

    name = "minimal"

    def layer(self, name: str, weight: Any, **parts: Any) -> Layer:
        shifted = name == "embedding" and weight.dtype.name == "float16"
        return super().layer(name, weight[::-1] if shifted else weight, **parts)
