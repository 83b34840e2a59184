"""What is right of one operation, whoever computes it: the record that golden data, cases and bounds come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from touchstone.golden.operations.arithmetic import Number
from touchstone.golden.operations.samples import Sample

NO_OPTIONS: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Operation:
    """A function of arrays.

    name: MLX's. formula: of the page, in words of arithmetic. page: where a framework documents it.
    value: the formula, of the arguments of its sample in their order and the options by keyword, as its page writes
    it: how it is written is how it may round. slopes: argument -> what its gradient is, of the result's cotangent and
    the arguments. no_value_at: infinities at which the formula is infinity times zero, or over infinity, and NaN is as
    right as the limit. kinks: arguments at which it has no slope. samples: what it is asked of; the first one in
    every respect. variants: other options than the defaults, in MLX's names. beyond: options that its page does not
    allow, for which the formula gives something nevertheless. inside: the dtype of its steps and of its result, where
    it is asked to be another than the operands'. steps_in: the dtype of its steps alone, whose result is rounded once.
    """

    name: str
    formula: str
    page: str
    value: Callable[..., Number]
    samples: tuple[Sample, ...]
    slopes: Mapping[str, Callable[..., Number]] = field(default_factory=dict)
    no_value_at: tuple[float, ...] = ()
    kinks: tuple[float, ...] = ()
    variants: tuple[Mapping[str, Any], ...] = ()
    beyond: tuple[Mapping[str, Any], ...] = ()
    inside: str = ""
    steps_in: str = ""

    @property
    def every_option(self) -> tuple[Mapping[str, Any], ...]:
        """Its defaults, and all others that it is asked with."""
        return (NO_OPTIONS, *self.variants, *self.beyond)

    @property
    def sample(self) -> Sample:
        return self.samples[0]


def spelled(name: str, options: Mapping[str, Any]) -> str:
    """An operation with options, as keys of golden arrays have it: "elu(alpha=2.0)"."""
    return f"{name}({','.join(f'{k}={v}' for k, v in options.items())})" if options else name
