"""The interrupt translation service of a GICv3 (IHI 0069H, chapter 5 and 12.19): events of devices
are LPIs, as tables in memory say that software makes by commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device, Property
from bimetal.devices.irq.gic.its_commands import COMMAND, DEVICE_BITS, EVENT_BITS, Commands
from bimetal.devices.irq.gic.its_tables import ENTRY, VALID, Translations
from bimetal.devices.irq.gic.v3_distributor import ID_BITS, IDENTITY, peripheral_id
from bimetal.devices.irq.gic.v3_redistributor import Gicv3Redistributor
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.access import Access
from bimetal.memory.space import AddressSpace

__all__ = ["Gicv3Its"]

PARTS = peripheral_id(0x94)
PIECE = 256
"""Commands that are carried out before others have their turn."""
DEVICES, COLLECTIONS = 0, 1
"""The rows of GITS_BASER."""
TYPES = {DEVICES: 1, COLLECTIONS: 4}
BASER = VALID | 1 << 62 | 7 << 59 | 7 << 53 | (1 << 48) - 1
"""What software sets: all but the kind of a table, and the size of its entries."""
PAGES = 2 << 8
"""Tables are made of pages of 64 KiB unless software chooses others."""
CBASER = VALID | 7 << 59 | 7 << 53 | ((1 << 52) - 1) & ~0xFFF | 0xCFF
OFFSET = 0xF_FFE0
TRANSLATER = 0x1_0040
RETRY = STALLED = 1 << 0
QUIESCENT = 1 << 31
# GITS_TYPER: LPIs, sizes of entries and numbers, and collections of so many bits.
TYPER = (
    1 | ENTRY - 1 << 4 | EVENT_BITS - 1 << 8 | DEVICE_BITS - 1 << 13 | ID_BITS - 1 << 32 | 1 << 36
)


class Gicv3Its(Device):
    """Messages and commands for ``redistributors``. ``defer`` has the rest of a long row of
    commands carried out later."""

    kind = "its"
    compatible = ("arm,gic-v3-its",)
    mmio_size = 0x2_0000
    access = Access(sizes=(2, 4, 8))
    saved = ("under_way",)
    fixed = ("_memory", "_defer", "_commands")

    CTLR = Reg(0x00, writable=1, ENABLED=0)
    IIDR = Reg(0x04, readonly=True, reset=IDENTITY)
    TYPER = Reg(0x08, size=8, readonly=True, reset=TYPER)
    CBASER = Reg(0x80, size=8, writable=0, doc="where commands lie")
    CWRITER = Reg(0x88, size=8, writable=0, doc="behind the last command")
    CREADR = Reg(0x90, size=8, readonly=True, doc="the command that is next")
    BASER = RegArray(0x100, 8, size=8, writable=0, doc="where the tables lie")
    PIDR = RegArray(0xFFD0, len(PARTS), readonly=True)
    TRANSLATER = Reg(TRANSLATER, writable=0, doc="takes messages")

    def __init__(
        self,
        redistributors: Sequence[Gicv3Redistributor],
        memory: AddressSpace,
        defer: Callable[[Callable[[], None]], None],
    ):
        self.under_way = False
        self._memory, self._defer = memory, defer
        self._commands = Commands(redistributors)
        super().__init__()
        self._forget()

    def properties(self) -> Mapping[str, Property]:
        return {"msi-controller": None, "#msi-cells": 1}

    def reset(self) -> None:
        super().reset()
        self._forget()

    def _forget(self) -> None:
        self.under_way = False
        for row in TYPES:
            self.BASER[row] = PAGES

    def restored(self) -> None:
        if self.under_way:
            self._defer(self._go_on)

    def take_message(self, requester: int, offset: int, word: int) -> None:
        """See `TakesMessages`: devices are numbered as the bus numbers them."""
        if offset == TRANSLATER:
            self.message(requester, word)
        else:
            self.guest_error("a message beside the register for messages", f"{offset:#x}")

    def message(self, device: int, event: int) -> None:
        """``device`` sends the message of an event."""
        if not self.CTLR.ENABLED:
            return
        try:
            self._commands.message(self._tables(), device, event)
        except GuestError as error:
            self.guest_error(f"a message of {error}")

    def _tables(self) -> Translations:
        return Translations(self._memory, self.BASER[DEVICES], self.BASER[COLLECTIONS])

    # Registers

    def r_CTLR(self) -> int:
        return self.CTLR | (0 if self.under_way else QUIESCENT)

    k_CTLR = r_CTLR

    def w_CTLR(self, written: Value) -> None:
        self._begin()

    def w_CBASER(self, written: Value) -> None:
        self._check_off("the queue of commands")
        self.CBASER = written & CBASER
        self.CREADR = 0

    def w_CWRITER(self, written: Value) -> None:
        self.CWRITER = written & OFFSET
        if written & RETRY:
            self.CREADR &= ~STALLED
        self._begin()

    def r_BASER(self, index: int) -> int:
        kind = TYPES.get(index)
        return 0 if kind is None else self.BASER[index] | kind << 56 | ENTRY - 1 << 48

    k_BASER = r_BASER

    def w_BASER(self, index: int, written: Value) -> None:
        self._check_off("a table")
        if index in TYPES:
            self.BASER[index] = written & BASER

    def r_PIDR(self, index: int) -> int:
        return PARTS[index]

    def r_TRANSLATER(self) -> int:
        raise GuestError("read of TRANSLATER")

    def w_TRANSLATER(self, written: Value) -> None:
        """A CPU's write is one of device 0."""
        self.message(0, written)

    def _check_off(self, what: str) -> None:
        if self.CTLR.ENABLED:
            raise GuestError(f"{what} is moved while the ITS is enabled")

    # Commands

    def _begin(self) -> None:
        if not self.under_way:
            self._go_on()

    def _go_on(self) -> None:
        """Carry out commands, a piece of their row at once."""
        self.under_way = False
        if not self.CTLR.ENABLED or not self.CBASER & VALID:
            return
        size = ((self.CBASER & 0xFF) + 1) * 0x1000
        if size <= self.CWRITER:
            self.guest_error(f"commands up to {self.CWRITER:#x} of {size:#x} bytes")
            return
        start, tables = self.CBASER & ((1 << 52) - 1) & ~0xFFF, self._tables()
        for _ in range(PIECE):
            at = int(self.CREADR)
            if at == self.CWRITER or at & STALLED:
                return
            try:
                command = self._memory.read(start + at, COMMAND)
            except GuestError as error:
                self.guest_error("commands outside of memory", str(error))
                self.CREADR |= STALLED
                return
            try:
                self._commands.carry_out(tables, command)
            except GuestError as error:
                self.guest_error(f"a command about {error}")
            self.CREADR = (at + COMMAND) % size
        self.under_way = True
        self._defer(self._go_on)
