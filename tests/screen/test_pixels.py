"""Formats of pixels, judged by Pillow."""

from __future__ import annotations

import random

import pytest
from PIL import Image

from bimetal.screen.pixels import BGRX, RGB565, PixelFormat, ordered
from bimetal.screen.surface import SIDE_LIMIT, Surface, fits

WIDTH, HEIGHT = 37, 11
FORMATS = {
    "BGRX": (BGRX, 0),
    "RGBX": (ordered(4, 2, 1, 0), 0),
    "XRGB": (ordered(4, 3, 2, 1), 0),
    "XBGR": (ordered(4, 1, 2, 3), 0),
    "RGB": (ordered(3, 2, 1, 0), 0),
    "BGR": (ordered(3, 0, 1, 2), 0),
    "BGR;16": (RGB565, 1),
}
"""Pillow's names, and by how much a colour may differ: it rounds those of few bits in its way."""


def surface(format: PixelFormat, gap: int) -> Surface:
    stride = WIDTH * format.size + gap
    noise = bytearray(random.Random(gap).randbytes(stride * HEIGHT))
    return Surface(WIDTH, HEIGHT, stride, format, memoryview(noise))


@pytest.mark.parametrize("gap", [0, 13])
@pytest.mark.parametrize("name", FORMATS)
def test_viewers_get_the_colours_that_the_guest_has_stored(name: str, gap: int) -> None:
    format, tolerance = FORMATS[name]
    shown = surface(format, gap)
    expected = Image.frombytes(
        "RGB", (WIDTH, HEIGHT), bytes(shown.memory), "raw", name, shown.stride
    ).tobytes()
    pixels = shown.copy().pixels()
    ours = bytearray(WIDTH * HEIGHT * 3)
    for colour in range(3):
        ours[2 - colour :: 3] = pixels[colour::4]
    assert max(abs(a - b) for a, b in zip(ours, expected, strict=True)) <= tolerance


def test_some_rows_are_those_of_the_whole() -> None:
    shown = surface(BGRX, 5)
    whole, some = shown.copy(), shown.copy(3, 4)
    assert (some.top, some.height) == (3, 4)
    assert some.data == whole.data[3 * WIDTH * 4 : 7 * WIDTH * 4]


@pytest.mark.parametrize(
    ("width", "height", "good"),
    [(1, 1, True), (4096, 4096, True), (4097, 4096, False), (SIDE_LIMIT, 2, True),
     (SIDE_LIMIT + 1, 1, False), (0, 5, False), (5, 0, False)],
)  # fmt: skip
def test_the_size_of_a_picture_is_limited(width: int, height: int, good: bool) -> None:
    assert fits(width, height) is good


@pytest.mark.parametrize(("stride", "length"), [(35, 400), (40, 399)])
def test_a_surface_lies_in_its_memory(stride: int, length: int) -> None:
    with pytest.raises(ValueError, match="no"):
        Surface(9, 10, stride, BGRX, memoryview(bytes(length - 4)))
