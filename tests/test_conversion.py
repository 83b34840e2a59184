"""Are converted parts the same weights, bit for bit where that is possible, and what is refused?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from touchstone.adapters.interface import Packed, Scheme
from touchstone.adapters.libraries import conversion
from touchstone.adapters.libraries.conversion import Lattice
from touchstone.golden import lattices, packing, steps
from touchstone.golden.cases import quantized
from touchstone.golden.store import open_recorded
from touchstone.suites import elsewhere

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
    assert lattices.blocks(blocks, scheme.mode).rows.astype(np.float32).tobytes() == want.tobytes()
    assert same(conversion.convert(packed, scheme, np.dtype("f4")), packed)


@pytest.mark.parametrize("scheme", [Scheme(4, 32), Scheme(4, 32, "intx"), Q4_1, Q8_0], ids=str)
def test_the_oracle_reads_every_lattice_as_it_was_written(scheme: Scheme) -> None:
    """In powers of two, exactly."""
    written = lattice(scheme.bits, -(2.0**-6), 2.0**-6 * 2 ** (scheme.bits - 1))
    packed = conversion.write(written, scheme, np.dtype("f2"))
    got = elsewhere.lattice(packed)
    assert (got.weights == 2.0**-6 * (2 ** (scheme.bits - 1) - written.codes)).all()
    assert (got.scale[..., 0] == written.scale).all()
    assert (got.offset[..., 0] == written.offset).all()
    assert got.bits == scheme.bits


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


def constant(bits: int, scale: float, offset: float, code: int) -> Lattice:
    return Lattice(np.full((1, 1, 32), code), np.full((1, 1), scale), np.full((1, 1), offset), bits)


def affine(bits: int, scale: float, offset: float) -> Packed:
    return conversion.write(lattice(bits, scale, offset), Scheme(bits, 32), np.dtype("f4"))


def intx() -> Packed:
    return conversion.write(lattice(4, 0.01, 0.0), Scheme(4, 32, "intx"), np.dtype("f4"))


def blocks() -> Packed:
    return conversion.write(lattice(4, 0.01, 0.0), Q4_1, np.dtype("f4"))


@pytest.mark.parametrize("mode", ["affine", "intx", "q4_1", "q8_0"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_group_of_zeros_with_torchaos_smallest_scale_stays_one(mode: str, dtype: str) -> None:
    bits = 8 if mode == "q8_0" else 4
    zeros = conversion.write(constant(bits, 2.0**-126, 0.0, 0), Scheme(bits, 32, mode), DTYPES[dtype])
    assert not conversion.values(zeros).any()


@pytest.mark.parametrize("mode", ["affine", "q4_1"])
def test_a_constant_group_whose_scale_is_too_small_keeps_its_value_in_the_offset(mode: str) -> None:
    made = conversion.write(constant(4, 2.0**-26, 2.0**-26, 15), Scheme(4, 32, mode), DTYPES["float16"])
    assert (conversion.values(made) == 2.0**-22).all()


@pytest.mark.parametrize("size", [1e-3, 1e-4, 1e-5])
def test_small_weights_are_quantized_anew_within_bound_in_float16(size: float) -> None:
    """Smaller than torchao's floor under a scale, 2**-14, would leave of them."""
    source = conversion.write(lattice(4, size / 1000, size), Scheme(4, 32), np.dtype("f4"))
    got = conversion.values(conversion.convert(source, Scheme(4, 32, "intx"), DTYPES["float16"]))
    want = conversion.values(source)
    assert (np.abs(got - want) <= steps.bound(want.reshape(3, 2, 32), "intx", 4, "float16").reshape(3, 64)).all()


def test_subnormal_scales_move_weights_by_half_the_smallest_one_a_step() -> None:
    source = affine(4, 1.4 * 2.0**-24, 0.0)
    got, want = (conversion.values(p) for p in (conversion.convert(source, Q4_1, np.dtype("f4")), source))
    assert 0 < np.abs(got - want).max() <= 15 * 2.0**-25


