"""Transfer request blocks, of which all rings consist (xHCI 1.1, section 6.4)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

__all__ = ["TRB_SIZE", "Code", "Kind", "Trb", "event"]

TRB_SIZE = 16
_TRB = Struct("<QII")
CYCLE = 1
TOGGLE, SHORT, CHAIN, INTERRUPT, IMMEDIATE = 1 << 1, 1 << 2, 1 << 4, 1 << 5, 1 << 6
BLOCK_INTERRUPT = 1 << 9
LENGTH = 0x1_FFFF


class Kind(IntEnum):
    """Types (6.4.6)."""

    NORMAL = 1
    SETUP = 2
    DATA = 3
    STATUS = 4
    ISOCHRONOUS = 5
    LINK = 6
    EVENT_DATA = 7
    NO_OP = 8
    ENABLE_SLOT = 9
    DISABLE_SLOT = 10
    ADDRESS_DEVICE = 11
    CONFIGURE_ENDPOINT = 12
    EVALUATE_CONTEXT = 13
    RESET_ENDPOINT = 14
    STOP_ENDPOINT = 15
    SET_DEQUEUE = 16
    RESET_DEVICE = 17
    NO_OP_COMMAND = 23
    TRANSFER_EVENT = 32
    COMMAND_COMPLETION = 33
    PORT_CHANGE = 34


class Code(IntEnum):
    """How something ended (6.4.5)."""

    SUCCESS = 1
    TRANSACTION_ERROR = 4
    TRB_ERROR = 5
    STALL = 6
    NO_SLOTS = 9
    SLOT_NOT_ENABLED = 11
    SHORT_PACKET = 13
    PARAMETER_ERROR = 17
    CONTEXT_STATE = 19
    RING_STOPPED = 24
    STOPPED = 26


class Trb(NamedTuple):
    """A block, and the address ``at`` which it lies."""

    at: int
    parameter: int
    status: int
    control: int

    @classmethod
    def read(cls, at: int, data: memoryview) -> Trb:
        """The block that lies ``at`` an address."""
        return cls(at, *_TRB.unpack(data))

    @property
    def cycle(self) -> bool:
        """Whose it is: the producer's or the consumer's, in turn."""
        return bool(self.control & CYCLE)

    @property
    def kind(self) -> int:
        """Its type, see `Kind`."""
        return self.control >> 10 & 63

    @property
    def toggles(self) -> bool:
        """Of a link: whether the cycle begins anew."""
        return bool(self.control & TOGGLE)

    @property
    def chained(self) -> bool:
        """Whether the next one belongs to it."""
        return bool(self.control & CHAIN)

    @property
    def tells(self) -> bool:
        """Whether its end makes an event."""
        return bool(self.control & INTERRUPT)

    @property
    def tells_short(self) -> bool:
        """Whether it makes an event if it got less than it has room for."""
        return bool(self.control & SHORT)

    @property
    def immediate(self) -> bool:
        """Whether it has the data themselves, and not their address."""
        return bool(self.control & IMMEDIATE)

    @property
    def quietly(self) -> bool:
        """Whether its event comes without an interrupt."""
        return bool(self.control & BLOCK_INTERRUPT)

    @property
    def length(self) -> int:
        """Bytes of its buffer."""
        return self.status & LENGTH

    @property
    def interrupter(self) -> int:
        """Who gets its events."""
        return self.status >> 22

    @property
    def slot(self) -> int:
        """Of a command: the slot that it is for."""
        return self.control >> 24

    @property
    def endpoint(self) -> int:
        """Of a command: the number of the endpoint's context."""
        return self.control >> 16 & 31

    def flag(self, bit: int) -> bool:
        """Whether a bit of the last word is set."""
        return bool(self.control >> bit & 1)


def event(parameter: int, status: int, control: int, *, cycle: bool) -> bytes:
    """A block of an event ring."""
    return _TRB.pack(parameter, status, control | cycle)
