"""The board ``arm-virt``: the memory map and devices of QEMU's ``virt`` machine, without PCI, and a
test finisher: firmware calls that switch a machine off tell no exit code.

00000000  flash, 2 banks of 64 MiB  09020000  fw_cfg
08000000  interrupt controller      09030000  GPIO, with the power key
09000000  serial port               09100000  test finisher
09010000  real-time clock           0a000000  virtio-mmio, 32 slots
                                    40000000  RAM

Interrupts are those of QEMU, too: SPI 1 the serial port, 2 the clock, 7 the GPIO, 16 to 47 virtio,
48 to 111 messages of a GICv2. Virtio devices take the slots from the last one on, as there.
"""

from __future__ import annotations

from functools import partial

from bimetal.base.sizes import MIB
from bimetal.boards.arm_acpi import describe_tables
from bimetal.boards.arm_boot import ArmBoot
from bimetal.boards.arm_gic import GIC_VERSIONS, add_gic
from bimetal.boards.arm_lines import POWER_LINE
from bimetal.boards.arm_tree import PERIPHERAL_HZ, describe_board
from bimetal.boards.flash import flash_banks
from bimetal.boards.slots import virtio_devices
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.gpio.pl061 import Pl061
from bimetal.devices.power.button import PushButton
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.devices.rtc.pl031 import Pl031
from bimetal.devices.serial.pl011 import Pl011
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.firmware.kernel import read_firmware
from bimetal.firmware.processors import AARCH64
from bimetal.machine.board import board
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import NO_BIOS

__all__ = ["arm_virt"]

VIRTIO_SLOTS = 32
FLASH_BANK = Geometry(size=64 * MIB)
FLASH, RAM = 0, 0x4000_0000
NAME = "arm-virt"
OPTIONS = {"virtualization": ("off", "on"), "gic": tuple(GIC_VERSIONS), "acpi": ("on", "off")}


@board(NAME, isa="aarch64", max_cpus=max(GIC_VERSIONS.values()), options=OPTIONS)
def arm_virt(m: Chassis) -> None:
    """AArch64 CPUs with a GIC, serial port, clock, power key, flash and 32 virtio slots."""
    m.ram(at=RAM)
    gic, controller = add_gic(m)
    serial = m.add(Pl011(m.console, m.clock, PERIPHERAL_HZ), at=0x900_0000, irq=gic[33])
    m.console.withdraw = serial.withdraw
    m.add(Pl031(m.clock), at=0x901_0000, irq=gic[34])
    fw_cfg = m.add(FwCfg(m.space, m.defer), at=0x902_0000)
    fw_cfg.add(Item.CPUS, m.config.cpus)
    fw_cfg.add(Item.MAX_CPUS, m.config.cpus)
    m.add(SifiveTest(), at=0x910_0000, power=m.power)
    gpio = m.add(Pl061(), at=0x903_0000, irq=gic[39])
    m.power_button = PushButton(m.clock, gpio[POWER_LINE]).press
    for number, device in enumerate(virtio_devices(m, VIRTIO_SLOTS)):
        slot = VIRTIO_SLOTS - 1 - number
        m.add(
            VirtioMmio(device, m.space, m.defer),
            at=0xA00_0000 + VirtioMmio.mmio_size * slot,
            irq=gic[32 + 16 + slot],
        )
    for number, bank in enumerate(flash_banks(m, FLASH_BANK, firmware(m))):
        m.add(bank, at=FLASH + number * FLASH_BANK.size)
    hypervisor = m.config.options.get("virtualization") == "on"
    calls: dict[str, bool] = {
        "firmware_calls": m.config.bios != NO_BIOS,
        "hypervisor": hypervisor,
    }
    acpi = m.config.options.get("acpi") != "off"
    tables = partial(describe_tables, m, NAME, RAM, controller.places, acpi=acpi, **calls)
    describe = partial(describe_board, m, RAM, controller, **calls)
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
