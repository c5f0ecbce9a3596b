"""The generic host bridge: configuration space of all buses in memory (ECAM), and what passes
between the machine and the root bus.

Sources: PCI Express Base Specification 5.0, 7.2.2; Linux kernel,
Documentation/devicetree/bindings/pci/host-generic-pci.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bimetal.devices.device import Device, Property
from bimetal.devices.irq.messages import Message
from bimetal.devices.output import Out, Outs
from bimetal.devices.pci.bar import Decoded, Kind, Window
from bimetal.devices.pci.bus import PINS, PciBus
from bimetal.devices.pci.config import CONFIG_SIZE
from bimetal.devices.pci.function import Endpoint, Function, Identity
from bimetal.memory.access import Access

__all__ = ["BUSES", "EcamHost", "HostBridge"]

BUSES = 256
PER_BUS = 256
BRIDGE = Identity(0x1B36, 0x0008, 0x06_0000, subsystem_vendor=0x1AF4, subsystem=0x1100)
"""QEMU's generic host bridge, which stock systems know."""


class HostBridge(Endpoint):
    """The host bridge as the root bus shows it: function 0 of slot 0, which does nothing."""

    kind = "pci_host"

    def __init__(self) -> None:
        super().__init__(BRIDGE)


class EcamHost(Device):
    """Configuration space of ``buses`` buses; below it is the root ``bus``.

    ``windows`` are kinds, first addresses on the bus and sizes of what it forwards. Where there is
    no function, all bits read as ones.
    """

    kind = node_name = "pcie"
    compatible = ("pci-host-ecam-generic",)
    access = Access(sizes=(1, 2, 4, 8), width=4)

    fixed = ("buses", "windows", "bus")
    derived = ("_now",)

    intx = Outs(PINS, doc="INTA to INTD, shared by all functions")
    message = Out(Message, doc="message-signalled interrupts of all functions")
    decoded = Out(tuple, doc="where functions answer in the windows, as `Decoded`")

    def __init__(self, windows: Sequence[tuple[Kind, int, int]], buses: int = BUSES):
        self.buses, self.mmio_size = buses, buses * PER_BUS * CONFIG_SIZE
        self.windows = tuple(
            Window(index, kind, base, base, base + size - 1)
            for index, (kind, base, size) in enumerate(windows)
        )
        super().__init__()
        self._now: tuple[Decoded, ...] = ()
        self.bus = PciBus(self)

    def properties(self) -> Mapping[str, Property]:
        return {
            "device_type": "pci",
            "#address-cells": 3,
            "#size-cells": 2,
            "#interrupt-cells": 1,
            "bus-range": (0, self.buses - 1),
            "linux,pci-domain": 0,
            "dma-coherent": None,
        }

    # Configuration

    def read(self, offset: int, size: int) -> int:
        function = self._function(offset)
        if function is None:
            return (1 << 8 * size) - 1
        return function.read(offset % CONFIG_SIZE, size)

    def write(self, offset: int, size: int, value: int) -> None:
        function = self._function(offset)
        if function is not None:
            function.write(offset % CONFIG_SIZE, size, value)

    def _function(self, offset: int) -> Function | None:
        number, place = divmod(offset // CONFIG_SIZE, PER_BUS)
        bus = self.bus.find(number)
        return None if bus is None else bus.at(place)

    # See Upstream

    def bus_number(self) -> int:
        return 0

    def drive(self, source: Function, pin: int, level: bool) -> None:
        others = any(
            routed == pin and function is not source for function, routed in self.bus.high()
        )
        if not level:
            self.intx[pin](others)
        elif others or not self.intx[pin].high:
            self.intx[pin](True)

    def renew(self, pin: int) -> None:
        self.intx[pin](True)

    def pass_message(self, message: Message) -> None:
        self.message(message)

    def pass_moved(self) -> None:
        """Tell the machine what is decoded now, of ranges that overlap the first."""
        taken: list[Decoded] = []
        for each in self.bus.decoded(self.windows):
            if any(_overlap(each, other) for other in taken):
                self.guest_error("two functions were given the same addresses")
            else:
                taken.append(each)
        if tuple(taken) != self._now:
            self._now = tuple(taken)
            self.decoded(self._now)

    def restored(self) -> None:
        self.pass_moved()


def _overlap(one: Decoded, other: Decoded) -> bool:
    return (
        one.window == other.window
        and one.offset < other.offset + other.size
        and other.offset < one.offset + one.size
    )
