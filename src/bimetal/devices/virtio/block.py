"""The block device (virtio 1.2, section 5.2): a disk.

Secure erase, lifetime information and zoned disks are not offered. A request may be as
large as a chain can be (2.7.5.2), since it is carried out piece by piece; VIRTIO_BLK_F_SIZE_MAX
would be of no use, and drivers that read whole kernels by one request know nothing of it. A driver
that does not accept VIRTIO_BLK_F_FLUSH, or that switches the write cache off, gets every write
flushed before it is answered (5.2.5.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from bimetal.base.buffers import pieces, split, total
from bimetal.devices.virtio.aside import Aside
from bimetal.devices.virtio.block_format import (
    CAPACITY,
    DISCARD,
    DISCARD_RANGES,
    DISCARD_SECTORS,
    F_BLK_SIZE,
    F_CONFIG_WCE,
    F_DISCARD,
    F_FLUSH,
    F_MQ,
    F_RO,
    F_SEG_MAX,
    F_TOPOLOGY,
    F_WRITE_ZEROES,
    FLUSH,
    GET_ID,
    ID_SIZE,
    IN,
    IOERR,
    OK,
    OUT,
    QUEUE_SIZE,
    RANGE,
    SECTOR,
    UNMAP,
    UNSUPP,
    WRITE_ZEROES,
    WRITEBACK_AT,
    ZEROES_RANGES,
    ZEROES_SECTORS,
    check_blocks,
    configuration,
    cut,
    header,
)
from bimetal.devices.virtio.block_quick import QuickBlock
from bimetal.devices.virtio.device import PIECE, Work
from bimetal.devices.virtio.disk import (
    ComingDisk,
    Disk,
    LayeredDisk,
    StackingDisk,
    check_forkable,
)
from bimetal.devices.virtio.limits import QUEUES_LIMIT
from bimetal.devices.virtio.queue import Chain, QueueError
from bimetal.devices.virtio.throttle import Throttle
from bimetal.memory.contents import Area, Stored

__all__ = ["VirtioBlock"]

DISCARD_PIECE = 64 << 20
"""Bytes discarded at once: quick on most hosts, but an image may have many small clusters there."""


class VirtioBlock(QuickBlock):
    """The disk ``disk``, which is closed with the device.

    ``serial`` is what the guest may know it by, 20 bytes at most. ``block_size``, from 512 to 4096,
    is the unit that the guest had better address, ``physical_block_size``, from that to 2 MiB, the
    one that it had better write whole; both are powers of two. There are ``queues`` for requests,
    and ``throttle`` says how fast they are carried out. What waits for the host is done ``aside``.
    """

    device_id = 2
    saved = ("_throttle",)
    added: ClassVar[Mapping[str, object]] = {"_throttle": None}
    fixed = ("queue_limits", "_serial")
    derived = ("_write_through", "_waited")

    def __init__(
        self,
        disk: Disk,
        serial: str = "",
        *,
        block_size: int = 512,
        physical_block_size: int = 0,
        queues: int = 1,
        throttle: Throttle | None = None,
        aside: Aside | None = None,
    ):
        super().__init__(disk, aside)
        if not 0 < queues <= QUEUES_LIMIT:
            raise ValueError(f"{queues} queues, of 1 to {QUEUES_LIMIT}")
        self.queue_limits = (QUEUE_SIZE,) * queues
        self._throttle: Throttle | None = None
        self.limit(throttle)
        physical = physical_block_size or block_size
        self._serial = serial.encode()
        if len(self._serial) > ID_SIZE:
            raise ValueError(f"serial {serial!r} is longer than {ID_SIZE} bytes")
        check_blocks(disk.size, block_size, physical)
        self.offered = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_CONFIG_WCE
        self.offered |= F_RO if disk.readonly else F_DISCARD | F_WRITE_ZEROES
        self.offered |= F_MQ if queues > 1 else 0
        self.config[:] = configuration(disk.size, block_size, physical, queues)
        self._write_through, self._waited = True, False

    def work_on(self, index: int, chain: Chain) -> Work:
        kind, sector, data = header(chain.readable)
        if not chain.writable:
            raise QueueError("a block request has no place for its status")
        if self._throttle is not None:
            self._throttle.charge(total(data) + total(chain.writable))
        into = chain.writable[:-1]
        status = chain.writable[-1]
        if len(status) > 1:  # the last byte of the last buffer, however the driver cut them
            into.append(status[:-1])
            status = status[-1:]
        try:
            status[0] = yield from self._carry_out(index, kind, sector, data, into)
        except OSError as error:
            self._tell_failure(error, f"{error}, request {kind}, sector {sector}")
            status[0] = IOERR
        if self._held and kind == OUT:
            self._unsettled.append(status)
        return total(into) + 1

    def has_use_for(self, index: int) -> bool:
        may_begin = self._throttle is None or not self._throttle.shut
        return may_begin and super().has_use_for(index)

    def _look_at_all(self) -> None:
        for index in range(len(self.queues)):
            self.look(index)

    def limit(self, throttle: Throttle | None) -> None:
        """Have ``throttle`` say how fast requests are carried out from now on."""
        self._throttle = throttle
        if throttle is not None:
            throttle.open = self._look_at_all
        self._look_at_all()

    def resized(self) -> None:
        """The disk has another size: tell the guest (5.2.5.2)."""
        self.config[: CAPACITY.size] = CAPACITY.pack(self._disk.size // SECTOR)
        self.config_changed()

    def may_wait(self) -> bool:
        # What is settled aside is waited for by what comes meanwhile.
        self._waited = self._aside is None and self._group_waits and not self._waited
        return self._waited

    def config_written(self, offset: int, data: bytes) -> None:
        if offset == WRITEBACK_AT and len(data) == 1 and self.has(F_CONFIG_WCE):
            self._set_write_back(data[0] & 1)
        else:
            super().config_written(offset, data)

    def settled(self) -> None:
        # A driver that knows of no flush starts without a cache (5.2.5.2).
        self._set_write_back(int(self.has(F_FLUSH)))

    def reset(self) -> None:
        super().reset()
        self._unsettled.clear()
        self.before_answers()
        self._set_write_back(1)

    def settle(self) -> None:
        super().settle()
        try:
            self._disk.rest() if isinstance(self._disk, Stored) else self._disk.flush()
        except OSError as error:
            self._tell_failure(error, str(error))

    def check_forkable(self) -> None:
        check_forkable(self._disk)

    def come_here(self) -> None:
        if isinstance(self._disk, ComingDisk):
            self.exchange(self._disk.come())

    def stack(self) -> None:
        if isinstance(self._disk, StackingDisk):
            self.exchange(self._disk.stacked())

    def forked(self) -> None:
        if isinstance(self._disk, StackingDisk):
            self.exchange(self._disk.copied())

    def areas(self) -> Mapping[str, Area]:
        return {"layer": self._disk} if isinstance(self._disk, LayeredDisk) else {}

    def stored(self) -> Iterable[Stored]:
        return (self._disk,) if isinstance(self._disk, Stored) else ()

    def restored(self) -> None:
        super().restored()
        self._unsettled.clear()
        self._set_write_back(self.config[WRITEBACK_AT])

    def close(self) -> None:
        super().close()
        self._disk.close()

    def _set_write_back(self, write_back: int) -> None:
        self.config[WRITEBACK_AT] = write_back
        cached = self.has(F_FLUSH) or self.has(F_CONFIG_WCE)
        self._write_through = not (cached and write_back)
        self._cached = not (self._write_through or self._disk.readonly)

    # Requests: each yields as `Work` does, returns its status, and may raise OSError

    def _carry_out(
        self, index: int, kind: int, sector: int, data: list[memoryview], into: list[memoryview]
    ) -> Work:
        if kind == IN:
            return self._read(index, sector, into)
        if kind == OUT:
            return self._write(index, sector, data)
        if kind == FLUSH:
            return self._flush(index)
        if kind == GET_ID:
            return self._identify(into)
        if kind == DISCARD and self.has(F_DISCARD):
            return self._discard(index, data)
        if kind == WRITE_ZEROES and self.has(F_WRITE_ZEROES):
            return self._write_zeroes(index, data)
        return self._refuse()

    def _refuse(self) -> Work:
        self.events.guest_error("block request of an unknown type")
        yield 0
        return UNSUPP

    def _read(self, index: int, sector: int, into: list[memoryview]) -> Work:
        if not self._fits(sector, total(into)):
            return IOERR
        offset = sector * SECTOR
        for piece in pieces(into, PIECE):
            moved = total(piece)
            if self._read_at_once(offset, piece):
                yield moved
            else:
                read = partial(self._disk.readv, offset, piece)
                yield from self.wait_for(index, read, moved, writes=False)
            offset += moved
        self.traffic.came_in(total(into))
        return OK

    def _write(self, index: int, sector: int, data: list[memoryview]) -> Work:
        if self._disk.readonly:
            self.events.guest_error("write to a read-only disk")
            return IOERR
        if not self._fits(sector, total(data)):
            return IOERR
        offset, lost = sector * SECTOR, self._groups_lost
        for piece in pieces(data, PIECE):
            self._hold()
            moved = total(piece)
            if self._written_at_once(offset, piece):
                yield moved
            else:
                yield from self.wait_for(index, partial(self._disk.writev, offset, piece), moved)
            offset += moved
        if self._groups_lost != lost:
            return IOERR
        self.traffic.went_out(total(data))
        return (yield from self._written(index))

    def _read_at_once(self, offset: int, piece: Sequence[memoryview]) -> bool:
        """Read, if that needs no waiting; what fails is attempted once more where it may wait."""
        try:
            return self._patient is not None and self._patient.read_now(offset, piece)
        except OSError:
            return False

    def _written_at_once(self, offset: int, piece: Sequence[memoryview]) -> bool:
        """The same of a write."""
        try:
            return self._patient is not None and self._patient.write_now(offset, piece)
        except OSError:
            return False

    def _flush(self, index: int) -> Work:
        self.traffic.flushes += 1
        yield from self._flushed(index)
        return OK

    def _identify(self, into: list[memoryview]) -> Work:
        serial = self._serial.ljust(ID_SIZE, b"\0")
        for buffer in split(into, ID_SIZE)[0]:
            buffer[:] = serial[: len(buffer)]
            serial = serial[len(buffer) :]
        yield ID_SIZE
        return OK

    def _discard(self, index: int, data: list[memoryview]) -> Work:
        ranges = self._ranges(data, DISCARD_RANGES, DISCARD_SECTORS)
        if ranges is None:
            return IOERR
        if any(flags for _, _, flags in ranges):
            return UNSUPP
        for offset, length, _ in ranges:
            for start, stop in cut(offset, length, DISCARD_PIECE):
                yield from self.wait_for(index, partial(self._disk.discard, start, stop - start))
        return (yield from self._written(index))

    def _write_zeroes(self, index: int, data: list[memoryview]) -> Work:
        ranges = self._ranges(data, ZEROES_RANGES, ZEROES_SECTORS)
        if ranges is None:
            return IOERR
        if any(flags & ~UNMAP for _, _, flags in ranges):
            return UNSUPP
        for offset, length, flags in ranges:
            for start, stop in cut(offset, length, PIECE):
                zero = partial(self._disk.write_zeroes, unmap=bool(flags & UNMAP))
                size = stop - start
                yield from self.wait_for(index, partial(zero, start, size), size)
        return (yield from self._written(index))

    def _written(self, index: int) -> Work:
        return (yield from self._flush(index)) if self._write_through else OK

    def _fits(self, sector: int, length: int) -> bool:
        """Whether a transfer is whole sectors and stays on the disk."""
        if length % SECTOR == 0 and sector * SECTOR + length <= self._disk.size:
            return True
        self.events.guest_error(
            "transfer of broken sectors or beyond the disk", f"{length} bytes at sector {sector}"
        )
        return False

    def _ranges(
        self, data: list[memoryview], most: int, sectors: int
    ) -> list[tuple[int, int, int]] | None:
        """The (offset, length, flags) of what is to be discarded or zeroed, or None if wrong."""
        length = total(data)
        if length == 0 or length % RANGE.size or length > most * RANGE.size:
            self.events.guest_error("a wrong number of ranges to discard or zero")
            return None
        ranges = []
        for sector, count, flags in RANGE.iter_unpack(b"".join(data)):
            if count > sectors or not self._fits(sector, count * SECTOR):
                return None
            ranges.append((sector * SECTOR, count * SECTOR, flags))
        return ranges
