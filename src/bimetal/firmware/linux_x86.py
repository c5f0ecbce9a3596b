"""The Linux boot protocol of x86: bzImage, "zero page", and the state in which a kernel begins.

Source: the kernel's Documentation/arch/x86/boot.rst (sections "The Real-Mode Kernel Header",
"32-bit Boot Protocol", "64-bit Boot Protocol") and zero-page.rst,
arch/x86/include/uapi/asm/bootparam.h.
"""

from __future__ import annotations

import struct

from msgspec import Struct

from bimetal.base.bits import align_down, align_up
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import MIB, format_size
from bimetal.firmware.memory_map import MemoryArea
from bimetal.firmware.program import Program, Segment

__all__ = [
    "ZERO_PAGE_SIZE",
    "BzImage",
    "is_bzimage",
    "load_bzimage",
    "place_initrd",
    "zero_page",
]

HEADER, HEADER_MAGIC = 0x1F1, b"HdrS"
MAGIC_AT = 0x202
OLDEST_VERSION = 0x020C
"""2.12, Linux 3.8: the first that says whether it has a 64-bit entry point."""
ENTRY_64 = 0x200
XLF_KERNEL_64, XLF_ABOVE_4G = 1 << 0, 1 << 1
SECTOR = 512
SIZE_LIMIT = 1 << 30

ZERO_PAGE_SIZE = 4096
E820_LIMIT = 128
UNKNOWN_LOADER = 0xFF
LOADED_HIGH = 1 << 0


class BzImage(Struct, frozen=True):
    """A kernel in a bzImage: the program, and what its header says.

    ``long`` is whether it is entered in 64-bit mode, not in 32-bit mode without paging.
    ``initrd_limit`` is the highest address that the initial file system may reach.
    """

    program: Program
    long: bool
    header: bytes
    command_line_limit: int
    initrd_limit: int


def is_bzimage(data: bytes) -> bool:
    """Whether ``data`` has the header of an x86 Linux kernel."""
    return data[MAGIC_AT : MAGIC_AT + 4] == HEADER_MAGIC


def load_bzimage(data: bytes, name: str) -> BzImage:
    """The kernel ``data``, at the address it prefers. Raises `BimetalError` naming ``name``."""
    if len(data) < ENTRY_64 + SECTOR:
        raise _damaged(name, "it ends inside its header")
    setup_sectors = data[HEADER] or 4
    header_end = MAGIC_AT + data[0x201]
    (version,) = struct.unpack_from("<H", data, 0x206)
    if version < OLDEST_VERSION:
        raise BimetalError(
            f"{name} speaks boot protocol {version >> 8}.{version & 0xFF}, which is too old",
            "use Linux 3.8 or newer",
            ExitCode.DATA,
        )
    (flags,) = struct.unpack_from("<H", data, 0x236)
    long = bool(flags & XLF_KERNEL_64)
    start = (setup_sectors + 1) * SECTOR
    (system_size,) = struct.unpack_from("<I", data, 0x1F4)
    end = start + system_size * 16
    if len(data) < end:
        raise _damaged(name, f"it has {len(data)} bytes of {end}")
    (initrd_limit,) = struct.unpack_from("<I", data, 0x22C)
    (command_line_limit,) = struct.unpack_from("<I", data, 0x238)
    (preferred,) = struct.unpack_from("<Q", data, 0x258)
    (init_size,) = struct.unpack_from("<I", data, 0x260)
    size = max(init_size, end - start)
    if size > SIZE_LIMIT or preferred > 1 << 40:
        raise _damaged(name, f"its header asks for {size:#x} bytes at {preferred:#x}")
    segment = Segment(preferred, memoryview(data)[start:], size)
    program = Program(name, (segment,), preferred + ENTRY_64 if long else preferred)
    if flags & XLF_ABOVE_4G:
        initrd_limit = max(initrd_limit, (1 << 32) - 1)
    return BzImage(program, long, data[HEADER:header_end], command_line_limit, initrd_limit)


def zero_page(
    kernel: BzImage,
    areas: list[MemoryArea],
    *,
    command_line_at: int,
    initrd: Program | None,
    rsdp: int,
) -> bytes:
    """``struct boot_params``: what the kernel is told by its loader."""
    if len(areas) > E820_LIMIT:
        raise ValueError(f"{len(areas)} areas do not fit into the zero page")
    page = bytearray(ZERO_PAGE_SIZE)

    def put(offset: int, code: str, value: int) -> None:
        struct.pack_into(f"<{code}", page, offset, value)

    page[HEADER : HEADER + len(kernel.header)] = kernel.header
    put(0x070, "Q", rsdp)
    put(0x1E8, "B", len(areas))
    put(0x210, "B", UNKNOWN_LOADER)
    page[0x211] |= LOADED_HIGH
    if initrd is not None:
        size = initrd.end - initrd.start
        put(0x218, "I", initrd.start & 0xFFFF_FFFF)
        put(0x21C, "I", size & 0xFFFF_FFFF)
        put(0x0C0, "I", initrd.start >> 32)
        put(0x0C4, "I", size >> 32)
    put(0x228, "I", command_line_at & 0xFFFF_FFFF)
    put(0x0C8, "I", command_line_at >> 32)
    for number, area in enumerate(areas):
        struct.pack_into("<QQI", page, 0x2D0 + 20 * number, area.base, area.size, area.kind)
    return bytes(page)


def place_initrd(data: bytes, name: str, kernel: Program, top: int, limit: int) -> Program:
    """The initial file system ``data`` as high as it may lie: below ``top`` and ``limit``.

    Raises `BimetalError` if it would lie over the kernel.
    """
    address = align_down(min(top, limit + 1) - len(data), 4096)
    if address < kernel.end:
        wanted = align_up(align_up(kernel.end, 4096) + len(data), MIB)
        raise BimetalError(
            f"{name} does not fit into the memory beside the kernel",
            f"give the machine at least {format_size(wanted)}"
            if top < wanted <= limit + 1
            else "use a smaller one: it is to lie with the kernel in the memory that that reaches",
            ExitCode.DATA,
        )
    return Program(name, (Segment(address, data, len(data)),), 0)


def _damaged(name: str, how: str) -> BimetalError:
    return BimetalError(f"{name} is damaged: {how}", "get the file anew", ExitCode.DATA)
