"""A disk that one has to use alone, such as a qcow2 image: while something is done with it aside,
all queues stand still, and no write is answered before those that it belongs to are safe."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import pytest

from bimetal.base.transfers import Transfer
from bimetal.devices.answers import Answer
from tests.devices.virtio.guest import STATUS
from tests.devices.virtio.test_block import CONTENT, FLUSH, IN, IOERR, OK, OUT, SECTOR
from tests.devices.virtio.test_block_aside import FEATURES, Machine, Waiting, sector

NEW = b"n" * SECTOR


class Alone(Waiting):
    """A disk of which only the first sectors can be written at once; the others hide something,
    and those writes belong together."""

    alone = True

    def __init__(self) -> None:
        super().__init__()
        self.unsettled = False

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        there = offset < self.cached * SECTOR
        if there:
            self.writev(offset, buffers)
        return there

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        super().writev(offset, buffers)
        self.unsettled |= offset >= self.cached * SECTOR

    def late(self, transfers: Sequence[Transfer]) -> Sequence[Callable[[], None]]:
        return [lambda: self._do_in_turn(transfers)]

    def hold(self) -> None:
        self.calls.append("hold")

    def settle(self) -> None:
        self.unsettled = False
        self._note("settle")


def asked_machine(queues: int = 1) -> tuple[Machine, Alone]:
    disk = Alone()
    return Machine(disk, queues), disk


def test_a_write_that_hides_something_is_answered_once_it_is_safe() -> None:
    machine, disk = asked_machine()
    asked = machine.offer(OUT, 20, NEW)
    machine.ring.notify()
    assert (machine.heads(), disk.calls) == ([], ["hold"])
    machine.errands.open[0].finish()
    assert (machine.heads(), disk.calls[1:]) == ([], [f"write {20 * SECTOR} [512]"])
    machine.errands.open[1].finish()
    assert machine.heads() == [asked.head]
    assert (asked.status, disk.calls[-1]) == (OK, "settle")
    assert disk.content[20 * SECTOR : 21 * SECTOR] == NEW


def test_what_comes_meanwhile_is_safe_together_later() -> None:
    machine, disk = asked_machine()
    first = machine.offer(OUT, 20, NEW)
    machine.ring.notify()
    more = [machine.offer(OUT, 21, NEW), machine.offer(OUT, 1, NEW), machine.read(2)]
    machine.ring.notify()
    assert len(machine.errands.open) == 1
    for number in range(4):
        machine.errands.open[number].finish()
        done = machine.heads()
        assert done == {1: [first.head], 3: [each.head for each in more]}.get(number, [])
    assert disk.calls.count("settle") == 2
    assert [each.status for each in (first, *more)] == [OK] * 4


def test_writes_that_are_lost_together_have_all_failed() -> None:
    machine, disk = asked_machine()
    asked = [machine.offer(OUT, 1, NEW), machine.offer(OUT, 20, NEW), machine.read(2)]
    machine.ring.notify()
    machine.errands.open[0].finish()
    disk.error = errno.EIO
    machine.errands.open[1].finish()
    disk.error = None
    assert machine.heads() == [each.head for each in asked]
    assert [each.status for each in asked] == [IOERR, IOERR, OK]
    again = machine.offer(OUT, 1, NEW)
    machine.ring.notify()
    assert machine.heads() == [again.head]
    assert again.status == OK


def answering(machine: Machine, answer: Answer) -> list[tuple[int | None, bool]]:
    """Have errors answered so; those that there were, and whether something was written."""
    told = list[tuple[int | None, bool]]()

    def answers(error: OSError, writes: bool) -> Answer:
        told.append((error.errno, writes))
        return answer

    machine.device.answers = answers
    return told


def test_writes_that_are_lost_together_are_done_once_more_when_the_machine_goes_on() -> None:
    machine, disk = asked_machine()
    told = answering(machine, Answer.STOP)
    asked = [machine.read(1), machine.offer(OUT, 1, NEW), machine.offer(OUT, 20, NEW)]
    machine.ring.notify()
    machine.errands.open[0].finish()
    disk.error = errno.ENOSPC
    machine.errands.open[1].finish()
    assert told == [(errno.ENOSPC, True)]
    assert machine.heads() == [asked[0].head], "it was read before"
    disk.error = None
    disk.content[:] = CONTENT  # none of them is done
    asked.append(machine.read(2))
    machine.ring.notify()
    assert machine.heads() == []
    machine.device.try_again()
    for errand in machine.errands.open[2:]:
        errand.finish()
    machine.errands.open[-1].finish()
    assert machine.heads() == [each.head for each in asked[1:]]
    assert [each.status for each in asked] == [OK] * 4
    assert disk.content[SECTOR : 2 * SECTOR] == disk.content[20 * SECTOR : 21 * SECTOR] == NEW
    assert (asked[0].data, asked[3].data) == (sector(1), sector(2))
    traffic = machine.device.traffic
    assert (traffic.times_in, traffic.times_out) == (2, 2)
    assert (traffic.bytes_in, traffic.bytes_out) == (2 * SECTOR, 2 * SECTOR)


def test_a_large_write_that_is_lost_with_others_is_done_once_more() -> None:
    disk = Alone()
    disk.content *= 20
    disk.size = len(disk.content)
    machine, before = Machine(disk), bytes(disk.content)
    answering(machine, Answer.STOP)
    asked = machine.offer(OUT, 10, NEW * 300)
    machine.ring.notify()
    machine.errands.open[0].finish()
    disk.error = errno.EIO
    machine.errands.open[1].finish()
    disk.error = None
    disk.content[:] = before
    machine.device.try_again()
    while machine.heads() == []:
        machine.errands.open[-1].finish()
    assert asked.status == OK
    assert disk.content[10 * SECTOR : 310 * SECTOR] == NEW * 300
    assert machine.device.traffic.bytes_out == 300 * SECTOR


def test_who_ignores_errors_does_not_hear_of_writes_that_are_lost_together() -> None:
    machine, disk = asked_machine()
    told = answering(machine, Answer.IGNORE)
    asked = machine.offer(OUT, 20, NEW)
    machine.ring.notify()
    machine.errands.open[0].finish()
    disk.error = errno.EIO
    machine.errands.open[1].finish()
    assert (machine.heads(), asked.status, told) == ([asked.head], OK, [(errno.EIO, True)])


def test_nothing_stops_for_writes_that_the_driver_has_given_up() -> None:
    machine, disk = asked_machine()
    told = answering(machine, Answer.STOP)
    machine.offer(OUT, 20, NEW)
    machine.ring.notify()
    machine.errands.open[0].finish()
    disk.error = errno.EIO
    machine.guest.write(STATUS, 0)
    assert told == []
    assert not machine.device.stands_still(0)


def test_a_write_that_fails_aside_fails_alone() -> None:
    machine, disk = asked_machine()
    asked = [machine.offer(OUT, 20, NEW), machine.read(1)]
    machine.ring.notify()
    disk.error = errno.ENOSPC
    machine.errands.open[0].finish()
    assert machine.heads() == [each.head for each in asked]
    assert [each.status for each in asked] == [IOERR, OK]


def test_a_small_write_before_a_large_one_waits_with_it() -> None:
    machine, disk = asked_machine()
    disk.content *= 20
    disk.size = len(disk.content)
    machine.device.config[:8] = (disk.size // SECTOR).to_bytes(8, "little")
    small = machine.offer(OUT, 1, NEW)
    large = machine.offer(OUT, 16, NEW * 400)
    machine.ring.notify()
    machine.errands.open[0].finish()
    assert machine.heads() == [], "the large one is not safe, and the small one was held with it"
    machine.errands.open[1].finish()
    assert machine.heads() == [small.head, large.head]
    assert [small.status, large.status] == [OK, OK]
    assert disk.content[16 * SECTOR : 416 * SECTOR] == NEW * 400


def test_all_queues_stand_still() -> None:
    machine, _ = asked_machine(queues=2)
    waiting = machine.read(30)
    machine.ring.notify()
    machine.use(1)
    others = [machine.read(1), machine.offer(FLUSH)]
    machine.ring.notify()
    assert machine.heads() == []
    machine.errands.open[0].finish()
    assert machine.heads() == [others[0].head]
    machine.errands.open[1].finish()
    assert machine.heads() == [others[1].head]
    machine.use(0)
    assert machine.heads() == [waiting.head]
    assert (waiting.data, others[0].data) == (sector(30), sector(1))


@pytest.mark.parametrize("done", [0, 1])
def test_a_reset_in_the_middle_leaves_nothing_open(done: int) -> None:
    machine, disk = asked_machine()
    machine.offer(OUT, 20, NEW)
    machine.ring.notify()
    for number in range(done):
        machine.errands.open[number].finish()
    machine.guest.write(STATUS, 0)
    assert machine.heads() == []
    assert not disk.unsettled
    assert not any(errand.jobs for errand in machine.errands.open)
    machine.ring = machine.guest.start(FEATURES)[0]
    for errand in machine.errands.open:
        errand.finish()  # the reactor's calls, which come late
    again = machine.read(20)
    machine.ring.notify()
    machine.errands.open[-1].finish()
    assert machine.heads() == [again.head]
    assert again.data == NEW


def test_a_machine_that_is_saved_has_nothing_under_way() -> None:
    machine, disk = asked_machine()
    asked = [machine.offer(OUT, 20, NEW), machine.offer(IN, 20, room=SECTOR), machine.offer(FLUSH)]
    asked += [machine.offer(OUT, 25, NEW * 300), machine.read(30)]
    machine.ring.notify()
    machine.device.settle()
    assert machine.heads() == [each.head for each in asked]
    assert asked[-1].data == sector(30)
    assert not disk.unsettled
    assert not any(errand.jobs or errand.done for errand in machine.errands.open)
