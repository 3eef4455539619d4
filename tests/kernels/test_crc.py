"""The constants of the CRC-32 kernels, derived again from the polynomial."""

import re

import pytest

from mmoe_embed.resources import kernels_dir

P = 0x104C11DB7  # bit i is the coefficient of x^i
ORDER = 2**32 - 1  # of x: P is primitive


def times(a: int, b: int) -> int:
    """a b mod P"""
    product = 0
    for i in range(b.bit_length()):
        product ^= (a << i) * (b >> i & 1)
    for i in range(product.bit_length() - 1, 31, -1):
        product ^= (P << i - 32) * (product >> i & 1)
    return product


def power(n: int) -> int:
    """x^n mod P, n of either sign"""
    n, result, base = n % ORDER, 1, 2
    while n:
        result, base, n = times(result, base) if n & 1 else result, times(base, base), n >> 1
    return result


def reflect(value: int, bits: int) -> int:
    """Bit 0 changes places with bit `bits` - 1, and so on."""
    return int(f"{value:0{bits}b}"[::-1], 2)


def combine(goal: int, far: int) -> tuple[int, int]:
    """(u, v) of degree below 16 with u + x^far v = goal mod P, reflected."""
    basis: list[
        tuple[int, int]
    ] = []  # (value with a leading bit that no later one has, which of the 32 powers make it)
    for i, value in enumerate([*(power(i) for i in range(16)), *(power(far + i) for i in range(16))]):
        reduced, made_of = value, 1 << i
        for other, other_made_of in basis:
            if reduced ^ other < reduced:
                reduced, made_of = reduced ^ other, made_of ^ other_made_of
        assert reduced, "the powers do not span the residues"
        basis = sorted([*basis, (reduced, made_of)], reverse=True)
    made_of = 0
    for other, other_made_of in basis:
        if goal ^ other < goal:
            goal, made_of = goal ^ other, made_of ^ other_made_of
    assert goal == 0
    return reflect(made_of & 0xFFFF, 16), reflect(made_of >> 16, 16)


def constants(folder: str) -> list[int]:
    """The 32- and 64-bit hexadecimal numbers of a folder's kernel."""
    text = (kernels_dir() / folder / "mmoe_crc32.c").read_text()
    return [int(number, 16) for number in re.findall(r"0x[0-9A-F]{8,16}", text)]


def halves(exponent: int, far: int) -> list[int]:
    """[near, far] multipliers of a word whose lowest power is x^exponent, for products that are x times too large."""
    low, high = combine(power(exponent + 15), far), combine(power(exponent - 1), far)
    return [high[i] << 16 | low[i] for i in range(2)]


def test_powers_of_x():
    assert power(32) == P ^ 1 << 32
    assert power(ORDER) == 1
    assert times(power(-7), power(7)) == 1


def test_helium_constants():
    words = [halves(32 * (4 - word) + offset, 16) for offset in (128, 0) for word in range(4)]
    assert constants("mve") == [*halves(128, -128), *(near for near, _ in words), *(far for _, far in words)]


@pytest.mark.parametrize(("at", "bits"), [(0, 512), (2, 128)])
def test_x86_constants(at, bits):
    assert constants("x86")[at : at + 2] == [reflect(power(bits + 63), 64), reflect(power(bits - 1), 64)]


def test_dsp_tables():
    def remainder(byte: int, zeros: int) -> int:
        return reflect(times(reflect(byte, 8), power(24 + 8 + 8 * zeros)), 32)

    tables = [remainder(byte, zeros) for zeros in range(4) for byte in range(256)]
    assert constants("dsp")[-1024:] == tables
