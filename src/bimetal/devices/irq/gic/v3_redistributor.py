"""The redistributor of a CPU in a GICv3 (IHI 0069H, 12.10): its first frame, about LPIs."""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.irq.gic.lpis import Lpis
from bimetal.devices.irq.gic.v3_distributor import ID_BITS, IDENTITY, peripheral_id
from bimetal.devices.irq.gic.v3_private import Gicv3Private
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.access import Access
from bimetal.memory.space import AddressSpace

__all__ = ["Gicv3Redistributor"]

PARTS = peripheral_id(0x93)
ENABLE_LPIS, CLEARS = 1 << 0, 1 << 1  # of GICR_CTLR
ASLEEP, CHILDREN_ASLEEP = 1 << 1, 1 << 2  # of GICR_WAKER
PHYSICAL_LPIS, LAST, COMMON_AFFINITY = 1 << 0, 1 << 4, 1 << 24  # of GICR_TYPER
EMPTY = 1 << 62  # of GICR_PENDBASER: the table is
# What can be set of the tables' addresses, cacheability and shareability.
PROPBASER = 7 << 56 | ((1 << 52) - 1) & ~0xFFF | 0xF9F
PENDBASER = 7 << 56 | ((1 << 52) - 1) & ~0xFFFF | 0xF80
ADDRESS = (1 << 52) - 1


class Gicv3Redistributor(Device):
    """The redistributor with the private interrupts ``private``, the ``last`` in its row. Without
    ``lpis`` it has none."""

    kind = "gicr"
    mmio_size = 0x1_0000
    access = Access(sizes=(4, 8))
    saved = ("lpis",)
    fixed = ("private", "last", "has_lpis")

    CTLR = Reg(0x00, writable=0, ENABLE_LPIS=0, CES=1)
    IIDR = Reg(0x04, readonly=True, reset=IDENTITY)
    TYPER = Reg(0x08, size=8, readonly=True, PLPIS=0, LAST=4, NUMBER=(23, 8), AFFINITY=(63, 32))
    STATUSR = Reg(0x10, writable=0, doc="of accesses; there is nothing to say")
    WAKER = Reg(0x14, reset=ASLEEP | CHILDREN_ASLEEP, writable=0, ASLEEP=1, CHILDREN_ASLEEP=2)
    PROPBASER = Reg(0x70, size=8, writable=0, doc="the table of configurations", ID_BITS=(4, 0))
    PENDBASER = Reg(0x78, size=8, writable=0, doc="the table of what is pending")
    PIDR = RegArray(0xFFD0, len(PARTS), readonly=True)

    def __init__(
        self,
        private: Gicv3Private,
        memory: AddressSpace,
        *,
        last: bool = True,
        lpis: bool = False,
    ):
        self.private, self.last, self.has_lpis = private, last, lpis
        self.lpis = Lpis(memory, self.guest_error)
        super().__init__()
        if lpis:
            private.redistributor = self

    def reset(self) -> None:
        super().reset()
        self.lpis.disable()
        self.private.listener()

    # For the ITS

    def pend(self, number: int) -> None:
        """Make LPI ``number`` pending. Raises `GuestError` if there is no such LPI here."""
        self.lpis.pend(number)
        self.private.listener()

    def clear(self, number: int) -> bool:
        """LPI ``number`` is not pending any more; whether it was. Raises `GuestError`."""
        was = self.lpis.clear(number)
        self.private.listener()
        return was

    def renew(self, number: int | None = None) -> None:
        """The configuration of LPI ``number``, or of all, may be another."""
        self.lpis.renew(number)
        self.private.listener()

    def move_all(self, other: Gicv3Redistributor) -> None:
        """What is pending here is pending there."""
        for number in list(self.lpis.pending):
            other.lpis.pend(number)
            self.lpis.clear(number)
        self.private.listener()
        other.private.listener()

    # Registers

    def r_CTLR(self) -> int:
        return self.CTLR | CLEARS if self.has_lpis else 0

    k_CTLR = r_CTLR

    def w_CTLR(self, written: Value) -> None:
        if not self.has_lpis or written.ENABLE_LPIS == self.CTLR.ENABLE_LPIS:
            return
        self.CTLR = written & ENABLE_LPIS
        if written.ENABLE_LPIS:
            bits = min(self.PROPBASER.ID_BITS + 1, ID_BITS)
            table, pending = (int(each) & ADDRESS for each in (self.PROPBASER, self.PENDBASER))
            empty = bool(self.PENDBASER & EMPTY)
            self.lpis.enable(table & ~0xFFF, pending & ~0xFFFF, 1 << bits, empty=empty)
        else:
            self.lpis.disable()
        self.private.listener()

    def r_TYPER(self) -> int:
        last = LAST if self.last else 0
        lpis = PHYSICAL_LPIS if self.has_lpis else 0
        affinity = self.private.affinity
        affinity = affinity >> 8 & 0xFF00_0000 | affinity & 0xFF_FFFF
        return affinity << 32 | COMMON_AFFINITY | self.private.cpu << 8 | last | lpis

    def w_WAKER(self, written: Value) -> None:
        self.WAKER = ASLEEP | CHILDREN_ASLEEP if written.ASLEEP else 0

    def w_PROPBASER(self, written: Value) -> None:
        self._check_tables()
        self.PROPBASER = written & PROPBASER

    def w_PENDBASER(self, written: Value) -> None:
        self._check_tables()
        self.PENDBASER = written & (PENDBASER | EMPTY)

    def r_PENDBASER(self) -> int:
        return self.PENDBASER & ~EMPTY

    def r_PIDR(self, index: int) -> int:
        return PARTS[index]

    def _check_tables(self) -> None:
        """The tables stay where they are while they are in use."""
        if self.CTLR.ENABLE_LPIS:
            raise GuestError("the tables of LPIs are moved while LPIs are enabled")
