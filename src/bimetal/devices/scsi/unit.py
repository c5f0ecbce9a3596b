"""What all SCSI units have in common (SPC-4): who they are, and whether they are ready.

A unit is a set of commands, by the first byte of their descriptor block (CDB). All numbers in CDBs
and in data are big-endian, and the initiator says how much data it takes: more is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import ClassVar

from bimetal.base.buffers import scatter, total
from bimetal.devices.answers import Answers
from bimetal.devices.part import Part
from bimetal.devices.scsi.sense import BAD_FIELD, BAD_OPCODE, CheckCondition, Sense

__all__ = ["Command", "Unit", "Work", "number", "page"]

Work = Generator[int | Callable[[], None], None, int]
"""A command being carried out: yields what each piece counts for, and work that may wait for the
host and raises OSError; returns how many bytes were moved. Raises `CheckCondition`."""

REQUEST_SENSE, INQUIRY, REPORT_LUNS = 0x03, 0x12, 0xA0

VENDOR, REVISION = b"BIMETAL", b"1.0"
VERSION = 5
"""SPC-3, as drivers expect it who look for the pages of a disk with thin provisioning."""


class Command:
    """A command: its CDB, the data that it brings, and room for the data that it asks for."""

    def __init__(self, cdb: bytes, out: Sequence[memoryview], into: Sequence[memoryview]):
        self.cdb, self.out, self.into = cdb, out, into

    def data(self, limit: int) -> bytes:
        """The data that it brings. `CheckCondition` for more than ``limit`` bytes."""
        if total(self.out) > limit:
            raise CheckCondition(BAD_FIELD)
        return b"".join(self.out)

    def give(self, data: bytes, limit: int) -> Work:
        """Answer with ``data``, at most ``limit`` bytes."""
        moved = scatter(data[:limit], self.into)
        yield moved
        return moved


class Unit(Part):
    """A logical unit of the peripheral ``kind`` (SPC-4, table 141)."""

    kind: ClassVar[int] = 0
    removable = False
    """Whether its medium could be another one soon."""
    product: ClassVar[bytes] = b""
    handlers: ClassVar[Mapping[int, str]] = {
        0x00: "test_ready",
        0x03: "request_sense",
        0x12: "inquire",
        0xA0: "report_luns",
    }
    """The method for each command that there is."""
    saved: ClassVar[tuple[str, ...]] = ("attention",)
    fixed: ClassVar[tuple[str, ...]] = ("serial",)
    derived: ClassVar[tuple[str, ...]] = ("answers",)

    def __init__(self, serial: str = ""):
        self.serial = serial.encode()
        self.answers: Answers | None = None
        """Says what is done about errors of the host; without it, the guest is told."""
        self.attention: tuple[int, int, int] | None = None
        """Sense that the next command gets to know first."""

    def start(self, command: Command) -> Work:
        """Carry out ``command``."""
        opcode = command.cdb[0]
        handler = self.handlers.get(opcode)
        if handler is None:
            raise CheckCondition(BAD_OPCODE)
        if self.attention is not None and opcode not in (INQUIRY, REPORT_LUNS, REQUEST_SENSE):
            sense, self.attention = Sense(*self.attention), None
            raise CheckCondition(sense)
        work: Work = getattr(self, handler)(command)
        return work

    def reset(self) -> None:
        """Go to the state after power-on, with the medium that there is."""
        self.attention = None

    def check_ready(self) -> None:
        """Raise `CheckCondition` if there is no medium."""

    def vital_pages(self) -> Mapping[int, bytes]:
        """Vital product data besides the serial number, by the number of the page."""
        return {}

    def close(self) -> None:
        """Give everything back. Idempotent."""

    # Commands

    def test_ready(self, command: Command) -> Work:
        """TEST UNIT READY."""
        self.check_ready()
        yield 0
        return 0

    def request_sense(self, command: Command) -> Work:
        """REQUEST SENSE: as a rule there is nothing, for errors come with their command."""
        sense, self.attention = Sense(*(self.attention or (0, 0, 0))), None
        return command.give(sense.pack(), command.cdb[4])

    def inquire(self, command: Command) -> Work:
        """INQUIRY."""
        limit = number(command.cdb, 3, 2)
        if command.cdb[1] & 1:
            return command.give(self._vital(command.cdb[2]), limit)
        if command.cdb[2]:
            raise CheckCondition(BAD_FIELD)
        head = bytes((self.kind, 0x80 * self.removable, VERSION, 2, 31, 0, 0, 2))
        names = VENDOR.ljust(8) + self.product.ljust(16) + REVISION.ljust(4)
        return command.give(head + names, limit)

    def report_luns(self, command: Command) -> Work:
        """REPORT LUNS: there is number 0 only."""
        return command.give(bytes((0, 0, 0, 8)) + bytes(12), number(command.cdb, 6, 4))

    def _vital(self, wanted: int) -> bytes:
        name = VENDOR.ljust(8) + self.product.strip() + b"-" + (self.serial or b"0")
        pages = {
            0x80: self.serial.ljust(4) if self.serial else b"",
            0x83: bytes((2, 1, 0, len(name))) + name,
            **self.vital_pages(),
        }
        pages[0] = bytes(sorted((0, *pages)))
        if wanted not in pages:
            raise CheckCondition(BAD_FIELD)
        data = pages[wanted]
        return bytes((self.kind, wanted)) + len(data).to_bytes(2, "big") + data


def number(data: bytes, at: int, size: int) -> int:
    """The number of ``size`` bytes at ``at``."""
    return int.from_bytes(data[at : at + size], "big")


def page(code: int, data: bytes) -> bytes:
    """A mode page."""
    return bytes((code, len(data))) + data
