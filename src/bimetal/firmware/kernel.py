"""A kernel or firmware by its path, for the processor of a board with a device tree.

Linux images and ELF files are known by what they begin with, packed as they may be. A raw binary
has no mark, so nothing tells it from a file that was given by mistake: firmware may be one unless
it is clearly something else, a kernel only where the user says so, or where its packing says where
it belongs.
"""

from __future__ import annotations

from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.sizes import format_size
from bimetal.firmware.contents import FileContents
from bimetal.firmware.elf_machine import is_elf
from bimetal.firmware.linux_image import HEADER_SIZE, load_linux_image
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.processors import FlatProcessor
from bimetal.firmware.program import Program, Segment, read_file
from bimetal.firmware.recognise import no_program, what_else
from bimetal.firmware.unpack import Unpacked, is_packed, unpack

__all__ = [
    "Kernel",
    "load_firmware",
    "load_kernel",
    "load_raw",
    "read_firmware",
]


class Kernel(Struct, frozen=True):
    """A kernel, and what was packed with it: see `Unpacked`."""

    program: Program
    ramdisk: bytes | None = None
    device_trees: tuple[bytes, ...] = ()


def load_kernel(path: str, processor: FlatProcessor, room: MemoryRoom, home: int) -> Kernel:
    """The kernel at ``path``: a Linux image, an ELF file, or one of U-Boot's images, packed
    or not. What does not say where it belongs, and can be anywhere, goes to ``home``.

    Raises `BimetalError` for anything else.
    """
    name = f"the kernel {path}"
    if program := _plain(path, name, processor, room):
        return Kernel(program)
    found = unpack(read_file(path, "kernel"), name, processor.target, room.size)
    program = _recognised(found, name, processor, room, home)
    if program is None:
        raise no_program(
            found.data,
            name,
            f"a kernel for {processor.name} (a Linux image or ELF)",
            "give a Linux Image or an ELF file, or say --kernel-format raw for a raw binary",
        )
    return Kernel(program, found.ramdisk, found.device_trees)


def _plain(path: str, name: str, processor: FlatProcessor, room: MemoryRoom) -> Program | None:
    """A Linux image that is not packed, which is read when it is put into memory."""
    contents = FileContents.of(path, name)
    if contents is None:
        return None
    head = contents[:HEADER_SIZE]
    if is_packed(head) or not processor.has_linux(head):
        return None
    program = load_linux_image(contents, processor.image, name, room.start)
    program.check_entry(processor.machine.alignment)
    return program


def load_firmware(path: str, processor: FlatProcessor, room: MemoryRoom, home: int) -> Program:
    """The firmware at ``path``: as a kernel, or a raw binary for ``home``.

    Raises `BimetalError` for what is clearly something else.
    """
    name = f"the bios {path}"
    found = unpack(read_file(path, "bios"), name, processor.target, room.size)
    if program := _recognised(found, name, processor, room, home):
        return program
    if what_else(found.data):
        raise no_program(found.data, name, "firmware", "give a raw binary, or an ELF file")
    return _raw(name, found.data, home)


def read_firmware(path: str, processor: FlatProcessor, limit: int) -> bytes:
    """The firmware at ``path``, a raw binary, packed or not, of ``limit`` bytes at most.

    Raises `BimetalError` for what is clearly something else.
    """
    name = f"the bios {path}"
    data = unpack(read_file(path, "bios"), name, processor.target, limit).data
    if is_elf(data):
        raise BimetalError(
            f"{name} is an ELF file, and this board runs firmware from its flash",
            "make a raw binary of it as with objcopy -O binary, or give it as kernel",
            ExitCode.DATA,
        )
    if what_else(data):
        raise no_program(data, name, "firmware", "give a raw binary")
    if len(data) > limit:
        raise BimetalError(
            f"{name} has {format_size(len(data))}, the flash {format_size(limit)}",
            "give a smaller one",
            ExitCode.DATA,
        )
    return data


def load_raw(path: str, what: str, address: int) -> Program:
    """The file at ``path`` as it is, for ``address``, where it is entered.

    Raises `BimetalError` that calls it ``what`` if it cannot be read or is empty.
    """
    return _raw(f"the {what} {path}", read_file(path, what), address)


def _recognised(
    found: Unpacked, name: str, processor: FlatProcessor, room: MemoryRoom, home: int
) -> Program | None:
    data = found.data
    if is_elf(data):
        load = late("bimetal.firmware.elf:load_elf")
        return cast(Program, load(data, name, processor.machine, room, home=home))
    if processor.has_linux(data):
        program = load_linux_image(data, processor.image, name, room.start, found.load)
        if found.load is not None and found.entry is not None:
            program = replace(program, entry=found.entry)
    elif found.entry is None or what_else(data):
        return None
    else:
        program = _packed(found, name, home)
    program.check_entry(processor.machine.alignment)
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
