"""ACPI tables: sums, pointers, and what Intel's own compiler reads in them."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from bimetal.boards.microvm import acpi_devices
from bimetal.firmware import aml
from bimetal.firmware.acpi import Power, Tables, build_tables
from tests.host import programs

AT = 0xE_0000
POWER = Power(sleep_control=0x600, sleep_status=0x601, reset=0x602, reset_value=1)


@pytest.fixture
def tables() -> Tables:
    return build_tables(AT, 3, POWER, acpi_devices(), century=0x32)


def table(tables: Tables, address: int) -> bytes:
    """The table at a guest-physical address."""
    data = bytes(tables.segment.data)
    start = address - AT
    (length,) = struct.unpack_from("<I", data, start + 4)
    return data[start : start + length]


def found(tables: Tables) -> dict[str, bytes]:
    """All tables by signature, as an operating system finds them."""
    data = bytes(tables.segment.data)
    assert data[:8] == b"RSD PTR "
    assert sum(data[:20]) & 0xFF == 0
    assert sum(data[:36]) & 0xFF == 0
    (xsdt_at,) = struct.unpack_from("<Q", data, 24)
    xsdt = table(tables, xsdt_at)
    entries = struct.unpack_from(f"<{(len(xsdt) - 36) // 8}Q", xsdt, 36)
    all_tables = [xsdt, *(table(tables, entry) for entry in entries)]
    fadt = next(each for each in all_tables if each[:4] == b"FACP")
    all_tables.append(table(tables, struct.unpack_from("<Q", fadt, 140)[0]))
    return {each[:4].decode(): each for each in all_tables}


def test_an_operating_system_finds_every_table(tables: Tables) -> None:
    every = found(tables)
    assert set(every) == {"XSDT", "FACP", "APIC", "DSDT"}
    assert all(sum(each) & 0xFF == 0 for each in every.values())
    assert tables.rsdp == AT


def test_the_fixed_description_names_the_power_registers(tables: Tables) -> None:
    fadt = found(tables)["FACP"]
    assert len(fadt) == 276
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert flags >> 20 & 1, "hardware-reduced"
    assert flags >> 10 & 1, "has a reset register"
    assert fadt[108] == 0x32
    for offset, port in ((116, 0x602), (244, 0x600), (256, 0x601)):
        assert struct.unpack_from("<BBBBQ", fadt, offset) == (1, 8, 0, 1, port)
    assert fadt[128] == 1


def test_every_cpu_has_its_interrupt_controller(tables: Tables) -> None:
    madt = found(tables)["APIC"]
    entries, at = [], 44
    while at < len(madt):
        entries.append(madt[at : at + madt[at + 1]])
        at += madt[at + 1]
    assert [entry[2:4] for entry in entries if entry[0] == 0] == [b"\0\0", b"\1\1", b"\2\2"]
    (io_apic,) = (entry for entry in entries if entry[0] == 1)
    assert struct.unpack_from("<II", io_apic, 4) == (0xFEC0_0000, 0)


def test_many_cpus_are_named_by_their_long_numbers() -> None:
    madt = found(build_tables(AT, 300, POWER, []))["APIC"]
    assert struct.pack("<BBHIII", 9, 16, 0, 299, 1, 299) in madt


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "00"),
        (1, "01"),
        (2, "0a02"),
        (0x1234, "0b3412"),
        (0x1234_5678, "0c78563412"),
        (1 << 40, "0e0000000000010000"),
    ],
)
def test_integers_take_their_shortest_form(value: int, code: str) -> None:
    assert aml.integer(value).hex() == code


@pytest.mark.parametrize("length", [0, 61, 62, 63, 4000, 4094, 5000, 1 << 20])
def test_a_package_length_counts_itself(length: int) -> None:
    code = aml.sized(bytes(length))
    extra = code[0] >> 6
    if extra == 0:
        told = code[0]
    else:
        told = code[0] & 0xF | int.from_bytes(code[1 : 1 + extra], "little") << 4
    assert told == len(code)


def test_names_and_identifiers() -> None:
    assert aml.name_string("\\_SB") == b"\\_SB_"
    assert aml.name_string("\\_SB.COM1") == b"\\\x2e_SB_COM1"
    assert aml.eisa_id("PNP0501").hex() == "0c41d00501"
    with pytest.raises(ValueError, match="more than four"):
        aml.name_string("TOOLONG")


@programs("iasl")
def test_the_compiler_of_intel_reads_the_devices(tables: Tables, tmp_path: Path) -> None:
    for name, data in found(tables).items():
        (tmp_path / f"{name}.aml").write_bytes(data)
    done = subprocess.run(
        ["iasl", "-d", "DSDT.aml"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Warning" not in done.stderr + done.stdout
    text = " ".join((tmp_path / "DSDT.dsl").read_text().split())
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
