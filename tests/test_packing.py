"""The oracle of the packed format: against hand-made words, other libraries' casts, and what MLX recorded."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from touchstone.golden import packing, quantized_bounds
from touchstone.golden.cases import quantized
from touchstone.golden.packing import FORMATS, Format
from touchstone.golden.store import open_golden, open_recorded
from touchstone.golden.streams import words


def test_words_by_hand() -> None:
    packed = np.array([[0x76543210, 0xFEDCBA98], [0x0000000F, 0xF0000000]], np.uint32)
    assert packing.unpack(packed, 4).tolist() == [list(range(16)), [15] + [0] * 14 + [15]]
    assert packing.unpack(packed[:1, :1], 8).tolist() == [[0x10, 0x32, 0x54, 0x76]]


def test_a_code_that_crosses_words() -> None:
    """docs/packed-format.md: with 3 bits the code of column 10 is bits 30 and 31 of word 0 and bit 0 of word 1."""
    codes = np.zeros(32, np.int64)
    codes[10] = 0b101
    assert packing.pack(codes, 3).tolist() == [1 << 30, 1, 0]
    assert packing.unpack(np.array([1 << 31, 1, 0], np.uint32), 3)[10] == 0b110


@pytest.mark.parametrize("bits", packing.AFFINE_BITS)
def test_every_width_round_trips(bits: int) -> None:
    codes = (words("codes", 3 * 256) % np.uint64(2**bits)).astype(np.int64).reshape(3, 256)
    packed = packing.pack(codes, bits)
    assert packed.shape == (3, 256 * bits // 32)
    assert packed.dtype == np.uint32
    assert (packing.unpack(packed, bits) == codes).all()


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [
        ("E2M1", ml_dtypes.float4_e2m1fn),
        ("E4M3", ml_dtypes.float8_e4m3fn),
        ("E8M0", ml_dtypes.float8_e8m0fnu),
    ],
)
def test_small_floats_are_read_as_ml_dtypes_reads_them(encoding: str, dtype: type) -> None:
    values = packing.values_of(encoding)
    want = np.arange(len(values), dtype=np.uint8).view(dtype).astype(np.float64)
    assert np.array_equal(values, want, equal_nan=True)
    assert (np.signbit(values) == np.signbit(want))[~np.isnan(want)].all()


def test_values_by_hand() -> None:
    affine = Format("affine", 4, 4)
    scales, biases = np.array([[0.5, 2.0], [4.0, 1.0]]), np.array([[-1.0, 0.25], [0.0, 3.0]])
    packed = np.array([[0x76543210], [0x00000001]], np.uint32)
    values = packing.dequantize(packed, scales, biases, affine)
    assert values.tolist() == [[-1, -0.5, 0, 0.5, 8.25, 10.25, 12.25, 14.25], [4, 0, 0, 0, 3, 3, 3, 3]]
    block = packing.format_of("mxfp4", 4, 32)
    row = np.array([[0xFEDCBA98, 0x76543210, 0, 0]], np.uint32)
    values = packing.dequantize(row, np.array([[128]], np.uint8), None, block)
    assert values[0, :16].tolist() == [0, -1, -2, -3, -4, -6, -8, -12, 0, 1, 2, 3, 4, 6, 8, 12]


@pytest.mark.parametrize(
    ("mode", "largest", "scale"),
    [
        ("mxfp4", 6.0, 1.0),
        ("mxfp4", 6.0000005, 2.0),
        ("mxfp4", 3.5, 1.0),
        ("mxfp4", 0.0, 1.0),
        ("mxfp4", 1e-45, 2.0**-127),
        ("mxfp4", 3e38, 2.0**126),
        ("mxfp8", 448.0, 1.0),
        ("mxfp8", 449.0, 2.0),
        ("nvfp4", 6.0, 1.0),
        ("nvfp4", 6 * 1.0625, 1.0),
        ("nvfp4", 6 * 1.1875, 1.25),
        ("nvfp4", 6 * 2.0**-10, 0.0),
        ("nvfp4", 1e4, 448.0),
    ],
)
def test_scales_of_block_modes(mode: str, largest: float, scale: float) -> None:
    form = next(f for f in FORMATS if f.mode == mode)
    assert packing.block_scale(np.array(largest), form) == scale


def test_nearest_takes_ties_to_the_even_code() -> None:
    elements = packing.values_of("E2M1")[:8]
    assert packing.nearest(np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 7.0]), elements).tolist() == [
        0, 1, 1, 2, 2, 4, 4, 6,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_recorded_parts_are_read_right(form: Format, dtype: str) -> None:
    """What MLX made of the golden table dequantizes to within the derived bound, and its words pack to themselves."""
    golden, recorded = open_golden(), open_recorded()[-1]
    parts = [recorded[quantized.recorded(form, dtype, part)] for part in quantized.parts_of(form)]
    weight = golden[quantized.ordinary(dtype)]
    values = packing.dequantize(parts[0], parts[1], parts[2] if len(parts) == 3 else None, form)
    headroom = (np.abs(values - weight.astype(np.float64)) / quantized_bounds.weights(weight, form)).max()
    assert 0.5 < headroom <= 1
    assert (packing.pack(packing.unpack(parts[0], form.bits), form.bits) == parts[0]).all()
