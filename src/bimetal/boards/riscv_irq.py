"""The interrupt controllers that the board ``riscv-virt`` can have, where QEMU's has them."""

from __future__ import annotations

from bimetal.boards.riscv_lines import MEIP, SEIP
from bimetal.devices.irq.aplic import Aplic
from bimetal.devices.irq.plic import Plic
from bimetal.machine.chassis import Chassis

__all__ = ["AIA", "add_controller"]

AIA = ("none", "aplic")
"""Values of the board's option ``aia``."""
SOURCES = 96
CONTROLLER, SUPERVISOR_DOMAIN = 0xC00_0000, 0xD00_0000


def add_controller(m: Chassis) -> Plic | Aplic:
    """The controller that the option ``aia`` names. Without firmware in M-mode, the domain of
    M-mode delegates everything to that of S-mode."""
    harts = range(m.config.cpus)
    if m.config.options.get("aia", AIA[0]) == AIA[0]:
        return m.add(
            Plic(SOURCES, contexts=2 * len(harts)),
            at=CONTROLLER,
            notify=[m.line(hart, line) for hart in harts for line in (MEIP, SEIP)],
        )
    supervisor = Aplic(SOURCES, len(harts))
    own_firmware = m.config.bios is None
    machine = Aplic(SOURCES, len(harts), supervisor, delegating=own_firmware)
    m.add(machine, at=CONTROLLER, notify=[m.line(hart, MEIP) for hart in harts])
    m.add(supervisor, at=SUPERVISOR_DOMAIN, notify=[m.line(hart, SEIP) for hart in harts])
    return machine
