"""The USB controller of a board with PCI Express, and what is plugged into it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.boards.virtio.disks import image_of
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.device import UsbDevice
from bimetal.devices.usb.hid import HidDevice
from bimetal.devices.usb.hub import HUB_PORTS, UsbHub
from bimetal.devices.usb.keyboard import UsbKeyboard
from bimetal.devices.usb.pointers import UsbMouse, UsbTablet
from bimetal.devices.usb.route import depth, is_behind, last, parent, socket_text
from bimetal.devices.usb.storage import UsbStorage
from bimetal.devices.usb.xhci.controller import Controller
from bimetal.devices.usb.xhci.function import Xhci
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Disk
from bimetal.machine.sockets import Plugged
from bimetal.machine.usb import OnUsb, plugged_as, usb_name
from bimetal.machine.wanted import (
    KEYBOARD,
    MOUSE,
    TABLET,
    USB,
    CdDrive,
    Input,
    UsbController,
    UsbHubAt,
)

__all__ = ["add_usb"]

INPUTS: dict[str, type[HidDevice]] = {
    KEYBOARD: UsbKeyboard,
    TABLET: UsbTablet,
    MOUSE: UsbMouse,
}
USUAL_SLOTS = range(30, 0, -1)
"""Slots of the root bus for the controller: behind the root ports that the option ``ports`` asks
for, which take them from the last one on."""


def add_usb(m: Chassis, host: EcamHost, wanted: UsbController) -> None:
    """Put the USB controller that is ``wanted`` on the root bus of ``host`` or behind a root port,
    with what is on USB from the start on. Raises `BimetalError`."""
    place = m.config.places.get(USB)
    behind = 0 if place is None else place.port
    function = Xhci(
        m.space,
        m.clock,
        m.defer,
        slow=wanted.slow,
        fast=wanted.fast,
        model=wanted.model,
        integrated=not behind,
    )
    sockets = BoardSockets(m, function.controller, wanted)
    try:
        sockets.fill()
        if behind:
            if m.sockets is None:
                raise ValueError("there are no root ports")
            m.sockets.build_in(function, behind)
        elif place is not None:
            m.add_function(host, function, slot=place.slot, number=place.function)
        else:
            m.add_function(host, function, slot=_free_slot(m, host))
    except BaseException as error:
        function.close()
        if isinstance(error, ValueError):
            raise BimetalError(
                f"no USB controller can be there: {error}", "give it another place", ExitCode.USAGE
            ) from error
        raise
    m.usb = sockets


def _free_slot(m: Chassis, host: EcamHost) -> int:
    wanted = {place.slot for place in m.config.places.values()}
    for slot in USUAL_SLOTS:
        if slot not in wanted and host.bus.at(8 * slot) is None:
            return slot
    raise ValueError("all slots are taken")


class BoardSockets:
    """See `UsbSockets`: those of ``controller``. What is in socket 1 is called ``usb1``, and
    what is at port 2 of a hub there ``usb1.2``."""

    def __init__(self, m: Chassis, controller: Controller, wanted: UsbController):
        self._controller, self._fast = controller, wanted.fast
        self._count = max(wanted.slow, wanted.fast)
        self._config, self._aside, self._failed = m.config, m.aside, m.failed
        self._inputs = m.inputs
        self._given: dict[int, Plugged] = {}
        self._from_the_start: set[int] = set()
        """Sockets in which is what was there from the start on."""

    def fill(self) -> None:
        """Plug in what is there from the start on: first what has its place, hubs before what is
        behind them. The configuration tells from now on where each of them is. Raises
        `BimetalError`."""
        config = self._config
        for each in sorted(config.on(USB), key=lambda each: (not each.socket, depth(each.socket))):
            placed = replace(each, socket=self._free(each.socket))
            self._put(placed)
            self._from_the_start.add(placed.socket)
            for row in (config.inputs, config.disks, config.cdroms, config.hubs):
                _replace(row, each, placed)

    def plugged(self) -> list[Plugged]:
        return [given for _, given in sorted(self._given.items())]

    def become(self, plugged: Sequence[Plugged]) -> None:
        for socket, given in list(self._given.items()):
            if given not in plugged and socket in self._given:
                self.unplug(socket)
        for new in sorted(plugged, key=lambda each: depth(each.socket)):
            wanted = new.disk or new.cdrom or new.input or new.hub
            if wanted is None or not self._is_there(new.socket):
                raise ValueError(f"there is no socket {new.socket} for that")
            if new not in self._given.values():
                self._put(replace(wanted, socket=new.socket))

    def plug(self, wanted: OnUsb) -> str:
        placed = replace(wanted, socket=self._free(wanted.socket))
        self._put(placed)
        return usb_name(placed.socket)

    def _is_there(self, socket: int) -> bool:
        """Whether the controller, or a hub, has that socket."""
        if depth(socket) < 2:
            return 0 < socket <= self._count
        hub = self._given.get(parent(socket))
        return hub is not None and hub.hub is not None and 0 < last(socket) <= HUB_PORTS

    def _free(self, wanted: int) -> int:
        """The number of a free socket: that which is ``wanted``, or, for 0, the first of the
        controller's own. Raises `BimetalError`."""
        for number in [wanted] if wanted else range(1, self._count + 1):
            if self._is_there(number) and number not in self._given:
                return number
        raise BimetalError(
            f"there is no free USB socket{f' {socket_text(wanted)}' if wanted else ''}",
            f"choose another one of {self._count}, unplug something, or ask for more ports",
            ExitCode.USAGE,
        )

    def find(self, name: str) -> int:
        for socket in self._given:
            if name in (usb_name(socket), self._name(socket)):
                return socket
        return 0

    def _name(self, socket: int) -> str:
        """What the device in a ``socket`` is called: if it was there from the start on, by what it
        is."""
        if socket not in self._from_the_start:
            return usb_name(socket)
        config = self._config
        names: dict[str, OnUsb] = {each.kind: each for each in config.inputs}
        names |= {f"disk{number}": each for number, each in enumerate(config.disks)}
        names |= {f"cd{number}": each for number, each in enumerate(config.cdroms)}
        names |= {f"hub{number}": each for number, each in enumerate(config.hubs)}
        given = self._given[socket]
        known = (name for name, each in names.items() if plugged_as(each) == given)
        return next(known, usb_name(socket))

    def drive(self, wanted: Disk | CdDrive) -> ScsiDisk | ScsiCdrom | None:
        devices = self._controller.everything()
        for socket, given in self._given.items():
            device = devices[socket]
            if wanted in (given.disk, given.cdrom) and isinstance(device, UsbStorage):
                unit = device.unit
                if isinstance(unit, ScsiDisk | ScsiCdrom):
                    return unit
        return None

    def let_go(self) -> None:
        for device in self._controller.everything().values():
            device.let_go()

    def _put(self, wanted: OnUsb) -> None:
        socket = wanted.socket
        if isinstance(wanted, Input) and wanted.kind in self._inputs:
            raise BimetalError(
                f"a machine has one {wanted.kind}", "unplug the other one first", ExitCode.USAGE
            )
        device = self._made(wanted)
        try:
            self._controller.plug(device, socket)
        except ValueError as error:
            device.close()
            raise BimetalError(str(error), "choose another socket", ExitCode.USAGE) from error
        self._given[socket] = plugged_as(wanted)
        if isinstance(wanted, Input) and isinstance(device, HidDevice):
            self._inputs[wanted.kind] = device

    def unplug(self, socket: int) -> list[str]:
        others = [each for each in self._given if is_behind(each, socket) and each != socket]
        others.sort(key=depth, reverse=True)
        names = [self._name(each) for each in others]
        for each in (*others, socket):
            self._take_out(each)
        return names

    def _take_out(self, socket: int) -> None:
        device, given = self._controller.unplug(socket), self._given.pop(socket)
        self._from_the_start.discard(socket)
        if given.input is not None:
            del self._inputs[given.input.kind]
        device.close()

    def _made(self, wanted: OnUsb) -> UsbDevice:
        if isinstance(wanted, UsbHubAt):
            return UsbHub()
        behind_hub = depth(wanted.socket) > 1
        if isinstance(wanted, Input):
            return INPUTS[wanted.kind](Speed.FULL if behind_hub else Speed.HIGH)
        speed = Speed.SUPER if wanted.socket <= self._fast else Speed.HIGH
        speed = Speed.FULL if behind_hub else speed
        if isinstance(wanted, Disk):
            image = image_of(wanted, self._config)
            disk = ScsiDisk(image, wanted.serial, removable=wanted.removable)
            if self._failed is not None:
                disk.answers = partial(self._failed, disk, wanted)
            return UsbStorage(disk, speed, wanted.serial, self._aside)
        medium = None if wanted.path is None else open_disk(wanted.path, readonly=True)
        return UsbStorage(ScsiCdrom(medium, usb_name(wanted.socket)), speed, "", self._aside)


def _replace(row: list[Any], old: object, new: object) -> None:
    """Have ``new`` where exactly ``old`` is in a list, if it is."""
    for number, each in enumerate(row):
        if each is old:
            row[number] = new
