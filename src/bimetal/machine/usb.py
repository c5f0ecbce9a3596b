"""The sockets of a machine's USB controller, as a board has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.machine.config import Disk
from bimetal.machine.sockets import Plugged
from bimetal.machine.wanted import CdDrive, Input

__all__ = ["USB_NAME", "UsbSockets", "plugged_as"]

USB_NAME = "usb"
"""What the names of devices have before the number of their socket."""


class UsbSockets(Protocol):
    """The sockets, all that are plugged in at present too. Call all methods with the machine's lock
    held, or from the only thread that there is."""

    def plugged(self) -> list[Plugged]:
        """What is in the sockets."""

    def become(self, plugged: Sequence[Plugged]) -> None:
        """Have in the sockets what a snapshot says, whose state is loaded next. What is there
        already stays. Raises `BimetalError`."""

    def plug(self, wanted: Disk | CdDrive | Input) -> str:
        """Plug in a device; its name. Raises `BimetalError` if it cannot be had, or if there is no
        socket for it."""

    def find(self, name: str) -> int:
        """The socket of the device of that name, 0 if there is none: what `plug` returned, or, of
        devices that are there from the start on, ``disk0`` and so on, ``cd0`` and so on, and
        ``keyboard``, ``tablet``, ``mouse``."""

    def unplug(self, socket: int) -> None:
        """Take away the device in a ``socket`` in which there is one."""

    def drive(self, wanted: Disk | CdDrive) -> ScsiDisk | ScsiCdrom | None:
        """The drive that was plugged in as ``wanted``, if it is still there."""

    def let_go(self) -> None:
        """Return once nothing on the host works on what is in drives."""


def plugged_as(wanted: Disk | CdDrive | Input) -> Plugged:
    """What a snapshot calls a device that is in its socket."""
    match wanted:
        case Disk():
            return Plugged(0, disk=wanted, socket=wanted.socket)
        case CdDrive():
            return Plugged(0, cdrom=wanted, socket=wanted.socket)
    return Plugged(0, input=wanted, socket=wanted.socket)
