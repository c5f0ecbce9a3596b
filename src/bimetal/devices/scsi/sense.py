"""How a SCSI command ends, and sense data: what the unit says went wrong (SPC-4, 4.5)."""

from __future__ import annotations

from struct import Struct

import msgspec

__all__ = [
    "BAD_FIELD",
    "BAD_LUN",
    "BAD_OPCODE",
    "BAD_RANGE",
    "IO_ERROR",
    "LOCKED",
    "NEW_MEDIUM",
    "NO_MEDIUM",
    "OTHER_CAPACITY",
    "READ_ONLY",
    "SHORT_LIST",
    "CheckCondition",
    "Sense",
    "Status",
]


class Status:
    """Status of a command (SAM-5, 5.3.1)."""

    GOOD = 0
    CHECK_CONDITION = 2


_FIXED = Struct(">BxB4xB4xBB4x")


class Sense(msgspec.Struct, frozen=True):
    """A sense key, an additional code and its qualifier."""

    key: int
    code: int
    qualifier: int = 0

    def pack(self) -> bytes:
        """Sense data of fixed format, 18 bytes."""
        return _FIXED.pack(0x70, self.key, 10, self.code, self.qualifier)


NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION, DATA_PROTECT = 2, 3, 5, 6, 7

NO_MEDIUM = Sense(NOT_READY, 0x3A)
IO_ERROR = Sense(MEDIUM_ERROR, 0x11)
BAD_OPCODE = Sense(ILLEGAL_REQUEST, 0x20)
BAD_RANGE = Sense(ILLEGAL_REQUEST, 0x21)
BAD_FIELD = Sense(ILLEGAL_REQUEST, 0x24)
BAD_LUN = Sense(ILLEGAL_REQUEST, 0x25)
SHORT_LIST = Sense(ILLEGAL_REQUEST, 0x1A)
LOCKED = Sense(ILLEGAL_REQUEST, 0x53, 0x02)
NEW_MEDIUM = Sense(UNIT_ATTENTION, 0x28)
OTHER_CAPACITY = Sense(UNIT_ATTENTION, 0x2A, 0x09)
READ_ONLY = Sense(DATA_PROTECT, 0x27)


class CheckCondition(Exception):
    """A command fails for the reason that ``sense`` gives."""

    def __init__(self, sense: Sense):
        super().__init__(f"sense {sense.key:x}/{sense.code:02x}/{sense.qualifier:02x}")
        self.sense = sense
