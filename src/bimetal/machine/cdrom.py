"""A machine's CD-ROM drive, as a program uses it."""

from __future__ import annotations

from os import PathLike, fsdecode

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.virtio.scsi import VirtioScsi
from bimetal.machine.assembly import Assembly
from bimetal.machine.hardware import Hardware
from bimetal.machine.wanted import SCSI

__all__ = ["Cdrom", "drive_of"]


class Cdrom:
    """Drive ``number`` of a machine. Its methods may be called from any thread."""

    def __init__(self, parts: Assembly, number: int):
        self._parts, self._number = parts, number

    def __repr__(self) -> str:
        return f"<Cdrom {self._number}>"

    def insert(self, path: str | PathLike[str]) -> None:
        """Put the image at ``path`` in, in place of what is there. The guest is told, and cannot
        prevent it. Raises `BimetalError` if the image is not usable, or the drive was
        unplugged."""
        self._change(fsdecode(path))

    def eject(self) -> None:
        """Take out what is in it, whether the guest uses it or not."""
        self._change(None)

    @property
    def loaded(self) -> bool:
        """Whether there is a medium: a guest may eject it too."""
        with self._parts.built().locked():
            drive = self._drive()
            return drive is not None and drive.disk is not None

    def _change(self, path: str | None) -> None:
        runner = self._parts.built()
        image = None if path is None else open_disk(path, readonly=True)
        try:
            with runner.locked():
                drive = self._drive()
                if drive is None:
                    raise BimetalError(
                        "this CD-ROM drive was unplugged", "use another one", ExitCode.USAGE
                    )
                _let_go(runner.hardware)  # nothing reads from what is in it
                drive.insert(image)
        except BaseException:
            if image is not None:
                image.close()
            raise

    def _drive(self) -> ScsiCdrom | None:
        return drive_of(self._parts.built().hardware, self._number)


def drive_of(hardware: Hardware, number: int) -> ScsiCdrom | None:
    """The drive of that number; None if it was unplugged. Call with the machine's lock held."""
    wanted = hardware.config.cdroms[number]
    if wanted.bus == SCSI:
        before = sum(each.bus == SCSI for each in hardware.config.cdroms[:number])
        units = hardware.placements.only(VirtioScsi).units
        return [unit for unit in units if isinstance(unit, ScsiCdrom)][before]
    found = None if hardware.usb is None else hardware.usb.drive(wanted)
    return found if isinstance(found, ScsiCdrom) else None


def _let_go(hardware: Hardware) -> None:
    if any(each.bus == SCSI for each in hardware.config.cdroms):
        hardware.placements.only(VirtioScsi).let_go()
    if hardware.usb is not None:
        hardware.usb.let_go()
