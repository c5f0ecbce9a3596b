"""Transfers of a disk, as nearly all requests are, taken from the queue in batches: those that are
carried out in one piece.

What the host has in memory is transferred at once. What it has to fetch, or to look up first, is
done aside (`patient`): the transfers that were taken from the queue together wait together.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

from msgspec.structs import replace

from bimetal.base.buffers import total
from bimetal.base.transfers import Transfer
from bimetal.devices.answers import Answer
from bimetal.devices.traffic import Traffic
from bimetal.devices.virtio.aside import Aside
from bimetal.devices.virtio.block_format import HEADER, IN, IOERR, OK, OUT, SECTOR
from bimetal.devices.virtio.device import BUFFER_COST, PIECE, REQUEST_COST, TURN
from bimetal.devices.virtio.disk import Disk, GroupingDisk, WaitingDisk
from bimetal.devices.virtio.patient import PatientDevice, attempt
from bimetal.devices.virtio.queue import Chain, QueueError
from bimetal.devices.virtio.throttle import Throttle

__all__ = ["FULL", "QuickBlock"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the host that the user can put right while the guest runs."""

BATCH = 64
"""Requests that are taken from a queue at once, at most."""

BUFFERS = 1024
"""Buffers that these have together at most, but for the last one: each is looked at again if the
turn is over before."""

LARGE = 512 << 10
"""What requests count for beside which it is nothing to look whether there are others."""


