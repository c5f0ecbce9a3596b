"""The sockets of a machine's USB controller, as a board has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.usb.route import socket_named, socket_text
from bimetal.machine.config import Disk
from bimetal.machine.sockets import Plugged
from bimetal.machine.wanted import CdDrive, Input, UsbHubAt

if TYPE_CHECKING:
    from bimetal.devices.scsi.cdrom import ScsiCdrom
    from bimetal.devices.scsi.disk import ScsiDisk

__all__ = ["OnUsb", "UsbSockets", "plugged_as", "socket_of", "usb_name"]

OnUsb = Disk | CdDrive | Input | UsbHubAt
"""What is wanted on USB."""


def usb_name(socket: int) -> str:
    """What the device in a ``socket`` is called."""
    return f"usb{socket_text(socket)}"


def socket_of(socket: int | str) -> int:
    """The number of a socket (`bimetal.devices.usb.route`), of which people have said that or what
    it is called: ``1.2``. Raises `BimetalError`."""
    if isinstance(socket, int):
        return socket
    try:
        return socket_named(socket)
    except ValueError as error:
        remedy = "write it as 1, or behind hubs as 1.2"
        raise BimetalError(str(error), remedy, ExitCode.USAGE) from error


class UsbSockets(Protocol):
    """The sockets, all that are plugged in at present too. Call all methods with the machine's lock
    held, or from the only thread that there is."""

    def plugged(self) -> list[Plugged]:
        """What is in the sockets."""

    def become(self, plugged: Sequence[Plugged]) -> None:
        """Have in the sockets what a snapshot says, whose state is loaded next. What is there
        already stays. Raises `BimetalError`."""

    def plug(self, wanted: OnUsb) -> str:
        """Plug in a device; its name. Raises `BimetalError` if it cannot be had, or if there is no
        socket for it."""

    def find(self, name: str) -> int:
        """The socket of the device of that name, 0 if there is none: what `plug` returned, or, of
        devices that are there from the start on, ``disk0`` and so on, ``cd0`` and so on, ``hub0``
        and so on, and ``keyboard``, ``tablet``, ``mouse``."""

    def unplug(self, socket: int) -> list[str]:
        """Take away the device in a ``socket`` in which there is one, and before it what is behind
        it; the names of these others."""

    def drive(self, wanted: Disk | CdDrive) -> ScsiDisk | ScsiCdrom | None:
        """The drive that was plugged in as ``wanted``, if it is still there."""

    def let_go(self) -> None:
        """Return once nothing on the host works on what is in drives."""


def plugged_as(wanted: OnUsb) -> Plugged:
    """What a snapshot calls a device that is in its socket."""
    match wanted:
        case Disk():
            return Plugged(0, disk=wanted, socket=wanted.socket)
        case CdDrive():
            return Plugged(0, cdrom=wanted, socket=wanted.socket)
        case UsbHubAt():
            return Plugged(0, hub=wanted, socket=wanted.socket)
    return Plugged(0, input=wanted, socket=wanted.socket)
