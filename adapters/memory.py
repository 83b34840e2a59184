"""How many bytes a target can still take: free memory of the host, and of the device where it has its own."""

from __future__ import annotations

import psutil

from touchstone.adapters.interface import Adapter


def available(adapter: Adapter) -> int:
    """Bytes free for arrays of `adapter`: the host's, or the device's where that is less."""
    host, device = int(psutil.virtual_memory().available), adapter.device_memory()
    return host if device is None else min(host, device)
