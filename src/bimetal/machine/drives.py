"""The disks and CD-ROM drives of a machine, as somebody sees them who looks at it from outside."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from bimetal.backends.block.formats import RAW, by_name
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.traffic import Traffic
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.machine.cdrom import drive_of
from bimetal.machine.config import Disk
from bimetal.machine.live.seat import seats_of
from bimetal.machine.runner import Runner
from bimetal.machine.usb import usb_name
from bimetal.machine.wanted import USB

__all__ = ["Drive", "drives_of"]


class Drive(Struct, frozen=True):
    """A drive of the machine.

    ``name`` is ``disk0`` and so on for disks that it was built with, ``cd0`` and so on for CD-ROM
    drives, and for disks plugged in later the name that `Machine.plug_disk` returned. ``path`` is
    that of the image, "" for an empty drive, ``size`` is in bytes, ``traffic`` what was read and
    written, ``iops`` and ``bps`` what it may do in a second, 0 without a limit.
    """

    name: str
    path: str
    format: str
    size: int
    readonly: bool
    traffic: Traffic
    removable: bool = False
    snapshot: bool = False
    iops: int = 0
    bps: int = 0


def drives_of(runner: Runner) -> list[Drive]:
    """The drives, disks first. Call with the machine's lock held."""
    return [*_disks(runner), *_cdroms(runner)]


def _disks(runner: Runner) -> Iterator[Drive]:
    hardware = runner.hardware
    seats, on_usb = {seat.name: seat for seat in seats_of(runner)}, hardware.usb
    for number, disk in enumerate(hardware.config.disks):
        name = f"disk{number}"
        if disk.bus != USB:
            seat = seats.pop(name)
            yield _drive(name, seat.config, seat.part)
        elif on_usb is not None and isinstance(drive := on_usb.drive(disk), ScsiDisk):
            yield _drive(name, disk, drive)
    for name, seat in seats.items():
        yield _drive(name, seat.config, seat.part)
    for given in [] if on_usb is None else on_usb.plugged():
        if given.disk is None or given.disk in hardware.config.disks:
            continue
        if on_usb is not None and isinstance(drive := on_usb.drive(given.disk), ScsiDisk):
            yield _drive(usb_name(given.socket), given.disk, drive)


def _cdroms(runner: Runner) -> Iterator[Drive]:
    for number in range(len(runner.hardware.config.cdroms)):
        drive = drive_of(runner.hardware, number)
        if drive is None:
            continue
        medium = drive.disk
        path = "" if medium is None else str(getattr(medium, "name", ""))
        size = 0 if medium is None else medium.size
        kind = by_name(path) or RAW
        moved = replace(drive.traffic)
        yield Drive(f"cd{number}", path, kind, size, True, moved, removable=True)


def _drive(name: str, disk: Disk, device: VirtioBlock | ScsiDisk) -> Drive:
    kind = disk.format or by_name(disk.path) or RAW
    medium = device.disk if isinstance(device, VirtioBlock) else device.medium
    moved = replace(device.traffic)
    return Drive(
        name, disk.path, kind, medium.size, disk.readonly, moved,
        snapshot=disk.snapshot, iops=disk.iops, bps=disk.bps,
    )  # fmt: skip
