"""However much a guest asks for at once, the devices stop soon and let others have a turn."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import pytest

from bimetal.backends.chars.ring import Ring as Line
from bimetal.base.buffers import total
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.console import VirtioConsole
from bimetal.devices.virtio.device import TURN, VirtioDevice
from bimetal.devices.virtio.queue import Chain, Virtqueue
from bimetal.devices.virtio.rng import VirtioRng
from tests.devices.virtio.guest import STATUS, WRITE, Guest, Ring, Used
from tests.turns import Deferred

IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
MIB, GIB = 1 << 20, 1 << 30
SECTOR = 512
Buffer = tuple[int, int, int]


class Abyss:
    """A disk of any size that moves nothing and notes what it was asked for since the last look."""

    readonly, name = False, "abyss"

    def __init__(self, size: int):
        self.size = size
        self.asked: list[tuple[str, int, int]] = []

    def look(self) -> list[tuple[str, int, int]]:
        asked, self.asked = self.asked, []
        return asked

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self.asked.append(("move", offset, total(buffers)))

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self.asked.append(("move", offset, total(buffers)))

    def flush(self) -> None:
        self.asked.append(("flush", 0, 0))

    def discard(self, offset: int, length: int) -> None:
        self.asked.append(("discard", offset, length))

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self.asked.append(("zero", offset, length))

    def close(self) -> None:
        pass


class LossyAbyss(Abyss):
    """One on which writes belong together, of which the first group is lost."""

    groups, unsettled = 0, False

    def hold(self) -> None:
        self.groups += 1

    def settle(self) -> None:
        if self.groups == 1:
            raise OSError(5, "Input/output error")


class Driver:
    """A guest with ``device`` that asks for more and more before it lets the device begin."""

    def __init__(self, device: VirtioDevice, queues: int = 1, queue: int = 0, size: int = 64):
        self.deferred = Deferred()
        self.guest = Guest(device, 24 * MIB)
        device.plug(self.guest.slot, self.guest.space, self.deferred)
        self.ring: Ring = self.guest.start(self.guest.offered, queues, size)[queue]
        self.place = self.guest.allocate(8 * MIB, 4096)

    def offer(self, *buffers: Buffer) -> int:
        """Add a request, of any number of buffers."""
        head = self.ring.indirect(*buffers)
        self.ring.offer(head)
        return head

    def request(self, kind: int, sector: int, *data: Buffer) -> int:
        """Add a request to a disk."""
        header = self.guest.place(struct.pack("<IIQ", kind, 0, sector))
        return self.offer(header, *data, self.guest.room(1))

    def turns(self) -> Iterator[None]:
        """Notify, and then give turns while the device asks for them, which it does once a turn."""
        self.ring.notify()
        yield
        while self.deferred:
            assert len(self.deferred) == 1
            self.deferred.pop()()
            yield

    def finished(self) -> list[Used]:
        return self.ring.completed()


@pytest.mark.parametrize(("kind", "flag"), [(IN, WRITE), (OUT, 0)])
def test_a_giant_request(kind: int, flag: int) -> None:
    disk = Abyss(8 * GIB)
    driver = Driver(VirtioBlock(disk))
    head = driver.request(kind, 8, *[(driver.place, 8 * MIB, flag)] * 511)
    moved = 0
    for _ in driver.turns():
        pieces = disk.look()
        assert sum(length for *_, length in pieces) <= TURN
        for _, offset, length in pieces:
            assert offset == 8 * SECTOR + moved, "in order, and all of it"
            moved += length
    assert moved == 511 * 8 * MIB
    assert driver.finished() == [Used(head, moved * (kind == IN) + 1)]


def test_a_giant_write_of_which_a_part_is_lost_has_failed() -> None:
    disk = LossyAbyss(8 * GIB)
    driver = Driver(VirtioBlock(disk))
    lost, status = driver.guest.place(struct.pack("<IIQ", OUT, 0, 0)), driver.guest.room(1)
    driver.offer(lost, *[(driver.place, 8 * MIB, 0)] * 4, status)
    for _ in driver.turns():
        pass
    assert disk.groups > 2
    assert driver.guest.peek(status) == b"\1"
    kept, status = driver.guest.place(struct.pack("<IIQ", OUT, 0, 0)), driver.guest.room(1)
    driver.offer(kept, (driver.place, 8 * MIB, 0), status)
    for _ in driver.turns():
        pass
    assert driver.guest.peek(status) == b"\0"


class Grouping(Abyss):
    """A disk to which several writes together are less work."""

    unsettled = False

    def hold(self) -> None:
        self.unsettled = True
        self.asked.append(("hold", 0, 0))

    def settle(self) -> None:
        self.unsettled = False
        self.asked.append(("settle", 0, 0))


def test_what_comes_while_answers_wait_is_answered_with_them() -> None:
    disk = Grouping(GIB)
    driver = Driver(VirtioBlock(disk))
    first = driver.request(OUT, 0, (driver.place, SECTOR, 0))
    driver.ring.notify()
    assert driver.finished() == [], "its answer waits for more"
    second = driver.request(OUT, 1, (driver.place, SECTOR, 0))
    driver.ring.notify()
    assert len(driver.deferred) == 1
    driver.deferred.pop()()
    assert [used.head for used in driver.finished()] == [first, second]
    calls = [what for what, *_ in disk.look()]
    assert calls == ["hold", "move", "move", "settle"]
    assert driver.deferred == []


def test_answers_do_not_wait_for_ever() -> None:
    driver = Driver(VirtioBlock(Grouping(GIB)))
    answered = 0
    for _ in driver.turns():
        answered += len(driver.finished())
        if answered < 10:
            driver.request(OUT, 0, (driver.place, SECTOR, 0))
            driver.ring.notify()
    assert answered >= 10


def test_a_reset_settles_what_waits_and_answers_nothing() -> None:
    disk = Grouping(GIB)
    driver = Driver(VirtioBlock(disk))
    driver.request(OUT, 0, (driver.place, SECTOR, 0))
    driver.ring.notify()
    driver.guest.write(STATUS, 0)
    assert [what for what, *_ in disk.look()] == ["hold", "move", "settle"]
    assert driver.finished() == []
    driver.deferred.pop()()
    assert disk.look() == []


def test_many_large_requests_over_the_same_page() -> None:
    disk = Abyss(8 * GIB)
    driver = Driver(VirtioBlock(disk))
    for _ in range(32):
        driver.request(IN, 0, *[(driver.place, 4096, WRITE)] * 1000)
    done = 0
    for _ in driver.turns():
        assert sum(length for *_, length in disk.look()) <= TURN
        done += len(driver.finished())
    assert done == 32


def test_requests_with_many_buffers_are_looked_at_once_or_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walked, walk = list[int](), Virtqueue._walk

    def counted(self: Virtqueue, head: int) -> Chain:
        walked.append(head)
        return walk(self, head)

    monkeypatch.setattr(Virtqueue, "_walk", counted)
    disk = Abyss(8 * GIB)
    driver = Driver(VirtioBlock(disk))
    pages = [(driver.place + 4096 * page, 4096, WRITE) for page in range(256)]
    heads = [driver.request(IN, 2048 * number, *pages) for number in range(32)]
    moved, answers = list[int](), list[Used]()
    for _ in driver.turns():
        now = disk.look()
        assert sum(length for *_, length in now) <= TURN
        moved += [offset for _, offset, _ in now]
        answers += driver.finished()
    assert moved == [MIB * number for number in range(32)]
    assert answers == [Used(head, MIB + 1) for head in heads]
    assert len(walked) <= 2 * len(heads)


def test_many_small_requests() -> None:
    disk = Abyss(8 * GIB)
    driver = Driver(VirtioBlock(disk))
    for _ in range(60):
        driver.request(IN, 0, (driver.place, SECTOR, WRITE))
    turns = list(driver.turns())
    assert len(turns) == 1, "what is little is done at once"
    assert len(driver.finished()) == 60


def test_requests_that_are_nothing_but_descriptors() -> None:
    driver = Driver(VirtioBlock(Abyss(8 * GIB)))
    for _ in range(32):
        driver.request(GET_ID, 0, *[(driver.place, 1, WRITE)] * 1000)
    done = [len(driver.finished()) for _ in driver.turns()]
    assert sum(done) == 32
    assert max(done) <= 4


def test_flushes_one_at_a_time() -> None:
    disk = Abyss(8 * GIB)
    driver = Driver(VirtioBlock(disk))
    for _ in range(30):
        driver.request(FLUSH, 0)
    asked = [disk.look() for _ in driver.turns()]
    assert sum(map(len, asked)) == 30
    assert max(map(len, asked)) == 1


def test_writes_that_are_flushed_one_by_one() -> None:
    disk = Abyss(8 * GIB)
    driver = Driver(VirtioBlock(disk))
    driver.guest.write(0x100 + 32, 0, 1)  # without a write cache
    for _ in range(30):
        driver.request(OUT, 0, (driver.place, SECTOR, 0))
    asked = [[what for what, *_ in disk.look()] for _ in driver.turns()]
    assert sum(turn.count("flush") for turn in asked) == 30
    assert max(turn.count("flush") for turn in asked) == 1


@pytest.mark.parametrize(
    ("kind", "name", "sectors", "ranges", "most"),
    [(DISCARD, "discard", 1 << 22, 64, 64 * MIB), (WRITE_ZEROES, "zero", 1 << 18, 1, 4 * MIB)],
)
def test_ranges_are_cut_where_no_cluster_is(
    kind: int, name: str, sectors: int, ranges: int, most: int
) -> None:
    disk = Abyss(256 * GIB)
    driver = Driver(VirtioBlock(disk))
    spans = [(sectors * n + 8, sectors) for n in range(ranges)]
    driver.request(
        kind, 0, driver.guest.place(b"".join(struct.pack("<QII", *span, 0) for span in spans))
    )
    done: list[tuple[int, int]] = []
    for _ in driver.turns():
        asked = disk.look()
        assert sum(length for *_, length in asked) <= max(most, TURN)
        for what, offset, length in asked:
            assert what == name
            assert offset // most == (offset + length - 1) // most
            done.append((offset, length))
    end = 8 * SECTOR
    for offset, length in done:
        assert offset == end
        end += length
    assert end == (sectors * ranges + 8) * SECTOR
    assert len(driver.finished()) == 1


def test_output_of_a_console() -> None:
    line = Line()
    driver = Driver(VirtioConsole(line), queues=2, queue=1)
    head = driver.offer(*[(driver.place, 8 * MIB, 0)] * 8)
    before = 0
    for _ in driver.turns():
        assert line.total - before <= TURN
        before = line.total
    assert line.total == 64 * MIB
    assert driver.finished() == [Used(head, 0)]


def test_input_of_a_console_into_buffers_of_nothing() -> None:
    line = Line()
    driver = Driver(VirtioConsole(line), queues=2, queue=0)
    for _ in range(32):
        driver.offer(*[(driver.place, 0, WRITE)] * 1000, (driver.place, 1, WRITE))
    assert len(list(driver.turns())) == 1, "nothing to do without input"
    line.send(b"x" * 32)
    done = [len(driver.finished()) for _ in driver.turns()]
    assert sum(done) == 32
    assert max(done) <= 8


def test_entropy() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    driver = Driver(VirtioRng(source))
    for _ in range(64):
        driver.offer(*[(driver.place, 8 * MIB, WRITE)] * 511)
    for _ in driver.turns():
        assert sum(asked) <= TURN
        asked.clear()
    assert len(driver.finished()) == 64
