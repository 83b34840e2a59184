"""What the adapters that write MLX's packed formats in their framework's own operations share."""

from __future__ import annotations

LARGEST_ELEMENT = {"mxfp4": 6.0, "mxfp8": 448.0, "nvfp4": 6.0}
"""Of E2M1 and E4M3 (docs/packed-format.md)."""
