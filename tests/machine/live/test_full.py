"""A disk for which the host has no room: the machine is paused, and tries again when it goes on."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.block.qcow2.writer import Writer as Qcow2Writer
from bimetal.backends.block.raw import RawImage
from bimetal.control import Monitor
from bimetal.control.contract import plain
from bimetal.control.events import Event
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.machine import Machine
from tests.machine.live.conftest import MIB, Made, Writer

LIMIT = 60


class Room:
    """Has the host out of room, or not: writes fail as they do there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.left = True
        for kind in (RawImage, Qcow2Writer):
            for name in ("writev", "write_now"):
                monkeypatch.setattr(kind, name, self._guarded(getattr(kind, name)))

    def _guarded(self, write: Callable[..., object]) -> Callable[..., object]:
        def guarded(image: object, offset: int, buffers: Sequence[memoryview]) -> object:
            if not self.left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(image, offset, buffers)

        return guarded


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(monkeypatch)


class Ears:
    """Hears of a machine that is paused, and why."""

    def __init__(self, machine: Machine):
        self.told: list[MachineEvent] = []
        self.paused = threading.Event()
        self.stack = machine.on_event(self._hear)

    def _hear(self, event: MachineEvent) -> None:
        self.told.append(event)
        if event.kind is EventKind.PAUSED:
            self.paused.set()


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_no_write_is_lost(made: Made, tmp_path: Path, room: Room, kind: str) -> None:
    image = tmp_path / "disk"
    images.create(str(image), 16 * MIB, format=kind)
    machine = made(image, format=kind, stop_when_full=True)
    writer = Writer(machine)
    writer.write(20)
    ears = Ears(machine)
    with ears.stack, writer:
        for _ in range(3):
            room.left = False
            assert ears.paused.wait(LIMIT)
            assert machine.full
            ears.paused.clear()
            before = writer.requests
            machine.resume()  # there is still none: it is tried, and the machine is paused again
            assert ears.paused.wait(LIMIT)
            assert writer.requests == before
            ears.paused.clear()
            room.left = True
            machine.resume()
            writer.reach(before + 20)
    assert {each.device for each in ears.told if each.kind is EventKind.IO_ERROR} == {"disk0"}
    writer.check()


def test_otherwise_it_is_an_error(made: Made, tmp_path: Path, room: Room) -> None:
    image = tmp_path / "disk.img"
    images.create(str(image), 16 * MIB, format="raw")
    machine = made(image)
    writer = Writer(machine)
    room.left = False
    with pytest.raises(OSError, match="request"):
        writer.driver.write_at(0, bytes(512))
    room.left = True
    assert not machine.paused
    writer.write(5)
    writer.check()


def test_it_is_saved_and_reset_meanwhile(made: Made, tmp_path: Path, room: Room) -> None:
    image = tmp_path / "disk.qcow2"
    images.create(str(image), 16 * MIB, format="qcow2")
    machine = made(image, stop_when_full=True)
    writer = Writer(machine)
    writer.write(5)
    ears = Ears(machine)
    with ears.stack:
        room.left = False
        attempt = threading.Thread(target=writer.write)
        attempt.start()
        assert ears.paused.wait(LIMIT)
        room.left = True
        machine.save(tmp_path / "saved")
        machine.resume()
        attempt.join(LIMIT)
        assert not attempt.is_alive()
    writer.check()


def test_clients_are_told(made: Made, tmp_path: Path, room: Room) -> None:
    image = tmp_path / "disk.img"
    images.create(str(image), 16 * MIB, format="raw")
    machine = made(image, format="raw", stop_when_full=True)
    writer = Writer(machine)
    told: list[Event] = []
    with Monitor(machine) as monitor:
        stopped = threading.Event()
        monitor.vm.on_event.add(told.append)
        monitor.vm.on_event.add(lambda event: stopped.set() if event.name == "STOP" else None)
        with writer:
            room.left = False
            assert stopped.wait(LIMIT)
            assert monitor.execute("query-status") == {"running": False, "status": "io-error"}
            room.left = True
            monitor.execute("cont")
            assert monitor.execute("query-status") == {"running": True, "status": "running"}
            writer.reach(writer.requests + 5)
    assert [each.name for each in told][:3] == ["BLOCK_IO_ERROR", "STOP", "RESUME"]
    assert plain(told[0].data) == {
        "device": "disk0",
        "qom-path": "/machine/unattached/disk0",
        "operation": "write",
        "action": "stop",
        "nospace": True,
        "reason": "No space left on device",
    }
    writer.check()
