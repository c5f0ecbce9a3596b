"""What is done about errors of the host: the guest is told, or not, or the machine is paused, and
tries again. Clients are told of each."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.backends.block.raw import RawImage
from bimetal.base.errors import BimetalError
from bimetal.control import Monitor
from bimetal.control.contract import plain
from bimetal.control.events import Event
from bimetal.machine.machine import Machine
from tests.machine.live.conftest import MIB, Made
from tests.machine.live.driver import SECTOR, DiskDriver

LIMIT = 60
DATA = b"written" + bytes(SECTOR - 7)


class Host:
    """Has reads or writes of the host fail, or not, with that error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.error = 0
        self.failing: tuple[str, ...] = ()
        for name in ("writev", "write_now", "readv"):
            monkeypatch.setattr(RawImage, name, self._guarded(name, getattr(RawImage, name)))
        for name, nothing in (("read_now", False), ("spans", None)):
            monkeypatch.setattr(RawImage, name, lambda *_, nothing=nothing: nothing)

    def _guarded(self, name: str, move: Callable[..., object]) -> Callable[..., object]:
        def guarded(image: object, offset: int, buffers: Sequence[memoryview]) -> object:
            if name.startswith(self.failing or "none"):
                raise OSError(self.error, os.strerror(self.error))
            return move(image, offset, buffers)

        return guarded


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


class Client:
    """Hears what is told of a machine with a disk."""

    def __init__(self, machine: Machine):
        self.told: list[Event] = []
        self.stopped = threading.Event()
        self.driver = DiskDriver(machine)
        self._monitor = Monitor(machine)
        self._monitor.vm.on_event.add(self._hear)
        self.execute = self._monitor.execute

    def _hear(self, event: Event) -> None:
        self.told.append(event)
        if event.name == "STOP":
            self.stopped.set()

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [plain(each.data) for each in self.told if each.name == "BLOCK_IO_ERROR"]

    def __enter__(self) -> Client:
        self._monitor.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._monitor.__exit__(None, None, None)


Started = Callable[..., Client]


@pytest.fixture
def started(made: Made, tmp_path: Path) -> Iterator[Started]:
    """Begins a machine with a disk of 1 MiB of the letter a."""
    clients: list[Client] = []

    def start(**options: str) -> Client:
        image = tmp_path / "disk.img"
        image.write_bytes(b"a" * MIB)
        clients.append(Client(made(image, format="raw", **options)).__enter__())
        return clients[-1]

    yield start
    for each in clients:
        each.__exit__()


def failed(operation: str, action: str, error: int) -> dict[str, Any]:
    return {
        "device": "disk0",
        "qom-path": "/machine/unattached/disk0",
        "operation": operation,
        "action": action,
        "nospace": error == errno.ENOSPC,
        "reason": os.strerror(error),
    }


@pytest.mark.parametrize(
    ("policy", "error"), [("report", errno.EIO), ("enospc", errno.EIO), ("report", errno.ENOSPC)]
)
def test_the_guest_is_told_of_a_write(
    started: Started, host: Host, policy: str, error: int
) -> None:
    client = started(write_errors=policy)
    host.error, host.failing = error, ("write",)
    with pytest.raises(OSError, match="request"):
        client.driver.write_at(0, DATA)
    assert client.failures == [failed("write", "report", error)]
    host.failing = ()
    assert client.driver.read_at(0, SECTOR) == b"a" * SECTOR


def test_the_guest_is_told_of_a_read(started: Started, host: Host) -> None:
    client = started(write_errors="stop")
    host.error, host.failing = errno.EIO, ("read",)
    with pytest.raises(OSError, match="request"):
        client.driver.read_at(0, SECTOR)
    assert client.failures == [failed("read", "report", errno.EIO)]


def test_the_guest_is_not_told(started: Started, host: Host) -> None:
    client = started(write_errors="ignore", read_errors="ignore")
    host.error, host.failing = errno.EIO, ("write", "read")
    client.driver.write_at(0, DATA)
    client.driver.read_at(0, SECTOR)
    assert client.failures == [
        failed("write", "ignore", errno.EIO),
        failed("read", "ignore", errno.EIO),
    ]
    host.failing = ()
    assert client.driver.read_at(0, SECTOR) == b"a" * SECTOR


@pytest.mark.parametrize(
    ("options", "operation", "error"),
    [
        ({"write_errors": "stop"}, "write", errno.EIO),
        ({"write_errors": "stop"}, "write", errno.ENOSPC),
        ({"write_errors": "enospc"}, "write", errno.ENOSPC),
        ({"read_errors": "stop"}, "read", errno.EIO),
    ],
)
def test_the_machine_is_paused_and_tries_again(
    started: Started, host: Host, options: dict[str, str], operation: str, error: int
) -> None:
    client = started(**options)
    host.error, host.failing = error, (operation,)
    seen: list[bytes] = []

    def ask() -> None:
        if operation == "write":
            client.driver.write_at(0, DATA)
        else:
            seen.append(client.driver.read_at(0, SECTOR))

    guest = threading.Thread(target=ask)
    guest.start()
    assert client.stopped.wait(LIMIT)
    assert client.execute("query-status") == {"running": False, "status": "io-error"}
    host.failing = ()
    client.execute("cont")
    guest.join(LIMIT)
    assert not guest.is_alive()
    assert client.failures == [failed(operation, "stop", error)]
    expected = DATA if operation == "write" else b"a" * SECTOR
    assert client.driver.read_at(0, SECTOR) == expected
    assert operation == "write" or seen == [expected]


@pytest.mark.parametrize("options", [{"write_errors": "sigh"}, {"read_errors": "enospc"}])
def test_what_cannot_be_done(tmp_path: Path, options: dict[str, Any]) -> None:
    images.create(str(tmp_path / "disk"), MIB, format="raw")
    with Machine() as machine, pytest.raises(BimetalError, match="errors are not answered"):
        machine.disk(tmp_path / "disk", **options)
