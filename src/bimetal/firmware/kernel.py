"""A kernel or firmware by its path, for RISC-V.

Linux images and ELF files are known by what they begin with, packed as they may be. A raw binary
has no mark, so nothing tells it from a file that was given by mistake: firmware may be one unless
it is clearly something else, a kernel only where the user says so, or where its packing says where
it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bimetal.firmware.elf import RISCV, load_elf
from bimetal.firmware.elf_file import is_elf
from bimetal.firmware.linux_image import is_riscv_image, load_riscv_image
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.program import Program, Segment, read_file
from bimetal.firmware.recognise import no_program, what_else
from bimetal.firmware.unpack import RISCV_BOARD, Unpacked, unpack

__all__ = ["Kernel", "load_raw", "load_riscv_firmware", "load_riscv_kernel"]


@dataclass(frozen=True)
class Kernel:
    """A kernel, and what was packed with it: see `Unpacked`."""

    program: Program
    ramdisk: bytes | None = None
    device_trees: tuple[bytes, ...] = ()


def load_riscv_kernel(path: str, room: MemoryRoom, home: int) -> Kernel:
    """The RISC-V kernel at ``path``: a Linux image, an ELF file, or one of U-Boot's images, packed
    or not. What does not say where it belongs, and can be anywhere, goes to ``home``.

    Raises `BimetalError` for anything else.
    """
    name = f"the kernel {path}"
    found = unpack(read_file(path, "kernel"), name, RISCV_BOARD, room.size)
    program = _recognised(found, name, room, home)
    if program is None:
        raise no_program(
            found.data,
            name,
            "a kernel for RISC-V (a Linux image or ELF)",
            "give a Linux Image or an ELF file, or say --kernel-format raw for a raw binary",
        )
    return Kernel(program, found.ramdisk, found.device_trees)


def load_riscv_firmware(path: str, room: MemoryRoom) -> Program:
    """The RISC-V firmware at ``path``: as a kernel, or a raw binary for the start of memory.

    Raises `BimetalError` for what is clearly something else.
    """
    name = f"the bios {path}"
    found = unpack(read_file(path, "bios"), name, RISCV_BOARD, room.size)
    if program := _recognised(found, name, room, room.start):
        return program
    if what_else(found.data):
        raise no_program(found.data, name, "firmware", "give a raw binary, or an ELF file")
    return _raw(name, found.data, room.start)


def load_raw(path: str, what: str, address: int) -> Program:
    """The file at ``path`` as it is, for ``address``, where it is entered.

    Raises `BimetalError` that calls it ``what`` if it cannot be read or is empty.
    """
    return _raw(f"the {what} {path}", read_file(path, what), address)


def _recognised(found: Unpacked, name: str, room: MemoryRoom, home: int) -> Program | None:
    data = found.data
    if is_elf(data):
        return load_elf(data, name, RISCV, room, home=home)
    if is_riscv_image(data):
        program = load_riscv_image(data, name, room.start, found.load)
        if found.load is not None and found.entry is not None:
            program = replace(program, entry=found.entry)
    elif found.entry is None or what_else(data):
        return None
    else:
        program = _packed(found, name, home)
    program.check_entry(RISCV.alignment)
    return program


def _packed(found: Unpacked, name: str, home: int) -> Program:
    """A raw binary for the place that its packing names; an entry point counts from there if the
    place may be any."""
    assert found.entry is not None
    address = home if found.load is None else found.load
    entry = address + found.entry if found.load is None else found.entry
    return Program(name, (Segment(address, found.data, len(found.data)),), entry)


def _raw(name: str, data: bytes, address: int) -> Program:
    return Program(name, (Segment(address, data, len(data)),), entry=address)
