"""The memory map that x86 firmware tells an operating system: areas by address, as "E820" has them.

Source: ACPI Specification 6.5, section 15.1.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["ACPI", "RAM", "RESERVED", "MemoryArea"]

RAM: Final = 1
RESERVED: Final = 2
ACPI: Final = 3
"""Tables that may be reclaimed once they were read."""


class MemoryArea(Struct, frozen=True):
    """``size`` bytes from ``base`` on, of a ``kind`` of address range."""

    base: int
    size: int
    kind: int
