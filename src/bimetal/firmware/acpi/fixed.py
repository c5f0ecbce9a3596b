"""The fixed description (FADT, 5.2.9) of machines that lack the fixed hardware of a PC
("hardware-reduced")."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from bimetal.firmware.acpi.table import HEADER_SIZE, OEM_TABLE, Table

__all__ = ["fixed_description"]

SIZE = 276
FLAGS, MINOR_VERSION, DSDT, HYPERVISOR = 112, 131, 140, 268
"""Offsets as in the specification's table, which counts the header."""
NO_FIXED_POWER_BUTTON, NO_FIXED_SLEEP_BUTTON, HW_REDUCED = 1 << 4, 1 << 5, 1 << 20


def fixed_description(dsdt: Table, flags: int, fields: Mapping[int, bytes]) -> Table:
    """The table, with the ``flags`` of the machine besides those that all such have, and what else
    there is to say by its offset."""
    flags |= NO_FIXED_POWER_BUTTON | NO_FIXED_SLEEP_BUTTON | HW_REDUCED
    body = bytearray(SIZE - HEADER_SIZE)
    common = {FLAGS: struct.pack("<I", flags), MINOR_VERSION: b"\x03", HYPERVISOR: OEM_TABLE}
    for offset, data in {**common, **fields}.items():
        body[offset - HEADER_SIZE : offset - HEADER_SIZE + len(data)] = data
    return Table("FACP", 6, bytes(body), {DSDT: dsdt})
