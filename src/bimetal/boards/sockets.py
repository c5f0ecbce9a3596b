"""Slots for devices that come and go: those of PCI Express root ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Timer
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.boards.virtio.disks import disk_device
from bimetal.devices.pci.function import Function
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.pci.root_port import RootPort
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.net import VirtioNet
from bimetal.devices.virtio.pci import VirtioPci
from bimetal.machine.cables import open_nic
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Disk
from bimetal.machine.nics import Nic
from bimetal.machine.placements import Placement
from bimetal.machine.sockets import Plugged
from bimetal.machine.wanted import RootPortAt

__all__ = ["PortSockets", "put_ports"]

FIRST_REMINDER, LAST_REMINDER = 10**9, 32 * 10**9
"""Nanoseconds after which a guest that has not noticed a device is told of it again."""


def put_ports(m: Chassis, host: EcamHost, places: Sequence[RootPortAt]) -> None:
    """Put root ports at ``places`` on the root bus of ``host``. Raises `BimetalError` if one is
    taken."""
    ports = [RootPort(number) for number in range(1, len(places) + 1)]
    for port, place in zip(ports, places, strict=True):
        try:
            m.add_function(host, port, slot=place.slot, number=place.function)
        except ValueError as error:
            raise BimetalError(
                f"no root port can be at {place.slot:#x}.{place.function}: {error}",
                "give each its own place, the first function of a slot before others",
                ExitCode.USAGE,
            ) from error
    m.sockets = PortSockets(m, ports)


class PortSockets:
    """See `Sockets`: the slots of ``ports``, which are numbered from 1. What is in slot N is called
    ``virtio_pci@portN``."""

    def __init__(self, m: Chassis, ports: Sequence[RootPort]):
        self._space, self._defer, self._placements = m.space, m.defer, m.placements
        self._config, self._aside, self._failed = m.config, m.aside, m.failed
        self._clock, self._ports = m.clock, ports
        self._reminders: dict[RootPort, Timer] = {}
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._given: dict[int, Plugged] = {}
        for port in ports:
            port.ejected.connect(self._gone)

    def check_free(self) -> None:
        if all(port.occupied for port in self._ports):
            raise BimetalError(
                f"all {len(self._ports)} slots are taken",
                "unplug a device, or give the board more of them, as in ports=4",
                ExitCode.USAGE,
            )

    def plugged(self) -> list[Plugged]:
        return [given for _, given in sorted(self._given.items())]

    def become(self, plugged: Sequence[Plugged], reactor: Reactor) -> None:
        for number, given in list(self._given.items()):
            if given not in plugged:
                self._ports[number - 1].remove()
        for new in plugged:
            if not 0 < new.slot <= len(self._ports) or (new.disk is None) is (new.nic is None):
                raise ValueError(f"there is no slot {new.slot} for that")
            if new not in self._given.values():
                self._put(new, self._made(new, reactor))
        for port in self._ports:
            self._remind(port, FIRST_REMINDER)

    def plug_disk(self, disk: Disk, slot: int = 0) -> str:
        return self._plug(Plugged(self._free(slot), disk=disk), None)

    def plug_nic(self, nic: Nic, mac: bytes, reactor: Reactor, slot: int = 0) -> str:
        return self._plug(Plugged(self._free(slot), nic=nic, mac=mac), reactor)

    def build_in(self, function: Function, slot: int) -> None:
        number = self._free(slot)
        self._insert(function, number)
        self._ports[number - 1].reset()  # it finds its link up

    def readdress(self, mac: bytes, fresh: bytes) -> None:
        for slot, given in self._given.items():
            if given.mac == mac:
                self._given[slot] = replace(given, mac=fresh)

    def moved(self, slot: int, disk: Disk) -> None:
        self._given[slot] = replace(self._given[slot], disk=disk)

    def _free(self, slot: int = 0) -> int:
        """The number of a slot that is free: that one, or, for 0, the first."""
        if slot:
            if slot > len(self._ports) or self._ports[slot - 1].occupied:
                raise BimetalError(
                    f"there is no free slot {slot}", "choose another one", ExitCode.USAGE
                )
            return slot
        self.check_free()
        return next(n for n, port in enumerate(self._ports, start=1) if not port.occupied)

    def _made(self, new: Plugged, reactor: Reactor | None) -> VirtioDevice:
        if new.disk is not None:
            return disk_device(new.disk, self._config, self._clock, self._aside, self._failed)
        nic, mac = new.nic, new.mac
        if nic is None or mac is None or reactor is None:
            raise ValueError("a NIC without an address")
        network = open_nic(nic, len(self._placements))
        network.attach(reactor)
        return VirtioNet(network, mac, pairs=nic.queues, mtu=nic.mtu, speed=nic.speed)

    def _put(self, new: Plugged, device: VirtioDevice) -> str:
        name = self._insert(VirtioPci(device, self._space, self._defer), new.slot)
        self._given[new.slot] = new
        return name

    def _insert(self, function: Function, slot: int) -> str:
        function.rename(f"{function.kind}@port{slot}")
        function.check_state()
        self._placements.add(Placement(function, slot, {}, on_bus=True))
        self._ports[slot - 1].put(function)
        return function.name

    def _plug(self, new: Plugged, reactor: Reactor | None) -> str:
        name = self._put(new, self._made(new, reactor))
        port = self._ports[new.slot - 1]
        port.arrived()
        self._remind(port, FIRST_REMINDER)
        return name

    def _remind(self, port: RootPort, wait: int) -> None:
        """See after ``wait`` nanoseconds whether the guest has noticed, and tell it again if not;
        then wait longer."""

        def look() -> None:
            if port.unnoticed:
                port.announce()
                if wait < LAST_REMINDER:
                    self._remind(port, 2 * wait)

        if port in self._reminders:
            self._reminders[port].cancel()
        timer = self._reminders[port] = self._clock.timer(look)
        timer.arm(self._clock.now_ns() + wait)

    def unplug(self, name: str, gone: Callable[[], None], *, force: bool) -> None:
        for port in self._ports:
            function = port.function
            if function is not None and function.name == name:
                self._waiting.setdefault(name, []).append(gone)
                if force:
                    port.pull()
                else:
                    port.press()
                return
        raise KeyError(f"no slot has a device {name!r}")

    def _gone(self, function: Function) -> None:
        slot = next(at.at for at in self._placements if at.device is function)
        self._given.pop(slot, None)
        self._placements.remove(function)
        function.close()
        for tell in self._waiting.pop(function.name, []):
            tell()
