"""ACPI tables of a machine without the fixed hardware of a PC ("hardware-reduced").

Source: ACPI Specification 6.5, section 5.2. The operating system finds CPUs and interrupt
controllers in the MADT, devices in the DSDT, and two registers in the FADT: one to sleep by (and
so to power off) and one to reset by.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bimetal.firmware import aml
from bimetal.firmware.program import Segment

__all__ = [
    "DEVICE_TREE_HID",
    "S5",
    "SLEEP_ENABLE",
    "SLEEP_TYPE",
    "AcpiDevice",
    "Power",
    "Tables",
    "build_tables",
]

OEM, OEM_TABLE, CREATOR = b"BIMTAL", b"BIMETAL ", b"BMTL"
S5 = 5
"""The value that SLP_TYP takes to power off: what ``\\_S5`` says."""
SLEEP_TYPE, SLEEP_ENABLE = (4, 2), 1 << 5
"""The bits of the sleep control register (4.8.4.2.1)."""

LOCAL_APIC_ADDRESS, IO_APIC_ADDRESS = 0xFEE0_0000, 0xFEC0_0000
BOOT_VGA_ABSENT = 1 << 2
FLAG_WBINVD, FLAG_NO_POWER_BUTTON, FLAG_NO_SLEEP_BUTTON = 1 << 0, 1 << 4, 1 << 5
FLAG_RESET_REGISTER, FLAG_HW_REDUCED = 1 << 10, 1 << 20
SYSTEM_IO = 1
FADT_SIZE = 276
DEVICE_TREE_HID = "PRP0001"
"""The identifier of devices that have none but their names in device trees: Linux kernel,
Documentation/firmware-guide/acpi/enumeration.rst, "Device Tree namespace link device ID"."""
PROPERTIES = "daffd814-6eba-4d8c-8a91-bc9bbf4aa301"
"""What follows in ``_DSD`` are names and values ("_DSD Implementation Guide", chapter 3)."""
TABLE_ALIGNMENT = 16


@dataclass(frozen=True)
class AcpiDevice:
    """A device in the DSDT: its name (four characters), identifier, number and resources.

    One that ACPI has no identifier for is `DEVICE_TREE_HID`, and ``compatible`` what a device tree
    would call it.
    """

    name: str
    hid: str
    uid: int
    resources: tuple[bytes, ...]
    compatible: str = ""

    def aml(self) -> bytes:
        """Its ``Device`` term. Identifiers of seven characters are compressed EISA ones."""
        hid = aml.eisa_id(self.hid) if len(self.hid) == 7 else aml.string(self.hid)
        return aml.device(
            self.name,
            aml.name("_HID", hid),
            aml.name("_UID", aml.integer(self.uid)),
            aml.name("_CCA", aml.integer(1)),
            aml.name("_CRS", aml.resources(*self.resources)),
            *self._properties(),
        )

    def _properties(self) -> tuple[bytes, ...]:
        """The device's properties (6.2.5), if it has any."""
        if not self.compatible:
            return ()
        compatible = aml.package(aml.string("compatible"), aml.string(self.compatible))
        return (aml.name("_DSD", aml.package(aml.uuid(PROPERTIES), aml.package(compatible))),)


@dataclass(frozen=True)
class Power:
    """I/O ports of the sleep control, sleep status and reset registers, one byte each, and what
    resets the machine when written to the last."""

    sleep_control: int
    sleep_status: int
    reset: int
    reset_value: int


@dataclass(frozen=True)
class Tables:
    """The tables, ready to be put into memory; ``rsdp`` is the address of their root."""

    segment: Segment
    rsdp: int


def build_tables(
    address: int, cpus: int, power: Power, devices: list[AcpiDevice], century: int = 0
) -> Tables:
    """All tables from ``address`` on, for ``cpus`` CPUs whose APICs are numbered from 0.

    ``century`` is the register of the real-time clock's century, 0 if it has none.
    """
    image = bytearray()

    def place(table: bytes) -> int:
        image.extend(bytes(-len(image) % TABLE_ALIGNMENT))
        image.extend(table)
        return address + len(image) - len(table)

    rsdp_size = 36
    place(bytes(rsdp_size))  # its place is first, its content is known last
    dsdt = place(_dsdt(devices))
    fadt = place(_fadt(dsdt, power, century))
    madt = place(_madt(cpus))
    xsdt = place(_table(b"XSDT", 1, struct.pack("<2Q", fadt, madt)))
    image[:rsdp_size] = _rsdp(xsdt)
    return Tables(Segment(address, bytes(image), len(image)), address)


def checksum(data: bytes | bytearray) -> int:
    """The byte that makes the sum of all bytes 0, if the byte in its place is 0 now."""
    return -sum(data) & 0xFF


def _rsdp(xsdt: int) -> bytes:
    first = bytearray(struct.pack("<8sB6sBI", b"RSD PTR ", 0, OEM, 2, 0))
    first[8] = checksum(first)
    whole = bytearray(first + struct.pack("<IQB3x", 36, xsdt, 0))
    whole[32] = checksum(whole)
    return bytes(whole)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    """``body`` behind the header that all tables share (5.2.6)."""
    header = struct.pack(
        "<4sIBB6s8sI4sI",
        signature,
        36 + len(body),
        revision,
        0,
        OEM,
        OEM_TABLE,
        1,
        CREATOR,
        1,
    )
    table = bytearray(header + body)
    table[9] = checksum(table)
    return bytes(table)


def _dsdt(devices: list[AcpiDevice]) -> bytes:
    sleep = aml.package(aml.integer(S5), aml.integer(0), aml.integer(0), aml.integer(0))
    return _table(
        b"DSDT",
        2,
        aml.scope("\\_SB", *(device.aml() for device in devices)) + aml.name("\\_S5", sleep),
    )


def _fadt(dsdt: int, power: Power, century: int) -> bytes:
    """The fixed description (5.2.9); offsets as in its table, which counts the header."""
    body = bytearray(FADT_SIZE - 36)
    flags = FLAG_WBINVD | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON
    flags |= FLAG_RESET_REGISTER | FLAG_HW_REDUCED

    def put(offset: int, data: bytes) -> None:
        body[offset - 36 : offset - 36 + len(data)] = data

    put(108, bytes((century,)))
    put(109, struct.pack("<H", BOOT_VGA_ABSENT))
    put(112, struct.pack("<I", flags))
    put(116, _register(power.reset) + bytes((power.reset_value,)))
    put(131, b"\x05")  # minor version: 6.5
    put(140, struct.pack("<Q", dsdt))
    put(244, _register(power.sleep_control))
    put(256, _register(power.sleep_status))
    put(268, OEM_TABLE)  # hypervisor vendor identity
    return _table(b"FACP", 6, bytes(body))


def _register(port: int) -> bytes:
    """A generic address structure of a byte-wide port (5.2.3.2)."""
    return struct.pack("<BBBBQ", SYSTEM_IO, 8, 0, 1, port)


def _madt(cpus: int) -> bytes:
    """Local APICs (x2APICs where the number is too large), the I/O APIC, NMI on LINT1 (5.2.12)."""
    body = struct.pack("<II", LOCAL_APIC_ADDRESS, 0)
    for number in range(cpus):
        if number < 255:
            body += struct.pack("<BBBBI", 0, 8, number, number, 1)
        else:
            body += struct.pack("<BBHIII", 9, 16, 0, number, 1, number)
    body += struct.pack("<BBBBII", 1, 12, 0, 0, IO_APIC_ADDRESS, 0)
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)
    return _table(b"APIC", 5, body)
