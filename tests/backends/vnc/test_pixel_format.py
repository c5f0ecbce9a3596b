"""Pixels in the formats that clients ask for, judged one by one."""

from __future__ import annotations

import random
import struct

import pytest

from bimetal.backends.vnc.pixel_format import NATIVE, ClientFormat

PIXELS = random.Random(3).randbytes(4 * 500)
FORMATS = {
    "native": NATIVE,
    "big": ClientFormat(big_endian=1),
    "rgb": ClientFormat(shifts=(0, 8, 16)),
    "upper": ClientFormat(shifts=(24, 16, 8)),
    "565": ClientFormat(16, 16, 0, 1, (31, 63, 31), (11, 5, 0)),
    "565 big": ClientFormat(16, 16, 1, 1, (31, 63, 31), (11, 5, 0)),
    "332": ClientFormat(8, 8, 0, 1, (7, 7, 3), (0, 3, 6)),
    "10 bits": ClientFormat(32, 30, 0, 1, (1023, 1023, 1023), (20, 10, 0)),
}


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_each_pixel_has_its_colours(format: ClientFormat) -> None:
    made = format.convert(PIXELS)
    layout = ("<>"[format.big_endian]) + {1: "B", 2: "H", 4: "I"}[format.size]
    for at, (value,) in enumerate(struct.iter_unpack(layout, made)):
        blue, green, red = PIXELS[4 * at : 4 * at + 3]
        for colour, maximum, shift in zip(
            (red, green, blue), format.maxima, format.shifts, strict=True
        ):
            assert value >> shift & maximum == (colour * maximum + 127) // 255
    assert len(made) == 500 * format.size
    assert ClientFormat.of(format.wire) == format


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_three_bytes_have_all_colours(format: ClientFormat) -> None:
    if format.size == 4 and format.depth <= 24:
        assert format.compact is not None
        left = set(range(4)) - set(range(4)[format.compact])
        if format != NATIVE:  # whose fourth byte is whatever the guest has there
            assert all(format.convert(PIXELS)[place::4] == bytes(500) for place in left)
    else:
        assert format.compact is None


@pytest.mark.parametrize(
    "wire",
    [
        struct.pack(">BBBBHHHBBB3x", 24, 24, 0, 1, 255, 255, 255, 16, 8, 0),
        struct.pack(">BBBBHHHBBB3x", 8, 8, 0, 0, 255, 255, 255, 16, 8, 0),
        struct.pack(">BBBBHHHBBB3x", 16, 16, 0, 1, 255, 255, 255, 16, 8, 0),
        struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 0, 255, 255, 16, 8, 0),
        struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 25, 8, 0),
        struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 255, 8, 0),
        bytes(16),
    ],
)
def test_formats_that_cannot_be(wire: bytes) -> None:
    with pytest.raises(ValueError, match="colour"):
        ClientFormat.of(wire)
