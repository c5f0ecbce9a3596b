"""What all ACPI tables have in common, and the root of them.

Source: ACPI Specification 6.5, section 5.2. Tables have the revisions of ACPI 6.3: nothing later is
told, and tools that are some years old read them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from msgspec import Struct, field

__all__ = ["HEADER_SIZE", "OEM_TABLE", "SYSTEM_IO", "SYSTEM_MEMORY", "Table", "address"]

OEM, OEM_TABLE, CREATOR = b"BIMTAL", b"BIMETAL ", b"BMTL"
HEADER_SIZE = 36
SYSTEM_MEMORY, SYSTEM_IO = 0, 1


class Table(Struct, frozen=True):
    """A table: ``body`` follows the header (5.2.6). At the offsets in ``pointers``, which count the
    header, are the 8-byte addresses of other tables, zeroes until these have a place."""

    signature: str
    revision: int
    body: bytes
    pointers: Mapping[int, Table] = field(default_factory=dict)

    def __bytes__(self) -> bytes:
        """The table with a checksum of 0."""
        return (
            struct.pack(
                "<4sIBB6s8sI4sI",
                self.signature.encode(),
                HEADER_SIZE + len(self.body),
                self.revision,
                0,
                OEM,
                OEM_TABLE,
                1,
                CREATOR,
                1,
            )
            + self.body
        )


def address(space: int, at: int, width: int = 8) -> bytes:
    """A generic address structure (5.2.3.2) of a register of ``width`` bits."""
    access = {8: 1, 16: 2, 32: 3}[width]
    return struct.pack("<BBBBQ", space, width, 0, access, at)
