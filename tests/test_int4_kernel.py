"""PyTorch's 4-bit kernel and the tiles beside it: within bound, never stale, no whole table in memory."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from touchstone.adapters.interface import Scheme
from touchstone.adapters.torch import int4 as torch_int4
from touchstone.adapters.torch import packing as torch_packing
from touchstone.adapters.torch import product as torch_product
from touchstone.adapters.torch import quantized as torch_quantized
from touchstone.golden import bounds

KERNEL = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
needs_kernel = pytest.mark.skipif(not KERNEL, reason="the kernel was measured on x86 with AVX2 or AVX-512 only")


def _weight(rows: int, columns: int, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).mul(0.05).to(dtype)


def _headroom(got: torch.Tensor, x: torch.Tensor, parts: tuple, scheme: Scheme) -> float:
    """Largest error / bound, the bound as in suites/affine.py: the linear one and the weights' own rounding."""
    words, scales, biases = parts
    dtype = str(x.dtype).removeprefix("torch.")
    codes = torch_packing.unpack(words, scheme.bits).double().numpy()
    scales, biases = (np.repeat(p.double().numpy(), scheme.group_size, -1) for p in (scales, biases))
    table, wide = scales * codes + biases, x.double().numpy()
    want, magnitude = wide @ table.T, np.abs(wide) @ np.abs(table).T
    bound = bounds.linear(want, magnitude, x.shape[-1], dtype)
    bound += np.abs(wide) @ bounds.dequantization(table - biases, table, dtype).T
    return float((np.abs(got.double().numpy() - want) / bound).max(initial=0))


def _layer(weight: torch.Tensor, scheme: Scheme) -> torch_quantized.QuantizedEmbedding:
    return torch_quantized.QuantizedEmbedding(*torch_packing.quantize(weight, scheme), scheme)


@pytest.fixture
def repacks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one entry whenever a matrix is repacked."""
    seen: list[int] = []
    original = torch_int4.repack

    def counted(words: torch.Tensor, *rest: Any) -> Any:
        seen.append(len(words))
        return original(words, *rest)

    monkeypatch.setattr(torch_int4, "repack", counted)
    return seen


@needs_kernel
@pytest.mark.parametrize("group_size", [32, 64, 128])
@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_kernel_is_within_bound(group_size: int, mean: float) -> None:
    """Every count of rows up to 16 and beside its block of 64, from one group to 2,048 columns."""
    scheme = Scheme(4, group_size)
    for rows, columns, m in itertools.product((1, 7, 15, 16, 17, 33, 63, 64, 65, 96), (group_size, 2048), (1, 2, 10)):
        parts = torch_packing.quantize((_weight(rows, columns).float() + mean).bfloat16(), scheme)
        for x in (_weight(m, columns, seed=1), _weight(m, columns, seed=1).abs()):
            got = torch_int4.product(x, *parts, scheme)
            assert got is not None
            assert got.shape == (m, rows)
            assert _headroom(got, x, parts, scheme) < 1


@needs_kernel
def test_parts_that_the_kernel_rounds_away_go_to_tiles() -> None:
    """All codes 0 and biases small beside 8 scale: the kernel's rounded zero is all that is left of the row."""
    scheme = Scheme(4, 32)
    scales = torch.full((16, 4), 0.0123).bfloat16()
    parts = torch.zeros(16, 16, dtype=torch.int32), scales, (scales * 0.0131).bfloat16()
    x = torch.ones(1, 128).bfloat16()
    forced = torch_int4.repack(*parts, scheme)
    kernel = torch.ops.aten._weight_int4pack_mm_for_cpu(x, forced.codes, 32, forced.scales_and_zeros)
    assert _headroom(kernel, x, parts, scheme) > 10
    assert torch_int4.product(x, *parts, scheme) is None
    assert _headroom(torch_product.product(x, *parts, scheme), x, parts, scheme) < 1


