"""Registers in configuration space: an access reaches all that lie in its bytes.

Elsewhere an access is one of one register; configuration software reads and writes 4 bytes where
several registers of 1 and 2 lie side by side, and what is not there reads as zeros and takes writes
without a word (PCI Express Base Specification 5.0, 7.5.1 and 2.3.1).
"""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.register import Reg
from bimetal.memory.access import Access

__all__ = ["CONFIG_SIZE", "Capability", "ConfigBlock"]

CONFIG_SIZE = 0x1000
"""Bytes of a function's configuration space (7.2.2)."""


class ConfigBlock(Device):
    """A stretch of configuration space with declared registers. Bits that software cannot change
    are not ``writable``, rather than their register read-only: it may lie beside others."""

    access = Access(sizes=(1, 2, 4), width=4)

    def read(self, offset: int, size: int) -> int:
        value, at = 0, offset
        while at < offset + size:
            count = self._bytes_at(at, offset + size)
            if count:
                value |= super().read(at, count) << 8 * (at - offset)
            at += count or 1
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        at = offset
        while at < offset + size:
            count = self._bytes_at(at, offset + size)
            if count:
                super().write(at, count, value >> 8 * (at - offset) & (1 << 8 * count) - 1)
            at += count or 1

    def _bytes_at(self, at: int, end: int) -> int:
        """How many bytes from ``at`` on, and before ``end``, belong to one register."""
        try:
            port, _, inside = self._find(at)
        except GuestError:
            return 0
        return min(port.size - inside, end - at)


class Capability(ConfigBlock):
    """A capability of a function (7.5.3, 7.9): a block with an identifier and a link to the next.
    ``mmio_size`` is its length in bytes, a multiple of 4."""

    kind = "capability"
    number = 0
    """The identifier, as the PCI Code and ID Assignment Specification lists it."""

    CAP_ID = Reg(0x00, 1, writable=0)
    NEXT = Reg(0x01, 1, writable=0, doc="where the next capability lies; 0: nowhere")

    def reset(self) -> None:
        following = self.NEXT
        super().reset()
        self.CAP_ID = self.number
        self.NEXT = following

    def link(self, following: int) -> None:
        """The next capability lies at ``following``."""
        self.NEXT = following
