"""The host holds a request of the guest's: who asks for something meanwhile is told so, and what
was asked for is not done behind their back; later everything goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine import inner
from bimetal.machine.live import backup, commit, disks, following, seat, stream
from bimetal.machine.machine import Machine
from tests.backends.block.qcow2 import qemu
from tests.machine.live.conftest import MIB, Made
from tests.machine.live.driver import DiskDriver

pytestmark = qemu.needs_qemu

DISK = "disk0"
LIMIT = 60
PATIENT = (backup, commit, disks, following, seat, stream)


class Held:
    """A host that has begun to write for a guest, and does not go on before it is let."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch):
        self.machine = machine
        image: Any = machine._seat(DISK).image
        self._write, self._image, self._patch = image.writev, image, monkeypatch
        self._goes_on, self._begun = threading.Event(), threading.Event()
        self._driver = DiskDriver(machine)
        self._guest = threading.Thread(target=lambda: self._driver.write_at(0, b"held" * 128))

    def _wait(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._begun.set()
        assert self._goes_on.wait(LIMIT)
        self._write(offset, buffers)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A context in which it holds the request; afterwards the guest has its answer."""
        self._patch.setattr(self._image, "writev", self._wait)
        self._guest.start()
        try:
            assert self._begun.wait(LIMIT)
            yield
        finally:
            self.release()
        self._guest.join()
        assert self._driver.read_at(0, 512) == b"held" * 128

    def release(self) -> None:
        self._goes_on.set()


@pytest.fixture
def held(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    below = list[str | Path]()
    for name in ("base", "disk", "top"):
        path = tmp_path / f"{name}.qcow2"
        qemu.img("create", "-q", "-f", "qcow2", *below, path, str(4 * MIB))
        below = ["-b", path, "-F", "qcow2"]
    qemu.img("create", "-q", "-f", "qcow2", tmp_path / "target.qcow2", str(4 * MIB))
    machine = made(tmp_path / "disk.qcow2")
    machine.savevm("there")
    return Held(machine, monkeypatch)


ASKED: dict[str, Callable[[Machine, Path], object]] = {
    "a larger disk": lambda vm, folder: vm.resize_disk(DISK, "8M"),
    "a snapshot of the disk": lambda vm, folder: vm.lay_over({DISK: folder / "top.qcow2"}),
    "a bitmap": lambda vm, folder: vm.add_bitmap(DISK, "monday"),
    "a backup": lambda vm, folder: vm.backup_disk(DISK, folder / "target.qcow2"),
    "a mirror": lambda vm, folder: vm.mirror_disk(DISK, folder / "target.qcow2"),
    "a commit": lambda vm, folder: vm.commit_disk(DISK),
    "an image that is written": lambda vm, folder: vm.reopen_image(
        folder / "base.qcow2", readonly=False
    ),
    "a threshold": lambda vm, folder: vm.set_write_threshold(folder / "disk.qcow2", 1 << 20, print),
    "a state in a file": lambda vm, folder: vm.save(folder / "state"),
    "a state in the disk": lambda vm, folder: vm.savevm("new"),
    "no state any more": lambda vm, folder: vm.delvm("there"),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_client_is_told_what_is_waited_for(
    held: Held, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = held.machine
    before = machine.images_of(DISK)
    with held.writing():
        with monkeypatch.context() as hasty:
            for module in PATIENT:
                hasty.setattr(module, "HELD_SECONDS", 0.01)
            with pytest.raises(BimetalError, match="the host holds a request of disk0") as told:
                ASKED[what](machine, tmp_path)
        assert told.value.exit_code == ExitCode.UNAVAILABLE
        assert not [*machine.jobs]
        assert machine.running
    assert machine.images_of(DISK) == before
    assert machine.snapshots == ["there"]
    ASKED[what](machine, tmp_path)


def test_a_state_is_not_forgotten_in_the_middle_of_a_request(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget, released = inner.forget, threading.Event()

    def checked(*words: Any) -> None:
        assert released.is_set(), "both would change the image"
        forget(*words)

    monkeypatch.setattr(inner, "forget", checked)
    with held.writing():
        client = threading.Thread(target=lambda: held.machine.delvm("there"))
        client.start()
        client.join(0.1)
        released.set()
        held.release()
        client.join()
    assert held.machine.snapshots == []


LEFT: dict[str, tuple[str, Callable[[Machine, Path], object]]] = {
    "a larger disk": ("grow_disk", ASKED["a larger disk"]),
    "a threshold": ("set_threshold", ASKED["a threshold"]),
}


@pytest.mark.parametrize("what", LEFT)
def test_a_client_is_told_if_what_was_begun_for_it_is_held(
    held: Held, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ask = LEFT[what]
    real, goes_on, done = getattr(disks, name), threading.Event(), threading.Event()

    def slow(*words: Any, **options: Any) -> object:
        assert goes_on.wait(LIMIT)
        try:
            return real(*words, **options)
        finally:
            done.set()

    monkeypatch.setattr(disks, name, slow)
    monkeypatch.setattr(disks, "HELD_SECONDS", 0.05)
    with pytest.raises(BimetalError, match="the host does not do what was begun for disk0") as told:
        ask(held.machine, tmp_path)
    assert "it will be done" in told.value.remedy
    goes_on.set()
    assert done.wait(LIMIT)
    with held.writing():
        pass
