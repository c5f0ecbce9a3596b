"""The SCSI bus of a machine: disks and CD-ROM drives."""

from __future__ import annotations

from functools import partial

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError
from bimetal.boards.virtio.disks import image_of
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.scsi.unit import Unit
from bimetal.devices.virtio.scsi import VirtioScsi
from bimetal.machine.chassis import Chassis, Failed
from bimetal.machine.config import Config
from bimetal.machine.wanted import SCSI

__all__ = ["scsi_bus"]


def scsi_bus(m: Chassis) -> VirtioScsi:
    """The bus with its units. Raises `BimetalError`."""
    return VirtioScsi(_units(m.config, m.failed), m.aside)


def _units(config: Config, failed: Failed | None) -> list[Unit]:
    """Disks in their order, then CD-ROM drives."""
    units: list[Unit] = []
    try:
        for disk in config.disks:
            if disk.bus == SCSI:
                made = ScsiDisk(image_of(disk, config), disk.serial)
                units.append(made)
                if failed is not None:
                    made.answers = partial(failed, made, disk)
        for number, drive in enumerate(config.cdroms):
            if drive.bus == SCSI:
                image = None if drive.path is None else open_disk(drive.path, readonly=True)
                units.append(ScsiCdrom(image, f"cd{number}"))
    except BimetalError:
        for unit in units:
            unit.close()
        raise
    return units
