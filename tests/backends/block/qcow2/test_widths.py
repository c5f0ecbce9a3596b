"""Reference counts of all widths, as the specification numbers their bits."""

from __future__ import annotations

import pytest

from bimetal.backends.block.qcow2.widths import new_counts, pack, unpack

EXAMPLES = [
    (1, [1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0], b"\x81\x02"),
    (2, [1, 2, 3, 0, 0, 0, 0, 3], b"\x39\xc0"),
    (4, [1, 15, 2, 0], b"\xf1\x02"),
    (8, [1, 255], b"\x01\xff"),
    (16, [1, 0x1234], b"\x00\x01\x12\x34"),
    (32, [1, 0x12345678], b"\x00\x00\x00\x01\x12\x34\x56\x78"),
    (64, [1 << 63], b"\x80" + bytes(7)),
]


@pytest.mark.parametrize(("bits", "counts", "data"), EXAMPLES)
def test_counts_in_a_block(bits: int, counts: list[int], data: bytes) -> None:
    assert list(unpack(data, bits)) == counts
    assert pack(unpack(data, bits), bits) == data


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32, 64])
def test_new_counts_are_zero(bits: int) -> None:
    counts = new_counts(bits, 16)
    assert list(counts) == [0] * 16
    assert pack(counts, bits) == bytes(16 * bits // 8)
