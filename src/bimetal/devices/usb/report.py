"""Descriptors of reports: what the bits of a report mean (HID 1.11, section 6.2.2)."""

from __future__ import annotations

__all__ = [
    "APPLICATION",
    "ARRAY",
    "COLLECTION",
    "CONSTANT",
    "GENERIC",
    "INPUT",
    "LOGICAL_MAXIMUM",
    "LOGICAL_MINIMUM",
    "OUTPUT",
    "PHYSICAL",
    "RELATIVE",
    "REPORT_COUNT",
    "REPORT_SIZE",
    "USAGE",
    "USAGE_MAXIMUM",
    "USAGE_MINIMUM",
    "USAGE_PAGE",
    "VARIABLE",
    "items",
]

USAGE_PAGE, USAGE, COLLECTION = 0x04, 0x08, 0xA0
USAGE_MINIMUM, USAGE_MAXIMUM = 0x18, 0x28
LOGICAL_MINIMUM, LOGICAL_MAXIMUM = 0x14, 0x24
REPORT_SIZE, REPORT_COUNT = 0x74, 0x94
INPUT, OUTPUT = 0x80, 0x90
"""Tags and types of items, without the size of what follows."""

PHYSICAL, APPLICATION = 0x00, 0x01
"""What belongs together: one thing that is measured, or a whole device."""
ARRAY, CONSTANT, VARIABLE, RELATIVE = 0, 1, 2, 4
"""What an input or output is."""
GENERIC = 0x01
"""The page of usages of what a desktop has."""

END = b"\xc0"
"""The end of a collection."""


def items(*pairs: tuple[int, int]) -> bytes:
    """A descriptor of short items, each a tag and a signed number. Collections end at its end."""
    made, open_ones = b"", 0
    for tag, value in pairs:
        size = 1 if -0x80 <= value < 0x80 else 2
        made += bytes((tag | size,)) + value.to_bytes(size, "little", signed=True)
        open_ones += tag == COLLECTION
    return made + END * open_ones
