"""Updates (RFC 6143, section 7.6.1), rectangle by rectangle.

The header of an update says how many rectangles follow, but what is in each of them is worked out
only when there is room for it. So a client that reads slowly, or never, makes nothing wait that is
larger than a rectangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bimetal.backends.vnc.canvas import Canvas
from bimetal.backends.vnc.encoders import Encoder
from bimetal.backends.vnc.moves import Move
from bimetal.backends.vnc.numbers import Encoding, ServerMessage
from bimetal.backends.vnc.pixel_format import ClientFormat
from bimetal.screen.damage import TILE, Area
from bimetal.screen.screen import Cursor

__all__ = ["copy_rectangle", "cursor_rectangle", "notice", "screens_rectangle", "update"]

RECTANGLE_PIXELS = 1 << 17
"""Pixels of a rectangle at most: half a MiB of them."""
RECTANGLE_WIDTH = 2048
"""What Tight has for a width."""

SCREEN = 1
"""The number of the only screen: any will do, but there are clients for which 0 is none."""

OPAQUE = 128
"""What is less opaque is not drawn by clients that know only on and off."""


def update(
    notices: Sequence[bytes],
    areas: Iterable[Area],
    canvas: Canvas,
    encoder: Encoder,
    format: ClientFormat,
) -> Iterator[bytes]:
    """An update in pieces: ``notices`` are rectangles that are there already, ``areas`` what is to
    be sent of ``canvas``, of which even the largest has fewer tiles than an update rectangles."""
    pieces = [piece for area in areas for piece in _cut(area)]
    yield ServerMessage.UPDATE.pack(0, len(notices) + len(pieces)) + b"".join(notices)
    for piece in pieces:
        pixels = canvas.rectangle(*piece)
        data = encoder.encode(pixels, piece.width, piece.height, format)
        yield ServerMessage.RECTANGLE.pack(*piece, encoder.number) + data


def notice(encoding: int, x: int = 0, y: int = 0, width: int = 0, height: int = 0) -> bytes:
    """A rectangle that says something other than pixels."""
    return ServerMessage.RECTANGLE.pack(x, y, width, height, encoding)


def screens_rectangle(reason: int, status: int, width: int, height: int) -> bytes:
    """There is one screen of this size: why that is told, and what came of a client's wish
    (rfbproto, "ExtendedDesktopSize Pseudo-encoding")."""
    screens = ServerMessage.SCREENS.pack(1, SCREEN, 0, 0, width, height, 0)
    return notice(Encoding.EXTENDED_DESKTOP_SIZE, reason, status, width, height) + screens


def copy_rectangle(move: Move) -> bytes:
    """What is in a rectangle was elsewhere before (7.7.2)."""
    source = move.source
    return notice(Encoding.COPY_RECT, *move.to) + ServerMessage.COPY.pack(source.x, source.y)


def cursor_rectangle(cursor: Cursor | None, format: ClientFormat, *, alpha: bool) -> bytes:
    """The picture of the cursor (7.8.1), or (rfbproto, "Cursor With Alpha Pseudo-encoding") one
    that may be translucent; without one, a cursor of no pixels."""
    if cursor is None:
        empty = notice(Encoding.CURSOR_WITH_ALPHA if alpha else Encoding.CURSOR)
        return empty + (Encoding.RAW.to_bytes(4, "big") if alpha else b"")
    place = cursor.hot_x, cursor.hot_y, cursor.width, cursor.height
    if alpha:
        data = bytearray(cursor.pixels)
        data[0::4], data[2::4] = data[2::4], data[0::4]
        head = notice(Encoding.CURSOR_WITH_ALPHA, *place) + Encoding.RAW.to_bytes(4, "big")
        return head + bytes(data)
    row, mask = -(-cursor.width // 8), bytearray()
    opacity = cursor.pixels[3::4]
    for top in range(0, len(opacity), cursor.width):
        bits = 0
        for value in opacity[top : top + cursor.width]:
            bits = bits << 1 | (value >= OPAQUE)
        mask += (bits << 8 * row - cursor.width).to_bytes(row, "big")
    return notice(Encoding.CURSOR, *place) + format.convert(cursor.pixels) + mask


def _cut(area: Area) -> Iterator[Area]:
    """The same in rectangles that are not too large, of whole tiles but for the last ones."""
    for x in range(area.x, area.x + area.width, RECTANGLE_WIDTH):
        width = min(RECTANGLE_WIDTH, area.x + area.width - x)
        rows = max(TILE, RECTANGLE_PIXELS // width // TILE * TILE)
        for y in range(area.y, area.y + area.height, rows):
            yield Area(x, y, width, min(rows, area.y + area.height - y))
