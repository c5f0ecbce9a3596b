"""A PCI Express host bridge: where its configuration space is (MCFG), and its device in the DSDT.

Sources: PCI Firmware Specification 3.3, sections 4.1.2 and 4.5; ACPI Specification 6.5, sections
6.2.13 and 6.5.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from msgspec import Struct

from bimetal.firmware.acpi import aml
from bimetal.firmware.acpi.devices import AcpiDevice
from bimetal.firmware.acpi.table import Table

__all__ = ["PciHost", "PciRange", "configuration_table", "host_device"]

CAPABILITIES = "33db4d5b-1ff7-401c-9657-7441c03dd766"
"""What ``_OSC`` of a host bridge is asked about."""
HOT_PLUG, EVENTS, STRUCTURE = 1 << 0, 1 << 2, 1 << 4
GRANTED = HOT_PLUG | EVENTS | STRUCTURE
"""What the operating system may control itself: hot plug, power management events, and the
capability by which both are told."""
UNKNOWN_IDENTIFIER, UNKNOWN_REVISION, MASKED = 1 << 2, 1 << 3, 1 << 4
BUS_SIZE = 1 << 20
SLOTS, PINS = 32, 4


class PciRange(Struct, frozen=True):
    """``size`` bytes from ``first`` on of the bus, ports or memory, which CPUs see at ``at``."""

    ports: bool
    first: int
    at: int
    size: int

    def resource(self) -> bytes:
        """The range as a resource that the bridge hands on."""
        last, moved = self.first + self.size - 1, self.at - self.first
        if self.ports:
            return aml.address_space(aml.IO, self.first, last, moved, 4)
        return aml.address_space(aml.MEMORY, self.first, last, moved, 8 if last >> 32 else 4)


class PciHost(Struct, frozen=True):
    """Configuration space at ``at`` of ``buses`` buses, what the bridge hands on, and the
    interrupts of INTA to INTD, which the slots share in turn."""

    at: int
    buses: int
    ranges: Sequence[PciRange]
    interrupts: Sequence[int]


def configuration_table(host: PciHost) -> Table:
    """The MCFG: one segment."""
    return Table("MCFG", 1, bytes(8) + struct.pack("<QHBB4x", host.at, 0, 0, host.buses - 1))


def host_device(host: PciHost) -> AcpiDevice:
    """The bridge in the DSDT."""
    routes = (
        aml.package(
            aml.integer(slot << 16 | 0xFFFF),
            aml.integer(pin),
            aml.integer(0),
            aml.integer(host.interrupts[(slot + pin) % PINS]),
        )
        for slot in range(SLOTS)
        for pin in range(PINS)
    )
    space = aml.address_space(aml.MEMORY, host.at, host.at + host.buses * BUS_SIZE - 1, 0, 8)
    reserved = AcpiDevice("RES0", "PNP0C02", 0, (space,))
    return AcpiDevice(
        "PCI0",
        "PNP0A08",
        0,
        (
            aml.address_space(aml.BUS, 0, host.buses - 1, 0, 2),
            *(each.resource() for each in host.ranges),
        ),
        more=(
            aml.name("_CID", aml.eisa_id("PNP0A03")),
            aml.name("_SEG", aml.integer(0)),
            aml.name("_BBN", aml.integer(0)),
            aml.name("_PRT", aml.package(*routes)),
            _capabilities(),
            reserved.aml(),
        ),
    )


def _capabilities() -> bytes:
    """``_OSC``: hand control over as far as it was asked for and is granted (6.2.11)."""
    request, status, control = aml.argument(3), "CDW1", "CDW3"
    granted = aml.local(0)
    known = (
        aml.dword_field(request, 8, control),
        aml.store(aml.bitwise_and(aml.reference(control), aml.integer(GRANTED)), granted),
        aml.when(aml.different(aml.argument(1), aml.integer(1)), _mark(status, UNKNOWN_REVISION)),
        aml.when(aml.different(aml.reference(control), granted), _mark(status, MASKED)),
        aml.store(granted, aml.reference(control)),
    )
    return aml.method(
        "_OSC",
        aml.dword_field(request, 0, status),
        aml.when(aml.equal(aml.argument(0), aml.uuid(CAPABILITIES)), *known),
        aml.otherwise(_mark(status, UNKNOWN_IDENTIFIER)),
        aml.give(request),
        arguments=4,
    )


def _mark(status: str, bit: int) -> bytes:
    return aml.store(aml.bitwise_or(aml.reference(status), aml.integer(bit)), aml.reference(status))
