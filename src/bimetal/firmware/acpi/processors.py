"""Processors in the DSDT and how they belong together (PPTT, 5.2.30)."""

from __future__ import annotations

import struct

from bimetal.firmware.acpi.devices import AcpiDevice
from bimetal.firmware.acpi.table import HEADER_SIZE, Table

__all__ = ["processor_devices", "topology"]

NODE = 20
PACKAGE, NUMBERED, LEAF, IDENTICAL = 1 << 0, 1 << 1, 1 << 3, 1 << 4


def processor_devices(count: int) -> list[AcpiDevice]:
    """A device for each processor, numbered as in the MADT (8.4)."""
    return [AcpiDevice(f"C{number:03X}", "ACPI0007", number) for number in range(count)]


def topology(count: int) -> Table:
    """``count`` processors that are cores of one package."""
    body = _node(PACKAGE | IDENTICAL, 0, 0)
    for number in range(count):
        body += _node(NUMBERED | LEAF, HEADER_SIZE, number)
    return Table("PPTT", 2, body)


def _node(flags: int, parent: int, number: int) -> bytes:
    """A node below that at ``parent``, which counts from the table's start."""
    return struct.pack("<BB2xIIII", 0, NODE, flags, parent, number, 0)
