"""The board ``arm-virt``: the memory map and devices of QEMU's ``virt`` machine, a generation
ID, and a test finisher: firmware calls that switch a machine off tell no exit code.

00000000  flash, 2 banks of 64 MiB  09100000  test finisher
08000000  interrupt controller      0a000000  virtio-mmio, 32 slots
09000000  serial port               10000000  PCI memory, 32 bits
09010000  real-time clock           3eff0000  PCI I/O ports
09020000  fw_cfg                    40000000  RAM
09030000  GPIO, with the power key  4010000000  PCI Express configuration space
                                    8000000000  PCI memory, 64 bits

Interrupts are those of QEMU, too: SPI 1 the serial port, 2 the clock, 3 to 6 INTA to INTD, 7 the
GPIO, 10 the generation ID, 16 to 47 virtio-mmio, 48 to 111 messages of a GICv2. Virtio devices
take its slots from the last one on, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from bimetal.base.late import LateModule, late
from bimetal.base.sizes import GIB, MIB
from bimetal.boards.arm_boot import ArmBoot
from bimetal.boards.arm_gic import add_gic
from bimetal.boards.arm_lines import POWER_LINE
from bimetal.boards.arm_tree import PERIPHERAL_HZ, describe_board
from bimetal.boards.flash import flash_banks
from bimetal.boards.pci import PciLayout, PciWindow, add_pci
from bimetal.boards.ports import add_ports
from bimetal.boards.screens import add_ramfb
from bimetal.boards.slots import virtio_slots
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.devices.config.vmgenid import VmGenId
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.gpio.pl061 import Pl061
from bimetal.devices.pci.bar import Kind
from bimetal.devices.power.button import PushButton
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.devices.rtc.pl031 import Pl031
from bimetal.devices.serial.pl011 import Pl011
from bimetal.firmware.kernel import read_firmware
from bimetal.firmware.processors import AARCH64
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS

if TYPE_CHECKING:
    from bimetal.boards import arm_acpi
else:
    arm_acpi = LateModule("bimetal.boards.arm_acpi")

__all__ = ["arm_virt"]

VIRTIO_SLOTS = 32
FLASH_BANK = Geometry(size=64 * MIB)
FLASH, RAM = 0, 0x4000_0000
VIRTIO = 0xA00_0000
NAME = "arm-virt"
PCI = PciLayout(
    0x40_1000_0000,
    (
        PciWindow(Kind.IO, 0, 0x3EFF_0000, 0x1_0000),
        PciWindow(Kind.MEMORY, 0x1000_0000, 0x1000_0000, 0x2EFF_0000),
        PciWindow(Kind.MEMORY, 512 * GIB, 512 * GIB, 512 * GIB),
    ),
)


def arm_virt(m: Chassis) -> None:
    """AArch64 CPUs with a GIC, serial port, clock, power key, flash, PCI Express and 32 virtio
    slots."""
    m.ram(at=RAM)
    gic, controller = add_gic(m)
    serial = m.add(Pl011(m.console, m.clock, PERIPHERAL_HZ), at=0x900_0000, irq=gic[33])
    m.console.withdraw = serial.withdraw
    m.add(Pl031(m.clock), at=0x901_0000, irq=gic[34], changed=m.rtc)
    fw_cfg = m.add(FwCfg(m.space, m.defer), at=0x902_0000)
    fw_cfg.add(Item.CPUS, m.config.cpus)
    fw_cfg.add(Item.MAX_CPUS, m.config.cpus)
    add_ramfb(m, fw_cfg)
    m.add(SifiveTest(), at=0x910_0000, power=m.power)
    m.add(VmGenId(), at=0x911_0000, irq=gic[42])
    gpio = m.add(Pl061(), at=0x903_0000, irq=gic[39])
    button = m.keep("power button", PushButton(m.clock, gpio[POWER_LINE]))
    m.power_button = button.press
    host = add_pci(m, PCI, [gic[32 + 3 + pin] for pin in range(4)])
    add_ports(m, host)
    if (usb := m.config.usb_controller) is not None:
        late("bimetal.boards.usb:add_usb")(m, host, usb)
    for number, slot in enumerate(virtio_slots(m, host, VIRTIO_SLOTS)):
        place = VIRTIO_SLOTS - 1 - number
        m.add(slot, at=VIRTIO + slot.mmio_size * place, irq=gic[32 + 16 + place])
    for number, bank in enumerate(flash_banks(m, FLASH_BANK, firmware(m))):
        m.add(bank, at=FLASH + number * FLASH_BANK.size)
    hypervisor = m.config.options.get("virtualization") == "on"
    calls: dict[str, bool] = {
        "firmware_calls": m.config.bios != NO_BIOS,
        "hypervisor": hypervisor,
    }
    acpi = m.config.options.get("acpi") != "off"

    def tables() -> Mapping[str, bytes]:
        return arm_acpi.describe_tables(m, NAME, RAM, controller.places, PCI, acpi=acpi, **calls)

    describe = partial(describe_board, m, RAM, controller, PCI, **calls)
    m.start_with(
        ArmBoot(
            m,
            ram_at=RAM,
            flash_at=FLASH,
            fw_cfg=fw_cfg,
            describe=describe,
            tables=tables,
            hypervisor=hypervisor,
        )
    )


def firmware(m: Chassis) -> bytes | None:
    """The user's ``bios``, for the first flash bank. Raises `BimetalError`."""
    if m.config.bios in (None, NO_BIOS):
        return None
    return read_firmware(str(m.config.bios), AARCH64, FLASH_BANK.size)
