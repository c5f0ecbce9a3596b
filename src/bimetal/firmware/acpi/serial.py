"""The serial port that is the console, and the one for debuggers: SPCR and DBG2.

Source: Microsoft, "Serial Port Console Redirection Table" and "Debug Port Table 2".
"""

from __future__ import annotations

import struct

from msgspec import Struct

from bimetal.firmware.acpi.table import HEADER_SIZE, SYSTEM_MEMORY, Table, address

__all__ = ["PL011", "SerialPort", "serial_tables"]

PL011 = 3
"""The kind of a port, in both tables."""
BAUD_115200, ONE_STOP_BIT, VT100 = 7, 1, 0
NO_PCI = 0xFFFF
SERIAL = 0x8000


class SerialPort(Struct, frozen=True):
    """A port of a ``kind`` whose ``size`` bytes of registers begin at ``at``: its interrupt, of
    which ``controllers`` says what it is an input of, and its name in the DSDT."""

    kind: int
    at: int
    size: int
    interrupt: int
    controllers: int
    name: str


def serial_tables(port: SerialPort) -> list[Table]:
    """Both tables, for one port that serves as both."""
    register = address(SYSTEM_MEMORY, port.at)
    console = struct.pack("<B3x", port.kind) + register
    console += struct.pack("<BBI", port.controllers, 0, port.interrupt)
    console += struct.pack("<BBBBBx", BAUD_115200, 0, ONE_STOP_BIT, 0, VT100)
    console += struct.pack("<HHBBBIB4x", NO_PCI, NO_PCI, 0, 0, 0, 0, 0)
    name = f"\\_SB.{port.name}".encode() + b"\0"
    fixed = 22
    at = (fixed, fixed + len(register), fixed + len(register) + 4)
    debug = struct.pack("<BHBHHHH", 0, at[2] + len(name), 1, len(name), at[2], 0, 0)
    debug += struct.pack("<HH2xHH", SERIAL, port.kind, at[0], at[1])
    debug += register + struct.pack("<I", port.size) + name
    return [
        Table("SPCR", 2, console),
        Table("DBG2", 0, struct.pack("<II", HEADER_SIZE + 8, 1) + debug),
    ]
