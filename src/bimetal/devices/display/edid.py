"""What a monitor says of itself: the base block of VESA's E-EDID, release A, revision 2 (EDID 1.4).

Section numbers are those of that standard. Drivers take the preferred size from it, and sizes in
millimetres, from which desktops derive how large letters are.
"""

from __future__ import annotations

from struct import Struct

__all__ = ["EDID_SIDE_LIMIT", "edid"]

EDID_SIDE_LIMIT = 4095
"""Pixels of a side at most: a timing has twelve bits for them."""

HEADER = bytes((0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0))
_PRODUCT = Struct(">H")
"""Manufacturer, three letters of five bits (3.4.1)."""
MANUFACTURER = "BML"
_IDENTITY = Struct("<HIBB")
"""Product, serial number, week and year since 1990 of manufacture (3.4)."""
VERSION = bytes((1, 4))
DIGITAL = 0xA5
"""Video input: digital, 8 bits a colour, DisplayPort (3.6.1)."""
GAMMA = 120
"""2.2, as hundredths above 1 (3.6.3)."""
FEATURES = 0x06
"""Colours are sRGB; the preferred timing is that of the panel (3.6.4)."""
SRGB = bytes((0xEE, 0x91, 0xA3, 0x54, 0x4C, 0x99, 0x26, 0x0F, 0x50, 0x54))
"""Chromaticity of sRGB's primaries and white (3.7)."""
NO_ESTABLISHED = bytes(3)
NO_STANDARD = b"\1\1" * 8
_NAME = Struct(">5s13s")
NAME = _NAME.pack(bytes((0, 0, 0, 0xFC, 0)), b"Bimetal\n     ")
UNUSED = bytes((0, 0, 0, 0x10)) + bytes(14)
"""Descriptors of 18 bytes (3.10.3): the name, and one that says nothing."""

HORIZONTAL_BLANK, HORIZONTAL_FRONT, HORIZONTAL_SYNC = 160, 48, 32
VERTICAL_BLANK, VERTICAL_FRONT, VERTICAL_SYNC = 45, 3, 6
"""Reduced blanking, in pixels and lines."""

REFRESH = 60
CLOCK_UNIT, CLOCK_LIMIT = 10_000, 0xFFFF
"""The pixel clock counts 10 kHz, in 16 bits: very large pictures come less often."""

SYNC = 0x1A
"""Digital sync on two wires, the horizontal one positive (3.10.2)."""

_TIMING = Struct("<H16B")


def edid(width: int, height: int) -> bytes:
    """The 128 bytes for a monitor that prefers this size, at most `EDID_SIDE_LIMIT` a side, with a
    hundred pixels to an inch."""
    number = 0
    for letter in MANUFACTURER:
        number = number << 5 | ord(letter) - ord("@")
    size_mm = width * 254 // 1000, height * 254 // 1000
    block = b"".join(
        (
            HEADER,
            _PRODUCT.pack(number),
            _IDENTITY.pack(1, 0, 0, 2026 - 1990),
            VERSION,
            bytes((DIGITAL, max(1, size_mm[0] // 10), max(1, size_mm[1] // 10), GAMMA, FEATURES)),
            SRGB,
            NO_ESTABLISHED,
            NO_STANDARD,
            _timing(width, height, *size_mm),
            NAME,
            UNUSED,
            UNUSED,
            b"\0",  # no further blocks
        )
    )
    return block + bytes((-sum(block) & 0xFF,))


def _timing(width: int, height: int, width_mm: int, height_mm: int) -> bytes:
    """A detailed timing descriptor (3.10.2)."""
    total = (width + HORIZONTAL_BLANK) * (height + VERTICAL_BLANK)
    clock = min(CLOCK_LIMIT, total * REFRESH // CLOCK_UNIT)
    return _TIMING.pack(
        clock,
        width & 0xFF,
        HORIZONTAL_BLANK & 0xFF,
        width >> 8 << 4 | HORIZONTAL_BLANK >> 8,
        height & 0xFF,
        VERTICAL_BLANK & 0xFF,
        height >> 8 << 4 | VERTICAL_BLANK >> 8,
        HORIZONTAL_FRONT,
        HORIZONTAL_SYNC,
        VERTICAL_FRONT << 4 | VERTICAL_SYNC,
        0,
        width_mm & 0xFF,
        height_mm & 0xFF,
        width_mm >> 8 << 4 | height_mm >> 8,
        0,
        0,
        SYNC,
    )
