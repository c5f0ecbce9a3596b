"""The tables of an x86 machine, and what Intel's own compiler reads in them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bimetal.boards.microvm import acpi_devices
from bimetal.firmware.acpi.image import PlacedTables, TableImage
from bimetal.firmware.acpi.x86 import Power, x86_tables
from tests.firmware.acpi.reading import disassembled, find_tables

AT = 0xE_0000
POWER = Power(sleep_control=0x600, sleep_status=0x601, reset=0x602, reset_value=1)


@pytest.fixture
def tables() -> PlacedTables:
    return TableImage(x86_tables(3, POWER, acpi_devices(), century=0x32)).at(AT)


def found(tables: PlacedTables) -> dict[str, bytes]:
    """All tables by signature."""
    return find_tables({AT: bytes(tables.segment.data)}, tables.rsdp)


def test_an_operating_system_finds_every_table(tables: PlacedTables) -> None:
    every = found(tables)
    assert set(every) == {"XSDT", "FACP", "APIC", "DSDT"}
    assert tables.rsdp == AT


def test_the_fixed_description_names_the_power_registers(tables: PlacedTables) -> None:
    fadt = found(tables)["FACP"]
    assert len(fadt) == 276
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert flags >> 20 & 1, "hardware-reduced"
    assert flags >> 10 & 1, "has a reset register"
    assert fadt[108] == 0x32
    for offset, port in ((116, 0x602), (244, 0x600), (256, 0x601)):
        assert struct.unpack_from("<BBBBQ", fadt, offset) == (1, 8, 0, 1, port)
    assert fadt[128] == 1


def test_every_cpu_has_its_interrupt_controller(tables: PlacedTables) -> None:
    madt = found(tables)["APIC"]
    entries, at = [], 44
    while at < len(madt):
        entries.append(madt[at : at + madt[at + 1]])
        at += madt[at + 1]
    assert [entry[2:4] for entry in entries if entry[0] == 0] == [b"\0\0", b"\1\1", b"\2\2"]
    (io_apic,) = (entry for entry in entries if entry[0] == 1)
    assert struct.unpack_from("<II", io_apic, 4) == (0xFEC0_0000, 0)


def test_many_cpus_are_named_by_their_long_numbers() -> None:
    madt = found(TableImage(x86_tables(300, POWER, [])).at(AT))["APIC"]
    assert struct.pack("<BBHIII", 9, 16, 0, 299, 1, 299) in madt


def test_the_compiler_of_intel_reads_the_devices(tables: PlacedTables, tmp_path: Path) -> None:
    text = " ".join(disassembled(found(tables), tmp_path)["DSDT"].split())
    assert 'Name (_HID, EisaId ("PNP0501")' in text
    assert 'Name (_HID, "LNRO0005")' in text
    assert "IO (Decode16, 0x03F8, // Range Minimum 0x03F8, // Range Maximum" in text
    assert "Memory32Fixed (ReadWrite, 0xD0007000, // Address Base" in text
    assert "Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive, ,, ) { 0x00000017, }" in text
    assert "IRQNoFlags () {4}" in text
    assert (
        'ToUUID ("daffd814-6eba-4d8c-8a91-bc9bbf4aa301") /* Device Properties for _DSD */,'
        ' Package (0x01) { Package (0x02) { "compatible", "sifive,test1" } }' in text
    )
    assert "Name (\\_S5, Package (0x04) // _S5_: S5 System State { 0x05," in text
