"""What ACPI and SMBIOS tables say of an Arm board, derived from what stands on it.

The devices and their names are those of QEMU's ``virt`` up to version 4.1, where the power key is
at the GPIO as it is here; newer ones have a device of its own for it, if there is ACPI.
"""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.boards.arm_cpus import affinity
from bimetal.boards.arm_lines import HOST_TIMER, MONITORS, POWER_LINE, TIMERS
from bimetal.boards.pci import PciLayout, intx_pins
from bimetal.devices.config.vmgenid import VmGenId
from bimetal.devices.device import Device
from bimetal.devices.gpio.pl061 import Pl061
from bimetal.devices.irq.pin import Pin
from bimetal.devices.pci.bar import Kind
from bimetal.devices.pci.host import BUSES, EcamHost
from bimetal.devices.serial.pl011 import Pl011
from bimetal.firmware.acpi import aml
from bimetal.firmware.acpi.arm import GIC_INPUT, ArmCpus, Psci, Timers, arm_tables
from bimetal.firmware.acpi.devices import DEVICE_TREE_HID, AcpiDevice
from bimetal.firmware.acpi.gic import Gic
from bimetal.firmware.acpi.image import TableImage
from bimetal.firmware.acpi.pci import PciHost, PciRange
from bimetal.firmware.acpi.serial import PL011, SerialPort, serial_tables
from bimetal.firmware.acpi.table import Table
from bimetal.firmware.smbios import Inventory, smbios_files
from bimetal.machine.chassis import Chassis
from bimetal.machine.placements import Placement

__all__ = ["describe_tables"]

ARMV8 = 0x101
"""The family of processors."""
POWER_KEY, PRESSED = "PWRB", 0x80
GENERATION, CHANGED = "VGEN", 0x80


def describe_tables(
    chassis: Chassis,
    name: str,
    ram_at: int,
    gic: Gic,
    pci: PciLayout,
    *,
    acpi: bool,
    firmware_calls: bool,
    hypervisor: bool,
) -> Mapping[str, bytes]:
    """The files of fw_cfg in which firmware finds the tables of the board called ``name``, whose
    RAM begins at ``ram_at`` and whose PCI Express is at ``pci``; with ``acpi`` not those of SMBIOS
    alone."""
    config = chassis.config
    inventory = Inventory("Virtual machine", name, config.cpus, ARMV8, config.memory, ram_at)
    files = dict(smbios_files(inventory))
    if acpi:
        psci = _psci(firmware_calls=firmware_calls, hypervisor=hypervisor)
        tables = _tables(chassis, gic, psci, pci, hypervisor=hypervisor)
        files.update(TableImage(tables).files())
    return files


def _psci(*, firmware_calls: bool, hypervisor: bool) -> Psci:
    """Whether there is PSCI, and how it is called: by SMC where the hypervisor's mode is."""
    if not firmware_calls:
        return Psci(0)
    return Psci.PRESENT if hypervisor else Psci.PRESENT | Psci.BY_HVC


def _tables(
    chassis: Chassis, gic: Gic, psci: Psci, pci: PciLayout, *, hypervisor: bool
) -> list[Table]:
    """The tables of ACPI."""
    devices = _devices(chassis)
    tables = arm_tables(
        ArmCpus([affinity(cpu) for cpu in range(chassis.config.cpus)], MONITORS),
        psci,
        gic,
        Timers(*TIMERS, HOST_TIMER if hypervisor else 0),
        [
            *(_describe(each, placement) for each, placement in devices.items()),
            _power_key(),
            *_generation(chassis),
        ],
        _pci_host(chassis, pci),
    )
    for each, placement in devices.items():
        if isinstance(placement.device, Pl011):
            size, (line,) = placement.device.mmio_size, _lines(placement)
            port = SerialPort(PL011, placement.at, size, line, GIC_INPUT, each)
            tables += serial_tables(port)
    return tables


def _pci_host(chassis: Chassis, pci: PciLayout) -> PciHost:
    """PCI Express as tables tell of it."""
    (placement,) = (each for each in chassis.placements if isinstance(each.device, EcamHost))
    ranges = [
        PciRange(each.kind is Kind.IO, each.first, each.at, each.size) for each in pci.windows
    ]
    lines = [pin.number for pin in intx_pins(placement)]
    return PciHost(pci.at, BUSES, ranges, lines)


def _devices(chassis: Chassis) -> dict[str, Placement]:
    """The devices that have a name in ACPI, by that name. They are numbered by their addresses, and
    told in the order in which they were added: kernels number disks as they are told of them."""
    told = [each for each in chassis.placements if each.device.acpi != Device.acpi]
    named = {}
    for placement in told:
        hid, stem = placement.device.acpi
        number = sum(each.device.acpi[0] == hid and each.at < placement.at for each in told)
        named[f"{stem}{number:0{4 - len(stem)}}"] = placement
    return named


def _describe(name: str, placement: Placement) -> AcpiDevice:
    """The device called ``name``: its registers, its interrupts, and events of a GPIO."""
    device = placement.device
    hid, stem = device.acpi
    return AcpiDevice(
        name,
        hid,
        int(name.removeprefix(stem)),
        (
            aml.memory32(placement.at, device.mmio_size),
            *map(aml.extended_interrupt, _lines(placement)),
        ),
        compatible=device.compatible[0] if hid == DEVICE_TREE_HID else "",
        more=_power_event(name) if isinstance(device, Pl061) else (),
    )


def _lines(placement: Placement) -> list[int]:
    """The numbers of the interrupts that a device has."""
    return [wire.number for wire in placement.wires.values() if isinstance(wire, Pin)]


def _power_event(gpio: str) -> tuple[bytes, ...]:
    """What happens when the power key's line of the controller ``gpio`` rises (5.6.5)."""
    return (
        aml.name("_AEI", aml.resources(aml.gpio_interrupt(f"\\_SB.{gpio}", POWER_LINE))),
        aml.method(f"_E{POWER_LINE:02X}", aml.notify(f"\\_SB.{POWER_KEY}", PRESSED)),
    )


def _power_key() -> AcpiDevice:
    return AcpiDevice(POWER_KEY, "PNP0C0C", 0)


def _generation(chassis: Chassis) -> tuple[AcpiDevice, AcpiDevice]:
    """The generation ID, and the device whose event says that it is another (5.6.9). Identifiers
    are those of QEMU, and ``ADDR`` is where the ID lies, as Microsoft has it."""
    (placement,) = (each for each in chassis.placements if isinstance(each.device, VmGenId))
    (line,) = _lines(placement)
    place = aml.package(aml.integer(placement.at & 0xFFFF_FFFF), aml.integer(placement.at >> 32))
    names = [aml.name(each, aml.string("VM_Gen_Counter")) for each in ("_CID", "_DDN")]
    heard = aml.when(
        aml.equal(aml.argument(0), aml.integer(line)), aml.notify(f"\\_SB.{GENERATION}", CHANGED)
    )
    return (
        AcpiDevice(GENERATION, "QEMUVGID", 0, more=(*names, aml.name("ADDR", place))),
        AcpiDevice(
            "GED0",
            "ACPI0013",
            0,
            (aml.extended_interrupt(line, edge=True),),
            more=(aml.method("_EVT", heard, arguments=1),),
        ),
    )
