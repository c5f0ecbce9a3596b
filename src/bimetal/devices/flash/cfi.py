"""The common flash interface: what a flash chip says about itself when it is asked.

The query structure is that of JEDEC JESD68.01; command set 0001 (Intel, Sharp) adds the primary
extended table of Intel application note 646.
"""

from __future__ import annotations

import struct

from msgspec import Struct

__all__ = ["Geometry", "cfi_table"]


class Geometry(Struct, frozen=True):
    """A bank of ``chips`` equal chips side by side, each 16 bits wide, that act as one.

    ``size`` and ``block_size`` are those of the bank in bytes.
    """

    size: int
    block_size: int = 0x4_0000
    chips: int = 2
    buffer_size: int = 0x1000

    @property
    def width(self) -> int:
        """Bytes that the bank gives at once."""
        return 2 * self.chips

    def __post_init__(self) -> None:
        for value in (self.size, self.block_size, self.buffer_size):
            if value <= 0 or value & (value - 1) or value < self.width:
                raise ValueError(f"{value:#x} is not a power of two above the width of the bank")
        if self.size % self.block_size:
            raise ValueError(f"blocks of {self.block_size:#x} bytes do not fill {self.size:#x}")


def cfi_table(bank: Geometry) -> bytes:
    """The words of the query structure, one byte each, for one of the chips of ``bank``."""
    table = bytearray(0x10)
    identification = struct.pack("<3sHHHH", b"QRY", 0x0001, 0x0031, 0, 0)
    # Voltages in 0.1 V; typical times as powers of two in us (words, buffers) and ms (blocks);
    # greatest times as powers of two of the typical ones.
    timing = bytes((0x27, 0x36, 0, 0, 7, 7, 10, 0, 4, 4, 4, 0))
    geometry = struct.pack(
        "<BHHBHH",
        (bank.size // bank.chips).bit_length() - 1,
        0x0001,  # 16 bits wide
        (bank.buffer_size // bank.chips).bit_length() - 1,
        1,  # one region of equal blocks
        bank.size // bank.block_size - 1,
        bank.block_size // bank.chips // 256,
    )
    # Version 1.0; no optional feature; one protection register that holds nothing.
    extended = struct.pack("<3s2sIBHBBB4s", b"PRI", b"10", 0, 0, 0, 0x27, 0, 1, bytes(4))
    table += identification + timing + geometry
    return bytes(table.ljust(0x31, b"\0") + extended)