@needs_kernel
def test_every_way_to_change_the_parts_is_noticed(repacks: list[int]) -> None:
    scheme, x = Scheme(4, 64), _weight(1, 128, seed=1)
    layer = _layer(_weight(48, 128), scheme)

    def agrees() -> None:
        parts = layer.weight, layer.scales, layer.biases
        assert _headroom(layer.as_linear(x), x, parts, scheme) < 1

    agrees()
    agrees()
    assert len(repacks) == 1
    layer.load_state_dict(_layer(_weight(48, 128, seed=2), scheme).state_dict())
    agrees()
    layer.scales.mul_(2)
    layer.biases.mul_(2)
    agrees()
    layer.scales = layer.scales * 0.5
    layer.biases = layer.biases * 0.5
    agrees()
    layer.float().bfloat16()
    agrees()
    layer.weight = torch_packing.quantize(_weight(48, 128, seed=3), scheme)[0]
    agrees()
    assert len(repacks) == 6
    assert list(layer.state_dict()) == ["weight", "scales", "biases"]


@needs_kernel
def test_compiled_shares_the_copy(repacks: list[int]) -> None:
    torch.compiler.reset()
    layer, x = _layer(_weight(33, 128), Scheme(4, 64)), _weight(2, 128, seed=1)
    want = layer.as_linear(x)
    compiled = torch.compile(layer.as_linear, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), want)
    assert torch.equal(compiled(x[:1]), want[:1])
    assert repacks == [33]


def test_the_copy_dies_with_the_words() -> None:
    layer = _layer(_weight(16, 64), Scheme(4, 64))
    before = len(torch_int4._kept)
    layer.as_linear(_weight(1, 64))
    assert len(torch_int4._kept) == before + KERNEL
    del layer
    assert len(torch_int4._kept) == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 8])
def test_shapes_of_x(dtype: torch.dtype, bits: int) -> None:
    """No rows, one vector, a batch and a strided x give what two dimensions give."""
    layer, x = _layer(_weight(33, 64, dtype), Scheme(bits, 32)), _weight(4, 64, dtype, seed=1)
    whole = layer.as_linear(x)
    assert layer.as_linear(x[:0]).shape == (0, 33)
    assert layer.as_linear(x.reshape(2, 2, 64)).shape == (2, 2, 33)
    parts = layer.weight, layer.scales, layer.biases
    spread = torch.stack([x, -x], -1).flatten(1)[:, ::2]
    for given, got in ((x, whole), (x[0], layer.as_linear(x[0])), (x, layer.as_linear(spread))):
        assert _headroom(got.reshape(-1, 33), given.reshape(-1, 64), parts, layer.scheme) < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradient_of_x_by_tiles(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_product, "TILE_BYTES", 7 * 64 * dtype.itemsize)
    layer, x = _layer(_weight(33, 64, dtype), Scheme(4, 32)), _weight(3, 64, dtype, seed=1).requires_grad_()
    seed = _weight(3, 33, dtype, seed=2)
    (got,) = torch.autograd.grad(layer.as_linear(x), x, seed)
    table = torch_packing.dequantize(layer.weight, layer.scales, layer.biases, layer.scheme, dtype).double()
    torch.testing.assert_close(got.double(), seed.double() @ table, rtol=2**-7, atol=2**-10)


@pytest.mark.parametrize("mode", ["affine", "mxfp4", "mxfp8", "nvfp4"])
def test_one_tile_at_a_time(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tile has more bytes than stated, and the one before is gone when the next is made."""
    scheme = {"affine": Scheme(8, 64), "mxfp4": Scheme(4, 32, mode), "mxfp8": Scheme(8, 32, mode)}.get(
        mode, Scheme(4, 16, "nvfp4")
    )
    alive: list[int] = [0]
    sizes: list[int] = []
    original = torch_packing.dequantize

    def counted(*args: Any) -> torch.Tensor:
        assert alive[0] == 0, "two tiles are alive"
        tile = original(*args)
        sizes.append(tile.nbytes)
        alive[0] += 1
        weakref.finalize(tile, lambda: alive.__setitem__(0, alive[0] - 1))
        return tile

    monkeypatch.setattr(torch_product, "dequantize", counted)
    parts = torch_packing.quantize(_weight(3000, 1024, torch.float32), scheme)
    torch_product.product(torch.ones(2, 1024), *parts, scheme)
    assert len(sizes) == 3
    assert max(sizes) <= torch_product.TILE_BYTES == 4 * 2**20
