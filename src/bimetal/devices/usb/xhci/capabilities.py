"""What a controller says it can do (xHCI 1.1, sections 5.3 and 7.2)."""

from __future__ import annotations

from typing import ClassVar

from bimetal.devices.device import Device
from bimetal.devices.register import Reg, RegArray
from bimetal.devices.usb.xhci.events import SEGMENTS_LIMIT

__all__ = [
    "DOORBELLS",
    "INTERRUPTERS",
    "OPERATIONAL",
    "PORTS",
    "RUNTIME",
    "SLOTS",
    "Capabilities",
]

SLOTS, INTERRUPTERS = 32, 16
OPERATIONAL, PORTS, RUNTIME, DOORBELLS = 0x40, 0x440, 0x1000, 0x2000
"""Where registers of each kind begin."""
PROTOCOLS = 0x20
VERSION, WIDE_ADDRESSES = 0x0110, 1
SEGMENTS_POWER = SEGMENTS_LIMIT.bit_length() - 1
NAME = int.from_bytes(b"USB ", "little")


class Capabilities(Device):
    """The registers for that, of a controller with so many ``ports``, of which the first ``slow``
    ones are of USB 2."""

    fixed: ClassVar[tuple[str, ...]] = ("ports", "slow")

    CAPABILITY = Reg(0x00, readonly=True, reset=OPERATIONAL | VERSION << 16, doc="and version")
    HCSPARAMS1 = Reg(0x04, readonly=True, SLOTS=(7, 0), INTERRUPTERS=(18, 8), PORTS=(31, 24))
    HCSPARAMS2 = Reg(0x08, readonly=True, reset=SEGMENTS_POWER << 4)
    HCSPARAMS3 = Reg(0x0C, readonly=True)
    HCCPARAMS1 = Reg(0x10, readonly=True, reset=WIDE_ADDRESSES | PROTOCOLS // 4 << 16)
    DBOFF = Reg(0x14, readonly=True, reset=DOORBELLS)
    RTSOFF = Reg(0x18, readonly=True, reset=RUNTIME)
    HCCPARAMS2 = Reg(0x1C, readonly=True)
    PROTOCOL = RegArray(PROTOCOLS, 8, readonly=True, doc="of USB 2 and 3: which ports speak it")

    def __init__(self, slow: int, fast: int):
        self.ports, self.slow = slow + fast, slow
        super().__init__()

    def r_HCSPARAMS1(self) -> int:
        return SLOTS | INTERRUPTERS << 8 | self.ports << 24

    def r_PROTOCOL(self, index: int) -> int:
        slow, fast = self.slow, self.ports - self.slow
        two = (2 | (4 << 8) * bool(fast) | 2 << 24, NAME, 1 | slow << 8, 0)
        three = (2 | 3 << 24, NAME, slow + 1 | fast << 8, 0) if fast else (0,) * 4
        return (*two, *three)[index]
