"""A domain of an APLIC that forwards interrupts to harts as messages: what is pending and enabled
is sent, and pending no more (RISC-V Advanced Interrupt Architecture 1.0, 4.9).

The addresses of harts are told by registers of the root domain, for its child too (4.9.1). A hart
has the same number in both. There are no guests' interrupt files.
"""

from __future__ import annotations

from typing import ClassVar

from bimetal.devices.irq.aplic import ENABLED, FIXED, HART, LEVELS, Aplic, each_source
from bimetal.devices.irq.messages import Message
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, RegArray, Value

__all__ = ["MessageAplic"]

BY_MESSAGES = 1 << 2
IDENTITY = 0x7FF
MACHINE, MACHINE_HIGH, SUPERVISOR, SUPERVISOR_HIGH = range(4)
"""The registers of addresses by their places."""
LOCKED, PAGE_HIGH = 1 << 31, 0xFFF
GROUP_SHIFT, HART_SHIFT, GROUP_WIDTH, HART_WIDTH = 24, 20, 16, 12
"""Where the fields are that say how a hart's number becomes part of an address (4.5.3)."""
WRITABLE = (
    0xFFFF_FFFF,
    LOCKED | 31 << GROUP_SHIFT | 7 << HART_SHIFT | 7 << GROUP_WIDTH | 15 << HART_WIDTH | PAGE_HIGH,
    0xFFFF_FFFF,
    7 << HART_SHIFT | PAGE_HIGH,
)
PAGE = 12


class MessageAplic(Aplic):
    """A domain that sends messages. ``pages`` are the addresses of hart 0's interrupt files of
    M-mode and of S-mode, those of the others following page by page: with these the domain is set
    up from reset on as firmware would do it, and delegates all sources."""

    fixed: ClassVar[tuple[str, ...]] = ("parent", "pages")

    DOMAIN = Reg(0x0, reset=FIXED | BY_MESSAGES, writable=ENABLED, IE=8)
    MESSAGE = Reg(0x3000, writable=0, doc="genmsi", HART=(31, 18), IDENTITY=(10, 0))
    MESSAGE_ADDRESSES = RegArray(0x1BC0, 4, writable=0, doc="mmsiaddrcfg, smsiaddrcfg, halves")

    message = Out(Message, doc="messages to harts")

    def __init__(
        self,
        sources: int,
        harts: int,
        child: MessageAplic | None = None,
        *,
        pages: tuple[int, int] | None = None,
    ):
        self.parent: MessageAplic | None = None
        self.pages = pages
        super().__init__(sources, harts, child, delegating=pages is not None)
        if child is not None:
            child.parent = self

    def prepare(self) -> None:
        super().prepare()
        if self.pages is not None:
            width = (self.harts - 1).bit_length() << HART_WIDTH
            for place, at in zip((MACHINE, SUPERVISOR), self.pages, strict=True):
                self.MESSAGE_ADDRESSES[place] = at >> PAGE & 0xFFFF_FFFF
                self.MESSAGE_ADDRESSES[place + 1] = at >> PAGE >> 32
            self.MESSAGE_ADDRESSES[MACHINE_HIGH] |= width

    def w_MESSAGE_ADDRESSES(self, index: int, written: Value) -> None:
        table = self.MESSAGE_ADDRESSES
        if self.parent is None and not table[MACHINE_HIGH] & LOCKED:
            table[index] = written & WRITABLE[index]

    def w_MESSAGE(self, written: Value) -> None:
        self.MESSAGE = self.target(written)
        self._send(self.MESSAGE)

    def target(self, written: int) -> int:
        return self.hart(written) | (written & IDENTITY)

    def settable(self, bits: int) -> int:
        bits = self.clearable(bits)
        for number in each_source(bits):
            if self.SOURCE[number - 1] in LEVELS and not self.rectified(number):
                bits &= ~(1 << number)
        return bits

    def clearable(self, bits: int) -> int:
        return self._active(bits, levels=True)

    def notify_harts(self) -> None:
        ready = self.pending & self.enabled
        if ready and self.DOMAIN.IE:
            self.pending &= ~ready
            for number in each_source(ready):
                self._send(self.TARGET[number - 1])

    def _send(self, target: int) -> None:
        self.message(Message(0, self._address(target >> HART), target & IDENTITY))

    def _address(self, hart: int) -> int:
        """Where the hart's interrupt file takes messages (4.9.1)."""
        root, place = (self, MACHINE) if self.parent is None else (self.parent, SUPERVISOR)
        table = root.MESSAGE_ADDRESSES
        shape, own = table[MACHINE_HIGH], table[place + 1]
        width = shape >> HART_WIDTH & 15
        group = hart >> width & (1 << (shape >> GROUP_WIDTH & 7)) - 1
        page = (own & PAGE_HIGH) << 32 | table[place]
        page |= group << (shape >> GROUP_SHIFT & 31) + PAGE
        page |= (hart & (1 << width) - 1) << (own >> HART_SHIFT & 7)
        return page << PAGE
