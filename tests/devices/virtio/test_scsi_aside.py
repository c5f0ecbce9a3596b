"""What a SCSI host has done aside: its queues stand still, and the machine goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from bimetal.devices.answers import Answer
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.virtio.scsi import VirtioScsi
from tests.devices.virtio.guest import STATUS, Guest
from tests.devices.virtio.test_block import Recorder
from tests.devices.virtio.test_block_aside import Errands
from tests.devices.virtio.test_scsi import DISK, DRIVE, World

SECTOR = 512
READ, WRITE, SYNCHRONIZE = 0x28, 0x2A, 0x35
FUA = 8


class Waiting(Recorder):
    """A disk of which nothing is in the host's memory."""

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        return False

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        return False

    def flushing(self) -> Callable[[], None]:
        return self.flush


class PatientWorld(World):
    """A host that waits aside."""

    def __init__(self) -> None:
        self.errands = Errands()
        self.slow, self.medium = Waiting(), Waiting(readonly=True)
        self.unit, self.drive = ScsiDisk(self.slow), ScsiCdrom(self.medium)
        self.host = VirtioScsi([self.unit, self.drive], self.errands)
        self.guest = Guest(self.host)
        self.control, self.event, self.ring = self.guest.start(queues=3)

    def begin(self, target: int, *cdb: int, data: bytes = b"", room: int = 0) -> Asked:
        """Make a request; it may be answered later."""
        guest = self.guest
        head = bytes((1, target, 0x40, 0)) + bytes(15) + bytes(cdb).ljust(32, b"\0")
        answer, into = guest.room(108), guest.room(room)
        buffers = [guest.place(head)] + ([guest.place(data)] if data else [])
        self.ring.submit(*buffers, answer, *([into] if room else []))
        return Asked(guest, answer, into)

    def answered(self) -> int:
        return len(self.ring.completed())


class Asked:
    """A request that was made."""

    def __init__(
        self, guest: Guest, answer: tuple[int, int, int], into: tuple[int, int, int]
    ) -> None:
        self._guest, self._answer, self._into = guest, answer, into

    @property
    def status(self) -> int:
        return self._guest.peek(self._answer)[10]

    @property
    def data(self) -> bytes:
        return self._guest.peek(self._into)


def test_a_read_and_a_safe_write() -> None:
    world = PatientWorld()
    asked = world.begin(DISK, READ, 0, 0, 0, 0, 3, 0, 0, 2, room=1024)
    assert world.answered() == 0
    world.errands.open[0].finish()
    assert world.answered() == 1
    assert (asked.status, asked.data) == (0, bytes(world.slow.content[1536:2560]))
    asked = world.begin(DISK, WRITE, FUA, 0, 0, 0, 3, 0, 0, 1, data=b"x" * SECTOR)
    for errand in world.errands.open:
        assert world.answered() == 0
        errand.finish()
    assert (world.answered(), asked.status) == (1, 0)
    assert world.slow.calls[-2:] == [f"write {3 * SECTOR} [512]", "flush"]


def test_an_error_of_the_host_is_one_of_the_medium() -> None:
    world = PatientWorld()
    asked = world.begin(DISK, SYNCHRONIZE)
    world.slow.error = errno.EIO
    world.errands.open[0].finish()
    assert (world.answered(), asked.status) == (1, 2)


def test_a_write_for_which_the_host_has_no_room_is_tried_again() -> None:
    """Also one that would not have had to wait, as those of raw images."""
    world, told = PatientWorld(), list[int | None]()

    def stop(error: OSError, writes: bool) -> Answer:
        told.append(error.errno)
        assert writes
        return Answer.STOP

    world.unit.answers = stop
    disk = Recorder()
    world.unit.disk, disk.error = disk, errno.ENOSPC
    asked = world.begin(DISK, WRITE, 0, 0, 0, 0, 3, 0, 0, 1, data=b"x" * SECTOR)
    world.errands.open[0].finish()
    assert (told, world.answered()) == ([errno.ENOSPC], 0)
    disk.error = None
    world.host.try_again()
    world.errands.open[-1].finish()
    assert (world.answered(), asked.status) == (1, 0)
    assert disk.content[3 * SECTOR : 4 * SECTOR] == b"x" * SECTOR


class Failing(Waiting):
    """A disk that tells of an error before it would have to wait."""

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        self._note("now")
        return False


def test_a_read_that_fails_at_once_is_tried_again() -> None:
    world, told = PatientWorld(), list[bool]()

    def stop(error: OSError, writes: bool) -> Answer:
        told.append(writes)
        return Answer.STOP

    world.unit.answers = stop
    world.unit.disk = disk = Failing()
    disk.error = errno.EIO
    asked = world.begin(DISK, READ, 0, 0, 0, 0, 3, 0, 0, 1, room=SECTOR)
    world.errands.open[0].finish()
    assert (told, world.answered()) == ([False], 0)
    disk.error = None
    world.host.try_again()
    world.errands.open[-1].finish()
    assert (world.answered(), asked.status) == (1, 0)
    assert asked.data == bytes(disk.content[3 * SECTOR : 4 * SECTOR])


def test_an_error_is_ignored_if_that_is_the_answer() -> None:
    world, told = PatientWorld(), list[bool]()

    def ignore(error: OSError, writes: bool) -> Answer:
        told.append(writes)
        return Answer.IGNORE

    world.unit.answers = ignore
    disk = Recorder()
    world.unit.disk, disk.error = disk, errno.EIO
    asked = world.begin(DISK, WRITE, 0, 0, 0, 0, 3, 0, 0, 1, data=b"x" * SECTOR)
    world.errands.open[0].finish()
    assert (told, world.answered(), asked.status) == ([True], 1, 0)


def test_who_aborts_a_request_is_answered_after_it() -> None:
    world = PatientWorld()
    world.begin(DISK, SYNCHRONIZE)
    place = world.guest.room(1)
    where = bytes((1, DISK, 0x40, 0)) + bytes(4)
    kind = (0).to_bytes(4, "little") + (5).to_bytes(4, "little")
    world.control.submit(world.guest.place(kind + where + bytes(8)), place)
    assert world.control.completed() == []
    world.errands.open[0].finish()
    assert (world.answered(), len(world.control.completed())) == (1, 1)
    assert world.guest.peek(place) == b"\0"


def test_a_medium_is_changed_when_nobody_reads_it() -> None:
    world = PatientWorld()
    world.begin(DRIVE, 0x00)
    asked = world.begin(DRIVE, READ, 0, 0, 0, 0, 0, 0, 0, 4, room=8192)
    world.host.let_go()
    world.drive.insert(None)
    assert world.medium.closed
    assert (asked.status, asked.data) == (0, bytes(world.medium.content[:8192]))


def test_a_reset_waits_for_what_works_on_the_guest_s_memory() -> None:
    world = PatientWorld()
    world.begin(DISK, READ, 0, 0, 0, 0, 3, 0, 0, 2, room=1024)
    world.guest.write(STATUS, 0)
    assert not world.errands.open[0].jobs
    assert world.answered() == 0


def test_a_machine_that_is_saved_has_nothing_under_way() -> None:
    world = PatientWorld()
    asked = world.begin(DISK, READ, 0, 0, 0, 0, 3, 0, 0, 2, room=1024)
    world.host.settle()
    assert (world.answered(), asked.status) == (1, 0)
