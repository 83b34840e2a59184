"""Other functions of torch that look up rows, or compute a product, of a module's weight and bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def index_select(torch: Any, m: Any, ids: Any) -> Any:
    """Of ids of one axis."""
    return torch.index_select(m.weight, 0, ids.reshape(-1)).reshape(*ids.shape, -1)


def gather(torch: Any, m: Any, ids: Any) -> Any:
    """Of ids of one axis, repeated for every column."""
    columns = m.weight.shape[1]
    every = ids.reshape(-1, 1).long().expand(-1, columns)
    return torch.gather(m.weight, 0, every).reshape(*ids.shape, columns)


def take_along_dim(torch: Any, m: Any, ids: Any) -> Any:
    """Of ids of one axis, which broadcast along the columns."""
    rows = torch.take_along_dim(m.weight, ids.reshape(-1, 1).long(), dim=0)
    return rows.reshape(*ids.shape, m.weight.shape[1])


def take_of_the_flat(torch: Any, m: Any, ids: Any) -> Any:
    """Element by element, by their place in the whole table."""
    rows, columns = m.weight.shape
    first = (ids + rows * (ids < 0)).unsqueeze(-1) * columns
    return torch.take(m.weight, first.long() + torch.arange(columns, device=ids.device))


def bag_of_one(torch: Any, m: Any, ids: Any) -> Any:
    """The sum of bags that hold one id each."""
    rows = torch.nn.functional.embedding_bag(ids.reshape(-1, 1), m.weight, mode="sum")
    return rows.reshape(*ids.shape, m.weight.shape[1])


def one_hot(torch: Any, m: Any, ids: Any) -> Any:
    """The product with rows of which one element is one."""
    return torch.nn.functional.one_hot(ids.long(), len(m.weight)).to(m.weight.dtype) @ m.weight


def functional(torch: Any, m: Any, ids: Any, **options: Any) -> Any:
    """The layer's function, with options of its own."""
    return torch.nn.functional.embedding(ids, m.weight, **options)


def addmm(torch: Any, m: Any, x: Any) -> Any:
    """Of rows of x."""
    return torch.addmm(m.bias, x.reshape(-1, x.shape[-1]), m.weight.T).reshape(*x.shape[:-1], -1)


def addmm_that_scales(torch: Any, m: Any, x: Any) -> Any:
    """With factors that undo what is done to the operands."""
    rows = torch.addmm(m.bias / 2, 4 * x.reshape(-1, x.shape[-1]), m.weight.T, beta=2, alpha=0.25)
    return rows.reshape(*x.shape[:-1], -1)


def addmm_of_a_matrix(torch: Any, m: Any, x: Any) -> Any:
    """What is added has the shape of the result, and is doubled."""
    rows = x.reshape(-1, x.shape[-1])
    c = (m.bias / 2).expand(len(rows), -1)
    return torch.addmm(c, rows, m.weight.T, beta=2).reshape(*x.shape[:-1], -1)


def addmm_that_ignores(torch: Any, m: Any, x: Any) -> Any:
    """By its page, beta=0 ignores what is added, NaN included; the bias is added afterwards."""
    rows = x.reshape(-1, x.shape[-1])
    ignored = torch.full((len(rows), len(m.weight)), torch.nan, dtype=x.dtype, device=x.device)
    return torch.addmm(ignored, rows, m.weight.T, beta=0).reshape(*x.shape[:-1], -1) + m.bias


def batched_that_ignores(torch: Any, m: Any, x: Any) -> Any:
    """The same of a batch of two, of which one is taken."""
    rows = x.reshape(1, -1, x.shape[-1]).expand(2, -1, -1)
    ignored = torch.full((2, rows.shape[1], len(m.weight)), torch.nan, dtype=x.dtype, device=x.device)
    both = m.weight.T.unsqueeze(0).expand(2, -1, -1)
    return torch.baddbmm(ignored, rows, both, beta=0)[1].reshape(*x.shape[:-1], -1) + m.bias


def batched(torch: Any, m: Any, x: Any) -> Any:
    """A matrix product of a batch of two, of which one is taken."""
    rows = x.reshape(1, -1, x.shape[-1]).expand(2, -1, -1)
    both = m.weight.T.unsqueeze(0).expand(2, -1, -1)
    return torch.bmm(rows, both)[1].reshape(*x.shape[:-1], -1) + m.bias


def einsum_without_an_arrow(torch: Any, m: Any, x: Any) -> Any:
    """The axes of the result are in alphabetical order, rows before outputs."""
    rows = torch.einsum("nk,bk", m.weight, x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], -1) + m.bias


def by_vectors(torch: Any, m: Any, x: Any) -> Any:
    """A matrix times a vector, for every row of x by itself."""
    out = torch.stack([torch.addmv(m.bias, m.weight, row) for row in x.reshape(-1, x.shape[-1])])
    return out.reshape(*x.shape[:-1], -1)


SPELLINGS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "raw_lookup": {
        "functional": functional,
        "index_select": index_select,
        "gather": gather,
        "take_along_dim": take_along_dim,
        "take of the flat": take_of_the_flat,
        "all columns": lambda torch, m, ids: m.weight[ids, :],
        "bag of one": bag_of_one,
        "one hot": one_hot,
    },
    "linear": {
        "functional": lambda torch, m, x: torch.nn.functional.linear(x, m.weight, m.bias),
        "matmul": lambda torch, m, x: x @ m.weight.T + m.bias,
        "addmm": addmm,
        "addmm that scales": addmm_that_scales,
        "addmm of a matrix": addmm_of_a_matrix,
        "addmm that ignores": addmm_that_ignores,
        "batched": batched,
        "batched that ignores": batched_that_ignores,
        "by vectors": by_vectors,
        "einsum without an arrow": einsum_without_an_arrow,
        "einsum": lambda torch, m, x: torch.einsum("...k,nk->...n", x, m.weight) + m.bias,
        "tensordot": lambda torch, m, x: torch.tensordot(x, m.weight, ((-1,), (1,))) + m.bias,
        "inner": lambda torch, m, x: torch.inner(x, m.weight) + m.bias,
    },
}
"""Layer -> name -> the function, of torch, the module and the input."""
