"""How many bytes a target can still take, of the host and of its device, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import gc

import psutil  # type: ignore[import-untyped]

from adapters.interface import Adapter


def available(adapter: Adapter) -> int:
    """Bytes free for arrays of `adapter`: the host's, or the device's where that is less."""
    host, device = int(psutil.virtual_memory().available), adapter.device_memory()
    return host if device is None else min(host, device)


def release(adapter: Adapter) -> None:
    """Drop what the adapter's framework keeps of past calls, and return what is free to the system."""
    adapter.release_memory()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps freed pages: 1.6 of 2.0 GB after a run of JAX
    if trim:
        trim(0)
