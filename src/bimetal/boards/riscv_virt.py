"""The board ``riscv-virt``: the memory map and devices of QEMU's ``virt`` machine.

00001000  reset ROM                10001000  virtio-mmio, 8 slots
00100000  test finisher            10100000  fw_cfg
00101000  real-time clock          20000000  flash, 2 banks of 32 MiB
00102000  generation ID            30000000  PCI Express configuration space
02000000  CLINT                    40000000  PCI memory, 32 bits
03000000  PCI I/O ports            80000000  RAM
0c000000  PLIC, or two APLICs     400000000  PCI memory, 64 bits: behind the RAM, in 16 GiB steps
10000000  serial port

Sources of interrupts: 1 to 8 virtio-mmio, 10 the serial port, 11 the clock, 12 the generation ID,
which QEMU's board does not have, 32 to 35 INTA to INTD.
"""

from __future__ import annotations

from functools import partial

from bimetal.base.late import late
from bimetal.base.sizes import GIB, MIB
from bimetal.boards.flash import flash_banks
from bimetal.boards.pci import PciLayout, PciWindow, add_pci
from bimetal.boards.ports import add_ports
from bimetal.boards.riscv_boot import RiscvBoot
from bimetal.boards.riscv_irq import add_controller
from bimetal.boards.riscv_lines import MSIP, MTIP
from bimetal.boards.riscv_tree import describe_board
from bimetal.boards.screens import add_ramfb
from bimetal.boards.slots import virtio_slots
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.devices.config.vmgenid import VmGenId
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.pci.bar import Kind
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.devices.rtc.goldfish import GoldfishRtc
from bimetal.devices.serial.ns16550a import Ns16550a
from bimetal.devices.timer.aclint import Aclint
from bimetal.machine.chassis import Chassis

__all__ = ["riscv_virt"]

VIRTIO_SLOTS = 8
FLASH_BANK = Geometry(size=32 * MIB)
ROM, FLASH, RAM = 0x1000, 0x2000_0000, 0x8000_0000
ECAM = 0x3000_0000
PCI_PINS = range(32, 36)
HIGH_WINDOW = 16 * GIB
MODEL = "riscv-virtio,bimetal"


def riscv_virt(m: Chassis) -> None:
    """RISC-V harts with CLINT, PLIC or APLIC, serial port, clock, flash, PCI Express and eight
    virtio slots."""
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
    sources = add_controller(m)
    m.add(GoldfishRtc(m.clock), at=0x10_1000, irq=sources[11], changed=m.rtc)
    m.add(VmGenId(), at=0x10_2000, irq=sources[12])
    serial = m.add(Ns16550a(m.console, m.clock), at=0x1000_0000, irq=sources[10])
    m.console.withdraw = serial.withdraw
    pci = pci_layout(m.config.memory)
    host = add_pci(m, pci, [sources[pin] for pin in PCI_PINS])
    add_ports(m, host)
    if (usb := m.config.usb_controller) is not None:
        late("bimetal.boards.usb:add_usb")(m, host, usb)
    for number, slot in enumerate(virtio_slots(m, host, VIRTIO_SLOTS)):
        m.add(slot, at=0x1000_1000 + 0x1000 * number, irq=sources[1 + number])
    fw_cfg = m.add(FwCfg(m.space, m.defer), at=0x1010_0000)
    fw_cfg.add(Item.CPUS, len(harts))
    fw_cfg.add(Item.MAX_CPUS, len(harts))
    add_ramfb(m, fw_cfg)
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
            describe=partial(describe_board, m, RAM, MODEL, pci),
        )
    )


def pci_layout(memory: int) -> PciLayout:
    """Where PCI Express is beside so many bytes of RAM."""
    high = -(-(RAM + memory) // HIGH_WINDOW) * HIGH_WINDOW
    windows = (
        PciWindow(Kind.IO, 0, 0x300_0000, 0x1_0000),
        PciWindow(Kind.MEMORY, 0x4000_0000, 0x4000_0000, 0x4000_0000),
        PciWindow(Kind.MEMORY, high, high, HIGH_WINDOW),
    )
    return PciLayout(ECAM, windows)
