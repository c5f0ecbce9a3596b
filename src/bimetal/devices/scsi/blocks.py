"""Commands for a medium of blocks, which disks and CD-ROMs share (SBC-3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from bimetal.base.buffers import pieces, split, total
from bimetal.devices.scsi.sense import BAD_FIELD, BAD_RANGE, NEW_MEDIUM, NO_MEDIUM, CheckCondition
from bimetal.devices.scsi.unit import Command, Unit, Work, number
from bimetal.devices.traffic import Traffic
from bimetal.devices.virtio.disk import (
    ComingDisk,
    Disk,
    LayeredDisk,
    StackingDisk,
    WaitingDisk,
    check_forkable,
)
from bimetal.memory.contents import Area, Stored

__all__ = ["PIECE", "SHAPES", "BlockUnit"]

PIECE = 4 << 20
"""Bytes of a command that are moved at once."""

SHAPES = {0x08: (2, 2, 4, 1), 0x28: (2, 4, 7, 2), 0xA8: (2, 4, 6, 4), 0x88: (2, 8, 10, 4)}
"""Where address and length stand in a CDB, by the opcode of the read command of that shape: two
pairs of place and size. In the shortest, the address has 21 bits and the length 0 means 256."""


class BlockUnit(Unit):
    """A unit whose medium is ``disk``, in blocks of ``block`` bytes."""

    block: ClassVar[int] = 512
    fixed = ("disk",)
    derived = ("media", "traffic")

    def __init__(self, disk: Disk | None, serial: str = ""):
        super().__init__(serial)
        self.disk = disk
        self.traffic = Traffic()
        self.media = 0
        """How often the medium was changed."""

    @property
    def blocks(self) -> int:
        """How many blocks there are. `CheckCondition` without a medium."""
        return self.medium.size // self.block

    @property
    def medium(self) -> Disk:
        """The medium. `CheckCondition` if there is none."""
        if self.disk is None:
            raise CheckCondition(NO_MEDIUM)
        return self.disk

    def check_ready(self) -> None:
        if self.disk is None:
            raise CheckCondition(NO_MEDIUM)

    def check_forkable(self) -> None:
        if self.disk is not None:
            check_forkable(self.disk)

    def come_here(self) -> None:
        if isinstance(self.disk, ComingDisk):
            self.disk = self.disk.come()

    def stack(self) -> None:
        if isinstance(self.disk, StackingDisk):
            self.disk = self.disk.stacked()

    def forked(self) -> None:
        if isinstance(self.disk, StackingDisk):
            self.disk = self.disk.copied()

    def settle(self) -> None:
        if self.disk is not None:
            self.disk.rest() if isinstance(self.disk, Stored) else self.disk.flush()

    def areas(self) -> Mapping[str, Area]:
        return {"layer": self.disk} if isinstance(self.disk, LayeredDisk) else {}

    def stored(self) -> Iterable[Stored]:
        return (self.disk,) if isinstance(self.disk, Stored) else ()

    def close(self) -> None:
        if self.disk is not None:
            self.disk.close()

    def extent(self, command: Command, shape: int) -> tuple[int, int]:
        """Offset and length, in bytes, that a CDB of that shape tells. `CheckCondition` for what is
        not all on the medium."""
        at, size, length_at, length_size = SHAPES[shape]
        first = number(command.cdb, at, size)
        count = number(command.cdb, length_at, length_size)
        if shape == 0x08:
            first, count = number(command.cdb, 1, 3) & 0x1F_FFFF, count or 256
        return self.within(first, count)

    def within(self, first: int, count: int) -> tuple[int, int]:
        """Offset and length in bytes of ``count`` blocks. `CheckCondition` as above."""
        if first + count > self.blocks:
            raise CheckCondition(BAD_RANGE)
        return first * self.block, count * self.block

    def read(self, command: Command) -> Work:
        """READ, of any shape."""
        offset, length = self.extent(command, command.cdb[0])
        media, moved = self.media, 0
        room, _ = split(command.into, length)
        for piece in pieces(room, PIECE):
            if self.media != media:
                raise CheckCondition(NEW_MEDIUM)
            if not self._read_at_once(offset + moved, piece):
                yield partial(self.medium.readv, offset + moved, piece)
            moved += (count := total(piece))
            yield count
        self.traffic.came_in(moved)
        return moved

    def _read_at_once(self, offset: int, piece: Sequence[memoryview]) -> bool:
        """Read, if that needs no waiting; what fails is attempted once more where it may wait, and
        where something is done about it."""
        medium = self.medium
        try:
            return isinstance(medium, WaitingDisk) and medium.read_now(offset, piece)
        except OSError:
            return False

    def capacity(self, command: Command) -> Work:
        """READ CAPACITY(10)."""
        last = min(self.blocks - 1, 0xFFFF_FFFF)
        return command.give(last.to_bytes(4, "big") + self.block.to_bytes(4, "big"), 8)

    def nothing(self, command: Command) -> Work:
        """A command that a medium must be there for, and that changes nothing here."""
        return self.test_ready(command)

    @staticmethod
    def check_field(right: bool) -> None:
        """Raise `CheckCondition` for a field of a CDB that is not ``right``."""
        if not right:
            raise CheckCondition(BAD_FIELD)
