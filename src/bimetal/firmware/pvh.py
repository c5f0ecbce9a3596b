"""PVH: how a hypervisor starts an uncompressed x86 kernel, an ELF file, in 32-bit mode.

Source: Xen's docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h,
xen/include/public/elfnote.h.
"""

from __future__ import annotations

import struct
from typing import Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.elf import load_elf
from bimetal.firmware.elf_file import reading_elf
from bimetal.firmware.memory_map import MemoryArea
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.processors import X86_64
from bimetal.firmware.program import Program

__all__ = ["load_pvh", "start_info"]

ENTRY_NOTE, NOTE_OWNER = 18, "Xen"
"""XEN_ELFNOTE_PHYS32_ENTRY: the note that holds the entry point, a physical address."""

MAGIC, VERSION = 0x336E_C578, 1
START_INFO_SIZE, MODULE_SIZE, AREA_SIZE = 56, 32, 24


def load_pvh(data: bytes, name: str, room: MemoryRoom) -> Program:
    """The kernel ``data``, to be entered by PVH. Raises `BimetalError` naming ``name``."""
    with reading_elf(data, name) as elf:
        notes = list(elf.iter_segments("PT_NOTE"))
        end = max((each["p_offset"] + each["p_filesz"] for each in notes), default=0)
        if end > len(data):
            raise BimetalError(
                f"{name} is truncated: {len(data)} bytes of {end}",
                "build or get the file anew",
                ExitCode.DATA,
            )
        entry = _entry(notes)
    if entry is None:
        load_elf(data, name, X86_64.machine, room)  # which knows better what is wrong, if more is
        raise BimetalError(
            f"{name} is an ELF file without a PVH entry point",
            "use the bzImage (vmlinuz) of the same kernel, or one built with CONFIG_PVH",
            ExitCode.DATA,
        )
    return load_elf(data, name, X86_64.machine, room, entry=entry)


def _entry(notes: list[Any]) -> int | None:
    for segment in notes:
        for note in segment.iter_notes():
            if note["n_name"] == NOTE_OWNER and note["n_type"] in (ENTRY_NOTE, str(ENTRY_NOTE)):
                return int.from_bytes(bytes(note["n_descdata"])[:8], "little")
    return None


def start_info(
    address: int,
    areas: list[MemoryArea],
    *,
    command_line_at: int,
    initrd: Program | None,
    rsdp: int,
) -> bytes:
    """``struct hvm_start_info`` and all that it points to, to lie at ``address``."""
    modules_at = address + START_INFO_SIZE
    map_at = modules_at + MODULE_SIZE
    info = struct.pack(
        "<4I4QII",
        MAGIC,
        VERSION,
        0,
        0 if initrd is None else 1,
        0 if initrd is None else modules_at,
        command_line_at,
        rsdp,
        map_at,
        len(areas),
        0,
    )
    start, size = (0, 0) if initrd is None else (initrd.start, initrd.end - initrd.start)
    module = struct.pack("<4Q", start, size, 0, 0)
    table = b"".join(struct.pack("<QQII", area.base, area.size, area.kind, 0) for area in areas)
    return info + module + table
