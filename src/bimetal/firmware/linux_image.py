"""The Linux kernel's flat images for RISC-V and AArch64, whose headers are alike.

Header as in the kernel's Documentation/arch/riscv/boot-image-header.rst and
Documentation/arch/arm64/booting.rst, section 4; an image with an EFI stub is a PE file too
(Microsoft PE Format, "COFF File Header" and "Section Table"), which tells how long the file must
be.
"""

from __future__ import annotations

import struct

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.contents import FileContents
from bimetal.firmware.program import Program, Segment

__all__ = ["HEADER_SIZE", "LinuxImage", "load_linux_image"]

HEADER_SIZE = 64
MAGIC_AT = 56
BIG_ENDIAN = 1

COFF_SIZE, SECTION_SIZE = 24, 40


class LinuxImage(Struct, frozen=True):
    """The image of one architecture: its mark, and where instructions may begin.

    An image that does not say its size is from before the time of that field, and lies at
    ``unsized_at`` whatever else it says; 0 if there are no such images."""

    magic: bytes
    alignment: int
    unsized_at: int = 0

    def begins(self, data: bytes) -> bool:
        """Whether ``data`` begins like such an image."""
        return data[MAGIC_AT : MAGIC_AT + len(self.magic)] == self.magic


def load_linux_image(
    data: bytes | FileContents,
    kind: LinuxImage,
    name: str,
    memory_start: int,
    load_at: int | None = None,
) -> Program:
    """The kernel ``data``, to be placed where its header wants it, relative to the start of memory,
    or at ``load_at``.

    Raises `BimetalError` that calls it ``name``.
    """
    if len(data) < HEADER_SIZE:
        raise _damaged(name, "it ends inside its header")
    text_offset, image_size, flags = struct.unpack("<QQQ", data[8:32])
    if flags & BIG_ENDIAN:
        raise BimetalError(
            f"{name} is a big-endian kernel", "use a little-endian one", ExitCode.DATA
        )
    if image_size == 0 and kind.unsized_at:
        text_offset = kind.unsized_at
    needed = _length_by_sections(data)
    if len(data) < needed:
        raise _damaged(name, f"it has {len(data)} bytes of {needed}")
    size = max(image_size, len(data))
    if text_offset + size > 1 << 40 or text_offset % kind.alignment:
        raise _damaged(name, f"its header asks for {size:#x} bytes at {text_offset:#x}")
    address = memory_start + text_offset if load_at is None else load_at
    return Program(name, (Segment(address, data, size),), entry=address)


def _length_by_sections(data: bytes | FileContents) -> int:
    """Where the last section of the PE file ends; 0 if ``data`` is no PE file."""
    (pe_at,) = struct.unpack("<I", data[60:64])
    if data[:2] != b"MZ" or pe_at == 0:
        return 0
    end: int = pe_at + COFF_SIZE
    if len(data) < end:
        return end
    head = data[pe_at:end]
    if head[:4] != b"PE\0\0":
        return 0
    (sections,) = struct.unpack_from("<H", head, 6)
    (optional_size,) = struct.unpack_from("<H", head, 20)
    start = end + optional_size
    end = start + sections * SECTION_SIZE
    if len(data) < end:
        return end
    table = data[start:end]
    for at in range(16, len(table), SECTION_SIZE):
        raw_size, raw_at = struct.unpack_from("<II", table, at)
        end = max(end, raw_at + raw_size)
    return end


def _damaged(name: str, how: str) -> BimetalError:
    return BimetalError(f"{name} is damaged: {how}", "get the file anew", ExitCode.DATA)
