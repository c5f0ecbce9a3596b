"""The bus between local APICs, I/O APICs, and the interrupt controllers of a PC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bimetal.devices.irq.apic.interrupts import Delivery, Interrupt, Processors

if TYPE_CHECKING:
    from bimetal.devices.irq.apic.local import LocalApic

__all__ = ["ApicBus", "Legacy", "TakesEnds"]


class Legacy(Protocol):
    """The interrupt controllers of a PC, the ones before APICs."""

    def acknowledge(self) -> int:
        """Take the most urgent interrupt; its vector."""


class TakesEnds(Protocol):
    """What sends level-triggered interrupts."""

    def end(self, vector: int) -> None:
        """A level-triggered interrupt of that vector was served."""


class Unconnected:
    """CPUs that nobody has connected yet."""

    def init(self, cpu: int) -> None:
        """See `Processors.init`."""

    def start(self, cpu: int, page: int) -> None:
        """See `Processors.start`."""

    def nmi(self, cpu: int) -> None:
        """See `Processors.nmi`."""


class ApicBus:
    """Carries interrupts to those local APICs that are meant, at once."""

    def __init__(self) -> None:
        self.locals: list[LocalApic] = []
        self.senders: list[TakesEnds] = []
        self.legacy: Legacy | None = None
        """The interrupt controllers of a PC, if there are such."""
        self.processors: Processors = Unconnected()

    def add(self, local: LocalApic) -> None:
        """Connect the local APIC of the next CPU."""
        self.locals.append(local)

    def send(self, interrupt: Interrupt) -> None:
        """Deliver an interrupt to its destination."""
        destination, logical = interrupt.destination, interrupt.logical
        meant = [each for each in self.locals if each.is_meant(destination, logical)]
        if interrupt.delivery == Delivery.LOWEST:
            ready = [each for each in meant if each.enabled]
            meant = sorted(ready, key=lambda each: each.priority)[:1]
        for each in meant:
            each.receive(interrupt)

    def broadcast(self, interrupt: Interrupt, sender: LocalApic | None) -> None:
        """Deliver an interrupt to all, but to its ``sender``."""
        for each in self.locals:
            if each is not sender:
                each.receive(interrupt)

    def end(self, vector: int) -> None:
        """A level-triggered interrupt was served: tell those that may have sent it."""
        for each in self.senders:
            each.end(vector)
