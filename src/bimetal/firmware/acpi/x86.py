"""The tables of a hardware-reduced x86 machine: local APICs and an I/O APIC in the MADT, and in the
FADT two registers, one to sleep by (and so to power off) and one to reset by."""

from __future__ import annotations

import struct

from msgspec import Struct

from bimetal.firmware.acpi import aml
from bimetal.firmware.acpi.devices import AcpiDevice, differentiated_description
from bimetal.firmware.acpi.fixed import fixed_description
from bimetal.firmware.acpi.table import SYSTEM_IO, Table, address

__all__ = ["Power", "x86_tables"]

S5 = 5
"""The value that SLP_TYP takes to power off: what ``\\_S5`` says."""

LOCAL_APIC_ADDRESS, IO_APIC_ADDRESS = 0xFEE0_0000, 0xFEC0_0000
CENTURY, BOOT_ARCHITECTURE, RESET, SLEEP_CONTROL, SLEEP_STATUS = 108, 109, 116, 244, 256
VGA_ABSENT = 1 << 2
WBINVD, RESET_REGISTER = 1 << 0, 1 << 10


class Power(Struct, frozen=True):
    """I/O ports of the sleep control, sleep status and reset registers, one byte each, and what
    resets the machine when written to the last."""

    sleep_control: int
    sleep_status: int
    reset: int
    reset_value: int


def x86_tables(cpus: int, power: Power, devices: list[AcpiDevice], century: int = 0) -> list[Table]:
    """The tables for ``cpus`` CPUs whose APICs are numbered from 0.

    ``century`` is the register of the real-time clock's century, 0 if it has none.
    """
    sleep = aml.package(aml.integer(S5), aml.integer(0), aml.integer(0), aml.integer(0))
    dsdt = differentiated_description(devices, aml.name("\\_S5", sleep))
    fields = {
        CENTURY: bytes((century,)),
        BOOT_ARCHITECTURE: struct.pack("<H", VGA_ABSENT),
        RESET: address(SYSTEM_IO, power.reset) + bytes((power.reset_value,)),
        SLEEP_CONTROL: address(SYSTEM_IO, power.sleep_control),
        SLEEP_STATUS: address(SYSTEM_IO, power.sleep_status),
    }
    return [fixed_description(dsdt, WBINVD | RESET_REGISTER, fields), _interrupts(cpus)]


def _interrupts(cpus: int) -> Table:
    """Local APICs (x2APICs where the number is too large), the I/O APIC, NMI on LINT1 (5.2.12)."""
    body = struct.pack("<II", LOCAL_APIC_ADDRESS, 0)
    for number in range(cpus):
        if number < 255:
            body += struct.pack("<BBBBI", 0, 8, number, number, 1)
        else:
            body += struct.pack("<BBHIII", 9, 16, 0, number, 1, number)
    body += struct.pack("<BBBBII", 1, 12, 0, 0, IO_APIC_ADDRESS, 0)
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)
    return Table("APIC", 5, body)
