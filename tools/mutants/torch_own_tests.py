"""PyTorch's own samples of `nn.Embedding`, `nn.Linear` and their functions, checked as its own tests check them.

The wheel carries the samples (``torch.testing._internal``), not the files of tests. What `test_modules.py` (forward
against the reference) and `test_ops.py` (strided samples, numerical gradients, errors) make of them is made here.
`tools.mutants.own_tests` runs it; it needs the package expecttest, which PyTorch's testing modules import.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

MODULES = [m for m in module_db if m.module_cls in (torch.nn.Embedding, torch.nn.Linear)]
OPERATORS = [o for o in op_db if o.name in ("nn.functional.embedding", "nn.functional.linear")]
DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("info", MODULES, ids=lambda info: info.name)
def test_forward(info: Any, dtype: torch.dtype) -> None:
    """A module gives what its sample's reference gives, where it has one, and runs in any case."""
    for given in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=True):
        made = given.constructor_input
        module = info.module_cls(*made.args, **made.kwargs).to(dtype)
        args, more = given.forward_input.args, given.forward_input.kwargs
        out = module(*args, **more)
        if given.reference_fn:
            torch.testing.assert_close(out, given.reference_fn(module, *args, **more))


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_strided_samples(operator: Any) -> None:
    """Operands that are not contiguous give what contiguous ones of the same values give."""
    for sample in operator.sample_inputs("cpu", torch.float32):
        strided = sample.noncontiguous()
        torch.testing.assert_close(
            operator(strided.input, *strided.args, **strided.kwargs),
            operator(sample.input, *sample.args, **sample.kwargs),
        )


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_gradients(operator: Any) -> None:
    """Gradients in float64 agree with finite differences; not of sparse ones, nor where max_norm changes the table."""
    for sample in operator.sample_inputs("cpu", torch.float64, requires_grad=True):
        tensors = [x for x in (sample.input, *sample.args) if isinstance(x, torch.Tensor) and x.requires_grad]

        def call(*inputs: torch.Tensor, sample: Any = sample) -> torch.Tensor:
            given = iter(inputs)
            own = [
                next(given) if isinstance(x, torch.Tensor) and x.requires_grad else x
                for x in (sample.input, *sample.args)
            ]
            return operator(*own, **sample.kwargs)

        if tensors and not sample.kwargs.get("sparse") and sample.kwargs.get("max_norm") is None:
            assert torch.autograd.gradcheck(call, tensors, masked="padding_idx" in sample.kwargs)


@pytest.mark.parametrize("operator", [o for o in OPERATORS if o.error_inputs_func], ids=lambda o: o.name)
def test_errors(operator: Any) -> None:
    """Wrong inputs raise the error, with the message, that the samples name."""
    for error in operator.error_inputs("cpu"):
        sample = error.sample_input
        with pytest.raises(error.error_type, match=error.error_regex):
            operator(sample.input, *sample.args, **sample.kwargs)
