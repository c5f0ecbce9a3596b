"""A SCSI disk: block commands (SBC-3), with a write cache and thin provisioning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bimetal.base.buffers import pieces, split, total
from bimetal.devices.scsi.blocks import PIECE, BlockUnit
from bimetal.devices.scsi.modes import sense_modes
from bimetal.devices.scsi.sense import (
    BAD_FIELD,
    OTHER_CAPACITY,
    READ_ONLY,
    SHORT_LIST,
    CheckCondition,
)
from bimetal.devices.scsi.unit import Command, Work, number
from bimetal.devices.virtio.disk import Disk, WaitingDisk

__all__ = ["ScsiDisk"]

SAME_LIMIT = 1 << 18
"""Blocks that one WRITE SAME writes: 128 MiB, which may have to be written."""

UNMAP_LIMIT, UNMAP_RANGES = 1 << 22, 64
"""Blocks and ranges of one UNMAP."""

DISCARD_PIECE = 64 << 20
TURN = 8 << 20
"""What a flush counts for: nobody knows how long the host takes."""

FUA, SAME_UNMAP, NO_DATA = 0x08, 0x08, 0x01
PARAMETERS_LIMIT = 8 + 16 * UNMAP_RANGES


class ScsiDisk(BlockUnit):
    """The disk ``disk``, which is closed with the unit."""

    kind = 0x00
    product = b"DISK"
    handlers = {
        **BlockUnit.handlers,
        **dict.fromkeys((0x08, 0x28, 0xA8, 0x88), "read"),
        **dict.fromkeys((0x0A, 0x2A, 0xAA, 0x8A), "write"),
        **dict.fromkeys((0x1A, 0x5A), "modes"),
        **dict.fromkeys((0x35, 0x91), "synchronize"),
        **dict.fromkeys((0x41, 0x93), "write_same"),
        **dict.fromkeys((0x2F, 0x8F), "verify"),
        **dict.fromkeys((0x1B, 0x1E), "nothing"),
        0x25: "capacity",
        0x42: "unmap",
        0x9E: "service_in",
    }

    fixed = ("removable",)

    def __init__(self, disk: Disk, serial: str = "", *, removable: bool = False):
        super().__init__(disk, serial)
        self.removable = removable

    def resized(self) -> None:
        """The disk has another size: the guest hears of it with its next command."""
        sense = OTHER_CAPACITY
        self.attention = sense.key, sense.code, sense.qualifier

    def vital_pages(self) -> dict[int, bytes]:
        writable = not self.medium.readonly
        limits = bytearray(0x3C)
        limits[0] = 1  # WRITE SAME of 0 blocks is none of all
        limits[16:24] = UNMAP_LIMIT.to_bytes(4, "big") + UNMAP_RANGES.to_bytes(4, "big")
        limits[32:40] = SAME_LIMIT.to_bytes(8, "big")
        rotation = bytes((0, 1)) + bytes(58)
        provisioning = bytes((0, 0xE0, 2, 0))
        pages = {0xB1: rotation}
        return pages | ({0xB0: bytes(limits), 0xB2: provisioning} if writable else {})

    def modes(self, command: Command) -> Work:
        """MODE SENSE: there is a write cache, and FUA for each write."""
        cache = bytes((0x04, *bytes(17)))
        protected = 0x80 * self.medium.readonly
        return sense_modes(command, {0x08: cache, 0x0A: bytes(10)}, protected | 0x10)

    def service_in(self, command: Command) -> Work:
        """READ CAPACITY(16), the only one of its service actions."""
        self.check_field(command.cdb[1] & 0x1F == 0x10)
        data = bytearray(32)
        data[:12] = (self.blocks - 1).to_bytes(8, "big") + self.block.to_bytes(4, "big")
        data[14] = 0x00 if self.medium.readonly else 0x80
        return command.give(bytes(data), number(command.cdb, 10, 4))

    def write(self, command: Command) -> Work:
        """WRITE, of any shape."""
        offset, length = self.extent(command, command.cdb[0] & ~0x02)
        data, _ = split(command.out, length)
        self.check_field(total(data) == length)
        self._check_writable()
        moved = 0
        for piece in pieces(data, PIECE):
            if not self._written_at_once(offset + moved, piece):
                yield partial(self.medium.writev, offset + moved, piece)
            moved += (count := total(piece))
            yield count
        self.traffic.went_out(moved)
        if command.cdb[0] != 0x0A and command.cdb[1] & FUA:
            yield self.medium.flush
            yield TURN
        return moved

    def _written_at_once(self, offset: int, piece: Sequence[memoryview]) -> bool:
        """The same as `_read_at_once`, of a write."""
        medium = self.medium
        try:
            return isinstance(medium, WaitingDisk) and medium.write_now(offset, piece)
        except OSError:
            return False

    def synchronize(self, command: Command) -> Work:
        """SYNCHRONIZE CACHE: all of it, whatever part is asked for."""
        self.traffic.flushes += 1
        yield self.medium.flush
        yield TURN
        return 0

    def write_same(self, command: Command) -> Work:
        """WRITE SAME: one block again and again; zeroes may lose their place if the CDB allows."""
        flags, shape = command.cdb[1], 0x88 if command.cdb[0] == 0x93 else 0x28
        offset, length = self.extent(command, shape)
        self._check_writable()
        self.check_field(0 < length <= SAME_LIMIT * self.block and not flags & 0xF6)
        if shape == 0x88 and flags & NO_DATA:
            block = bytes(self.block)
        else:
            block = b"".join(split(command.out, self.block)[0])
            self.check_field(len(block) == self.block)
        end = offset + length
        zero, unmap = not any(block), bool(flags & SAME_UNMAP)
        pattern = memoryview(block * (1 if zero else min(PIECE, length) // self.block))
        while offset < end:
            count = min(PIECE, end - offset)
            if zero:
                yield partial(self.medium.write_zeroes, offset, count, unmap=unmap)
            else:
                yield partial(self.medium.writev, offset, [pattern[:count]])
            offset += count
            yield count
        return 0

    def unmap(self, command: Command) -> Work:
        """UNMAP: these ranges are needed no more."""
        self._check_writable()
        data = command.data(PARAMETERS_LIMIT)[: number(command.cdb, 7, 2)]
        if not data:
            yield 0
            return 0
        if len(data) < 8:
            raise CheckCondition(SHORT_LIST)
        described = min(number(data, 2, 2), len(data) - 8)
        ranges = []
        for at in range(8, 8 + described - 15, 16):
            first, count = number(data, at, 8), number(data, at + 8, 4)
            self.check_field(count <= UNMAP_LIMIT)
            ranges.append(self.within(first, count))
        for offset, length in ranges:
            for start in range(offset, offset + length, DISCARD_PIECE):
                size = min(DISCARD_PIECE, offset + length - start)
                yield partial(self.medium.discard, start, size)
                yield TURN
        return len(data)

    def _check_writable(self) -> None:
        if self.medium.readonly:
            raise CheckCondition(READ_ONLY)

    def verify(self, command: Command) -> Work:
        """VERIFY without a comparison: that the blocks are there."""
        if command.cdb[1] & 0x06:
            raise CheckCondition(BAD_FIELD)
        self.extent(command, 0x88 if command.cdb[0] == 0x8F else 0x28)
        yield 0
        return 0
