"""Linux images for RISC-V, and what they are packed in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

__all__ = ["image", "uimage", "zboot"]


def image(
    body: bytes = b"\x13" * 64, *, size: int = 0x3000, offset: int = 0x20_0000, flags: int = 0
) -> bytes:
    """A Linux image of 0x2000 bytes with an EFI stub and one section."""
    header = struct.pack(
        "<2sHIQQQIIQ8sII", b"MZ", 0, 0, offset, size, flags, 2, 0, 0, b"RISCV\0\0\0", 0, 64
    )
    header = header[:56] + b"RSC\x05" + header[60:]
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x5064, 1, 0, 0, 0, 0, 0)
    section = struct.pack("<8sIIII", b".text", 0x3000, 0x1000, 0x1000, 0x1000).ljust(40, b"\0")
    return (header + coff + section + body).ljust(0x2000, b"\x13")


def zboot(payload: bytes, kind: bytes = b"gzip") -> bytes:
    """``payload`` in an EFI zboot image, with some code around it."""
    header = struct.pack(
        "<2s2x4sII8x32s4sI", b"MZ", b"zimg", 0x200, len(payload), kind, b"\xcd\x23\x82\x81", 0x40
    )
    return header.ljust(0x200, b"\x90") + payload + b"\x90" * 100


def uimage(
    *files: bytes,
    kind: int = 2,
    load: int = 0x8020_0000,
    entry: int = 0x8020_0000,
    architecture: int = 26,
    compression: int = 0,
) -> bytes:
    """A legacy image of U-Boot; of type 4, it has a table of its files."""
    content = files[0] if kind != 4 else _several(files)
    header = struct.pack(
        ">7I4B32s",
        *(0x2705_1956, 0, 0, len(content), load, entry, zlib.crc32(content)),
        *(5, architecture, kind, compression),
        b"test",
    )
    return header[:4] + struct.pack(">I", zlib.crc32(header)) + header[8:] + content


def _several(files: Sequence[bytes]) -> bytes:
    table = struct.pack(f">{len(files) + 1}I", *map(len, files), 0)
    return table + b"".join(each + bytes(-len(each) % 4) for each in files)
