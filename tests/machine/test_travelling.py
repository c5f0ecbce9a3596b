"""Machines that go on in another process while their guests run."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.backends.block.awaited import AwaitedDisk
from bimetal.backends.block.choose import open_disk
from bimetal.backends.passage import Passage, open_passage
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine import leaving, travelling
from bimetal.machine.live.seat import seats_of
from bimetal.machine.machine import Machine
from bimetal.machine.progress import Moving, Pace
from bimetal.machine.travelling import Travelling
from bimetal.memory import contents
from bimetal.snapshot.stream import CONTENT, HAVE, MOVE, STAT, YOUR, Stream
from tests.backends.block.qcow2.qemu import CLEAN, check, needs_qemu
from tests.backends.block.qcow2.test_bitmaps import flags
from tests.boot.verifying import in_a_row, verifying_program

LIMIT = 240
AT_ONCE = Pace(downtime=5.0)

Made = Callable[..., Machine]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verifying_program(tmp_path_factory.mktemp("kernel") / "program.elf")


@pytest.fixture
def made(kernel: Path) -> Iterator[Made]:
    """Makes machines, which are closed after the test; with a ``disk``."""
    with ExitStack() as stack:

        def make(
            cpus: int = 1,
            accel: str = "interp",
            disk: Path | None = None,
            board: str = "riscv-virt",
        ) -> Machine:
            machine = Machine(
                board, kernel=kernel, memory="32M", bios="none", cpus=cpus, accel=accel
            )
            stack.enter_context(machine)
            if disk is not None:
                machine.disk(disk)
            return machine

        yield make


@pytest.fixture(params=["raw", "qcow2"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"disk.{request.param}"
    images.create(str(path), "4M", format=request.param)
    return path


class Arriving:
    """A machine that waits for another one by ``fd``, in a thread."""

    def __init__(self, machine: Machine, fd: int, *, trust: bool = False):
        self.machine, self.failure, self._trust = machine, None, trust
        machine.await_arrival()
        self._thread = threading.Thread(target=self._run, args=(fd,))
        self._thread.start()

    failure: BaseException | None

    def _run(self, fd: int) -> None:
        try:
            with Passage(fd) as way:
                self.machine.arrive(way, trust=self._trust)
        except BaseException as failure:
            self.failure = failure

    def wait(self) -> None:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()


def travel(
    here: Machine,
    there: Machine,
    pace: Pace = AT_ONCE,
    moving: Moving | None = None,
    *,
    trust: bool = False,
) -> Moving:
    """Have a machine go on as another one, which is started."""
    one, other = socket.socketpair()
    moving = moving or Moving()
    arriving = Arriving(there, other.detach(), trust=trust)
    try:
        with Passage(one.detach()) as way:
            here.leave(way, pace, moving)
    except BimetalError as error:
        arriving.wait()
        raise error from arriving.failure
    arriving.wait()
    assert arriving.failure is None
    there.start()
    return moving


def goes_on(machine: Machine) -> bool:
    """Whether the guest finds its memory as it was for a whole lap at least."""
    machine.console.expect("a", LIMIT)
    machine.console.expect(in_a_row("bcdefgh"), LIMIT)
    return machine.running


@pytest.mark.parametrize("cpus", [1, 4])
def test_a_guest_that_verifies_memory_notices_nothing(cpus: int, made: Made) -> None:
    machine = made(cpus=cpus)
    machine.start()
    machine.console.expect(in_a_row("abcdefgh"), LIMIT)
    for accel in ("jit", "interp", "jit"):
        other = made(cpus=cpus, accel=accel)
        moving = travel(machine, other)
        assert (moving.left, moving.passes > 0) == (0, True)
        assert moving.total >= 32 << 20
        assert moving.sent >= cpus << 20
        assert (machine.paused, machine.away) == (True, True)
        assert goes_on(other)
        machine.stop()
        machine = other


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 4])
def test_it_goes_many_times(cpus: int, made: Made) -> None:
    machine = made(cpus=cpus)
    machine.start()
    for lap in range(40):
        other = made(cpus=cpus, accel=("jit", "interp")[lap % 2])
        travel(machine, other, Pace(downtime=random.Random(lap).choice([0.3, 5.0])))
        assert goes_on(other)
        machine.close()
        machine = other


def test_what_it_had_is_not_its_own_any_more(disk: Path, made: Made) -> None:
    machine, other = made(disk=disk), made(disk=disk)
    machine.start()
    travel(machine, other)
    for act in (machine.resume, machine.come_back, lambda: machine.save(disk.parent / "state")):
        with pytest.raises(BimetalError, match=r"gone to another process|moving to another"):
            act()
    assert goes_on(other)
    other.close()
    machine.come_back()  # nobody has written to the disk
    assert all(ram.anonymous for ram in machine._built().hardware.memories)
    machine.resume()
    assert goes_on(machine)


def test_what_has_gone_leaves_nothing_open(disk: Path, made: Made) -> None:
    """Files without a name that hold its memory, say (proc(5), fd)."""
    before = set(os.listdir("/proc/self/fd"))
    machine, other = made(disk=disk), made(disk=disk)
    machine.start()
    travel(machine, other)
    other.close()
    machine.close()
    assert set(os.listdir("/proc/self/fd")) == before


def marks(vm: Machine) -> dict[str, int]:
    return {each.name: each.count for each in vm.images_of("disk0")[0].bitmaps}


def write(vm: Machine, offset: int) -> None:
    (seat,) = seats_of(vm._built())
    seat.visit(partial(seat.image.write, offset, b"x" * 512))


@needs_qemu
def test_dirty_bitmaps_go_along_in_the_image(tmp_path: Path, made: Made) -> None:
    """And stay what they are where the machine does not go; nobody writes to the image of one that
    has gone, whatever is asked for there. qemu-img judges what is in it in the end."""
    path, granule = tmp_path / "disk.qcow2", 64 << 10
    images.create(str(path), "4M", format="qcow2")
    here, there, further = (made(disk=path) for _ in range(3))
    here.start()
    here.add_bitmap("disk0", "kept", persistent=True)
    here.add_bitmap("disk0", "left")
    write(here, 0)
    refusing = made(disk=path, cpus=2)
    with pytest.raises(BimetalError):
        travel(here, refusing)
    write(here, 1 << 20)
    assert marks(here) == {"kept": 2 * granule, "left": 2 * granule}
    travel(here, there)
    assert marks(there) == {"kept": 2 * granule}
    write(there, 2 << 20)
    before = path.read_bytes()
    asked: list[Callable[[], object]] = [
        lambda: here.set_write_threshold(path, 512, lambda beyond: None, of_file=True),
        lambda: here.remove_bitmap("disk0", "kept"),
        lambda: here.resize_disk("disk0", "8M"),
    ]
    for ask in asked:
        with pytest.raises(BimetalError, match="moving"):
            ask()
    here.close()
    assert path.read_bytes() == before
    travel(there, further)
    for offset in range(0, 4 << 20, 128 << 10):
        write(further, offset)
    there.close()
    assert marks(further) == {"kept": 32 * granule}
    further.close()
    assert flags(path) == {"kept": ["auto"]}
    assert check(path) == CLEAN


def test_what_was_paused_arrives_paused(made: Made) -> None:
    machine, other = made(), made()
    machine.start()
    machine.console.expect("abc", LIMIT)
    machine.pause()
    travel(machine, other)
    assert other.paused
    other.resume()
    assert goes_on(other)


def test_a_disk_that_the_other_has_written_to_keeps_it_away(disk: Path, made: Made) -> None:
    machine, other = made(disk=disk), made(disk=disk)
    machine.start()
    travel(machine, other)
    other.close()
    os.utime(disk, ns=(1, 1))
    with pytest.raises(BimetalError, match="changed meanwhile"):
        machine.come_back()


class Cut(Passage):
    """A way that is cut before so many records have been sent, or heard."""

    def __init__(self, fd: int, left: int):
        super().__init__(fd)
        self._left = left

    def write(self, data: bytes | memoryview) -> None:
        self._count()
        super().write(data)

    def read(self, count: int) -> bytes:
        self._count()
        return super().read(count)

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._cut()

    def _cut(self) -> None:
        with socket.socket(fileno=os.dup(self._fd)) as line, suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


class CutAt(Cut):
    """One that is cut when a record of that kind is sent, before it or, if it is to be heard,
    behind it."""

    def __init__(self, fd: int, kind: bytes, *, heard: bool = False):
        super().__init__(fd, 0)
        self._kind, self._heard = kind, heard

    def write(self, data: bytes | memoryview) -> None:
        if bytes(data[:4]) != self._kind:
            super().write(data)
        elif self._heard:
            super().write(data)
            with socket.socket(fileno=os.dup(self._fd)) as line:
                line.shutdown(socket.SHUT_RD)
        else:
            self._cut()
            super().write(data)


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose file systems have no locks (fcntl(2), ENOLCK)."""
    real = fcntl.fcntl

    def control(fd: int, what: int, *rest: Any) -> Any:
        if what in (fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return real(fd, what, *rest)

    monkeypatch.setattr(fcntl, "fcntl", control)


LATE = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 20, 30, 50]


