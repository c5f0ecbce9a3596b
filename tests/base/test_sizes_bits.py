"""Sizes as people write them, and bit fields as manuals write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.base import bits
from bimetal.base.errors import BimetalError
from bimetal.base.sizes import GIB, KIB, MIB, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512M", 512 * MIB),
        ("4 GiB", 4 * GIB),
        ("4kb", 4 * KIB),
        ("1t", 1 << 40),
        ("0x1000", 4096),
        ("0X10k", 16 * KIB),
        ("010", 10),
        ("1.5G", 3 * GIB // 2),
        ("0.5 KiB", 512),
        ("512b", 512),
        (4096, 4096),
    ],
)
def test_parse(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_a_number_alone_counts_the_unit_given() -> None:
    assert parse_size("512", unit=MIB) == 512 * MIB
    assert parse_size("0x10", unit=MIB) == 16 * MIB
    assert parse_size("512B", unit=MIB) == 512
    assert parse_size("1G", unit=MIB) == GIB
    assert parse_size(512, unit=MIB) == 512, "an int is bytes"


@pytest.mark.parametrize(
    "text",
    ["", "M", "12 parsecs", "-1", "1.5", "1.3K", "1,5G", ".5G", "512MM", "0x", "9" * 5000, -1],
)
def test_parse_refuses(text: str | int) -> None:
    with pytest.raises(BimetalError) as caught:
        parse_size(text)
    assert caught.value.exit_code == 64
    assert str(text) in caught.value.cause


@given(st.integers(0, 1 << 50))
def test_format_is_parsed_back(size: int) -> None:
    text = format_size(size).replace(" bytes", "").replace(" byte", "")
    assert parse_size(text) == size


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 63), st.integers(0, 63), st.integers(0))
def test_insert_then_extract(value: int, a: int, b: int, field: int) -> None:
    high, low = max(a, b), min(a, b)
    inserted = bits.insert(value, high, low, field)
    assert bits.extract(inserted, high, low) == field & bits.mask(high - low + 1)
    outside = ~(bits.mask(high - low + 1) << low)
    assert inserted & outside == value & outside


@given(st.integers(0, 1 << 64), st.integers(0, 40))
def test_alignment(value: int, shift: int) -> None:
    step = 1 << shift
    down, up = bits.align_down(value, step), bits.align_up(value, step)
    assert bits.is_aligned(down, step)
    assert bits.is_aligned(up, step)
    assert value - step < down <= value <= up < value + step
