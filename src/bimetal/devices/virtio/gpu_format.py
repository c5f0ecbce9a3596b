"""What drivers and the GPU device write to each other (virtio 1.2, section 5.7.6)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from bimetal.screen.pixels import BGRX, PixelFormat, ordered

__all__ = [
    "BACKING",
    "CONFIG",
    "CREATE",
    "CURSOR",
    "DISPLAY",
    "EDID_ANSWER",
    "EDID_ROOM",
    "ENTRY",
    "FENCE",
    "FORMATS",
    "HEADER",
    "OPAQUE",
    "RESOURCE",
    "SCANOUTS_LIMIT",
    "SET_SCANOUT",
    "TRANSFER",
    "WITH_RECTANGLE",
    "Answer",
    "Command",
]


class Command(IntEnum):
    """Types of requests."""

    GET_DISPLAY_INFO = 0x100
    RESOURCE_CREATE_2D = 0x101
    RESOURCE_UNREF = 0x102
    SET_SCANOUT = 0x103
    RESOURCE_FLUSH = 0x104
    TRANSFER_TO_HOST_2D = 0x105
    RESOURCE_ATTACH_BACKING = 0x106
    RESOURCE_DETACH_BACKING = 0x107
    GET_EDID = 0x10A
    UPDATE_CURSOR = 0x300
    MOVE_CURSOR = 0x301


class Answer(IntEnum):
    """Types of answers."""

    OK = 0x1100
    DISPLAY_INFO = 0x1101
    EDID = 0x1104
    UNSPECIFIED = 0x1200
    OUT_OF_MEMORY = 0x1201
    INVALID_SCANOUT = 0x1202
    INVALID_RESOURCE = 0x1203
    INVALID_PARAMETER = 0x1205


FENCE = 1 << 0
"""Flag: the answer is to have it too, with the same number."""

HEADER = Struct("<IIQII")
"""Type, flags, number of the fence, context, and ring."""

RESOURCE = Struct("<II")
"""Resource, padding."""

CREATE = Struct("<IIII")
"""Resource, format, width, height."""

SET_SCANOUT = Struct("<IIIIII")
"""Rectangle of the resource (left, top, width, height), scanout, resource."""

WITH_RECTANGLE = Struct("<IIIIII")
"""Rectangle, resource, padding."""

TRANSFER = Struct("<IIIIQII")
"""Rectangle, offset of its first byte in the backing, resource, padding."""

BACKING = Struct("<II")
"""Resource, number of entries, which follow."""

ENTRY = Struct("<QII")
"""Address, length, padding."""

CURSOR = Struct("<IIIIIIII")
"""Scanout, left, top, padding; resource, column and row of the hot pixel, padding."""

DISPLAY = Struct("<IIIIII")
"""Rectangle, whether it is on, flags; of each of the `SCANOUTS_LIMIT` that there might be."""

SCANOUTS_LIMIT = 16

EDID_ANSWER = Struct("<II")
"""Size, padding; `EDID_ROOM` bytes follow."""

EDID_ROOM = 1024

CONFIG = Struct("<IIII")
"""Events there are, events to forget, number of scanouts, number of capability sets (5.7.4)."""

FORMATS: dict[int, PixelFormat] = {
    1: BGRX,
    2: BGRX,
    3: ordered(4, 3, 2, 1, 0),
    4: ordered(4, 3, 2, 1, 0),
    67: ordered(4, 2, 1, 0, 3),
    68: ordered(4, 1, 2, 3, 0),
    121: ordered(4, 1, 2, 3, 0),
    134: ordered(4, 2, 1, 0, 3),
}
"""Formats of resources: B8G8R8A8, B8G8R8X8, A8R8G8B8, X8R8G8B8, R8G8B8A8, X8B8G8R8, A8B8G8R8,
R8G8B8X8, which name the bytes in their order in memory."""

OPAQUE = frozenset((2, 4, 68, 134))
"""Those whose fourth byte means nothing."""