F4, F2, BF16 = DTYPES.values()
FINE, NAN = affine(4, 0.01, 0.0), np.full((3, 2), np.nan, "f4")
ROWLESS = Packed(np.zeros((0, 4), "u4"), np.zeros((0, 1), "f4"), np.zeros((0, 1), "f4"), Scheme(4, 32))
REFUSED: dict[str, tuple[Packed, Scheme, Any, str]] = {
    "another group size": (FINE, Scheme(4, 64), F4, "4 bits in groups of 32 are not affine4g64"),
    "another width": (FINE, Q8_0, F4, "4 bits in groups of 32 are not q8_0"),
    "another mode": (FINE, Scheme(4, 32, "qwix"), F4, "'qwix' is none of affine, intx, q4_1, q8_0"),
    "a block mode": (FINE, Scheme(4, 32, "mxfp4"), F4, "'mxfp4' is none of affine"),
    "Q4_1 of 8 bits": (affine(8, 0.8, 0.0), Scheme(8, 32, "q4_1"), F4, "q4_1 has bits 4, not 8"),
    "Q4_1 of groups of 64": (recorded("float32", 4, 64), Scheme(4, 64, "q4_1"), F4, "q4_1 has group_size 32, not 64"),
    "intx of 9 bits": (FINE, Scheme(9, 32, "intx"), F4, "intx has bits 1, 2, 3, 4, 5, 6, 7, 8, not 9"),
    "affine of 7 bits": (FINE, Scheme(7, 32), F4, "affine has bits 1, 2, 3, 4, 5, 6, 8, not 7"),
    "groups of nothing": (FINE, Scheme(4, 0, "intx"), F4, "intx has group_size 32, 64, 128, not 0"),
    "integer scales": (FINE, Scheme(4, 32), np.dtype("i4"), "scales are float32, float16 or bfloat16, not int32"),
    "a scale beyond float16": (affine(4, 1e5, 0.0), Q4_1, F4, "the scale 1e.05 of row 0, group 0 is too large for fl"),
    "an offset beyond float16": (affine(4, 1.0, -7e4), Q4_1, F4, "the offset -7e.04 of row 0, group 0 is too large"),
    "a scale below float16": (affine(4, 1e-9, 0.0), Q4_1, F4, "the scale 1e-09 of row 0, group 0 is too small for fl"),
    "a scale below float16, Q8_0": (affine(8, 1e-9, 0.0), Q8_0, F4, "of row 0, group 0 is too small for float16"),
    "a constant below Q8_0": (
        conversion.write(constant(8, 0.0, 1e-6, 0), Scheme(8, 32), np.dtype("f4")),
        Q8_0,
        F4,
        "the scale 7.87e-09 of row 0, group 0 is too small for float16",
    ),
    "a constant below intx in float16": (
        conversion.write(constant(4, 2.0**-26, 2.0**-26, 15), Scheme(4, 32), np.dtype("f4")),
        Scheme(4, 32, "intx"),
        F2,
        "the scale 1.49e-08 of row 0, group 0 is too small for float16",
    ),
    "a scale below float16, affine": (affine(4, 1e-9, 0.0), Scheme(4, 32), F2, "1e-09 of row 0, group 0 is too small"),
    "a scale below float16, intx": (affine(4, 1e-9, 0.0), Scheme(4, 32, "intx"), F2, "is too small for float16"),
    "no number": (replace(FINE, scales=NAN), Q4_1, F4, "the scale nan of row 0, group 0 is not finite"),
    "infinity": (replace(FINE, biases=NAN * 0 + np.inf), Scheme(4, 32, "intx"), F4, "the offset .* is not finite"),
    "words for fewer groups": (replace(FINE, weight=FINE.weight[:2, :4]), Q4_1, F4, r"has words \(3, 8\), not"),
    "parts of other rows": (Packed(np.zeros((2, 4), "u4"), NAN[:1], NAN[:1], FINE.scheme), Q4_1, F4, "has words"),
    "biases of another shape": (replace(FINE, biases=FINE.biases[:, :1]), Q4_1, F4, "do not fit scales"),
    "biases of another dtype": (replace(FINE, biases=FINE.biases.astype("f2")), Q4_1, F4, "biases are float32, not fl"),
    "words of bytes": (replace(FINE, weight=FINE.weight.view("u1")), Q4_1, F4, "weight is uint32, not uint8"),
    "double scales": (replace(FINE, scales=FINE.scales.astype("f8")), Q4_1, F4, "scales are float32, float16 or bfl"),
    "no scales": (replace(FINE, scales=None), Q4_1, F4, "affine4g32 has scales"),
    "a list": (replace(FINE, scales=FINE.scales.tolist()), Q4_1, F4, "as a NumPy matrix .*, not list"),
    "a vector": (replace(FINE, scales=FINE.scales[0]), Q4_1, F4, r"a NumPy matrix .*, not ndarray of shape \(2,\)"),
    "no rows": (ROWLESS, Q4_1, F4, r"has weight as a NumPy matrix with rows"),
    "affine of 8 bits as 4": (replace(FINE, scheme=Scheme(8, 32)), Q8_0, F4, "has words"),
    "intx of fewer columns": (replace(intx(), weight=intx().weight[:, :32]), Q4_1, F4, r"has weight \(3, 64\), not"),
    "intx zero points": (replace(intx(), biases=intx().biases[:, :1]), Q4_1, F4, r"has biases \(3, 2\), not"),
    "float zero points": (replace(intx(), biases=intx().scales), Q4_1, F4, "biases are int8, not float32"),
    "intx codes": (replace(intx(), weight=intx().weight + np.int8(9)), Q4_1, F4, "intx4g32 has codes -8 to 7, not"),
    "part of a block": (replace(blocks(), weight=blocks().weight[:, :30]), Scheme(4, 32), F4, "blocks of 20 bytes"),
    "blocks and scales": (replace(blocks(), scales=FINE.scales), Scheme(4, 32), F4, "q4_1 has no scales"),
    "blocks of words": (
        replace(blocks(), weight=blocks().weight.view("u4")),
        Scheme(4, 32),
        F4,
        "is uint8, not",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_converted_is_refused(what: str) -> None:
    source, scheme, dtype, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        conversion.convert(source, scheme, dtype)


def test_a_group_that_is_kept_is_not_refused_for_what_quantizing_it_anew_would_need() -> None:
    """A range with zero of 135 steps of 10,000, over 15 codes, is beyond float16; the lattice itself is not."""
    source = affine(4, 1e4, -1e4 * 135)
    kept = conversion.convert(source, Scheme(4, 32, "intx"), DTYPES["float16"])
    assert (conversion.values(kept) == conversion.values(source)).all()
