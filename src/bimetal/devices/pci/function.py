"""A function of a device on the bus: its header, its capabilities, and what it says to the bus.

Source: PCI Express Base Specification 5.0, chapter 7.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from msgspec import Struct

from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.pci.bar import Bar, Kind, Window
from bimetal.devices.pci.config import CONFIG_SIZE, Capability, ConfigBlock
from bimetal.devices.register import Reg, RegArray, Value

if TYPE_CHECKING:
    from bimetal.devices.pci.bus import PciBus, Upstream

__all__ = ["Endpoint", "Function", "Identity", "MessageWrite"]

HEADER = 0x40
CAPABILITIES_END = 0x100
CAPABILITY_LIST, INTERRUPT_STATUS = 1 << 4, 1 << 3
ERRORS = 0xF900
"""Bits of STATUS that record errors, of which we make none."""


class Identity(Struct, frozen=True):
    """What a function is: numbers of the PCI-SIG, of its makers and of its class."""

    vendor: int
    device: int
    class_code: int
    revision: int = 0
    subsystem_vendor: int = 0
    subsystem: int = 0


class MessageWrite(NamedTuple):
    """A message-signalled interrupt: the write of a word to an address."""

    address: int
    data: int


class Function(ConfigBlock):
    """The header that functions and bridges have in common. ``pin`` is 1 to 4 for INTA to INTD, 0
    without an interrupt pin."""

    kind = "pci"
    mmio_size = CONFIG_SIZE
    header_type = 0
    behind: PciBus | None = None
    """The bus behind it, if it is a bridge."""

    VENDOR_ID = Reg(0x00, 2, writable=0)
    DEVICE_ID = Reg(0x02, 2, writable=0)
    COMMAND = Reg(0x04, 2, writable=0x547, IO=0, MEMORY=1, MASTER=2, INTX_DISABLE=10)
    STATUS = Reg(0x06, 2, writable=0, INTERRUPT=3, CAPABILITIES=4)
    REVISION = Reg(0x08, 1, writable=0)
    PROGRAMMING = Reg(0x09, 1, writable=0)
    CLASS = Reg(0x0A, 2, writable=0)
    CACHE_LINE = Reg(0x0C, 1)
    LATENCY = Reg(0x0D, 1, writable=0)
    HEADER_TYPE = Reg(0x0E, 1, writable=0, MANY=7)
    POINTER = Reg(0x34, 1, writable=0, doc="where the first capability lies")
    LINE = Reg(0x3C, 1, doc="for software")
    PIN = Reg(0x3D, 1, writable=0)

    intx = Out(doc="the interrupt pin")
    saved: ClassVar[tuple[str, ...]] = ("interrupting", "capabilities")
    fixed: ClassVar[tuple[str, ...]] = ("identity", "pin", "_many", "_places")

    message = Out(MessageWrite, doc="a message-signalled interrupt")
    moved = Out(Device, doc="it decodes other addresses than before")

    def __init__(self, identity: Identity, pin: int = 0):
        self.identity, self.pin = identity, pin
        self._many = self.interrupting = False
        self.capabilities: list[Capability] = []
        self._places: list[int] = []
        """Where each capability lies."""
        super().__init__()
        self._identify()

    def add_capability(self, capability: Capability, at: int | None = None) -> None:
        """Put ``capability`` at ``at``, or behind those that are there, and into the list.
        ValueError if there is no room."""
        last = self.capabilities[-1] if self.capabilities else None
        free = HEADER if last is None else self._places[-1] + last.mmio_size
        place = -(-free // 4) * 4 if at is None else at
        if not free <= place <= CAPABILITIES_END - capability.mmio_size or place % 4:
            raise ValueError(f"no room for {capability} at {place:#x}")
        if last is not None:
            last.link(place)
        self.capabilities.append(capability)
        self._places.append(place)
        capability.events = self.events
        self._identify()

    def tell_of_others(self) -> None:
        """Say from now on that its device has other functions too."""
        self._many = True
        self._identify()

    def attach(self, upstream: Upstream, slot: int) -> None:
        """It is in ``slot`` of a bus below ``upstream`` now, which a bridge needs to know."""

    def forwards(self, windows: Sequence[Window]) -> list[Window]:
        """What a bridge forwards of ``windows``."""
        return []

    def leads_to(self, number: int) -> bool:
        """Whether the bus of that number lies behind it."""
        return False

    def decoded(self) -> Iterator[tuple[Bar, int]]:
        """The base address registers that are in use, and the addresses of the bus there."""
        return iter(())

    @property
    def awake(self) -> bool:
        """Whether its state of power lets it answer to anything but configuration."""
        return True

    def interrupt(self, level: bool) -> None:
        """Drive the interrupt pin, unless software has disabled it."""
        self.interrupting = level
        self.intx(level and not self.COMMAND.INTX_DISABLE)

    def send(self, write: MessageWrite) -> None:
        """Send a message-signalled interrupt, if it may be the bus's master."""
        if self.COMMAND.MASTER:
            self.message(write)

    def reset(self) -> None:
        super().reset()
        for capability in self.capabilities:
            capability.reset()
        self.interrupting = False
        self._identify()
        self.intx(False)
        self.moved(self)

    def _identify(self) -> None:
        who = self.identity
        self.VENDOR_ID, self.DEVICE_ID, self.REVISION = who.vendor, who.device, who.revision
        self.PROGRAMMING, self.CLASS = who.class_code & 0xFF, who.class_code >> 8
        self.HEADER_TYPE = self.header_type | self._many << 7
        self.PIN = self.pin
        self.POINTER = self._places[0] if self._places else 0

    # Configuration

    def read(self, offset: int, size: int) -> int:
        block, at = self._block(offset)
        return super().read(offset, size) if block is None else block.read(offset - at, size)

    def write(self, offset: int, size: int, value: int) -> None:
        block, at = self._block(offset)
        if block is None:
            super().write(offset, size, value)
        else:
            block.write(offset - at, size, value)

    def _block(self, offset: int) -> tuple[Capability | None, int]:
        if offset >= HEADER:
            for at, capability in zip(self._places, self.capabilities, strict=True):
                if at <= offset < at + capability.mmio_size:
                    return capability, at
        return None, 0

    def r_STATUS(self) -> int:
        listed = CAPABILITY_LIST if self.capabilities else 0
        return listed | (INTERRUPT_STATUS if self.interrupting else 0)

    def w_COMMAND(self, written: Value) -> None:
        self.intx(self.interrupting and not self.COMMAND.INTX_DISABLE)
        self.moved(self)

    def restored(self) -> None:
        self.moved(self)


