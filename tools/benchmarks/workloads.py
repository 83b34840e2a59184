"""What is measured: one operation, dtype, scheme and size each, with the bytes it must move and the flops it does.

No framework is asked here. Matrices have 4,096 columns, as in language models of 7 billion parameters; the smallest
packed table, 36 MB, is a little larger than the last cache of the processor this was written on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from touchstone.adapters.interface import BLOCK_MODES, Scheme

ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
DTYPES = tuple(ITEMSIZE)
SCHEMES = ("affine4g64", "affine8g64", "mxfp4")
OPERATIONS = ("embedding", "as_linear", "linear", "quantized embedding", "quantized as_linear", "quantized linear")
TABLE, COLUMNS = 16_384, 4_096
PRODUCTS = {"decode": (1, TABLE), "prefill": (32, 512), "long prefill": (512, 4_096)}
"""Rows of x, and rows of the matrix. A prefill is small because MLX's quantized float16 products on CPU run at 0.2
Gflop/s; one that shows what a GPU can do is measured on GPUs only."""
LOOKUPS = {"decode": 1, "prefill": 512}
"""Ids in one call, looked up in the table."""
ONCE = "affine4g64"
"""The scheme of the quantized linear layer, whose product is that of the quantized tied head."""
IDS = 4
"""Bytes of an id: int32."""


def scheme_of(name: str) -> Scheme:
    """The scheme that a name such as "affine4g64" or "mxfp4" stands for."""
    if name in BLOCK_MODES:
        return Scheme(*BLOCK_MODES[name], name)
    bits, _, group_size = name.removeprefix("affine").partition("g")
    return Scheme(int(bits), int(group_size))


@dataclass(frozen=True)
class Workload:
    """One call: `m` ids looked up in, or `m` rows of x multiplied with, a matrix ``[rows, columns]``.

    dtype: of the dense matrix or of x, and of the scales of affine schemes. name: "decode" or "prefill".
    """

    operation: str
    scheme: str
    dtype: str
    name: str
    m: int
    rows: int
    columns: int
    quick: bool = False

    @property
    def id(self) -> str:
        return "-".join(p.replace(" ", "_") for p in (self.operation, self.scheme, self.dtype, self.name) if p)

    @property
    def is_lookup(self) -> bool:
        return self.operation.endswith("embedding")

    @property
    def layer(self) -> str:
        """What holds the matrix; lookups and tied heads share one layer."""
        kind = "linear" if self.operation.split()[-1] == "linear" else "embedding"
        return f"quantized_{kind}" if self.scheme else kind

    @property
    def sizes(self) -> dict[str, int]:
        return {"m": self.m, "rows": self.rows, "columns": self.columns}

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one stored row.

        Dense: columns * itemsize. Quantized: columns * bits / 8 of packed words, and per group one scale (1 byte in
        block modes, else one element of the dtype) and, for affine schemes, one bias of the same size.
        """
        if not self.scheme:
            return self.columns * ITEMSIZE[self.dtype]
        scheme = scheme_of(self.scheme)
        per_group = 1 if scheme.mode in BLOCK_MODES else 2 * ITEMSIZE[self.dtype]
        return self.columns * scheme.bits // 8 + self.columns // scheme.group_size * per_group

    @property
    def bytes(self) -> int:
        """Least bytes that one call reads and writes; what a framework copies or reads twice in between adds nothing.

        Lookup: m ids, m stored rows, and m dense rows of output. Product: every stored row once, x and the output.
        """
        item = ITEMSIZE[self.dtype]
        if self.is_lookup:
            return self.m * (IDS + self.row_bytes + self.columns * item)
        return self.rows * self.row_bytes + self.m * (self.columns + self.rows) * item

    @property
    def flops(self) -> int:
        """2 m rows columns for a product; 0 for a lookup. What dequantization computes is not counted."""
        return 0 if self.is_lookup else 2 * self.m * self.rows * self.columns


def _of(operation: str, scheme: str, dtype: str, name: str) -> Workload:
    m, rows = (LOOKUPS[name], TABLE) if operation.endswith("embedding") else PRODUCTS[name]
    quick = name != "long prefill" and (dtype, scheme) in (("float32", ""), ("bfloat16", ONCE))
    return Workload(operation, scheme, dtype, name, m, rows, COLUMNS, quick)


def _is_measured(operation: str, scheme: str, dtype: str) -> bool:
    if operation.startswith("quantized") != bool(scheme):
        return False
    if operation == "quantized linear":
        return scheme == ONCE
    # A lookup in a block mode gives bfloat16, whatever was quantized.
    return operation != "quantized embedding" or scheme not in BLOCK_MODES or dtype == "bfloat16"


def _all() -> Iterator[Workload]:
    for dtype, scheme, operation in product(DTYPES, ("", *SCHEMES), OPERATIONS):
        if _is_measured(operation, scheme, dtype):
            for name in LOOKUPS if operation.endswith("embedding") else PRODUCTS:
                yield _of(operation, scheme, dtype, name)


ALL = tuple(sorted(_all(), key=lambda w: (DTYPES.index(w.dtype), w.scheme, w.layer, w.rows)))
"""Ordered so that neighbours share a matrix."""


def on(device: str) -> tuple[Workload, ...]:
    """What is measured on a device: a CPU gets no long prefill."""
    return tuple(w for w in ALL if device != "cpu" or w.name != "long prefill")
