"""The board ``riscv-virt``: the memory map and devices of QEMU's ``virt`` machine, without PCI.

00001000  reset ROM                10001000  virtio-mmio, 8 slots
00100000  test finisher            10100000  fw_cfg
00101000  real-time clock          20000000  flash, 2 banks of 32 MiB
02000000  CLINT                    80000000  RAM
0c000000  PLIC
10000000  serial port
"""

from __future__ import annotations

from bimetal.base.sizes import MIB
from bimetal.boards.flash import flash_banks
from bimetal.boards.riscv_boot import RiscvBoot
from bimetal.boards.riscv_lines import MEIP, MSIP, MTIP, SEIP
from bimetal.boards.slots import virtio_devices
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.irq.plic import Plic
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.devices.rtc.goldfish import GoldfishRtc
from bimetal.devices.serial.ns16550a import Ns16550a
from bimetal.devices.timer.aclint import Aclint
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.machine.board import board
from bimetal.machine.chassis import Chassis

__all__ = ["riscv_virt"]

MAX_CPUS, VIRTIO_SLOTS = 64, 8
FLASH_BANK = Geometry(size=32 * MIB)
ROM, FLASH, RAM = 0x1000, 0x2000_0000, 0x8000_0000


@board("riscv-virt", isa="riscv64", max_cpus=MAX_CPUS)
def riscv_virt(m: Chassis) -> None:
    """RISC-V harts with CLINT, PLIC, serial port, clock, flash and eight virtio slots."""
    harts = range(m.config.cpus)
    m.ram(at=RAM)
    rom = m.rom(at=ROM, size=0xF000)
    m.add(SifiveTest(), at=0x10_0000, power=m.power)
    m.add(
        Aclint(m.clock, len(harts)),
        at=0x200_0000,
        msip=[m.line(hart, MSIP) for hart in harts],
        mtip=[m.line(hart, MTIP) for hart in harts],
    )
    plic = m.add(
        Plic(sources=96, contexts=2 * len(harts)),
        at=0xC00_0000,
        notify=[m.line(hart, line) for hart in harts for line in (MEIP, SEIP)],
    )
    m.add(GoldfishRtc(m.clock), at=0x10_1000, irq=plic[11])
    serial = m.add(Ns16550a(m.console, m.clock), at=0x1000_0000, irq=plic[10])
    m.console.withdraw = serial.withdraw
    for number, device in enumerate(virtio_devices(m, VIRTIO_SLOTS)):
        slot = VirtioMmio(device, m.space, m.defer)
        m.add(slot, at=0x1000_1000 + 0x1000 * number, irq=plic[1 + number])
    fw_cfg = m.add(FwCfg(m.space, m.defer), at=0x1010_0000)
    fw_cfg.add(Item.CPUS, len(harts))
    fw_cfg.add(Item.MAX_CPUS, len(harts))
    for number, bank in enumerate(flash_banks(m, FLASH_BANK)):
        m.add(bank, at=FLASH + number * FLASH_BANK.size)
    m.start_with(
        RiscvBoot(
            m,
            ram_at=RAM,
            rom=rom,
            rom_at=ROM,
            flash_at=FLASH,
            fw_cfg=fw_cfg,
            console=m.console,
            model="riscv-virtio,bimetal",
        )
    )
