"""What a disk's device has done aside: the queue waits for it, and nobody else does."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from bimetal.base.transfers import Transfer
from bimetal.devices.answers import Answer
from bimetal.devices.virtio.block import VirtioBlock
from tests.devices.virtio.guest import EVENT_IDX, INDIRECT_DESC, NEEDS_RESET, STATUS, Guest, Used
from tests.devices.virtio.test_block import (
    CONTENT,
    DISCARD,
    DISCARD_FEATURE,
    FLUSH,
    FLUSH_FEATURE,
    IN,
    IOERR,
    OK,
    OUT,
    SECTOR,
    WRITE_ZEROES,
    ZEROES_FEATURE,
    Recorder,
)

FEATURES = FLUSH_FEATURE | INDIRECT_DESC | EVENT_IDX | DISCARD_FEATURE | ZEROES_FEATURE


class Waiting(Recorder):
    """A disk of which only the first sectors are in the host's memory."""

    alone = False
    cached = 8

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        there = offset < self.cached * SECTOR
        self._note(f"now {offset // SECTOR} {there}")
        if there:
            for buffer in buffers:
                buffer[:] = self.content[offset : offset + len(buffer)]
        return there

    def late(self, transfers: Sequence[Transfer]) -> Sequence[Callable[[], None]]:
        return [partial(self._do_in_turn, [each]) for each in transfers]

    def flushing(self) -> Callable[[], None]:
        self.calls.append("flushing")
        return self.flush


class Errands:
    """An `Aside` whose work is done when the test says so."""

    def __init__(self) -> None:
        self.open: list[Errand] = []

    def __call__(self, jobs: Sequence[Callable[[], None]], done: Callable[[], None]) -> Errand:
        self.open.append(Errand(jobs, done))
        return self.open[-1]


class Errand:
    def __init__(self, jobs: Sequence[Callable[[], None]], done: Callable[[], None]):
        self.jobs, self.done = list(jobs), [done]

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop()()  # in any order

    def finish(self) -> None:
        self.work()
        if self.done:
            self.done.pop()()


class Machine:
    """A guest with a disk that has to wait, and its driver."""

    def __init__(self, disk: Waiting | None = None, queues: int = 1) -> None:
        self.disk, self.errands = disk or Waiting(), Errands()
        self.device = VirtioBlock(self.disk, aside=self.errands, queues=queues)
        self.guest = Guest(self.device)
        self.rings = self.guest.start(FEATURES, queues)
        self.ring = self.rings[0]

    def use(self, queue: int) -> None:
        """Use another queue from now on."""
        self.ring = self.rings[queue]

    def offer(self, kind: int, sector: int = 0, data: bytes = b"", room: int = 0) -> Asked:
        guest = self.guest
        buffers = [guest.place(struct.pack("<IIQ", kind, 0, sector))]
        buffers += [guest.place(data)] if data else []
        answer, status = guest.room(room), guest.room(1)
        buffers += [answer] if room else []
        head = self.ring.indirect(*buffers, status)
        self.ring.offer(head)
        return Asked(guest, head, answer, status)

    def read(self, sector: int) -> Asked:
        return self.offer(IN, sector, room=SECTOR)

    def heads(self) -> list[int]:
        return [used.head for used in self.ring.completed()]


class Asked:
    """A request that was offered."""

    def __init__(
        self, guest: Guest, head: int, answer: tuple[int, int, int], status: tuple[int, int, int]
    ):
        self.head, self._guest, self._answer, self._status = head, guest, answer, status

    @property
    def status(self) -> int:
        return self._guest.peek(self._status)[0]

    @property
    def data(self) -> bytes:
        return self._guest.peek(self._answer)


def sector(number: int) -> bytes:
    return CONTENT[number * SECTOR : (number + 1) * SECTOR]


def test_reads_that_miss_wait_together_and_are_answered_in_order() -> None:
    machine = Machine()
    asked = [machine.read(number) for number in (1, 20, 2, 30)]
    machine.ring.notify()
    assert machine.heads() == [asked[0].head]
    (errand,) = machine.errands.open
    assert len(errand.jobs) == 2
    later = machine.read(3)
    machine.ring.notify()
    assert machine.heads() == []
    interrupts = machine.guest.interrupts
    errand.finish()
    assert machine.heads() == [*(each.head for each in asked[1:]), later.head]
    assert [each.status for each in (*asked, later)] == [OK] * 5
    assert [each.data for each in (*asked, later)] == [sector(n) for n in (1, 20, 2, 30, 3)]
    assert machine.guest.interrupts >= interrupts
    assert machine.guest.irq()


def test_a_read_that_fails_aside_is_an_io_error_and_an_event() -> None:
    machine = Machine()
    asked = [machine.read(number) for number in (20, 1)]
    machine.ring.notify()
    machine.disk.error = errno.EIO
    machine.errands.open[0].finish()
    assert [each.status for each in asked] == [IOERR, OK]
    assert machine.ring.completed() == [Used(each.head, SECTOR + 1) for each in asked]
    assert sum(machine.device.events.counts.values()) == 1


def test_a_flush_is_answered_once_it_is_done_and_what_follows_waits() -> None:
    machine = Machine()
    new = b"w" * SECTOR
    asked = [machine.offer(OUT, 1, new), machine.offer(FLUSH), machine.read(1)]
    machine.ring.notify()
    assert machine.heads() == [asked[0].head]
    assert machine.disk.calls == [f"write {SECTOR} [512]", "flushing"]
    machine.errands.open[0].finish()
    assert machine.heads() == [each.head for each in asked[1:]]
    assert machine.disk.calls[2:] == ["flush", "now 1 True"]
    assert [each.status for each in asked] == [OK] * 3
    assert asked[2].data == new


