"""SMBIOS tables: what a machine is called and what it has, for inventories.

Source: DMTF DSP0134, "System Management BIOS Reference Specification", version 3.0, chapters 5
and 7. The table of the firmware itself (type 0) is firmware's own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import count

from msgspec import Struct

from bimetal.base.sizes import KIB, MIB

__all__ = ["Inventory", "smbios_files"]

ANCHOR_FILE, TABLES_FILE = "etc/smbios/smbios-anchor", "etc/smbios/smbios-tables"
"""The files in which firmware finds the entry point and the tables, as under QEMU."""

SYSTEM, CHASSIS, PROCESSOR, MEMORY_ARRAY, MEMORY_DEVICE, MEMORY_RANGE, BOOT, END = (
    *(1, 3, 4, 16, 17, 19, 32),
    127,
)
BYTE, WORD, DWORD, QWORD, UUID = 1, 2, 4, 8, 16
"""Sizes of fields."""
NONE = 0
"""No such text, or a number that is not known."""
OTHER, UNKNOWN, SAFE = 1, 2, 3
"""Of enumerations that most structures share."""
POWER_SWITCH, CENTRAL, ENABLED, NO_SOCKET = 6, 3, 0x41, 6
IN_FAMILY_2 = 0xFE
WIDE, SEVERAL_CORES = 1 << 2, 1 << 3
ON_BOARD, MAIN_MEMORY, NO_CORRECTION, DIMM, PLAIN_RAM = 3, 3, 3, 9, 7
NOT_TOLD = 0xFFFF
NO_ERRORS = 0xFFFE
"""Nothing is told of memory errors."""
TOO_MANY_KIB, TOO_MANY_MIB, NO_ADDRESS = 0x8000_0000, 0x7FFF, 0xFFFF_FFFF
"""An extended field has the number."""


MEGAHERTZ = 2000
"""The speed of a CPU, which has none: QEMU says the same (hw/smbios/smbios.c), and firmware shows
it in its menu."""


class Inventory(Struct, frozen=True):
    """The machine: its name and a version of it, its CPUs and of which family they are (table 23 of
    the specification), and its memory, in bytes, and where it begins."""

    product: str
    version: str
    cpus: int
    family: int
    memory: int
    memory_at: int
    manufacturer: str = "Bimetal"


def smbios_files(machine: Inventory) -> Mapping[str, bytes]:
    """The files for firmware, by their names."""
    numbers = count()
    parts = (
        _system(machine, next(numbers)),
        _chassis(machine, next(numbers)),
        _processor(machine, next(numbers)),
        *_memory(machine, next(numbers), next(numbers), next(numbers)),
        _structure(BOOT, next(numbers), (DWORD, 0), (WORD, 0), (BYTE, 0)),
        _structure(END, next(numbers)),
    )
    tables = b"".join(parts)
    return {ANCHOR_FILE: _anchor(len(tables)), TABLES_FILE: tables}


def _anchor(size: int) -> bytes:
    """The entry point of version 3.0 (5.2.2), whose address firmware fills in."""
    anchor = bytearray(struct.pack("<5sBBBBBBxIQ", b"_SM3_", 0, 24, 3, 0, 0, 1, size, 0))
    anchor[5] = -sum(anchor) & 0xFF
    return bytes(anchor)


def _structure(kind: int, number: int, *fields: tuple[int, int | str]) -> bytes:
    """A structure (6.1) of fields, each a size and what it holds: texts follow the structure, and
    their fields number them."""
    texts = [text for _, text in fields if isinstance(text, str)]
    order = count(1)
    numbers = [(size, next(order) if isinstance(held, str) else held) for size, held in fields]
    packed = b"".join(value.to_bytes(size, "little") for size, value in numbers)
    header = struct.pack("<BBH", kind, 4 + len(packed), number)
    return header + packed + (b"".join(each.encode() + b"\0" for each in texts) or b"\0") + b"\0"


def _system(machine: Inventory, number: int) -> bytes:
    return _structure(
        SYSTEM,
        number,
        (BYTE, machine.manufacturer),
        (BYTE, machine.product),
        (BYTE, machine.version),
        (BYTE, NONE),  # serial number
        (UUID, NONE),
        (BYTE, POWER_SWITCH),
        (BYTE, NONE),  # SKU
        (BYTE, NONE),  # family
    )


def _chassis(machine: Inventory, number: int) -> bytes:
    return _structure(
        CHASSIS,
        number,
        (BYTE, machine.manufacturer),
        (BYTE, OTHER),
        (BYTE, machine.version),
        *[(BYTE, NONE)] * 2,  # serial number, asset tag
        *[(BYTE, SAFE)] * 3,  # state of the whole, of the power supply, of temperatures
        (BYTE, UNKNOWN),  # security
        (DWORD, 0),  # the vendor's own
        *[(BYTE, NONE)] * 2,  # height, power cords
        *[(BYTE, 0)] * 2,  # elements that it contains, and their size
        (BYTE, NONE),  # SKU
    )


def _processor(machine: Inventory, number: int) -> bytes:
    """All CPUs, cores of one processor; more than 255 are told in the second fields alone."""
    return _structure(
        PROCESSOR,
        number,
        (BYTE, "CPU 0"),
        (BYTE, CENTRAL),
        (BYTE, IN_FAMILY_2),
        (BYTE, machine.manufacturer),
        (QWORD, NONE),  # its own identification
        (BYTE, machine.version),
        (BYTE, NONE),  # voltage
        (WORD, NONE),  # external clock
        *[(WORD, MEGAHERTZ)] * 2,  # the highest speed, and the present one
        (BYTE, ENABLED),
        (BYTE, NO_SOCKET),
        *[(WORD, NOT_TOLD)] * 3,  # caches
        *[(BYTE, NONE)] * 3,  # serial number, asset tag, part number
        *[(BYTE, min(machine.cpus, 0xFF))] * 3,  # cores, enabled ones, threads
        (WORD, WIDE | SEVERAL_CORES * (machine.cpus > 1)),
        (WORD, machine.family),
        *[(WORD, machine.cpus)] * 3,
    )


def _memory(machine: Inventory, array: int, device: int, place: int) -> tuple[bytes, ...]:
    """One memory device, in an array of its own, and where it is. What is too much for a field
    stands in an extended one."""
    kib, mib = machine.memory // KIB, machine.memory // MIB
    first, last = machine.memory_at, machine.memory_at + machine.memory - 1
    large, far = kib >= TOO_MANY_KIB, last // KIB >= NO_ADDRESS
    return (
        _structure(
            MEMORY_ARRAY,
            array,
            (BYTE, ON_BOARD),
            (BYTE, MAIN_MEMORY),
            (BYTE, NO_CORRECTION),
            (DWORD, TOO_MANY_KIB if large else kib),
            (WORD, NO_ERRORS),
            (WORD, 1),  # devices
            (QWORD, machine.memory if large else 0),
        ),
        _structure(
            MEMORY_DEVICE,
            device,
            (WORD, array),
            (WORD, NO_ERRORS),
            *[(WORD, NOT_TOLD)] * 2,  # widths
            (WORD, min(mib, TOO_MANY_MIB)),
            (BYTE, DIMM),
            (BYTE, 0),  # set
            (BYTE, "DIMM 0"),
            (BYTE, NONE),  # bank
            (BYTE, PLAIN_RAM),
            (WORD, 1 << OTHER),
            (WORD, NONE),  # speed
            (BYTE, machine.manufacturer),
            *[(BYTE, NONE)] * 4,  # serial number, asset tag, part number, ranks
            (DWORD, mib if mib >= TOO_MANY_MIB else 0),
            *[(WORD, NONE)] * 4,  # speed and voltages as they are set
        ),
        _structure(
            MEMORY_RANGE,
            place,
            (DWORD, NO_ADDRESS if far else first // KIB),
            (DWORD, NO_ADDRESS if far else last // KIB),
            (WORD, array),
            (BYTE, 1),  # devices that share a row
            (QWORD, first if far else 0),
            (QWORD, last if far else 0),
        ),
    )
