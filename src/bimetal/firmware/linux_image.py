"""The Linux kernel's flat image for RISC-V.

Header as in the kernel's Documentation/arch/riscv/boot-image-header.rst; an image with an EFI stub
is a PE file too (Microsoft PE Format, "COFF File Header" and "Section Table"), which tells how
long the file must be.
"""

from __future__ import annotations

import struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.program import Program, Segment

__all__ = ["HEADER_SIZE", "is_riscv_image", "load_riscv_image"]

HEADER_SIZE = 64
MAGIC_AT, MAGIC = 56, b"RSC\x05"
BIG_ENDIAN = 1

COFF_SIZE, SECTION_SIZE = 24, 40


def is_riscv_image(data: bytes) -> bool:
    """Whether ``data`` begins like a Linux image for RISC-V."""
    return data[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC


def load_riscv_image(
    data: bytes, name: str, memory_start: int, load_at: int | None = None
) -> Program:
    """The kernel ``data``, to be placed where its header wants it, relative to the start of memory,
    or at ``load_at``.

    Raises `BimetalError` that calls it ``name``.
    """
    if len(data) < HEADER_SIZE:
        raise _damaged(name, "it ends inside its header")
    text_offset, image_size, flags = struct.unpack_from("<QQQ", data, 8)
    if flags & BIG_ENDIAN:
        raise BimetalError(
            f"{name} is a big-endian kernel", "use a little-endian one", ExitCode.DATA
        )
    needed = _length_by_sections(data)
    if len(data) < needed:
        raise _damaged(name, f"it has {len(data)} bytes of {needed}")
    size = max(image_size, len(data))
    if text_offset + size > 1 << 40 or text_offset % 2:
        raise _damaged(name, f"its header asks for {size:#x} bytes at {text_offset:#x}")
    address = memory_start + text_offset if load_at is None else load_at
    return Program(name, (Segment(address, data, size),), entry=address)


def _length_by_sections(data: bytes) -> int:
    """Where the last section of the PE file ends; 0 if ``data`` is no PE file."""
    (pe_at,) = struct.unpack_from("<I", data, 60)
    if data[:2] != b"MZ" or pe_at == 0:
        return 0
    end: int = pe_at + COFF_SIZE
    if len(data) < end:
        return end
    if data[pe_at : pe_at + 4] != b"PE\0\0":
        return 0
    (sections,) = struct.unpack_from("<H", data, pe_at + 6)
    (optional_size,) = struct.unpack_from("<H", data, pe_at + 20)
    table = end + optional_size
    end = table + sections * SECTION_SIZE
    if len(data) < end:
        return end
    for section in range(sections):
        raw_size, raw_at = struct.unpack_from("<II", data, table + section * SECTION_SIZE + 16)
        end = max(end, raw_at + raw_size)
    return end


def _damaged(name: str, how: str) -> BimetalError:
    return BimetalError(f"{name} is damaged: {how}", "get the file anew", ExitCode.DATA)
