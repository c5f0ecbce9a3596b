"""The layout of a snapshot file, version 1.

    0        header: magic, version, where the manifest lies, and digests of both
    4096     pages of memory, in blocks of 256; most contents are there once
    ...      the manifest: JSON, as `plain` writes it

A block is stored as it is, so that a machine can map its memory from the file, or packed with zstd.
The manifest says for each area of memory which pages lie where; all others are zeroes. It has a
checksum of every block.
"""

from __future__ import annotations

import hashlib
from struct import Struct

import msgspec

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["BLOCK", "BLOCK_PAGES", "HEADER", "MAGIC", "PAGE", "VERSION", "Header", "damaged"]

MAGIC = b"BIMETAL\0"
VERSION = 1

PAGE = 4096
BLOCK_PAGES = 256
BLOCK = BLOCK_PAGES * PAGE
HEADER = PAGE

MANIFEST_LIMIT = 64 << 20
"""Bytes of a manifest that is read."""

_FIELDS = Struct("<8sIIQQ32s")
"""Magic, version, reserved, offset and length of the manifest, its SHA-256."""

_DIGEST = 32


def damaged(path: str, what: str) -> BimetalError:
    """The error for a file that is no snapshot any more, or never was one."""
    return BimetalError(
        f"the snapshot {path} is damaged: {what}",
        "copy it again, or save the machine anew",
        ExitCode.DATA,
    )


class Header(msgspec.Struct, frozen=True):
    """Where the manifest lies, and its digest."""

    offset: int
    length: int
    digest: bytes

    def pack(self) -> bytes:
        """The header as it stands in the file, with its own digest behind it."""
        fields = _FIELDS.pack(MAGIC, VERSION, 0, self.offset, self.length, self.digest)
        return (fields + hashlib.sha256(fields).digest()).ljust(HEADER, b"\0")

    @classmethod
    def unpack(cls, data: bytes, path: str, size: int) -> Header:
        """The header in the first bytes of a file of ``size`` bytes. Raises `BimetalError`."""
        if data[: len(MAGIC)] != MAGIC:
            raise BimetalError(
                f"{path} is no snapshot of a machine",
                "give a file that Machine.save or 'bimetal run --save' has written",
                ExitCode.DATA,
            )
        if len(data) < HEADER:
            raise damaged(path, "it ends in its header")
        _, version, _, offset, length, digest = _FIELDS.unpack_from(data)
        if version != VERSION:
            raise BimetalError(
                f"the snapshot {path} has version {version} of the format, and this is Bimetal for "
                f"version {VERSION}",
                "restore it with the version of Bimetal that saved it",
                ExitCode.DATA,
            )
        end = _FIELDS.size + _DIGEST
        own = hashlib.sha256(data[: _FIELDS.size]).digest()
        if own != data[_FIELDS.size : end] or any(data[end:]):
            raise damaged(path, "its header is not what was written")
        if not HEADER <= offset <= offset + length <= size or length > MANIFEST_LIMIT:
            raise damaged(path, "it ends before its manifest")
        return cls(offset, length, digest)
