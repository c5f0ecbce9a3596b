"""Machines that go on in another process while their guests run."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.passage import Passage
from bimetal.base.errors import BimetalError
from bimetal.boards import Machine
from bimetal.machine.progress import Moving, Pace
from tests.boot.verifying import verifying_program

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

        def make(cpus: int = 1, accel: str = "interp", disk: Path | None = None) -> Machine:
            machine = Machine(
                "riscv-virt", kernel=kernel, memory="32M", bios="none", cpus=cpus, accel=accel
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

    def __init__(self, machine: Machine, fd: int):
        self.machine, self.failure = machine, None
        machine.await_arrival()
        self._thread = threading.Thread(target=self._run, args=(fd,))
        self._thread.start()

    failure: BaseException | None

    def _run(self, fd: int) -> None:
        try:
            with Passage(fd) as way:
                self.machine.arrive(way)
        except BaseException as failure:
            self.failure = failure

    def wait(self) -> None:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()


def travel(here: Machine, there: Machine, pace: Pace = AT_ONCE) -> Moving:
    """Have a machine go on as another one, which is started."""
    one, other = socket.socketpair()
    moving, arriving = Moving(), Arriving(there, other.detach())
    try:
        with Passage(one.detach()) as way:
            here.leave(way, pace, moving)
    finally:
        arriving.wait()
    assert arriving.failure is None
    there.start()
    return moving


def goes_on(machine: Machine) -> bool:
    """Whether the guest finds its memory as it was for a whole lap at least."""
    machine.console.expect("a", LIMIT)
    machine.console.expect("bcdefgh", LIMIT)
    return machine.running


@pytest.mark.parametrize("cpus", [1, 4])
def test_a_guest_that_verifies_memory_notices_nothing(cpus: int, made: Made) -> None:
    machine = made(cpus=cpus)
    machine.start()
    machine.console.expect("abcdefgh", LIMIT)
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
    machine.resume()
    assert goes_on(machine)


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
            with socket.socket(fileno=os.dup(self._fd)) as line, suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("late", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 20, 30, 50])
@pytest.mark.parametrize("with_disk", [True, False])
def test_wherever_the_way_is_cut_the_guest_runs_once(
    with_disk: bool, late: int, tmp_path: Path, made: Made
) -> None:
    """Exactly one of both has it; a machine without a disk may have to be told which."""
    image = None
    if with_disk:
        image = tmp_path / "disk.qcow2"
        images.create(str(image), "4M", format="qcow2")
    machine, other = made(disk=image), made(disk=image)
    machine.start()
    machine.console.expect("ab", LIMIT)
    one, two = socket.socketpair()
    arriving = Arriving(other, two.detach())
    way = Cut(one.detach(), late)
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
        if with_disk:
            with pytest.raises(BimetalError):
                machine.come_back()
    else:
        machine.come_back()
        machine.resume()
        assert goes_on(machine)
