"""The comparisons that find out what a target did: bit for bit, and within a bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.verdict.observation import Deviates, Observation


def _form(got: Any, shape: tuple[int, ...], dtype: str, golden: str) -> np.ndarray:
    if not isinstance(got, np.ndarray):
        raise Deviates(Observation("no array", False, message=f"got {type(got).__name__}", golden=golden))
    facts = {"dtype": got.dtype.name, "shape": got.shape, "golden": golden}
    if got.shape != shape:
        raise Deviates(Observation("wrong shape", False, **facts, message=f"got {got.shape}, want {shape}"))
    if got.dtype.name != dtype:
        raise Deviates(Observation("wrong dtype", False, **facts, message=f"got {got.dtype.name}, want {dtype}"))
    return got


def _share(beyond: np.ndarray) -> str:
    return f"{int(beyond.sum()):,} of {beyond.size:,} elements ({beyond.mean():.1%}) differ"


def same_bits(got: Any, want: np.ndarray, golden: str = "", *, signed_zero: bool = True) -> Observation:
    """Shape, dtype and every bit agree; raises Deviates with the first element that differs."""
    got = _form(got, want.shape, want.dtype.name, golden)
    unsigned = np.dtype(f"u{want.dtype.itemsize}")
    differs = np.array(got, order="C").view(unsigned) != np.array(want, order="C").view(unsigned)
    if not signed_zero:
        differs &= ~((got == 0) & (want == 0))
    facts: dict[str, Any] = {"dtype": want.dtype.name, "shape": want.shape, "golden": golden}
    if not differs.any():
        return Observation("exact", True, **facts, headroom=0.0)
    index = tuple(int(i) for i in np.argwhere(differs)[0])
    width = want.dtype.itemsize * 2
    bits = [f"{float(a[index])!r} (0x{int(a[index].view(unsigned)):0{width}x})" for a in (got, want)]
    message = f"first difference at {index}: got {bits[0]}, want {bits[1]}; {_share(differs)}"
    raise Deviates(Observation("wrong bits", False, **facts, worst_index=index, message=message))


def within(got: Any, want: np.ndarray, bound: np.ndarray, dtype: str, golden: str = "") -> Observation:
    """``|got - want| <= bound`` per element; want and bound are float64. Raises Deviates with the worst element."""
    got = _form(got, want.shape, dtype, golden)
    facts: dict[str, Any] = {"dtype": dtype, "shape": got.shape, "golden": golden}
    if got.size == 0:
        return Observation("within bound", True, **facts, headroom=0.0)
    error = np.abs(got.astype(np.float64) - want)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, error / bound)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ratio), ratio.shape))
    worst = float(ratio[index])
    message = (
        f"worst element at {index}: got {float(got[index])!r}, want {float(want[index])!r}, "
        f"error {float(error[index]):.3g}, bound {float(bound[index]):.3g}, error/bound {worst:.3g}"
    )
    facts |= {"headroom": worst, "error": float(error[index]), "bound": float(bound[index]), "worst_index": index}
    if worst <= 1:
        return Observation("within bound", True, **facts, message=message)
    raise Deviates(Observation("beyond bound", False, **facts, message=f"{message}; {_share(ratio > 1)}"))
