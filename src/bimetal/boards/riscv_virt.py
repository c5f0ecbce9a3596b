"""The board ``riscv-virt``: the memory map and devices of QEMU's ``virt`` machine, without PCI.

00001000  reset ROM                10001000  virtio-mmio, 8 slots
00100000  test finisher            10100000  fw_cfg
00101000  real-time clock          20000000  flash, 2 banks of 32 MiB
02000000  CLINT                    80000000  RAM
0c000000  PLIC
10000000  serial port
"""

from __future__ import annotations

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.formats import QCOW2, RAW
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import MIB, format_size
from bimetal.boards.riscv_boot import RiscvBoot
from bimetal.boards.riscv_lines import MEIP, MSIP, MTIP, SEIP
from bimetal.boards.slots import virtio_devices
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.flash.pflash import PFlash
from bimetal.devices.irq.plic import Plic
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.devices.rtc.goldfish import GoldfishRtc
from bimetal.devices.serial.ns16550a import Ns16550a
from bimetal.devices.timer.aclint import Aclint
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.machine.board import board
from bimetal.machine.chassis import Chassis

__all__ = ["riscv_virt"]

MAX_CPUS = 64
FLASH_BANKS = 2
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
    m.add(Ns16550a(m.console, m.clock), at=0x1000_0000, irq=plic[10])
    for number, device in enumerate(virtio_devices(m)):
        slot = VirtioMmio(device, m.space, m.defer)
        m.add(slot, at=0x1000_1000 + 0x1000 * number, irq=plic[1 + number])
    fw_cfg = m.add(FwCfg(m.space, m.defer), at=0x1010_0000)
    fw_cfg.add(Item.CPUS, len(harts))
    fw_cfg.add(Item.MAX_CPUS, len(harts))
    for number, bank in enumerate(flash_banks(m)):
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


def flash_banks(m: Chassis) -> list[PFlash]:
    """Both banks with the user's images, of which the first, for code, is not written to.

    Raises `BimetalError` for images that do not fit.
    """
    if len(m.config.flash) > FLASH_BANKS:
        raise BimetalError(
            f"{len(m.config.flash)} flash images do not fit into this board",
            f"give it at most {FLASH_BANKS}",
            ExitCode.USAGE,
        )
    banks: list[PFlash] = []
    try:
        for number in range(FLASH_BANKS):
            path = m.config.flash[number] if number < len(m.config.flash) else None
            banks.append(
                PFlash(FLASH_BANK, open_flash(path, readonly=number == 0) if path else None)
            )
    except BimetalError:
        for bank in banks:
            bank.close()
        raise
    return banks


def open_flash(path: str, *, readonly: bool) -> Block:
    """The image at ``path``, raw unless it is called otherwise; one that is written to has the
    size of the bank."""
    image = open_disk(path, readonly=readonly, format=QCOW2 if path.endswith(".qcow2") else RAW)
    if image.size > FLASH_BANK.size or (image.size < FLASH_BANK.size and not readonly):
        image.close()
        raise BimetalError(
            f"the flash image {path} has {format_size(image.size)}, "
            f"a bank {format_size(FLASH_BANK.size)}",
            f"run 'truncate -s {FLASH_BANK.size} FILE' on a copy of it",
            ExitCode.DATA,
        )
    return image