class QuickBlock(PatientDevice):
    """The queues of the disk ``disk``. Without ``aside``, everything waits for the host."""

    fixed: ClassVar[tuple[str, ...]] = ("_disk", "_group")  # a fork's disk has the same content
    derived: ClassVar[tuple[str, ...]] = (
        *("_cached", "_held", "_unsettled", "_patient", "_groups_lost"),
        *("_missed", "_first_missed", "traffic", "_before", "_first_held"),
    )

    def __init__(self, disk: Disk, aside: Aside | None = None):
        patient = disk if isinstance(disk, WaitingDisk) and aside is not None else None
        super().__init__(None if patient is None else aside, alone=patient is None or patient.alone)
        self._disk, self._patient = disk, patient
        """The disk, which is patient if something can be done aside."""
        self._throttle: Throttle | None = None
        self._group = disk if isinstance(disk, GroupingDisk) else None
        self._cached = self._held = False
        self._unsettled: list[memoryview] = []
        """Places for the status of writes that are finished and belong together."""
        self._groups_lost = 0
        """How often those were lost."""
        self._before = Traffic()
        """What had been moved when they began."""
        self._first_held: list[int] = []
        """Where the first of them is among those of each queue that are finished."""
        self._missed: list[tuple[Transfer, memoryview]] = []
        """What has to wait, and the places for its status."""
        self.traffic = Traffic()
        self._first_missed = 0
        """Where the first one of them is among those that are finished."""

    @property
    def disk(self) -> Disk:
        """What the guest sees the content of."""
        return self._disk

    def carry_on(self, index: int) -> bool:
        more = self._carry_on(index)
        if self._aside is None or self._errands or not self._group_waits:
            return more
        self._settle_aside(index)
        return False

    def _carry_on(self, index: int) -> bool:
        left = TURN
        while left > 0:
            if self.stands_still(index):
                return False
            if self._under_way[index] is None and self._throttle is None:
                count, cost = self._transfer(index, left)
                left -= cost
                if self._missed:
                    self._fetch(index)
                    return False
                if count == BATCH or cost >= LARGE:
                    continue  # there may be more of them
            if (step := self._step(index)) is None:
                return False
            left -= step
        return True

    def _transfer(self, index: int, left: int) -> tuple[int, int]:
        """Carry out the transfers that are next in queue ``index``, up to `BATCH` of them, or until
        nothing is ``left`` of the turn: how many, and what they count for. Raises `QueueError`."""
        chains, cost = self.queues[index].pop_many(BATCH, BUFFERS), 0
        for place, chain in enumerate(chains):
            if cost >= left or not (moved := self._at_once(index, chain)):
                self.queues[index].put_back(len(chains) - place)
                return place, cost
            cost += REQUEST_COST + BUFFER_COST * chain.count + moved
        return len(chains), cost

    def _at_once(self, index: int, chain: Chain) -> int:
        """Carry out a transfer, as nearly all requests are; how many bytes it is. 0 if it is
        anything else, not as it should be, or too large: then nothing was done."""
        readable, into = chain.readable, chain.writable
        if not (readable and into) or len(readable[0]) != HEADER.size or len(into[-1]) != 1:
            return 0
        kind, _, sector = HEADER.unpack(readable[0])
        buffers = into[:-1] if kind == IN else readable[1:]
        length, offset = total(buffers), sector * SECTOR
        if not 0 < length <= PIECE or length % SECTOR or offset + length > self._disk.size:
            return 0
        try:
            if kind == IN and len(readable) == 1:
                into[-1][0], written = OK, length + 1
                if self._patient is None:
                    self._disk.readv(offset, buffers)
                    self.traffic.came_in(length)
                elif self._patient.read_now(offset, buffers):
                    self.traffic.came_in(length)
                else:
                    self._miss(index, Transfer(offset, buffers, writes=False), into[-1])
            elif kind == OUT and len(into) == 1 and self._cached:
                self._hold()
                into[-1][0], written = OK, 1
                if self._patient is None:
                    self._disk.writev(offset, buffers)
                    self.traffic.went_out(length)
                elif self._patient.write_now(offset, buffers):
                    self.traffic.went_out(length)
                else:
                    self._miss(index, Transfer(offset, buffers, writes=True), into[-1])
                if self._held:
                    self._unsettled.append(into[-1])
            else:
                return 0
        except OSError as error:
            if self.answers is not None:
                return 0  # what follows finds out what is to be done about it
            self._tell_failure(error, f"{error}, request {kind}, sector {sector}")
            into[-1][0], written = IOERR, 1 + (length if kind == IN else 0)
        self._finished[index].append((chain, written))
        return length

    def settle(self) -> None:
        patient, self._patient = self._patient, None
        try:
            super().settle()
        finally:
            self._patient = patient

    # Aside

    def _miss(self, index: int, transfer: Transfer, status: memoryview) -> None:
        if not self._missed:
            self._first_missed = len(self._finished[index])
        self._missed.append((transfer, status))

    def _fetch(self, index: int) -> None:
        """Have done aside what was missed. Of what is finished, that and what came after it is
        answered when that is done."""
        assert self._patient is not None
        missed, self._missed = self._missed, []
        finished = self._finished[index]
        late = finished[self._first_missed :]
        del finished[self._first_missed :]
        jobs = self._patient.late([transfer for transfer, _ in missed])
        self.send_out(index, jobs, partial(self._fetched, index, late, missed))

    def _fetched(
        self,
        index: int,
        late: list[tuple[Chain, int]],
        missed: Sequence[tuple[Transfer, memoryview]],
    ) -> None:
        again = list[tuple[Transfer, memoryview]]()
        for transfer, status in missed:
            answer = Answer.IGNORE
            if (error := transfer.error) is not None:
                answer = self.answer(error, self.answers, writes=transfer.writes)
            if answer is Answer.STOP:
                again.append((transfer, status))
            elif error is not None and answer is Answer.REPORT:
                self._tell_failure(error, f"{error}, request {OUT if transfer.writes else IN}")
                status[0] = IOERR
            else:
                moved = self.traffic.went_out if transfer.writes else self.traffic.came_in
                moved(total(transfer.buffers))
        if again:
            self._again.append((index, partial(self._fetch_again, index, late, again)))
            return
        self.finish(index, late)
        if self._group_waits:
            self._settle_aside(index)

    def _fetch_again(
        self,
        index: int,
        late: list[tuple[Chain, int]],
        missed: Sequence[tuple[Transfer, memoryview]],
    ) -> None:
        assert self._patient is not None
        for transfer, _ in missed:
            transfer.error = None
        jobs = self._patient.late([transfer for transfer, _ in missed])
        self.send_out(index, jobs, partial(self._fetched, index, late, missed))

    def _flushed(self, index: int) -> Iterator[int]:
        """Flush the disk for a request of queue ``index``; yields as `Work` does. Raises
        OSError."""
        flush = self._disk.flush if self._patient is None else self._patient.flushing()
        return iter(()) if flush is None else self.wait_for(index, flush)

    def exchange(self, disk: Disk) -> None:
        """Use ``disk``, which has the same content, from now on. Nothing may be under way."""
        self._disk = disk
        self._patient = disk if self._aside is not None and isinstance(disk, WaitingDisk) else None
        self._group = disk if isinstance(disk, GroupingDisk) else None
        self._alone = self._patient is None or self._patient.alone

    # Writes that belong together

    def _hold(self) -> None:
        """Group the writes up to the next answers, so that they can share flushes."""
        if self._group is not None and not self._held:
            self._group.hold()
            self._held, self._before = True, replace(self.traffic)
            self._first_held = [len(finished) for finished in self._finished]

    @property
    def _group_waits(self) -> bool:
        """Whether writes cannot be answered before others are safe."""
        return self._held and self._group is not None and self._group.unsettled

    def _settle_aside(self, index: int) -> None:
        """Have what the writes need done aside; then queue ``index`` answers."""
        assert self._group is not None
        failures = list[OSError]()
        job = partial(attempt, self._group.settle, failures)
        self.send_out(index, [job], partial(self._settled_aside, index, failures))

    def _settled_aside(self, index: int, failures: Sequence[OSError]) -> None:
        self._end_group(failures)
        try:
            self._answer(index)
        except QueueError as error:
            self.fail(error)

    def _answer(self, index: int) -> None:
        if not (self._held and self._errands):  # or writes would be answered too early
            super()._answer(index)

    def before_answers(self) -> None:
        if self._group is None or not self._held:
            return
        failures = list[OSError]()
        attempt(self._group.settle, failures)
        self._end_group(failures)

    def _end_group(self, failures: Sequence[OSError]) -> None:
        self._held = False
        for error in failures:
            wanted = self._unsettled or any(self._under_way)  # or the driver has given them up
            answers = self.answers if wanted else None
            answer = self.answer(error, answers, writes=True)
            if answer is Answer.STOP:
                self._put_back()
            elif answer is Answer.REPORT:
                self._tell_failure(error, str(error))
                self._groups_lost += 1
                for status in self._unsettled:
                    status[0] = IOERR
        self._unsettled.clear()

    def _put_back(self) -> None:
        """Those writes, and what was carried out since they began, are the next requests again once
        the machine goes on."""
        self.traffic = self._before
        for index, (finished, first) in enumerate(
            zip(self._finished, self._first_held, strict=True)
        ):
            count = len(finished) - first + (self._under_way[index] is not None)
            if count:
                self.queues[index].put_back(count)
                del finished[first:]
                self._under_way[index] = None
                self._again.append((index, lambda: None))

    def _forget(self, index: int) -> None:
        if self._held:
            self._first_held[index] = 0
        super()._forget(index)

    def _tell_failure(self, error: OSError, details: str) -> None:
        advice = "; make room there, or the guest loses what it writes" * (error.errno in FULL)
        self.events.host_error(f"disk {self._disk.name}: I/O error", details + advice)
