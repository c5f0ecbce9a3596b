"""The virtual machine generation ID: a number that is another in each copy of a machine.

A guest that finds it changed knows that it was restored, or that it is one of several copies, and
takes its random numbers from fresh ones. Sources: Microsoft, "Virtual Machine Generation ID"
(2012); Linux kernel, Documentation/devicetree/bindings/rng/microsoft,vmgenid.yaml.
"""

from __future__ import annotations

import os

from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.memory.access import Access

__all__ = ["VmGenId"]

SIZE = 16


class VmGenId(Device):
    """16 random bytes at the start of a page; ``irq`` goes up for a moment when they change."""

    kind = "vmgenid"
    node_name = "rng"
    compatible = ("microsoft,vmgenid",)
    access = Access(sizes=(1, 2, 4, 8))
    saved = ("identity",)

    irq = Out(doc="an edge: there is nothing to acknowledge")

    def __init__(self) -> None:
        self.identity = os.urandom(SIZE)
        super().__init__()

    def become_another(self) -> None:
        """The machine is another from now on."""
        self.identity = os.urandom(SIZE)
        self.irq(True)
        self.irq(False)

    def forked(self) -> None:
        self.become_another()

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.identity[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.guest_error("write to the generation ID")
