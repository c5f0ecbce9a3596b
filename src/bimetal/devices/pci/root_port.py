"""A root port with a slot in which a function is plugged, and unplugged, while the machine runs.

Nobody pulls a function out of it: who wants it back presses the slot's attention button, software
finishes its work with the function and switches the slot's power off, and only then is it let go.

Source: PCI Express Base Specification 5.0, sections 6.7 and 7.5.3.
"""

from __future__ import annotations

from typing import ClassVar

from bimetal.devices.output import Out
from bimetal.devices.pci.bridge import Bridge
from bimetal.devices.pci.capabilities import LINK, ExpressCapability
from bimetal.devices.pci.function import Function, Identity
from bimetal.devices.pci.messages import Msi
from bimetal.devices.register import Reg, Value

__all__ = ["RootPort"]

ROOT_PORT = Identity(0x1B36, 0x000C, 0x06_0400)
"""QEMU's root port, which stock systems know."""
INTA = 1
SLOT = 1 << 8
ACTIVE_REPORTED, ACTIVE = 1 << 20, 1 << 13
"""That a link tells whether it is up, and that it is."""
BUTTON, POWER, POWER_LAMP, HOT_PLUG, NO_COMPLETION = 1 << 0, 1 << 1, 1 << 4, 1 << 6, 1 << 18
"""What the slot has: a button, a power controller and its lamp; it obeys at once."""
NUMBER = 19
PRESSED, PRESENCE_CHANGED, PRESENT, LINK_CHANGED = 1 << 0, 1 << 3, 1 << 6, 1 << 8
EVENTS = PRESSED | PRESENCE_CHANGED | LINK_CHANGED
OFF = 1 << 10


class SlotCapability(ExpressCapability):
    """PCI Express of a root port whose slot has the number ``number``."""

    port_type = 4

    SLOT_CAPABILITIES = Reg(0x14, 4, writable=0)
    SLOT_CONTROL = Reg(
        0x18, 2, writable=0x1FFF, BUTTON=0, PRESENCE=3, INTERRUPT=5, POWER_OFF=10, LINK=12
    )
    SLOT_STATUS = Reg(0x1A, 2, writable=0)
    ROOT_CONTROL = Reg(0x1C, 2, writable=0x1F)
    ROOT_CAPABILITIES = Reg(0x1E, 2, writable=0)
    ROOT_STATUS = Reg(0x20, 4, writable=0)

    saved = ("happened",)
    fixed = ("_port", "_number")

    def __init__(self, port: RootPort, number: int):
        self._port, self._number = port, number
        self.happened = 0
        """The events that software has not acknowledged, as bits of the status."""
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.happened = 0
        self.FLAGS |= SLOT
        self.LINK_CAPABILITIES = LINK | ACTIVE_REPORTED
        has = BUTTON | POWER | POWER_LAMP | HOT_PLUG | NO_COMPLETION
        self.SLOT_CAPABILITIES = has | self._number << NUMBER

    @property
    def powered(self) -> bool:
        """Whether software has not switched the slot off."""
        return not self.SLOT_CONTROL.POWER_OFF

    def happen(self, events: int) -> None:
        """Note events of the slot, and interrupt if software wants to hear of them."""
        self.happened |= events
        self._port.tell()

    @property
    def wanted(self) -> bool:
        """Whether something happened of which software wants to hear."""
        control = self.SLOT_CONTROL
        enabled = control.BUTTON * PRESSED | control.PRESENCE * PRESENCE_CHANGED
        enabled |= control.LINK * LINK_CHANGED
        return bool(control.INTERRUPT and self.happened & enabled)

    def r_LINK_STATUS(self) -> int:
        return LINK | (ACTIVE if self._port.link else 0)

    def r_SLOT_STATUS(self) -> int:
        return self.happened | (PRESENT if self._port.occupied else 0)

    def k_SLOT_STATUS(self) -> int:
        return 0

    def w_SLOT_STATUS(self, written: Value) -> None:
        self.happened &= ~(written & EVENTS)
        self._port.tell()

    def w_SLOT_CONTROL(self, written: Value) -> None:
        self._port.powered()
        self._port.tell()


