"""Interrupts on their way from whoever sends them to local APICs, which choose whether they are
meant (SDM volume 3, "Determining IPI Destination")."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol

__all__ = ["EVERYBODY", "Delivery", "Interrupt", "Processors", "from_message"]

EVERYBODY = 0xFFFF_FFFF
"""The destination that all local APICs are meant by."""
EVERYBODY_OF_8_BITS = 0xFF


class Delivery(IntEnum):
    """What a local APIC does with an interrupt that has arrived ("Delivery Mode")."""

    FIXED = 0
    LOWEST = 1
    SMI = 2
    NMI = 4
    INIT = 5
    START = 6
    EXTERNAL = 7


class Interrupt(NamedTuple):
    """One under way. ``destination`` is the number of a local APIC, or, if ``logical``, a set of
    them; ``level`` says that its end is to be told to who sent it."""

    vector: int
    delivery: int = Delivery.FIXED
    destination: int = EVERYBODY
    logical: bool = False
    level: bool = False


class Processors(Protocol):
    """What local APICs do to CPUs, besides interrupting them; all by the CPU's number."""

    def init(self, cpu: int) -> None:
        """Reset a CPU, which then waits to be started."""

    def start(self, cpu: int, page: int) -> None:
        """Start a CPU that waits, in real mode in the page of that number."""

    def nmi(self, cpu: int) -> None:
        """Interrupt a CPU by what cannot be masked."""


def from_message(offset: int, word: int) -> Interrupt:
    """The interrupt of a message-signalled write of ``word`` at ``offset`` from the lowest address
    of local APICs ("Message Signalled Interrupts")."""
    destination = offset >> 12 & 0xFF
    return Interrupt(
        word & 0xFF,
        word >> 8 & 7,
        EVERYBODY if destination == EVERYBODY_OF_8_BITS else destination,
        bool(offset & 1 << 2),
        bool(word & 1 << 15),
    )
