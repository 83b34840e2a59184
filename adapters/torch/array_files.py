"""Files of arrays: PyTorch's own are pickles, which are asked of whole models alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_PICKLES = "torch.save writes pickles, and PyTorch has no function for this format"
_FORMS = ("npy", "npz", "safetensors", "gguf")
ANSWERS: Mapping[str, Callable[..., Any]] = {}
ABSENT: Mapping[str, str] = {
    **{f"array:{verb} {form}": _PICKLES for verb in ("save", "load") for form in _FORMS},
    "array:save npz compressed": _PICKLES,
    "array:ask npy again": _PICKLES,
}
