"""Tables at addresses of the machine's choice and as files for firmware."""

from __future__ import annotations

import struct

import pytest

from bimetal.firmware.acpi.fixed import fixed_description
from bimetal.firmware.acpi.image import TableImage
from bimetal.firmware.acpi.table import Table
from tests.firmware.acpi.reading import find_tables, run_loader


@pytest.fixture
def image() -> TableImage:
    dsdt = Table("DSDT", 2, b"code" * 5)
    return TableImage(
        [fixed_description(dsdt, 0, {}), Table("TEST", 1, b"abc"), Table("SAME", 1, b"")]
    )


def test_a_table_has_a_header_and_a_checksum(image: TableImage) -> None:
    placed = image.at(0xE_0000)
    tables = find_tables({0xE_0000: bytes(placed.segment.data)}, placed.rsdp)
    assert list(tables) == ["XSDT", "FACP", "TEST", "SAME", "DSDT"]
    header, body = tables["TEST"][:36], tables["TEST"][36:]
    assert body == b"abc"
    assert struct.unpack("<4sIBx6s8sI4sI", header) == (
        *(b"TEST", 39, 1, b"BIMTAL", b"BIMETAL ", 1, b"BMTL", 1),
    )


@pytest.mark.parametrize("at", [0, 0x7FFF_0010, 0xFFFF_FFFF_0000])
def test_firmware_finds_the_same_tables_wherever_it_loads_them(image: TableImage, at: int) -> None:
    placed = image.at(0xE_0000)
    expected = find_tables({0xE_0000: bytes(placed.segment.data)}, placed.rsdp)
    places = {"etc/acpi/rsdp": 0xF_0000, "etc/acpi/tables": at}
    found = find_tables(run_loader(image.files(), places), 0xF_0000)
    assert {name: found[name] for name in ("TEST", "SAME", "DSDT")} == {
        name: expected[name] for name in ("TEST", "SAME", "DSDT")
    }


def test_tables_begin_at_multiples_of_16(image: TableImage) -> None:
    assert all(start % 16 == 0 for start, _ in image.extents)
    assert len(image.extents) == 5


def test_one_table_that_two_point_to_is_there_once() -> None:
    shared = Table("SHRD", 1, b"")
    pointing = [Table(name, 1, bytes(8), {36: shared}) for name in ("ONE1", "TWO2")]
    assert TableImage(pointing).content.count(b"SHRD") == 1
