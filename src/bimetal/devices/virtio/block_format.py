"""The words of the block device: its requests, and its configuration space (virtio 1.2, 5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from bimetal.base.buffers import split
from bimetal.devices.virtio.queue import QueueError

__all__ = [
    "CAPACITY",
    "DISCARD",
    "DISCARD_RANGES",
    "DISCARD_SECTORS",
    "FLUSH",
    "F_BLK_SIZE",
    "F_CONFIG_WCE",
    "F_DISCARD",
    "F_FLUSH",
    "F_MQ",
    "F_RO",
    "F_SEG_MAX",
    "F_TOPOLOGY",
    "F_WRITE_ZEROES",
    "GET_ID",
    "HEADER",
    "ID_SIZE",
    "IN",
    "IOERR",
    "OK",
    "OUT",
    "QUEUE_SIZE",
    "RANGE",
    "SECTOR",
    "UNMAP",
    "UNSUPP",
    "WRITEBACK_AT",
    "WRITE_ZEROES",
    "ZEROES_RANGES",
    "ZEROES_SECTORS",
    "check_blocks",
    "configuration",
    "cut",
    "header",
]

SECTOR = 512

QUEUE_SIZE = 256
SEGMENTS = QUEUE_SIZE - 2
"""Buffers of data in a request: what is left of a chain beside header and status."""

IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
"""Types of request (5.2.6)."""

OK, IOERR, UNSUPP = 0, 1, 2
"""Status of a request (5.2.6)."""

F_SEG_MAX, F_RO, F_BLK_SIZE = 1 << 2, 1 << 5, 1 << 6
F_FLUSH, F_TOPOLOGY, F_CONFIG_WCE, F_MQ = 1 << 9, 1 << 10, 1 << 11, 1 << 12
F_DISCARD, F_WRITE_ZEROES = 1 << 13, 1 << 14
"""Features (5.2.3)."""

UNMAP = 1
"""Flag of a range to write zeroes to (5.2.6)."""

WRITEBACK_AT = 32
"""Where the configuration says whether there is a write cache."""

ID_SIZE = 20

BLOCK_LIMIT, PHYSICAL_LIMIT = 4096, 2 << 20
"""The largest blocks. The driver of Linux refuses a disk whose blocks are larger than a page, which
may have 4 KiB; the configuration counts blocks in a physical one with 16 bits."""

DISCARD_SECTORS, DISCARD_RANGES = 1 << 22, 64
ZEROES_SECTORS, ZEROES_RANGES = 1 << 18, 1
"""Limits of one request: 64 times 2 GiB to discard, which hosts do at once, but 128 MiB to zero,
which may have to be written."""

HEADER = Struct("<IIQ")
"""Type, reserved, sector."""

RANGE = Struct("<QII")
"""Sector, number of sectors, flags."""

CAPACITY = Struct("<Q")
"""Sectors of the disk: the beginning of the configuration."""

CONFIG = Struct("<QIIHBBIBBHIBBHIIIIIB3x")
"""Capacity; size_max, seg_max; geometry; blk_size; topology; writeback, unused, queues; discard:
sectors, ranges, alignment; write zeroes: sectors, ranges, may unmap (5.2.4)."""


def check_blocks(length: int, block: int, physical: int) -> None:
    """Raise ValueError if a disk of ``length`` bytes cannot have such blocks."""
    for size, limit in ((block, BLOCK_LIMIT), (physical, PHYSICAL_LIMIT)):
        if not SECTOR <= size <= limit or size & (size - 1):
            raise ValueError(f"a block of {size} bytes is no power of two from 512 to {limit}")
    if length % block or physical < block:
        raise ValueError(f"{length} bytes cannot be blocks of {block} in {physical}")


def header(readable: list[memoryview]) -> tuple[int, int, list[memoryview]]:
    """Type, first sector and data of a request. Raises `QueueError` if there is no header."""
    if readable and len(readable[0]) == HEADER.size:
        header: bytes | memoryview = readable[0]
        data = readable[1:]
    else:
        parts, data = split(readable, HEADER.size)
        header = b"".join(parts)
        if len(header) < HEADER.size:
            raise QueueError("a block request has no header")
    kind, _, sector = HEADER.unpack(header)
    return kind, sector, data


def cut(offset: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of ``size``, at which no cluster of an image is cut: (start, stop)
    of each piece, of which there is one even of nothing."""
    end = offset + length
    while (stop := offset // size * size + size) < end:
        yield offset, stop
        offset = stop
    yield offset, end


def configuration(size: int, block: int, physical: int, queues: int) -> bytes:
    """The configuration space of a disk of ``size`` bytes."""
    writable = [DISCARD_SECTORS, DISCARD_RANGES, 1, ZEROES_SECTORS, ZEROES_RANGES, 1]
    geometry = (0, 0, 0)
    topology = ((physical // block).bit_length() - 1, 0, physical // block, 0)
    return CONFIG.pack(
        size // SECTOR, 0, SEGMENTS, *geometry, block, *topology, 1, 0, queues, *writable
    )
