"""The controller as a function of PCI Express (xHCI 1.1, section 5.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bimetal.base.clock import Clock
from bimetal.devices.pci.bar import Bar
from bimetal.devices.pci.capabilities import (
    EndpointCapability,
    IntegratedCapability,
    PowerManagement,
)
from bimetal.devices.pci.function import Endpoint, Identity
from bimetal.devices.pci.messages import Msi, add_msix
from bimetal.devices.register import Reg
from bimetal.devices.usb.route import socket_text
from bimetal.devices.usb.xhci.capabilities import INTERRUPTERS
from bimetal.devices.usb.xhci.controller import Controller
from bimetal.memory.contents import Area, Stored
from bimetal.memory.space import AddressSpace

__all__ = ["MODELS", "Xhci"]

XHCI = 0x0C_0330
MODELS = {
    "qemu-xhci": Identity(0x1B36, 0x000D, XHCI, 1, 0x1AF4, 0x1100),
    "nec-usb-xhci": Identity(0x1033, 0x0194, XHCI, 3, 0x1AF4, 0x1100),
}
"""The controllers that stock systems know, by QEMU's names for them."""
INTA = 1
REGISTERS_BAR, TABLE_BAR = 0, 2
MSI_AT, MSIX_AT, POWER_AT, EXPRESS_AT = 0x40, 0x70, 0x7C, 0x88


class Xhci(Endpoint):
    """A host controller of a ``model``, ``integrated`` in the root complex or behind a port. Its
    interrupts are messages, or else the pin. The other parameters are those of `Controller`."""

    kind = "xhci"
    saved = ("controller",)
    fixed = ("_power", "_table", "_msi")

    RELEASE = Reg(0x60, 1, writable=0, reset=0x30, doc="USB 3.0")
    FRAME_LENGTH = Reg(0x61, 1, reset=0x20)
    LATENCY_BESL = Reg(0x62, 1, writable=0)

    def __init__(
        self,
        space: AddressSpace,
        clock: Clock,
        defer: Callable[[Callable[[], None]], None] | None = None,
        *,
        slow: int,
        fast: int,
        model: str = "qemu-xhci",
        integrated: bool = False,
    ):
        self.controller = Controller(space, clock, slow, fast, defer)
        super().__init__(MODELS[model], INTA)
        self.controller.events = self.events
        self.controller.interrupt.connect(self._interrupted)
        self._msi = Msi(self.send)
        self.add_capability(self._msi, MSI_AT)
        self._table = add_msix(self, INTERRUPTERS, TABLE_BAR, MSIX_AT)
        self._power = PowerManagement(lambda: self.moved(self))
        self.add_capability(self._power, POWER_AT)
        express = IntegratedCapability if integrated else EndpointCapability
        self.add_capability(express(self.reset), EXPRESS_AT)
        self.add_bar(REGISTERS_BAR, Bar(self.controller, self.controller.mmio_size, wide=True))
        self.add_bar(TABLE_BAR, Bar(self._table, 0x1000))

    def rename(self, name: str) -> None:
        super().rename(name)
        self.controller.name, self._table.name = f"{name}.registers", f"{name}.msix"

    def parts(self) -> Iterable[object]:
        return tuple(self.controller.everything().values())

    @property
    def awake(self) -> bool:
        return self._power.awake

    def _interrupted(self, number: int) -> None:
        """An interrupter has something to tell, or has nothing any more."""
        wants = self.controller.wants(number)
        if self._table.enabled or self._msi.enabled:
            if wants:
                self.controller.delivered(number)
                if self._table.enabled:
                    self._table.trigger(number)
                else:
                    self._msi.trigger()
        else:
            self.interrupt(any(map(self.controller.wants, range(INTERRUPTERS))))

    def reset(self) -> None:
        super().reset()
        self.controller.reset()

    # See Part

    def close(self) -> None:
        for device in self.controller.everything().values():
            device.close()

    def settle(self) -> None:
        for device in self.controller.everything().values():
            device.settle()

    @property
    def renews(self) -> bool:
        return any(device.renews for device in self.controller.everything().values())

    def forked(self) -> None:
        for device in self.controller.everything().values():
            device.forked()

    def come_here(self) -> None:
        for device in self.controller.everything().values():
            device.come_here()

    def stack(self) -> None:
        for device in self.controller.everything().values():
            device.stack()

    def let_go(self) -> None:
        for device in self.controller.everything().values():
            device.let_go()

    def check_forkable(self) -> None:
        for device in self.controller.everything().values():
            device.check_forkable()

    def areas(self) -> Mapping[str, Area]:
        return {
            f"{socket_text(place)}.{name}": area
            for place, device in self.controller.everything().items()
            for name, area in device.areas().items()
        }

    def stored(self) -> Iterable[Stored]:
        return [
            each for device in self.controller.everything().values() for each in device.stored()
        ]
