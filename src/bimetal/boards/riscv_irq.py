"""The interrupt controllers that the board ``riscv-virt`` can have, where QEMU's has them."""

from __future__ import annotations

from bimetal.boards.choices import AIA
from bimetal.boards.riscv_lines import MEIP, SEIP
from bimetal.devices.irq.aplic import Aplic
from bimetal.devices.irq.aplic_direct import DirectAplic
from bimetal.devices.irq.aplic_messages import MessageAplic
from bimetal.devices.irq.imsic import Imsic, ImsicHart
from bimetal.devices.irq.plic import Plic
from bimetal.machine.chassis import Chassis
from bimetal.machine.messages import MessageWrites

__all__ = ["add_controller"]

SOURCES = 96
CONTROLLER, SUPERVISOR_DOMAIN = 0xC00_0000, 0xD00_0000
MACHINE_FILES, SUPERVISOR_FILES = 0x2400_0000, 0x2800_0000


def add_controller(m: Chassis) -> Plic | Aplic:
    """The controller that the option ``aia`` names. Without firmware in M-mode, the domain of
    M-mode delegates everything to that of S-mode."""
    harts = range(m.config.cpus)
    aia = m.config.options.get("aia", AIA[0])
    if aia == "none":
        return m.add(
            Plic(SOURCES, contexts=2 * len(harts)),
            at=CONTROLLER,
            notify=[m.line(hart, line) for hart in harts for line in (MEIP, SEIP)],
        )
    return _add_direct(m) if aia == "aplic" else _add_messages(m)


def _add_direct(m: Chassis) -> DirectAplic:
    harts = range(m.config.cpus)
    supervisor = DirectAplic(SOURCES, len(harts))
    own_firmware = m.config.bios is None
    machine = DirectAplic(SOURCES, len(harts), supervisor, delegating=own_firmware)
    m.add(machine, at=CONTROLLER, notify=[m.line(hart, MEIP) for hart in harts])
    m.add(supervisor, at=SUPERVISOR_DOMAIN, notify=[m.line(hart, SEIP) for hart in harts])
    return machine


def _add_messages(m: Chassis) -> MessageAplic:
    """Domains that send messages to interrupt files, which PCI functions do, too."""
    harts = range(m.config.cpus)
    mine, theirs = (
        m.add(Imsic(len(harts)), at=at, notify=[m.line(hart, line) for hart in harts])
        for at, line in ((MACHINE_FILES, MEIP), (SUPERVISOR_FILES, SEIP))
    )
    for hart in harts:
        m.add_registers(ImsicHart(mine, theirs, hart), cpu=hart)
    supervisor = MessageAplic(SOURCES, len(harts))
    own_firmware = m.config.bios is None
    pages = (MACHINE_FILES, SUPERVISOR_FILES) if own_firmware else None
    machine = MessageAplic(SOURCES, len(harts), supervisor, pages=pages)
    for domain, at in ((machine, CONTROLLER), (supervisor, SUPERVISOR_DOMAIN)):
        m.add(domain, at=at, message=MessageWrites(m.space, domain.events))
    return machine