class RootPort(Bridge):
    """A root port whose slot has the number ``number``. ``ejected`` tells that software has let go
    of the function that it was asked for."""

    kind = "pci_port"
    saved: ClassVar[tuple[str, ...]] = ("link", "off", "leaving", "wanting")
    fixed: ClassVar[tuple[str, ...]] = ("_slot_capability", "_msi")

    ejected = Out(Function, doc="the function that was in the slot")

    def __init__(self, number: int):
        self.link = self.off = self.leaving = self.wanting = False
        super().__init__(ROOT_PORT, INTA)
        self._slot_capability = SlotCapability(self, number)
        self.add_capability(self._slot_capability)
        self._msi = Msi(self.send)
        self.add_capability(self._msi)

    @property
    def function(self) -> Function | None:
        """What is plugged in."""
        return self.behind.at(0)

    @property
    def occupied(self) -> bool:
        """Whether something is."""
        return self.function is not None

    def put(self, function: Function) -> None:
        """Put ``function`` into the slot, and do not tell software. ValueError if it is taken."""
        self.behind.add(function, 0)

    def remove(self) -> None:
        """Take what is in the slot out of it, of which software is not told."""
        if (function := self.function) is not None:
            function.reset()
            self.behind.remove(function)
            self.ejected(function)

    def plug(self, function: Function) -> None:
        """Put ``function`` into the slot, as somebody does. ValueError if it is taken."""
        self.put(function)
        self.arrived()

    def arrived(self) -> None:
        """Tell software of what was put into the slot."""
        self.leaving = False
        # Software switches an empty slot off, and where there is a button listens for no presence,
        # but for the link: so a function that arrives has power, and its link comes up.
        self.link = True
        self._slot_capability.happen(PRESENCE_CHANGED | LINK_CHANGED)
        self.moved(self)

    @property
    def unnoticed(self) -> bool:
        """Whether something is plugged in and software has the slot switched off all the same."""
        return self.occupied and self.off

    def announce(self) -> None:
        """Say once more that something is plugged in: Linux ignores all that happens in the second
        after it has switched a slot off."""
        self._slot_capability.happen(PRESENCE_CHANGED | LINK_CHANGED)

    def press(self) -> None:
        """Press the attention button: ask software to let go of what is in the slot."""
        self.leaving = self.occupied
        self._slot_capability.happen(PRESSED)

    def pull(self) -> None:
        """Take the function out of the slot, whatever software is doing with it."""
        if not self.occupied:
            return
        self.link = self.leaving = False
        self.remove()
        self._slot_capability.happen(PRESENCE_CHANGED | LINK_CHANGED)

    def powered(self) -> None:
        """Software has perhaps switched the slot on or off."""
        off = not self._slot_capability.powered
        if off == self.off:
            return
        self.off = off
        up = self.occupied and not off
        if up == self.link:
            return
        self.link = up
        if up:
            self._slot_capability.happen(LINK_CHANGED)
        else:
            self.reset_behind()
            self._slot_capability.happen(LINK_CHANGED)
            if self.leaving:
                self.pull()
        self.moved(self)

    def tell(self) -> None:
        """Interrupt if there is something to tell: by a message once, by the pin as long as so."""
        wanted = self._slot_capability.wanted
        if self._msi.enabled:
            if wanted and not self.wanting:
                self._msi.trigger()
        else:
            self.interrupt(wanted)
        self.wanting = wanted

    def leads_to(self, number: int) -> bool:
        return self.link and super().leads_to(number)

    def reset(self) -> None:
        super().reset()
        self.link, self.off, self.wanting = self.occupied, False, False
        if self.leaving:
            self.pull()
