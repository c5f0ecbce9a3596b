"""Small transfers of a disk, as nearly all requests are, and requests that wait for the host.

What the host has in memory is transferred at once. What it has to fetch, or to write, is done
*aside*, by threads of the machine's that do not hold its lock: the CPUs and the other devices go
on, and only the queue stands still. So requests are answered in the order in which they were made,
as a snapshot needs it (`Virtqueue.restored`), but the reads that were taken from the queue together
wait together.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from bimetal.base.buffers import total
from bimetal.devices.virtio.aside import Aside, Errand
from bimetal.devices.virtio.block_format import HEADER, IN, IOERR, OK, OUT, SECTOR
from bimetal.devices.virtio.device import REQUEST_COST, TURN, VirtioDevice
from bimetal.devices.virtio.disk import Disk, GroupingDisk, WaitingDisk
from bimetal.devices.virtio.queue import Chain
from bimetal.devices.virtio.throttle import Throttle

__all__ = ["QuickBlock"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the host that the user can put right while the guest runs."""

BATCH = 64
"""Requests that are taken from a queue at once."""

SMALL = 128 << 10
"""Bytes of a request that is carried out at once: it takes as long as looking at some others."""


class QuickBlock(VirtioDevice):
    """The queues of the disk ``disk``. Without ``aside``, everything waits for the host."""

    fixed: ClassVar[tuple[str, ...]] = ("_disk", "_group")  # a fork's disk has the same content
    derived: ClassVar[tuple[str, ...]] = (
        *("_cached", "_held", "_unsettled", "_aside", "_patient"),
        *("_missed", "_first_missed", "_errands"),
    )

    def __init__(self, disk: Disk, aside: Aside | None = None):
        super().__init__()
        self._disk = disk
        self._throttle: Throttle | None = None
        self._group = disk if isinstance(disk, GroupingDisk) else None
        self._aside = aside
        self._patient = disk if isinstance(disk, WaitingDisk) and aside is not None else None
        """The disk, if something can be done aside."""
        self._cached = self._held = False
        self._unsettled: list[memoryview] = []
        """Places for the status of writes that are finished and belong together."""
        self._missed: list[tuple[int, list[memoryview], memoryview]] = []
        """Reads that the host has to fetch: offset, buffers, and the place of the status."""
        self._first_missed = 0
        """Where the first one of them is among those that are finished."""
        self._errands: dict[int, Errand] = {}
        """What is being done aside, for each queue that stands still."""

    @property
    def disk(self) -> Disk:
        """What the guest sees the content of."""
        return self._disk

    def carry_on(self, index: int) -> bool:
        left = TURN
        while left > 0:
            if index in self._errands:
                return False
            if self._under_way[index] is None and self._throttle is None:
                count, moved = self._transfer(index)
                left -= count * REQUEST_COST + moved
                if self._missed:
                    self._fetch(index)
                    return False
                if count == BATCH:
                    continue
            if (cost := self._step(index)) is None:
                return False
            left -= cost
        return True

    def _transfer(self, index: int) -> tuple[int, int]:
        """Carry out the small transfers that are next in queue ``index``, up to `BATCH` of them:
        how many, and how many bytes. Raises `QueueError`."""
        chains, bytes_moved = self.queues[index].pop_many(BATCH), 0
        for place, chain in enumerate(chains):
            if not (moved := self._at_once(index, chain)):
                self.queues[index].put_back(len(chains) - place)
                return place, bytes_moved
            bytes_moved += moved
        return len(chains), bytes_moved

    def _at_once(self, index: int, chain: Chain) -> int:
        """Carry out a small transfer, as nearly all requests are; how many bytes it is. 0 if it is
        anything else, or not as it should be: then nothing was done."""
        readable, into = chain.readable, chain.writable
        if not (readable and into) or len(readable[0]) != HEADER.size or len(into[-1]) != 1:
            return 0
        kind, _, sector = HEADER.unpack(readable[0])
        buffers = into[:-1] if kind == IN else readable[1:]
        length, offset = total(buffers), sector * SECTOR
        if not 0 < length <= SMALL or length % SECTOR or offset + length > self._disk.size:
            return 0
        try:
            if kind == IN and len(readable) == 1:
                into[-1][0], written = OK, length + 1
                if self._patient is None:
                    self._disk.readv(offset, buffers)
                elif not self._patient.read_now(offset, buffers):
                    self._miss(index, offset, buffers, into[-1])
            elif kind == OUT and len(into) == 1 and self._cached:
                self._hold()
                self._disk.writev(offset, buffers)
                into[-1][0], written = OK, 1
                if self._held:
                    self._unsettled.append(into[-1])
            else:
                return 0
        except OSError as error:
            self._tell_failure(error, f"{error}, request {kind}, sector {sector}")
            into[-1][0], written = IOERR, 1 + (length if kind == IN else 0)
        self._finished[index].append((chain, written))
        return length

    def _hold(self) -> None:
        """Group the writes up to the next answers, so that they can share flushes."""
        if self._group is not None and not self._held:
            self._group.hold()
            self._held = True

    def _tell_failure(self, error: OSError, details: str) -> None:
        advice = "; make room there, or the guest loses what it writes" * (error.errno in FULL)
        self.events.host_error(f"disk {self._disk.name}: I/O error", details + advice)

    def has_use_for(self, index: int) -> bool:
        return index not in self._errands

    def let_go(self) -> None:
        while self._errands:
            next(iter(self._errands.values())).finish()

    def settle(self) -> None:
        self.let_go()
        patient, self._patient = self._patient, None
        try:
            super().settle()
        finally:
            self._patient = patient

    def _forget(self, index: int) -> None:
        errand = self._errands.pop(index, None)
        if errand is not None:
            errand.finish()  # it works on the guest's memory
        super()._forget(index)

    # Aside

    def _miss(self, index: int, offset: int, buffers: list[memoryview], status: memoryview) -> None:
        if not self._missed:
            self._first_missed = len(self._finished[index])
        self._missed.append((offset, buffers, status))

    def _fetch(self, index: int) -> None:
        """Have what was missed read aside. Of what is finished, that and what came after it is
        answered when that is done."""
        missed, self._missed = self._missed, []
        finished, failures = self._finished[index], list[OSError]()
        late = finished[self._first_missed :]
        del finished[self._first_missed :]
        jobs = [partial(self._read_late, failures, *each) for each in missed]
        self._begin(index, jobs, partial(self._come_back, index, late, failures))

    def _read_late(
        self,
        failures: list[OSError],
        offset: int,
        buffers: list[memoryview],
        status: memoryview,
    ) -> None:
        """Not under the machine's lock."""
        try:
            self._disk.readv(offset, buffers)
        except OSError as error:
            failures.append(error)
            status[0] = IOERR

    def _flushed(self) -> Iterator[int]:
        """Flush the disk; yields as `Work` does. Raises OSError."""
        if self._patient is None:
            self._disk.flush()
            yield TURN  # nobody knows how long the host took
            return
        failures = list[OSError]()
        job = partial(_attempt, self._patient.flushing(), failures)
        self._begin(0, [job], partial(self._come_back, 0, [], []))
        yield TURN
        if failures:
            raise failures[0]

    def _begin(
        self, index: int, jobs: Sequence[Callable[[], None]], done: Callable[[], None]
    ) -> None:
        assert self._aside is not None
        self._errands[index] = self._aside(jobs, done)

    def _come_back(
        self, index: int, late: list[tuple[Chain, int]], failures: list[OSError]
    ) -> None:
        """What queue ``index`` waited for is done; unless it was given up meanwhile."""
        if self._errands.pop(index, None) is None:
            return
        for error in failures:
            self._tell_failure(error, f"{error}, request {IN}")
        self.finish(index, late)
        self.look(index)


def _attempt(work: Callable[[], None], failures: list[OSError]) -> None:
    try:
        work()
    except OSError as error:
        failures.append(error)