class Endpoint(Function):
    """A function that is no bridge: six base address registers (header type 0)."""

    BAR = RegArray(0x10, 6, doc="base addresses")
    SUBSYSTEM_VENDOR = Reg(0x2C, 2, writable=0)
    SUBSYSTEM = Reg(0x2E, 2, writable=0)
    ROM = Reg(0x30, 4, writable=0, doc="there is no expansion ROM")

    fixed: ClassVar[tuple[str, ...]] = ("_bars",)

    def __init__(self, identity: Identity, pin: int = 0):
        self._bars: list[Bar | None] = [None] * 6
        super().__init__(identity, pin)

    def add_bar(self, index: int, bar: Bar) -> None:
        """Let base address register ``index``, and the next if it is wide, stand for ``bar``."""
        if index + bar.wide >= len(self._bars) or self._bars[index] is not None:
            raise ValueError(f"there is no register {index} for another range of addresses")
        self._bars[index] = bar
        self.BAR[index] = bar.type_bits

    def decoded(self) -> Iterator[tuple[Bar, int]]:
        for index, bar in enumerate(self._bars):
            if bar is None or not self.awake:
                continue
            if self.COMMAND.IO if bar.kind is Kind.IO else self.COMMAND.MEMORY:
                yield bar, self._address(index)

    def w_BAR(self, index: int, written: Value) -> None:
        bar, shift = self._of_register(index)
        if bar is None:
            self.BAR[index] = 0
            return
        word = bar.address_bits >> shift & 0xFFFF_FFFF
        self.BAR[index] = written & word | (0 if shift else bar.type_bits)
        self.moved(self)

    def _of_register(self, index: int) -> tuple[Bar | None, int]:
        """What register ``index`` is of, and how many bits of the address are below its own."""
        if self._bars[index] is None and index and (below := self._bars[index - 1]) is not None:
            return (below, 32) if below.wide else (None, 0)
        return self._bars[index], 0

    def _address(self, index: int) -> int:
        bar = self._bars[index]
        if bar is None:
            return 0
        high = self.BAR[index + 1] << 32 if bar.wide else 0
        return (high | self.BAR[index]) & bar.address_bits

    def _identify(self) -> None:
        super()._identify()
        self.SUBSYSTEM_VENDOR = self.identity.subsystem_vendor
        self.SUBSYSTEM = self.identity.subsystem
        for index, bar in enumerate(self._bars):
            self.BAR[index] = 0 if bar is None else bar.type_bits
