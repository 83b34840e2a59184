"""What stands between the brackets of x[1:3, ::2], read from a case's option, for a framework that takes Python's."""

from __future__ import annotations

from typing import Any


def between_brackets(text: str, **arrays: Any) -> Any:
    """The index that Python makes of it; arrays: by the names that stand for them.

    >>> between_brackets("1")
    1
    >>> between_brackets("1:3,::2,...")
    (slice(1, 3, None), slice(None, None, 2), Ellipsis)
    >>> between_brackets("i,None", i=[2, 0])
    ([2, 0], None)
    """
    parts = tuple(_part(one, arrays) for one in text.split(","))
    return parts if len(parts) > 1 else parts[0]


def _part(text: str, arrays: dict[str, Any]) -> Any:
    if text in arrays:
        return arrays[text]
    if ":" in text:
        return slice(*(int(end) if end else None for end in text.split(":")))
    return {"...": Ellipsis, "None": None}[text] if text in ("...", "None") else int(text)
