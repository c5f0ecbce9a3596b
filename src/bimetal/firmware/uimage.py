"""U-Boot's legacy images: a kernel, a ramdisk or several files behind a header of 64 bytes.

Source: U-Boot's include/image.h and doc/usage/cmd/bootm.rst.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum

from msgspec import Struct

from bimetal.base.bits import align_up
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["HEADER_SIZE", "UImage", "UImageType", "is_uimage", "read_uimage"]

MAGIC = b"\x27\x05\x19\x56"
HEADER = struct.Struct(">7I4B32s")
HEADER_SIZE = HEADER.size
CHECKSUM_AT = 4
WORD = struct.Struct(">I")


class UImageType(IntEnum):
    """What an image is, in its header's ``ih_type``."""

    STANDALONE = 1
    KERNEL = 2
    RAMDISK = 3
    MULTI = 4
    FIRMWARE = 5
    SCRIPT = 6
    FILESYSTEM = 7
    FLAT_TREE = 8
    KERNEL_ANYWHERE = 14


class UImage(Struct, frozen=True):
    """An image: its ``kind`` (see `UImageType`), the number of its architecture, where it wants to
    be loaded and entered, and its files, of which only those of `UImageType.MULTI` are several."""

    kind: int
    architecture: int
    load: int
    entry: int
    files: tuple[bytes, ...]


def is_uimage(data: bytes) -> bool:
    """Whether ``data`` begins like a legacy image."""
    return data.startswith(MAGIC)


def read_uimage(data: bytes, name: str) -> UImage:
    """The image ``data``; its files may be compressed.

    Raises `BimetalError` naming ``name`` if it is damaged.
    """
    if len(data) < HEADER.size:
        raise _damaged(name, "it ends inside its header")
    fields = HEADER.unpack_from(data)
    _, header_checksum, _, size, load, entry, checksum, _, architecture, kind, _, _ = fields
    header = bytearray(data[: HEADER.size])
    header[CHECKSUM_AT : CHECKSUM_AT + 4] = bytes(4)
    if zlib.crc32(header) != header_checksum:
        raise _damaged(name, "its header does not have the checksum that it names")
    content = data[HEADER.size : HEADER.size + size]
    if len(content) < size:
        raise _damaged(name, f"it has {len(data)} bytes of {HEADER.size + size}")
    if zlib.crc32(content) != checksum:
        raise _damaged(name, "its contents do not have the checksum that its header names")
    files = _several(content, name) if kind == UImageType.MULTI else (content,)
    return UImage(kind, architecture, load, entry, files)


def _several(content: bytes, name: str) -> tuple[bytes, ...]:
    """The files behind a table of their sizes, which ends with a zero."""
    sizes: list[int] = []
    at = 0
    while True:
        if at + WORD.size > len(content):
            raise _damaged(name, "its table of files does not end")
        (size,) = WORD.unpack_from(content, at)
        at += WORD.size
        if size == 0:
            break
        sizes.append(size)
    files = []
    for size in sizes:
        files.append(content[at : at + size])
        if len(files[-1]) < size:
            raise _damaged(name, "it ends inside one of its files")
        at = align_up(at + size, WORD.size)
    if not files:
        raise _damaged(name, "it has no files")
    return tuple(files)


def _damaged(name: str, how: str) -> BimetalError:
    return BimetalError(f"{name} is damaged: {how}", "get the file anew", ExitCode.DATA)
