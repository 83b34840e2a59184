"""How many bytes a target can still take: free memory of the host, and of the device where it has its own."""

from __future__ import annotations

from typing import Any

import psutil  # type: ignore[import-untyped]


def available(adapter: Any) -> int:
    """Bytes free for arrays of `adapter`: the host's, or the device's where that is less.

    Adapters whose device may hold less than the host say so with a method ``device_memory()``, bytes or None.
    """
    host = psutil.virtual_memory().available
    asked = getattr(adapter, "device_memory", None)
    device = asked() if asked else None
    return host if device is None else min(host, int(device))
