"""Where devices are: on the root bus of PCI Express, behind a root port, or on another bus."""

from __future__ import annotations

import re

from bimetal.base.errors import BimetalError
from bimetal.control.emulator.drivers import Driver
from bimetal.control.emulator.grammar import Words, wrong
from bimetal.machine.machine import Machine
from bimetal.machine.usb import socket_of

__all__ = ["Slots"]

ROOT_BUSES = ("", "pcie.0")
_ADDRESS = re.compile(r"(?:0x)?([0-9a-fA-F]{1,2})(?:\.(?:0x)?([0-7]))?")


class Slots:
    """The places of a machine's devices. ``buses`` are those that controllers have, by kind, and
    ``count`` is the number of root ports."""

    def __init__(self) -> None:
        self.buses: dict[str, str] = {}
        self.count = 0
        self._ports: dict[str, int] = {}

    def add_port(self, machine: Machine, words: Words) -> int:
        """Put a root port where it is wanted; its number."""
        name = words.peek("id")
        if words.text("bus") not in ROOT_BUSES:
            raise wrong(words.option, "a root port is on the root bus", "write bus=pcie.0")
        place = _address(words)
        if place is None:
            raise wrong(words.option, "there is no addr", "add addr=")
        words.switch("multifunction")  # which follows from what is beside it
        self.count = self._ports[name] = machine.root_port(*place)
        return self.count

    def place(self, machine: Machine, driver: Driver, words: Words, name: str) -> int:
        """Put the device ``name`` of the machine where it is wanted. Behind a root port, the number
        of that is returned, and who plugs it in puts disks and NICs there; else 0."""
        bus = words.text("bus")
        if not driver.pci:
            if bus:
                raise wrong(words.option, f"there is no bus {bus[:80]!r}", "leave it away")
            return 0
        place = _address(words)
        words.switch("multifunction")
        words.only("romfile", "")
        if bus in ROOT_BUSES:
            if place is not None:
                machine.place(name, slot=place[0], function=place[1])
            return 0
        port = self._ports.get(bus)
        if port is None:
            raise wrong(words.option, f"there is no bus {bus[:80]!r}", "say -device pcie-root-port")
        if place not in (None, (0, 0)):
            raise wrong(words.option, "a root port has one slot", "write addr=0")
        if not name.startswith(("disk", "nic")):
            machine.place(name, port=port)
        return port

    def check_bus(self, kind: str, words: Words) -> None:
        """Raise `BimetalError` for a bus that is not that of the controller of that kind."""
        bus = words.text("bus")
        if bus and bus != self.buses.get(kind):
            raise wrong(
                words.option, f"there is no bus {bus[:80]!r}", f"say -device virtio-{kind}-pci,id="
            )
        if kind == "scsi":
            words.only("channel", "0")
            words.ignore("scsi-id", "lun", "device_id")

    def socket(self, words: Words) -> int:
        """The number of the USB socket that a device is to be in, 0 for any."""
        bus, port = words.text("bus"), words.text("port")
        if bus and bus != self.buses.get("usb", "usb-bus.0"):
            raise wrong(words.option, f"there is no bus {bus[:80]!r}", "say -device qemu-xhci,id=")
        try:
            return socket_of(port)
        except BimetalError as error:
            raise wrong(
                words.option, f"port={port[:80]} is not right", "write port=1, or behind hubs 1.2"
            ) from error


def _address(words: Words) -> tuple[int, int] | None:
    """Slot and function; None if they are not said."""
    text = words.text("addr")
    if not text:
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise wrong(words.option, f"addr={text[:80]} is not right", "write addr=0xSLOT.0xFUNCTION")
    return int(match[1], 16), int(match[2] or "0", 16)
