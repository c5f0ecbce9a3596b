"""Disks and CD-ROM drives, of virtio-blk and on a SCSI bus."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bimetal.backends.block.awaited import AwaitedDisk
from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.nbd.address import is_address
from bimetal.base.clock import Clock
from bimetal.base.late import late
from bimetal.devices.virtio.aside import Aside
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.throttle import Throttle
from bimetal.machine.chassis import Chassis, Failed
from bimetal.machine.config import Config, Disk
from bimetal.machine.wanted import SCSI, VIRTIO

__all__ = ["disk_device", "disks", "image_of"]

SCSI_BUS = "bimetal.boards.virtio.scsi:scsi_bus"


def disks(m: Chassis) -> Iterator[VirtioDevice]:
    """The disks of virtio-blk, then the SCSI bus if anything is on it. Raises `BimetalError`."""
    for disk in m.config.disks:
        if disk.bus == VIRTIO:
            yield disk_device(disk, m.config, m.clock, m.aside, m.failed)
    if m.config.on(SCSI):
        yield late(SCSI_BUS)(m)


def disk_device(
    disk: Disk,
    config: Config,
    clock: Clock,
    aside: Aside | None,
    failed: Failed | None = None,
) -> VirtioBlock:
    """The disk; see `Chassis` for ``failed``. Raises `BimetalError` if its image cannot be used."""
    limited = disk.iops or disk.bps
    throttle = Throttle(clock, disk.iops, disk.bps) if limited else None
    image = image_of(disk, config)
    device = VirtioBlock(image, disk.serial, queues=disk.queues, throttle=throttle, aside=aside)
    if failed is not None:
        device.answers = partial(failed, device, disk)
    return device


def image_of(disk: Disk, config: Config) -> Block:
    """The image of a disk; one that stands for it if the machine is still to come, and with it the
    disk. Raises `BimetalError`."""
    opening = partial(
        open_disk, disk.path, format=disk.format, folders=disk.backing_folders, bitmaps=True
    )
    if disk.readonly or disk.snapshot or is_address(disk.path) or not config.arriving:
        return opening(readonly=disk.readonly, snapshot=disk.snapshot)
    return AwaitedDisk(opening(readonly=True, lock=False, bitmaps=False), opening)
