"""A machine's CD-ROM drive, as a program uses it."""

from __future__ import annotations

from os import PathLike, fsdecode

from bimetal.backends.block.choose import open_disk
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.virtio.scsi import VirtioScsi
from bimetal.machine.assembly import Assembly

__all__ = ["Cdrom"]


class Cdrom:
    """Drive ``number`` of a machine. Its methods may be called from any thread."""

    def __init__(self, parts: Assembly, number: int):
        self._parts, self._number = parts, number

    def __repr__(self) -> str:
        return f"<Cdrom {self._number}>"

    def insert(self, path: str | PathLike[str]) -> None:
        """Put the image at ``path`` in, in place of what is there. The guest is told, and cannot
        prevent it. Raises `BimetalError` if the image is not usable."""
        self._change(fsdecode(path))

    def eject(self) -> None:
        """Take out what is in it, whether the guest uses it or not."""
        self._change(None)

    @property
    def loaded(self) -> bool:
        """Whether there is a medium: a guest may eject it too."""
        with self._parts.built().locked():
            return self._drive().disk is not None

    def _change(self, path: str | None) -> None:
        runner = self._parts.built()
        image = None if path is None else open_disk(path, readonly=True)
        try:
            with runner.locked():
                self._bus().let_go()  # nothing reads from what is in it
                self._drive().insert(image)
        except BaseException:
            if image is not None:
                image.close()
            raise

    def _drive(self) -> ScsiCdrom:
        drives = [unit for unit in self._bus().units if isinstance(unit, ScsiCdrom)]
        return drives[self._number]

    def _bus(self) -> VirtioScsi:
        return self._parts.built().hardware.placements.only(VirtioScsi)
