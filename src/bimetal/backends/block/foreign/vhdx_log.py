"""Whether the log of a VHDX image has to be replayed ([MS-VHDX], 2.3).

What it holds was promised to whoever wrote it, and is not in its place yet. An image that is only
read cannot be put in order, so one with such a log is not read at all.
"""

from __future__ import annotations

from struct import Struct

from bimetal.backends.block.commands import quoted
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.crc32c import crc32c
from bimetal.backends.block.foreign.fields import damaged, read_exactly
from bimetal.backends.block.foreign.vhdx_header import CHECKSUM, MIB, Log
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["check_log"]

STEP = 4096
"""Entries begin at multiples of this, and are as long (2.3.1)."""

_ENTRY = Struct("<4sIIIQI4x16s")
"""Signature, checksum, length, tail, sequence number, descriptors, identity of the log."""

SUMMED = 4 * MIB
"""Bytes of entries whose checksums are worked out. What is beyond counts as valid: to refuse an
image is safe."""


def check_log(file: ImageFile, log: Log) -> None:
    """Raise `BimetalError` if ``log`` has a valid entry."""
    if not any(log.identity):
        return
    if log.offset % MIB or log.length % MIB or log.offset + log.length > file.length:
        raise damaged(file, "its log is not inside the file")
    left = SUMMED
    for at in range(0, log.length, STEP):
        head = read_exactly(file.fd, log.offset + at, _ENTRY.size)
        signature, told, length, _, sequence, _, identity = _ENTRY.unpack(head)
        if signature != b"loge" or identity != log.identity or not sequence:
            continue
        if not length or length % STEP or length > log.length:
            continue
        left -= length
        if left < 0 or _checksum(file, log, at, length) == told:
            raise BimetalError(
                f"the VHDX image {file.path!r} was not closed, and has a log that must be replayed",
                f"have that done: qemu-img check -f vhdx -r all {quoted(file.path)}",
                ExitCode.DATA,
            )


def _checksum(file: ImageFile, log: Log, at: int, length: int) -> int:
    """The checksum of an entry, which may go on at the beginning of the log."""
    first = min(length, log.length - at)
    data = bytearray(read_exactly(file.fd, log.offset + at, first))
    data += read_exactly(file.fd, log.offset, length - first)
    data[CHECKSUM] = bytes(4)
    return crc32c(bytes(data))
