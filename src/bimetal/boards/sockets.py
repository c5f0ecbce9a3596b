"""Slots for devices that come and go: those of PCI Express root ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Timer
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.boards.slots import disk_device, open_nic
from bimetal.devices.pci.function import Function
from bimetal.devices.pci.host import EcamHost
from bimetal.devices.pci.root_port import RootPort
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.net import VirtioNet
from bimetal.devices.virtio.pci import VirtioPci
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Disk
from bimetal.machine.nics import Nic
from bimetal.machine.placements import Placement

__all__ = ["PORTS", "PortSockets", "add_ports"]

PORTS = tuple(str(number) for number in range(9))
"""Values of a board's option ``ports``: how many slots there are for hot plug."""
LAST_SLOT = 31
FIRST_REMINDER, LAST_REMINDER = 10**9, 32 * 10**9
"""Nanoseconds after which a guest that has not noticed a device is told of it again."""


def add_ports(m: Chassis, host: EcamHost) -> None:
    """Put the root ports that the option ``ports`` asks for on the root bus of ``host``, from its
    last slot on downwards."""
    count = int(m.config.options.get("ports", "0"))
    ports = [RootPort(number) for number in range(1, count + 1)]
    for number, port in enumerate(ports):
        m.add_function(host, port, slot=LAST_SLOT - number)
    if ports:
        m.sockets = PortSockets(m, ports)


class PortSockets:
    """See `Sockets`: the slots of ``ports``, which are numbered from 1. What is in slot N is called
    ``virtio_pci@portN``."""

    def __init__(self, m: Chassis, ports: Sequence[RootPort]):
        self._space, self._defer, self._placements = m.space, m.defer, m.placements
        self._clock, self._ports = m.clock, ports
        self._reminders: dict[RootPort, Timer] = {}
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        for port in ports:
            port.ejected.connect(self._gone)

    def check_free(self) -> None:
        if all(port.occupied for port in self._ports):
            raise BimetalError(
                f"all {len(self._ports)} slots are taken",
                "unplug a device, or give the board more of them, as in ports=4",
                ExitCode.USAGE,
            )

    def plugged(self) -> list[str]:
        return [port.function.name for port in self._ports if port.function is not None]

    def plug_disk(self, disk: Disk) -> str:
        self.check_free()
        return self._plug(disk_device(disk, self._clock))

    def plug_nic(self, nic: Nic, mac: bytes, reactor: Reactor) -> str:
        self.check_free()
        network = open_nic(nic, len(self._placements))
        network.attach(reactor)
        device = VirtioNet(network, mac, pairs=nic.queues, mtu=nic.mtu, speed=nic.speed)
        return self._plug(device)

    def _plug(self, device: VirtioDevice) -> str:
        number, port = next(
            (number, port) for number, port in enumerate(self._ports, start=1) if not port.occupied
        )
        function = VirtioPci(device, self._space, self._defer)
        function.rename(f"{function.kind}@port{number}")
        function.check_state()
        self._placements.add(Placement(function, number, {}, on_bus=True))
        port.plug(function)
        self._remind(port, FIRST_REMINDER)
        return function.name

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
        self._placements.remove(function)
        function.close()
        for tell in self._waiting.pop(function.name, []):
            tell()
