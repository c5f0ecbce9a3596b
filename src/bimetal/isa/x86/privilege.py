"""What privileged instructions look at (volume 3, 5.9): the level, IOPL, the I/O permission map."""

from __future__ import annotations

from ...ir.value import Value, const
from ..trace import Cpu, slowly, when
from .control import PE, UMIP
from .flags import VM
from .segments import UNUSABLE
from .state import TR, x86
from .system_access import system_load
from .traps import general_protection

__all__ = ["io_allowed", "iopl_of", "need_io", "need_ring_0", "need_umip"]

IOPL_AT = 12


def need_ring_0(cpu: Cpu) -> None:
    """#GP at other privilege levels."""
    with slowly(cpu.cpl != 0):
        general_protection(cpu)


def need_umip(cpu: Cpu) -> None:
    """#GP at other levels if CR4.UMIP says so."""
    with slowly((cpu.cpl != 0) & ((cpu.cr4 & UMIP) != 0)):
        general_protection(cpu)


def iopl_of(cpu: Cpu) -> Value:
    """The level up to which I/O is allowed."""
    level: Value = (cpu.system_flags.lsr(IOPL_AT) & 3).trunc(8)
    return level


def need_io(cpu: Cpu, port: Value, size: int) -> None:
    """#GP if neither IOPL nor the map of the task allows a port."""
    protected = ((cpu.cr0 & PE) != 0) & (iopl_of(cpu).ult(cpu.cpl) | ((cpu.system_flags & VM) != 0))
    with slowly(protected):
        io_allowed(cpu, port, size)


@x86.routine(port=16, size=8)
def io_allowed(cpu: Cpu, port: Value, size: Value) -> None:
    """Look at the I/O permission map in the TSS (volume 1, 19.5.2)."""
    rights, limit = cpu.attributes[TR], cpu.limit[TR].zext(64)
    none = ((rights & UNUSABLE) != 0) | ((rights & 8) == 0) | limit.ult(0x67)
    with when(none):
        general_protection(cpu)
    base = cpu.base[TR]
    place = system_load(cpu, base + 0x66, 16).zext(64) + port.zext(64).lsr(3)
    with when(limit.ult(place + 1)):
        general_protection(cpu)
    bits = system_load(cpu, base + place, 16)
    wanted = (const(1, 16) << size.zext(16)) - 1
    shifted = bits.lsr((port & 7).zext(16))
    with when((shifted & wanted) != 0):
        general_protection(cpu)
