"""The tables of an Arm machine: GICs in the MADT, generic timers in the GTDT, PSCI in the FADT.

Sources: ACPI Specification 6.5, sections 5.2.9.4, 5.2.12.14 to 5.2.12.18 and 5.2.25; Arm DEN0049E
(IO Remapping Table).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntFlag

from msgspec import Struct

from bimetal.firmware.acpi.devices import AcpiDevice, differentiated_description
from bimetal.firmware.acpi.fixed import fixed_description
from bimetal.firmware.acpi.gic import Gic
from bimetal.firmware.acpi.pci import PciHost, configuration_table, host_device
from bimetal.firmware.acpi.processors import processor_devices, topology
from bimetal.firmware.acpi.table import Table

__all__ = ["GIC_INPUT", "ArmCpus", "Psci", "Timers", "arm_tables"]

BOOT_ARCHITECTURE = 129
GIC_INPUT = 1 << 3
"""What the interrupt of a serial port is (`SerialPort`)."""
ENABLED = 1
GICC, GICD, MESSAGES, GICR, ITS = range(0xB, 0x10)
"""Kinds of structures in the MADT."""
ALWAYS_ON = 1 << 2
"""Timers go on whatever CPUs do; level-triggered and active-high, which are zeroes."""
ROOT_COMPLEX, REQUESTERS, WIDTH = 2, 1 << 16, 64
"""The kind of a node in the IORT, how many functions it may have, and bits of their addresses."""
NOWHERE = (1 << 64) - 1
"""There is no such frame of memory."""


class Psci(IntFlag):
    """What there is of PSCI, and whether it is called by HVC (5.2.9.4)."""

    PRESENT = 1
    BY_HVC = 2


class Timers(Struct, frozen=True):
    """The interrupts of the generic timers: those of EL1, secure and not, the virtual one, and the
    physical and virtual ones of EL2 (0 if there is none)."""

    secure: int
    physical: int
    virtual: int
    hypervisor: int
    hypervisor_virtual: int = 0


class ArmCpus(Struct, frozen=True):
    """The CPUs, by their affinities (MPIDR_EL1), and the interrupt of their performance monitors;
    0 if they have none."""

    affinities: Sequence[int]
    performance: int = 0


def arm_tables(
    cpus: ArmCpus,
    psci: Psci,
    gic: Gic,
    timers: Timers,
    devices: list[AcpiDevice],
    pci: PciHost,
) -> list[Table]:
    """The tables of a machine with these CPUs and ``devices``, and ``pci``."""
    count = len(cpus.affinities)
    dsdt = differentiated_description([*processor_devices(count), *devices, host_device(pci)])
    fields = {BOOT_ARCHITECTURE: struct.pack("<H", psci)}
    tables = [
        fixed_description(dsdt, 0, fields),
        _interrupts(cpus, gic),
        topology(count),
        _timers(timers),
        configuration_table(pci),
    ]
    return [*tables, _translations()] if gic.translation else tables


def _interrupts(cpus: ArmCpus, gic: Gic) -> Table:
    """The MADT: nothing of a PC, the parts of the GIC, and an interface for each CPU."""
    body = struct.pack("<II", 0, 0)
    body += struct.pack("<BBxxIQIB3x", GICD, 24, 0, gic.distributor, 0, gic.version)
    for number, affinity in enumerate(cpus.affinities):
        body += struct.pack(
            "<BBxxIIIIIQQQQIQQBxH",
            *(GICC, 80, number, number, ENABLED, 0, cpus.performance, 0),
            *(gic.cpu_interface, 0, 0, 0, 0, affinity, 0, 0),
        )
    for number, frame in enumerate(gic.frames):
        count = (frame.count, frame.first)
        body += struct.pack("<BBxxIQIHH", MESSAGES, 24, number, frame.at, 1, *count)
    if gic.redistributors:
        place = gic.redistributors, gic.redistributors_size
        body += struct.pack("<BBxxQI", GICR, 16, *place)
    if gic.translation:
        body += struct.pack("<BBxxIQ4x", ITS, 20, 0, gic.translation)
    return Table("APIC", 5, body)


def _timers(timers: Timers) -> Table:
    """The GTDT: there are no timers in memory."""
    lines = (timers.secure, timers.physical, timers.virtual, timers.hypervisor)
    body = struct.pack("<Q4x", NOWHERE) + b"".join(map(_timer, lines))
    body += struct.pack("<QII", NOWHERE, 0, 0) + _timer(timers.hypervisor_virtual)
    return Table("GTDT", 3, body)


def _timer(interrupt: int) -> bytes:
    """A timer's interrupt and its flags, nothing if there is no such timer."""
    return struct.pack("<II", interrupt, ALWAYS_ON if interrupt else 0)


def _translations() -> Table:
    """The IORT: one interrupt translation service, number 0 in the MADT, in a group of its own, and
    the root complex of PCI, whose functions have the same numbers there as on the bus."""
    head, own, mapping = 48, 36, 20
    group = struct.pack("<BHBIIIII", 0, 24, 1, 0, 0, 0, 1, 0)
    coherent, as_the_cpus = 1, 3
    root = struct.pack("<BHBIII", ROOT_COMPLEX, own + mapping, 3, 1, 1, own)
    root += struct.pack("<IxxxBIIB3x", coherent, as_the_cpus, 0, 0, WIDTH)
    root += struct.pack("<IIIII", 0, REQUESTERS - 1, 0, head, 0)
    return Table("IORT", 3, struct.pack("<II4x", 2, head) + group + root)
