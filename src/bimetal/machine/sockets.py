"""Slots in which devices are plugged while the machine runs, as a board has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from bimetal.backends.reactor import Reactor
from bimetal.devices.pci.function import Function
from bimetal.machine.config import Disk
from bimetal.machine.nics import Nic
from bimetal.machine.wanted import CdDrive, Input, UsbHubAt

__all__ = ["Plugged", "Sockets"]


class Plugged(Struct, frozen=True):
    """What was plugged into the ``slot`` of that number while the machine ran: a disk, or a NIC
    with the address ``mac``; or what is in a USB ``socket``: a disk, a drive, an input device, a
    hub."""

    slot: int
    disk: Disk | None = None
    nic: Nic | None = None
    mac: bytes | None = None
    socket: int = 0
    cdrom: CdDrive | None = None
    input: Input | None = None
    hub: UsbHubAt | None = None


class Sockets(Protocol):
    """The slots of a board."""

    def check_free(self) -> None:
        """Raise `BimetalError` if no slot is free."""

    def plugged(self) -> list[Plugged]:
        """What is in the slots. Call with the machine's lock held, or from the only thread that
        plugs."""

    def become(self, plugged: Sequence[Plugged], reactor: Reactor) -> None:
        """Have in the slots what a snapshot says, whose state is loaded next: the guest is not told
        of anything. What is there already stays. Raises `BimetalError`; call as `plug_disk`."""

    def plug_disk(self, disk: Disk, slot: int = 0) -> str:
        """Plug in a disk, into the ``slot`` of that number or, for 0, the first that is free; the
        name of the device. Raises `BimetalError` if the image cannot be used, or if no such slot is
        free. Call with the machine's lock held."""

    def plug_nic(self, nic: Nic, mac: bytes, reactor: Reactor, slot: int = 0) -> str:
        """Plug in a NIC, whose network ``reactor`` serves; otherwise as `plug_disk`."""

    def build_in(self, function: Function, slot: int) -> None:
        """Have a function in a slot of a machine that is being built. Raises `BimetalError` if no
        such slot is free."""

    def readdress(self, mac: bytes, fresh: bytes) -> None:
        """The NIC with the address ``mac`` has a ``fresh`` one."""

    def moved(self, slot: int, disk: Disk) -> None:
        """The disk in the ``slot`` of that number has another image now, as ``disk`` says."""

    def unplug(self, name: str, gone: Callable[[], None], *, force: bool) -> None:
        """Ask the guest to let go of the device ``name``, and call ``gone`` once it has; with
        ``force`` take it away. KeyError if no such device is in a slot. Call with the machine's
        lock held."""
