"""Disks and NICs count what they move: small requests, large ones, and none that were refused."""

from __future__ import annotations

import pytest

from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.traffic import Traffic
from bimetal.devices.virtio import block_quick
from bimetal.devices.virtio.net import VirtioNet
from bimetal.devices.virtio.scsi import VirtioScsi
from tests.devices.virtio import test_block, test_scsi
from tests.devices.virtio.cable import frame
from tests.devices.virtio.test_block import IN, IOERR, OK, OUT, SECTOR, Recorder
from tests.devices.virtio.test_net import send, start

SMALL = 128 << 10


def test_a_virtio_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_quick, "PIECE", SMALL)  # and what is larger is carried out in pieces
    disk = Recorder()
    disk.content.extend(bytes(2 * SMALL))
    disk.size = len(disk.content)
    machine = test_block.Machine(disk=disk)
    machine.read(0, 1024)
    machine.read(0, SMALL + SECTOR)
    assert machine.ask(OUT, 3, bytes(SECTOR)) == OK
    assert machine.ask(OUT, 3, bytes(SMALL + SECTOR)) == OK
    assert machine.ask(IN, 1 << 40, room=SECTOR) == IOERR
    assert machine.device.traffic == Traffic(2, SMALL + 1024 + SECTOR, 2, SMALL + 2 * SECTOR)


def test_a_scsi_disk() -> None:
    world = test_scsi.World()
    test_scsi.test_reading_and_writing(world)
    (device,) = world.guest.slot.parts()
    assert isinstance(device, VirtioScsi)
    disk = next(unit for unit in device.units if isinstance(unit, ScsiDisk))
    assert disk.traffic == Traffic(2, 1024 + 512, 1, 512)


def test_a_nic() -> None:
    cable, guest, receive, transmit = start()
    send(guest, transmit, frame(b"one"))
    send(guest, transmit, frame(b"three"))
    receive.submit(guest.room(1526))
    cable.deliver(frame(b"seventeen"), frame(b"waits for a buffer"))
    (device,) = guest.slot.parts()
    assert isinstance(device, VirtioNet)
    sent = len(frame(b"one")) + len(frame(b"three"))
    assert device.traffic == Traffic(1, len(frame(b"seventeen")), 2, sent)
