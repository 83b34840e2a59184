"""Which instructions and how many threads NumPy, XLA, oneDNN and PyTorch really use, read back from each of them.

They can differ from what the processor has: an environment variable or a build may hold one of them back. Each function
imports the library that it asks, so a run calls them in the child process that probes devices.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from touchstone.adapters.discovery import machine
from touchstone.adapters.discovery.machine import ARM, X86

VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_NUM_THREADS",
    "NPROC",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "XLA_FLAGS",
)
"""Environment variables that change what is read here."""
_NUMPY = {
    "avx512": ("X86_V4", "AVX512F"),
    "avx2": ("X86_V3", "AVX2"),
    "avx": ("AVX",),
    "sse4": ("X86_V2", "SSE42"),
    "sve": ("SVE",),
    "neon": ("ASIMD", "NEON"),
}
"""Level -> NumPy's names of it, by release."""


def of_numpy() -> str:
    """The highest level that NumPy's own loops dispatch to; ``NPY_DISABLE_CPU_FEATURES`` lowers it."""
    core = "_core" if importlib.util.find_spec("numpy._core") else "core"  # NumPy 1
    module = importlib.import_module(f"numpy.{core}._multiarray_umath")
    built = {*module.__cpu_baseline__, *module.__cpu_dispatch__}
    used = {name for name, on in module.__cpu_features__.items() if on and name in built}
    return _first(level for level, names in _NUMPY.items() if used.intersection(names))


def of_xla() -> str:
    """The level that XLA compiles for on the CPU, as a serialized executable names it.

    ``--xla_cpu_max_isa`` in ``XLA_FLAGS`` lowers it.
    """
    import jax

    cpu = jax.devices("cpu")[0]
    with jax.default_device(cpu):
        compiled = jax.jit(lambda x: 2 * x + 1).lower(jax.ShapeDtypeStruct((4,), "float32")).compile()
    features = re.findall(rb"\+([a-z0-9.-]+)", compiled.runtime_executable().serialize())
    return machine.level(feature.decode() for feature in features)


def of_torch() -> str:
    """The level of PyTorch's own kernels: "default" is the build's lowest. ``ATEN_CPU_CAPABILITY`` lowers it.

    PyTorch believes that variable where it names more than the processor has; here the processor's level is returned.
    """
    import torch

    said = torch.backends.cpu.get_cpu_capability().lower()
    said = "sve" if said.startswith("sve") else said
    return lower(said, machine.instruction_set())


def of_onednn() -> str:
    """The level that PyTorch's oneDNN generates code for, from its log; ``ONEDNN_MAX_CPU_ISA`` lowers it.

    "" where PyTorch was built without it, or where another call has made it write those lines already.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return ""
    with tempfile.TemporaryFile() as log:
        kept = os.dup(1)
        os.dup2(log.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                torch.ones(2, 2).to_mkldnn()
        finally:
            ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
        log.seek(0)
        found = re.search(rb"info,cpu,isa:(.*)", log.read())
    return _named(found[1].decode()) if found else ""


def numpy_threads() -> int | None:
    """Threads of the OpenBLAS in NumPy's wheel, None where there is none; ``OPENBLAS_NUM_THREADS`` sets it."""
    import numpy

    folder = Path(numpy.__file__).parent
    for path in (*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*")):
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads"):
            if count := getattr(library, name, None):
                return int(count())
    return None


def xla_threads() -> int | None:
    """Threads that XLA computes with on the CPU, counted by their name, None off Linux; ``NPROC`` sets it."""
    import jax

    jax.devices("cpu")
    tasks = Path("/proc/self/task")
    return sum("XLAEigen" in (t / "comm").read_text() for t in tasks.iterdir()) or None if tasks.is_dir() else None


def torch_threads() -> int:
    """Threads of one PyTorch operation; ``OMP_NUM_THREADS`` sets it."""
    import torch

    return int(torch.get_num_threads())


_READ: dict[str, tuple[str, Callable[[], str | int | None]]] = {
    "numpy": ("", of_numpy),
    "numpy_threads": ("", numpy_threads),
    "xla": ("jax", of_xla),
    "xla_threads": ("jax", xla_threads),
    "torch": ("torch", of_torch),
    "torch_threads": ("torch", torch_threads),
    "onednn": ("torch", of_onednn),
}
"""Fact -> the distribution that has to be among an adapter's for it to be read, and what reads it."""


def readable(distributions: Collection[str]) -> list[str]:
    """Facts that a run of an adapter with these distributions can record."""
    return [name for name, (needed, _) in _READ.items() if not needed or needed in distributions]


def used(distributions: Collection[str]) -> dict[str, str]:
    """What the libraries of an adapter with these distributions say they use; what cannot be read is left out."""
    facts = {}
    for name in readable(distributions):
        try:
            value = _READ[name][1]()
        except Exception:  # an old release, or a backend without a CPU: a fact less, and no reason not to run
            continue
        if value not in ("", None):
            facts[name] = str(value)
    return facts


def lower(one: str, other: str) -> str:
    """The lower of two levels of one kind of processor; `one` where they cannot be compared."""
    for ladder in (X86, ARM):
        if one in ladder and other in ladder:
            return min(one, other, key=ladder.index)
    return one


def _named(text: str) -> str:
    """The level in oneDNN's words: "Intel AVX10.1 and Intel AMX with ...", "Intel SSE4.1", "AArch64 SVE (256 bits)"."""
    words = (("AMX", "amx"), ("AVX-512", "avx512"), ("AVX10", "avx512"), ("AVX2", "avx2"), ("AVX", "avx"))
    arm = (("SVE", "sve"), ("NEON", "neon"), ("ASIMD", "neon"))
    return _first(level for word, level in (*words, ("SSE4", "sse4"), *arm) if word in text)


def _first(levels: Iterable[str]) -> str:
    return next(iter(levels), "")