@pytest.mark.parametrize(
    "cut",
    [
        *(partial(Cut, left=late) for late in LATE),
        *(partial(CutAt, kind=kind) for kind in (STAT, YOUR)),
        *(partial(CutAt, kind=kind, heard=True) for kind in (STAT, YOUR)),
    ],
)
@pytest.mark.parametrize("disk", ["locked", "without locks", "none"])
def test_wherever_the_way_is_cut_the_guest_runs_once(
    disk: str,
    cut: Callable[[int], Cut],
    tmp_path: Path,
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exactly one of both has it; a machine of which no disk tells where it is may have to be told
    which."""
    if disk == "without locks":
        without_locks(monkeypatch)
    image = None
    if disk != "none":
        image = tmp_path / "disk.qcow2"
        images.create(str(image), "4M", format="qcow2")
    machine, other = made(disk=image), made(disk=image)
    machine.start()
    machine.console.expect("ab", LIMIT)
    one, two = socket.socketpair()
    arriving = Arriving(other, two.detach())
    way = cut(one.detach())
    left = True
    try:
        with way:
            machine.leave(way, AT_ONCE)
    except BimetalError:
        left = False
    arriving.wait()
    arrived = arriving.failure is None
    if left:
        assert arrived
    if arrived:
        other.start()
        assert machine.away
        assert machine.paused
        assert goes_on(other)
        if disk == "locked":
            with pytest.raises(BimetalError):
                machine.come_back()
    else:
        machine.come_back()
        machine.resume()
        assert goes_on(machine)


def test_disks_of_a_process_that_was_killed_are_waited_for(
    disk: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host may close its connections before the files that it has locked."""
    machine, other = made(disk=disk), made(disk=disk)
    machine.start()
    machine.console.expect("ab", LIMIT)
    monkeypatch.setattr(Travelling, "_is_certainly_here", lambda *_, **more: False)
    come, held = AwaitedDisk.come, [1, 2, 3]

    def late(coming: AwaitedDisk) -> Any:
        if held:
            held.pop()
            raise BimetalError("the disk is in use by another machine")
        return come(coming)

    monkeypatch.setattr(AwaitedDisk, "come", late)
    one, two = socket.socketpair()
    arriving = Arriving(other, two.detach())
    with CutAt(one.detach(), YOUR) as way, pytest.raises(BimetalError):
        machine.leave(way, AT_ONCE)
    arriving.wait()
    assert (arriving.failure, held) == (None, [])
    other.start()
    assert goes_on(other)


def hide_page_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the host does not tell what is written to."""
    monkeypatch.setattr(contents, "PAGE_MAP", "/proc/self/nothing")


def test_a_host_that_hides_what_is_written_to_has_the_guest_stand_still(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once through memory: every other time would be as long."""
    machine, other = made(), made()
    machine.start()
    machine.console.expect("abc", LIMIT)
    hide_page_map(monkeypatch)
    moving = travel(machine, other, Pace(downtime=0.0))
    assert (moving.passes, moving.left) == (1, 0)
    assert goes_on(other)


def test_a_host_that_begins_to_hide_it_too(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, other = made(), made()
    machine.start()
    machine.console.expect("abc", LIMIT)

    def on_pass(number: int) -> None:
        if number == 2:
            hide_page_map(monkeypatch)

    moving = Moving(on_pass=on_pass)
    travel(machine, other, Pace(downtime=-1.0), moving)  # not even if nothing is left
    assert moving.passes == 2
    assert goes_on(other)


class Meanwhile(Passage):
    """A way by which something happens when a record of that ``kind`` is about to be sent, and
    that fails then."""

    def __init__(self, fd: int, kind: bytes, act: Callable[[], object]):
        super().__init__(fd)
        self._kind, self._act = kind, act

    def write(self, data: bytes | memoryview) -> None:
        if bytes(data[:4]) == self._kind:
            self._act()
            raise BrokenPipeError
        super().write(data)


@pytest.mark.parametrize("paused", [True, False])
def test_what_was_paused_by_somebody_else_stays_paused(paused: bool, made: Made) -> None:
    """Also if that was while it was on its way; what has stopped only to leave goes on."""
    machine, other = made(), made()
    machine.start()
    machine.console.expect("abc", LIMIT)
    one, two = socket.socketpair()
    arriving = Arriving(other, two.detach())
    kind, act = (CONTENT, machine.pause) if paused else (STAT, lambda: None)
    with (
        Meanwhile(one.detach(), kind, act) as way,
        pytest.raises(BimetalError, match="cannot be sent"),
    ):
        machine.leave(way, AT_ONCE)
    arriving.wait()
    assert machine.paused is paused
    if not paused:
        assert goes_on(machine)


class Silent:
    """The other side of a way, which takes everything, and does not say that it has it."""

    def __init__(self, fd: int):
        self.full = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(fd,))
        self._thread.start()

    def _run(self, fd: int) -> None:
        with Passage(fd) as way, suppress(OSError):
            stream = Stream(way)
            stream.expect(MOVE)
            stream.send(HAVE)
            while stream.next()[0] != STAT:
                pass
            self.full.set()
            stream.next()

    def wait(self) -> None:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("end", [Machine.stop, Machine.close])
def test_the_end_of_the_machine_is_the_end_of_its_move(
    end: Callable[[Machine], None], disk: Path, made: Made
) -> None:
    """Though who moves it holds its lock while it waits for the other side."""
    machine = made(disk=disk)
    machine.start()
    one, two = socket.socketpair()
    silent, failures = Silent(two.detach()), list[BaseException]()

    def leave() -> None:
        with Passage(one.detach()) as way:
            try:
                machine.leave(way, AT_ONCE)
            except BimetalError as error:
                failures.append(error)

    thread = threading.Thread(target=leave)
    thread.start()
    assert silent.full.wait(LIMIT)
    end(machine)
    thread.join(LIMIT)
    silent.wait()
    assert len(failures) == 1
    assert not machine.running
    machine.close()
    open_disk(str(disk)).close()


def test_another_side_that_says_nothing_does_not_keep_the_guest_still(
    disk: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "STANDSTILL", 1.0)
    machine = made(disk=disk)
    machine.start()
    one, two = socket.socketpair()
    silent = Silent(two.detach())
    with Passage(one.detach()) as way, pytest.raises(BimetalError, match="does nothing for 1 sec"):
        machine.leave(way, AT_ONCE)
    silent.wait()
    assert not machine.away
    assert goes_on(machine)


def test_a_move_that_cannot_begin_leaves_the_machine_as_it_was(
    disk: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    machine, other = made(disk=disk), made(disk=disk)
    machine.start()
    one, two = socket.socketpair()
    with monkeypatch.context() as there, two, Passage(one.detach()) as way:
        there.setattr(leaving.Leaving, "__init__", full)
        with pytest.raises(MemoryError):
            machine.leave(way, AT_ONCE)
    travel(machine, other)
    assert goes_on(other)


def test_the_end_of_a_machine_that_comes_is_the_end_of_its_wait(disk: Path, made: Made) -> None:
    machine, other = made(disk=disk), made(disk=disk)
    machine.start()
    one, two = socket.socketpair()
    arriving = Arriving(other, two.detach())

    def close() -> None:
        other.close()
        arriving.wait()

    with Meanwhile(one.detach(), CONTENT, close) as way, pytest.raises(BimetalError):
        machine.leave(way, AT_ONCE)
    assert isinstance(arriving.failure, BimetalError)
    assert goes_on(machine)


@pytest.mark.parametrize("defect", [OSError(errno.EIO, "no"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("locks", [True, False])
def test_whatever_goes_wrong_where_it_comes_it_goes_on_here(
    locks: bool, defect: BaseException, disk: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the other side has had its disks by then: it says that it has them no more."""
    if not locks:
        without_locks(monkeypatch)
    machine, other = made(disk=disk), made(disk=disk)

    def fail(*_: object) -> None:
        if locks:
            with pytest.raises(BimetalError, match="in use"), closing(open_disk(str(disk))):
                pass
        raise defect

    machine.start()
    monkeypatch.setattr(travelling, "check_same", fail)
    with pytest.raises(BimetalError, match="the other side"):
        travel(machine, other)
    assert (machine.away, machine.paused) == (False, False)
    assert goes_on(machine)


def test_a_place_that_is_full(made: Made) -> None:
    machine = made()
    machine.start()
    with open_passage("file:/dev/full") as way, pytest.raises(BimetalError, match="No space left"):
        machine.leave(way, AT_ONCE)
    assert (machine.away, machine.paused) == (False, False)
    assert goes_on(machine)


SLOTS = "riscv-virt,ports=2"


def test_what_was_plugged_in_comes_along(disk: Path, made: Made) -> None:
    machine, other = made(board=SLOTS), made(board=SLOTS)
    machine.start()
    names = {machine.plug_disk(disk), machine.plug_nic("user")}
    travel(machine, other)
    assert names <= set(other.devices)
    assert goes_on(other)


@pytest.mark.parametrize("bus", ["scsi", "usb"])
def test_a_drive_comes_with_what_is_in_it_there(bus: str, disk: Path, made: Made) -> None:
    """Whoever has changed the medium gives the place where the machine comes the new one."""
    machine, other = made(), made()
    machine.cdrom(bus=bus)
    other.cdrom(disk, bus=bus)
    machine.start()
    machine.cdroms[0].insert(disk)
    travel(machine, other)
    assert other.cdroms[0].loaded
    assert goes_on(other)


def test_a_plugged_network_that_reaches_out_needs_trust(made: Made) -> None:
    machine = made(board=SLOTS)
    machine.start()
    machine.plug_nic("user,hostfwd=tcp:127.0.0.1:0-:22")
    with pytest.raises(BimetalError, match="reaches more of this host") as caught:
        travel(machine, made(board=SLOTS))
    assert isinstance(caught.value.__cause__, BimetalError)
    assert caught.value.__cause__.exit_code == ExitCode.NO_PERMISSION
    assert goes_on(machine)
    other = made(board=SLOTS)
    travel(machine, other, trust=True)
    assert goes_on(other)


def test_a_disk_of_which_it_is_not_said_what_it_was_is_not_opened(
    disk: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else whoever finds the place could have any file that we can write."""
    machine = made(board=SLOTS)
    machine.start()
    machine.plug_disk(disk)
    monkeypatch.setattr(leaving, "stamps_of", lambda files: {})
    with pytest.raises(BimetalError, match="reaches more of this host"):
        travel(machine, made(board=SLOTS))
    assert goes_on(machine)
