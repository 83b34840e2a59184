"""What is right of one operation, whoever computes it: the record that golden data, cases and bounds come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """A function of one array, element by element.

    name: MLX's. formula: of the page, in words of arithmetic. roundings: how many of its intermediate results are
    rounded where it is computed as it is written, the function calls in it counted as two each. page: where a
    framework documents it. no_value_at: infinities at which the formula is infinity times zero, or over infinity, and
    NaN is as right as the limit.
    """

    name: str
    formula: str
    roundings: int
    page: str
    no_value_at: tuple[float, ...] = ()