def test_a_flush_that_fails_is_an_io_error() -> None:
    machine = Machine()
    asked = machine.offer(FLUSH)
    machine.ring.notify()
    machine.disk.error = errno.EIO
    machine.errands.open[0].finish()
    assert machine.ring.completed() == [Used(asked.head, 1)]
    assert asked.status == IOERR


@pytest.mark.parametrize("kind", [IN, FLUSH])
def test_a_reset_waits_for_what_works_on_the_guest_s_memory(kind: int) -> None:
    machine = Machine()
    machine.read(30) if kind == IN else machine.offer(FLUSH)
    machine.ring.notify()
    (errand,) = machine.errands.open
    machine.guest.write(STATUS, 0)
    assert not errand.jobs
    assert machine.heads() == []
    machine.ring = machine.guest.start(FEATURES)[0]
    errand.finish()  # the reactor's call, which comes late
    again = machine.read(1)
    machine.ring.notify()
    assert machine.heads() == [again.head]
    assert machine.guest.read(STATUS) & NEEDS_RESET == 0


def test_a_machine_that_is_saved_has_nothing_under_way() -> None:
    machine = Machine()
    asked = [machine.read(30), machine.offer(FLUSH), machine.read(31), machine.offer(FLUSH)]
    machine.ring.notify()
    machine.device.settle()
    assert machine.heads() == [each.head for each in asked]
    assert [each.status for each in asked] == [OK] * 4
    assert [asked[0].data, asked[2].data] == [sector(30), sector(31)]
    assert not any(errand.jobs or errand.done for errand in machine.errands.open)


def test_memory_that_is_exchanged_is_let_go_of() -> None:
    machine = Machine()
    asked = machine.read(30)
    machine.ring.notify()
    machine.guest.slot.let_go()
    assert asked.data == sector(30)
    assert not machine.errands.open[0].done


def test_a_closed_disk_waits_for_its_errands() -> None:
    machine = Machine()
    machine.offer(FLUSH)
    machine.ring.notify()
    machine.device.close()
    assert not machine.errands.open[0].jobs
    assert machine.disk.closed


def test_a_large_read_waits_aside_too() -> None:
    machine = Machine()
    machine.disk.content *= 20
    machine.disk.size = len(machine.disk.content)
    length = 300 << 10
    asked = machine.offer(IN, 8, room=length)
    machine.ring.notify()
    assert machine.heads() == []
    machine.errands.open[0].finish()
    assert machine.heads() == [asked.head]
    assert (asked.status, asked.data) == (OK, bytes(machine.disk.content[8 * SECTOR :][:length]))


@pytest.mark.parametrize("kind", [DISCARD, WRITE_ZEROES])
def test_ranges_are_given_up_aside(kind: int) -> None:
    machine = Machine()
    asked = machine.offer(kind, data=struct.pack("<QII", 2, 3, 0))
    machine.ring.notify()
    assert machine.heads() == []
    (errand,) = machine.errands.open
    machine.disk.error = errno.ENOSPC
    errand.finish()
    assert machine.heads() == [asked.head]
    assert asked.status == IOERR


def test_while_one_queue_waits_the_other_goes_on() -> None:
    machine = Machine(queues=2)
    waiting = machine.read(30)
    machine.ring.notify()
    machine.use(1)
    flushed, read = machine.offer(FLUSH), machine.read(1)
    machine.ring.notify()
    first, second = machine.errands.open
    second.finish()
    assert machine.heads() == [flushed.head, read.head]
    machine.use(0)
    assert machine.heads() == []
    first.finish()
    assert machine.heads() == [waiting.head]
    assert [each.status for each in (waiting, flushed, read)] == [OK] * 3


def test_a_reset_waits_for_all_queues() -> None:
    machine = Machine(queues=2)
    for queue in (0, 1):
        machine.use(queue)
        machine.read(30)
        machine.ring.notify()
    machine.guest.write(STATUS, 0)
    assert not any(errand.jobs for errand in machine.errands.open)
    assert machine.heads() == []


@pytest.mark.parametrize("kind", [IN, OUT])
@pytest.mark.parametrize("sector", [1, 20])
@pytest.mark.parametrize("answer", [*Answer])
def test_a_request_counts_once_and_only_if_it_is_done(
    kind: int, sector: int, answer: Answer
) -> None:
    """Tried again, told of, or ignored, aside or at once."""
    machine = Machine()
    machine.device.answers = lambda error, writes: answer
    machine.disk.error = errno.EIO
    if kind == IN:
        asked = machine.read(sector)
    else:
        asked = machine.offer(OUT, sector, b"w" * SECTOR)
    machine.ring.notify()
    for _ in range(2):
        if machine.errands.open:
            machine.errands.open[-1].finish()
    machine.disk.error = None
    machine.device.try_again()
    if machine.errands.open:
        machine.errands.open[-1].finish()
    assert machine.heads() == [asked.head]
    done = answer is not Answer.REPORT
    assert asked.status == (OK if done else IOERR)
    traffic = machine.device.traffic
    counted = (traffic.times_in, traffic.bytes_in) if kind == IN else (
        traffic.times_out, traffic.bytes_out
    )  # fmt: skip
    assert counted == (done, done * SECTOR)
