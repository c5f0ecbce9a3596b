"""PCI Express on boards that have QEMU's generic host bridge: its windows, and its node in a device
tree.

Source of the properties: Open Firmware, PCI Bus Binding 2.1, and the Linux kernel's
host-generic-pci.yaml and msi.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bimetal.boards.nodes import device_node
from bimetal.devices.irq.pin import Pin
from bimetal.devices.output import Line
from bimetal.devices.pci.bar import Kind
from bimetal.devices.pci.bus import PINS
from bimetal.devices.pci.host import EcamHost, HostBridge
from bimetal.firmware.devicetree import Node, cells
from bimetal.machine.chassis import Chassis
from bimetal.machine.placements import Placement

__all__ = ["PciLayout", "PciWindow", "add_pci", "intx_pins", "pci_node"]

SPACES = {Kind.IO: 0x0100_0000, Kind.MEMORY: 0x0200_0000}
WIDE = 0x0300_0000
"""How addresses of the bus begin in a tree: ports, memory of 32 and of 64 bits."""
SLOT = 0x800
REQUESTERS = 0x1_0000


class PciWindow(Struct, frozen=True):
    """``size`` bytes of the bus from ``first`` on that CPUs see at ``at``."""

    kind: Kind
    first: int
    at: int
    size: int

    @property
    def range(self) -> tuple[int, ...]:
        """The window as ``ranges`` tells of it."""
        space = WIDE if self.first >> 32 else SPACES[self.kind]
        return (space, *cells(self.first, self.at, self.size))


class PciLayout(Struct, frozen=True):
    """Where a board has its configuration space, and its windows."""

    at: int
    windows: tuple[PciWindow, ...]


def add_pci(m: Chassis, layout: PciLayout, lines: Sequence[Line]) -> EcamHost:
    """The host bridge, whose INTA to INTD lead to ``lines``."""
    host = EcamHost([(each.kind, each.first, each.size) for each in layout.windows])
    m.add_host(host, at=layout.at, windows=[each.at for each in layout.windows], intx=lines)
    m.add_function(host, HostBridge(), slot=0)
    return host


def intx_pins(placement: Placement) -> list[Pin]:
    """The inputs of an interrupt controller to which INTA to INTD of a host bridge lead."""
    wires = placement.wires["intx"]
    return [wire for wire in wires if isinstance(wire, Pin)] if isinstance(wires, Sequence) else []


def pci_node(
    placement: Placement,
    layout: PciLayout,
    name: str,
    interrupts: Sequence[Sequence[int | Node]],
    messages: Node | None = None,
) -> Node:
    """The host bridge's node. ``interrupts`` tell INTA to INTD, each as the parent's reference and
    the cells that follow; ``messages`` is the controller that takes messages."""
    node = device_node(placement)
    node.name = name
    node["ranges"] = tuple(cell for each in layout.windows for cell in each.range)
    node["interrupt-map-mask"] = ((PINS - 1) * SLOT, 0, 0, 7)
    node["interrupt-map"] = tuple(
        cell
        for slot in range(PINS)
        for pin in range(PINS)
        for cell in (slot * SLOT, 0, 0, pin + 1, *interrupts[(slot + pin) % PINS])
    )
    if messages is not None:
        node["msi-map"] = (0, messages, 0, REQUESTERS)
    return node
