"""The processor states in which x86 kernels are entered, as registers and tables in memory.

Segment attributes are in the format of the SDM's table "Format of Access Rights" (volume 3,
chapter 26); page tables as in volume 3, chapter 5 ("4-Level Paging").
"""

from __future__ import annotations

import struct

from bimetal.firmware.acpi.x86 import Power
from bimetal.firmware.program import Segment

__all__ = [
    "GDT_SIZE",
    "PAGE_TABLES_SIZE",
    "gdt",
    "long_mode",
    "page_tables",
    "protected_mode",
    "reset_vector",
]

CODE_SELECTOR, DATA_SELECTOR, TASK_SELECTOR = 0x10, 0x18, 0x20
CODE_64, CODE_32, DATA, TASK = 0xA09B, 0xC09B, 0xC093, 0x008B
FLAT = 0xFFFF_FFFF
TASK_LIMIT = 0x67
CR0_PE, CR0_PG, CR4_PAE, EFER_LME = 1 << 0, 1 << 31, 1 << 5, 1 << 8
RFLAGS_FIXED = 1 << 1

PRESENT, WRITABLE, LARGE_PAGE = 1 << 0, 1 << 1, 1 << 7
GIGABYTES = 4
PAGE_TABLES_SIZE = (2 + GIGABYTES) * 4096
GDT_SIZE = 5 * 8


def gdt(address: int, *, long: bool) -> Segment:
    """A descriptor table with the flat segments that kernels expect at selectors 10 and 18."""
    entries = (
        0,
        0,
        _descriptor(CODE_64 if long else CODE_32, 0xFFFFF),
        _descriptor(DATA, 0xFFFFF),
        _descriptor(TASK, TASK_LIMIT),
    )
    data = struct.pack("<5Q", *entries)
    return Segment(address, data, len(data))


def _descriptor(attributes: int, limit: int) -> int:
    """A segment descriptor of base 0; ``limit`` is in the unit that the attributes name."""
    low, high = limit & 0xFFFF, limit >> 16
    return low | (attributes & 0xFF) << 40 | high << 48 | (attributes >> 12 & 0xF) << 52


def page_tables(address: int) -> Segment:
    """Tables that map the first four gigabytes one to one, in pages of 2 MiB."""
    pointers = address + 4096
    directories = [pointers + 4096 * (1 + number) for number in range(GIGABYTES)]
    entries = [0] * (PAGE_TABLES_SIZE // 8)
    entries[0] = pointers | PRESENT | WRITABLE
    for number, directory in enumerate(directories):
        entries[512 + number] = directory | PRESENT | WRITABLE
    for page in range(512 * GIGABYTES):
        entries[1024 + page] = page << 21 | PRESENT | WRITABLE | LARGE_PAGE
    data = struct.pack(f"<{len(entries)}Q", *entries)
    return Segment(address, data, len(data))


def reset_vector(address: int, power: Power) -> Segment:
    """16-bit code that resets the machine, for where a BIOS would begin.

    Linux on hardware-reduced ACPI restarts by EFI or else, without a try at the reset register,
    by a jump there (arch/x86/kernel/reboot.c, ``reboot_init``).
    """
    code = b"".join(
        (
            b"\xba" + power.reset.to_bytes(2, "little"),  # mov dx, port
            b"\xb0" + bytes((power.reset_value,)),  # mov al, value
            b"\xee",  # out dx, al
            b"\xf4\xeb\xfd",  # hlt, for ever
        )
    )
    return Segment(address, code, len(code))


def long_mode(gdt_at: int, page_tables_at: int) -> dict[str, int]:
    """Registers of 64-bit mode with paging on, in the order in which they can be set."""
    return {
        **_segments(gdt_at),
        "cr3": page_tables_at,
        "cr4": CR4_PAE,
        "efer": EFER_LME,
        "cr0": CR0_PE | CR0_PG,
        "cs.attributes": CODE_64,
    }


def protected_mode(gdt_at: int) -> dict[str, int]:
    """Registers of flat 32-bit mode without paging, in the order in which they can be set."""
    return {**_segments(gdt_at), "cr4": 0, "cr0": CR0_PE, "cs.attributes": CODE_32}


def _segments(gdt_at: int) -> dict[str, int]:
    """Everything but what kind of code there is, which depends on the mode."""
    registers = {"gdtr.base": gdt_at, "gdtr.limit": GDT_SIZE - 1, "rflags": RFLAGS_FIXED}
    for name in ("ds", "es", "fs", "gs", "ss"):
        registers |= _segment(name, DATA_SELECTOR, DATA, FLAT)
    registers |= _segment("tr", TASK_SELECTOR, TASK, TASK_LIMIT)
    return registers | {"cs": CODE_SELECTOR, "cs.base": 0, "cs.limit": FLAT}


def _segment(name: str, selector: int, attributes: int, limit: int) -> dict[str, int]:
    return {
        name: selector,
        f"{name}.base": 0,
        f"{name}.limit": limit,
        f"{name}.attributes": attributes,
    }
