"""Devices that come and go while the machine runs: a part of `Machine`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from os import PathLike, fsdecode

from bimetal.backends.block.nbd.address import is_address
from bimetal.backends.net.protocol import NetBackend
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.assembly import Assembly
from bimetal.machine.cables import links_of, nic_named
from bimetal.machine.config import Config, Disk
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.expect import TimedOut
from bimetal.machine.nics import macs_of, nic_from
from bimetal.machine.service import Service
from bimetal.machine.sockets import Sockets
from bimetal.machine.usb import UsbSockets, socket_of
from bimetal.machine.wanted import USB, VIRTIO, Input, UsbHubAt

__all__ = ["Plugging"]

Path = str | PathLike[str]

LET_GO_SECONDS = 30.0
"""Seconds for a guest to let go of a device: Linux waits five before it begins."""


class Plugging:
    """Methods that plug and unplug devices, for boards that have slots for that."""

    config: Config
    _parts: Assembly
    _service: Service

    def plug_disk(
        self,
        path: Path,
        *,
        readonly: bool = False,
        snapshot: bool = False,
        serial: str = "",
        format: str | None = None,
        backing_folders: Iterable[Path] = (),
        slot: int | str = 0,
        bus: str = VIRTIO,
        removable: bool = False,
        stop_when_full: bool = False,
        write_errors: str = "",
        read_errors: str = "report",
    ) -> str:
        """Plug in another disk, described as by `disk`, on the ``bus`` ``virtio`` or ``usb``, into
        the ``slot`` of that number, which on USB is a socket as `input` has it, or, for 0, one that
        is free; the name of the device, for `unplug`. Raises `BimetalError` if the image cannot be
        used, or if no such slot is free."""
        folders = tuple(map(fsdecode, backing_folders))
        where = fsdecode(path)
        where = where if is_address(where) else os.path.abspath(where)
        if bus not in (VIRTIO, USB):
            raise BimetalError(
                f"nothing is plugged in on the bus {bus!r}", "choose virtio or usb", ExitCode.USAGE
            )
        socket = socket_of(slot) if bus == USB else 0
        disk = Disk(
            *(where, readonly, snapshot, serial, format, folders, bus),
            removable=removable,
            socket=socket,
            stop_when_full=stop_when_full,
            write_errors=write_errors,
            read_errors=read_errors,
        )
        with self._parts.built().locked():
            if bus == USB:
                return self._usb().plug(disk)
            return self._sockets().plug_disk(disk, int(slot))

    def plug_input(self, kind: str, *, socket: int | str = 0) -> str:
        """Plug in an input device on USB, described as by `input`; its name, for `unplug`. Raises
        `BimetalError` if no such socket is free, or if there is one of its ``kind`` already."""
        with self._parts.built().locked():
            return self._usb().plug(Input(kind, USB, socket_of(socket)))

    def plug_hub(self, *, socket: int | str = 0) -> str:
        """Plug in a USB hub; otherwise as `plug_input`. What is plugged into it has sockets like
        ``1.2``, and goes with it when it is unplugged."""
        with self._parts.built().locked():
            return self._usb().plug(UsbHubAt(socket_of(socket)))

    def plug_nic(
        self,
        network: str | NetBackend = "user",
        *,
        mac: str | None = None,
        slot: int = 0,
        **options: str | int | bool | Sequence[str],
    ) -> str:
        """Plug in another NIC, described as by `nic`; otherwise as `plug_disk`."""
        nic = nic_from(network, {"mac": mac, **options})
        if nic is None:
            raise BimetalError("no network is no NIC to plug in", "name one", ExitCode.USAGE)
        address = macs_of([*self.config.nics, nic], [disk.path for disk in self.config.disks])[-1]
        with self._parts.built().locked():
            return self._sockets().plug_nic(nic, address, self._service.reactor, slot)

    def set_link(self, nic: str, up: bool) -> None:
        """Pull the cable of a NIC out, or put it in again: ``nic0`` and so on, or the name of the
        device, or its address. KeyError if there is no such NIC."""
        runner = self._parts.built()
        with runner.locked():
            nic_named(runner.hardware, nic).pull_out(not up)

    def links(self) -> dict[str, bool]:
        """Whether each NIC has a link, by its address."""
        runner = self._parts.built()
        with runner.locked():
            return links_of(runner.hardware)

    def unplug(self, name: str, *, timeout: float = LET_GO_SECONDS, force: bool = False) -> None:
        """Ask the guest to let go of the device that `plug_disk` or `plug_nic` called ``name``, and
        wait until it has, which may take a guest some seconds. With ``force`` it is taken away at
        once, like a disk that is pulled out: what the guest has not written yet is lost. A device
        on USB always is; one that is there from the start on is called ``disk0``, ``cd0`` or by its
        kind.

        Raises `TimedOut` if the guest does not let go, KeyError if there is no such device.
        """
        gone, runner = threading.Event(), self._parts.built()

        def let_go() -> None:
            gone.set()
            runner.gate.on_event(MachineEvent(EventKind.UNPLUGGED, device=name))

        with runner.locked():
            usb = runner.hardware.usb
            if usb is not None and (socket := usb.find(name)):
                for other in usb.unplug(socket):
                    runner.gate.on_event(MachineEvent(EventKind.UNPLUGGED, device=other))
                let_go()
            else:
                self._sockets().unplug(name, let_go, force=force)
        if not gone.wait(timeout):
            raise TimedOut(
                f"the guest has not let go of {name} in {timeout:g} seconds",
                "see whether it has a driver for hot plug (pciehp), or use force=True",
            )

    def _usb(self) -> UsbSockets:
        usb = self._parts.built().hardware.usb
        if usb is None:
            raise BimetalError(
                "this machine has no USB controller",
                "give it one before it starts: --usb, or vm.usb()",
                ExitCode.USAGE,
            )
        return usb

    def _sockets(self) -> Sockets:
        sockets = self._parts.built().hardware.sockets
        if sockets is None:
            raise BimetalError(
                "this machine has no slots for devices that come and go",
                "give its board the option ports, as in arm-virt,ports=2",
                ExitCode.USAGE,
            )
        return sockets
