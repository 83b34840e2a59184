"""Are converted parts the same weights, bit for bit where that is possible, and what is refused?"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from adapters import conversion
from adapters.conversion import Lattice
from adapters.interface import Packed, Scheme
from golden import packing, steps
from golden.cases import quantized
from golden.store import open_recorded

Q4_1, Q8_0 = Scheme(4, 32, "q4_1"), Scheme(8, 32, "q8_0")
DTYPES = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def recorded(dtype: str, bits: int, group: int = 32) -> Packed:
    """What MLX made of the ordinary table."""
    form, store = packing.format_of("affine", bits, group), open_recorded()[-1]
    words, scales, biases = (store[quantized.recorded(form, dtype, part)] for part in quantized.PARTS)
    return Packed(words, scales, biases, Scheme(bits, group))


def lattice(bits: int, scale: float, offset: float, seed: int = 0) -> Lattice:
    codes = np.random.default_rng(seed).integers(0, 2**bits, (3, 2, 32))
    return Lattice(codes, np.full((3, 2), scale), np.full((3, 2), offset), bits)


def same(first: Packed, second: Packed) -> bool:
    parts = [(getattr(first, name), getattr(second, name)) for name in ("weight", "scales", "biases")]
    return all((a is None and b is None) or (a.dtype == b.dtype and a.tobytes() == b.tobytes()) for a, b in parts)


@pytest.mark.parametrize("bits", packing.AFFINE_BITS)
def test_words_are_those_of_the_format(bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 2**bits, (3, 64))
    words = conversion.pack(codes, bits)
    assert words.dtype == np.uint32
    assert (words == packing.pack(codes, bits)).all()
    assert (conversion.unpack(words, bits) == codes).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("bits", "group"), [(b, 32) for b in packing.AFFINE_BITS] + [(4, 64), (8, 128)])
def test_recorded_parts_are_read_as_the_oracle_reads_them(dtype: str, bits: int, group: int) -> None:
    parts = recorded(dtype, bits, group)
    want = packing.dequantize(parts.weight, parts.scales, parts.biases, packing.format_of("affine", bits, group))
    assert (conversion.values(parts) == want).all()
    assert same(conversion.convert(parts, parts.scheme, DTYPES[dtype]), parts)


@pytest.mark.parametrize("scheme", [Q4_1, Q8_0], ids=str)
def test_blocks_are_read_and_written_as_the_gguf_package_does(scheme: Scheme) -> None:
    """float32(scale * code + offset) is its only rounding: products of a float16 and a code are exact."""
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType[scheme.mode.upper()]
    table = np.random.default_rng(5).normal(0, 0.07, (4, 128)).astype(np.float32)
    blocks = gguf.quants.quantize(table, kind)
    packed = Packed(blocks, None, None, scheme)
    want = gguf.quants.dequantize(blocks, kind)
    assert conversion.values(packed).astype(np.float32).tobytes() == want.tobytes()
    assert same(conversion.convert(packed, scheme, np.dtype("f4")), packed)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_four_bits_go_through_q4_1_bit_for_bit(dtype: str) -> None:
    """Of ordinary weights: bfloat16 has fewer significant bits than float16 and, at that size, fits its range."""
    parts = recorded(dtype, 4)
    assert (parts.scales.astype(np.float64) < 0).any()
    assert (parts.scales.astype(np.float64) > 0).any()
    blocks = conversion.convert(parts, Q4_1, DTYPES[dtype])
    assert (conversion.values(blocks) == conversion.values(parts)).all()
    assert same(conversion.convert(blocks, parts.scheme, DTYPES[dtype]), parts)


def test_float32_parts_round_to_float16_in_q4_1() -> None:
    parts = recorded("float32", 4)
    difference = np.abs(conversion.values(conversion.convert(parts, Q4_1, np.dtype("f4"))) - conversion.values(parts))
    read = conversion.read(parts)
    bound = np.repeat(steps.kept(read.scale, read.offset, 4, "float16"), 32, axis=-1)
    assert difference.max() > 0
    assert (difference <= bound).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_q8_0_goes_through_affine_and_intx_bit_for_bit(dtype: str) -> None:
    blocks = conversion.write(lattice(8, 2.0**-9 * 1.0009765625, -(2.0**-2) * 1.0009765625), Q8_0, DTYPES[dtype])
    for mode in ("affine", "intx"):
        there = conversion.convert(blocks, Scheme(8, 32, mode), DTYPES[dtype])
        assert (conversion.values(there) == conversion.values(blocks)).all()
        assert same(conversion.convert(there, Q8_0, DTYPES[dtype]), blocks)


def test_an_affine_group_that_is_not_symmetric_is_quantized_anew_for_q8_0() -> None:
    parts = recorded("float32", 8)
    want = conversion.values(parts)
    got = conversion.values(conversion.convert(parts, Q8_0, np.dtype("f4")))
    groups = want.reshape(16, -1, 32)
    bound = steps.bound(groups, "q8_0", 8, "float32").reshape(want.shape)
    assert np.abs(got - want).max() > 0
    assert (np.abs(got - want) <= bound).all()
    assert (np.abs(got - want) > bound / 2).any()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_intx_has_the_scales_and_codes_of_affine_and_an_integer_zero_point(bits: int, dtype: str) -> None:
    parts = recorded(dtype, bits)
    intx = conversion.convert(parts, Scheme(bits, 32, "intx"), DTYPES[dtype])
    assert (intx.weight.dtype, intx.biases.dtype) == (np.int8, np.int8)
    assert intx.scales.tobytes() == parts.scales.tobytes()
    half = 2 ** (bits - 1)
    assert (intx.weight.astype(int) + half == conversion.unpack(parts.weight, bits)).all()
    shift = np.abs((intx.biases.astype(np.float64) + half) * intx.scales.astype(np.float64) + parts.biases.astype("f8"))
    assert (shift <= np.abs(parts.scales.astype(np.float64)) / 2).all()


def test_a_zero_point_beyond_int8_is_quantized_anew() -> None:
    """A lattice of weights from 10 to 10.15: its zero lies 1,000 steps away."""
    source = conversion.write(lattice(4, 0.01, 10.0), Scheme(4, 32), np.dtype("f4"))
    got = conversion.convert(source, Scheme(4, 32, "intx"), np.dtype("f4"))
    want = conversion.values(source)
    difference = np.abs(conversion.values(got) - want)
    assert (difference <= steps.bound(want.reshape(3, 2, 32), "intx", 4, "float32").reshape(3, 64)).all()
    assert difference.max() > 0.1


@pytest.mark.parametrize("mode", ["affine", "intx", "q4_1"])
@pytest.mark.parametrize("value", [0.0, 0.375, -0.375])
def test_a_constant_group_without_a_step_keeps_its_value(mode: str, value: float) -> None:
    blocks = conversion.write(
        Lattice(np.zeros((1, 1, 32), int), np.zeros((1, 1)), np.full((1, 1), value), 4), Q4_1, DTYPES["float16"]
    )
    got = conversion.values(conversion.convert(blocks, Scheme(4, 32, mode), DTYPES["float32"]))
    np.testing.assert_allclose(got, value, rtol=2.0**-23)


REFUSED: dict[str, tuple[Any, Scheme, str]] = {
    "another group size": (lattice(4, 0.01, 0.0), Scheme(4, 64), "affine4g32 and affine4g64 differ"),
    "another width": (lattice(4, 0.01, 0.0), Q8_0, "affine4g32 and q8_0 differ"),
    "another mode": (lattice(4, 0.01, 0.0), Scheme(4, 32, "qwix"), "'qwix' is none of affine, intx, q4_1, q8_0"),
    "a scale beyond float16": (lattice(4, 1e5, 0.0), Q4_1, "1e.05 is too large for float16"),
    "an offset beyond float16": (lattice(4, 1.0, -7e4), Q4_1, "7e.04 is too large for float16"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_converted_is_refused(what: str) -> None:
    made, scheme, message = REFUSED[what]
    source = conversion.write(made, Scheme(4, 32), np.dtype("f4"))
    with pytest.raises(ValueError, match=message):
        conversion.convert(source, scheme, np.dtype("f4"))
