"""Translation contexts and address spaces (D8.16): what tells cached translations apart.

An address space is said by a number with these fields:

====== ===================================================
15:0   the ASID
31:16  the VMID
33:32  the regime: EL1&0 (1), EL2 (2), EL2&0 of a host (3)
36:34  VM, DC and TGE of HCR_EL2 for EL1&0: which stages there are
40     1 for what global pages are shared by, with ASID 0
====== ===================================================
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import UNPRIVILEGED
from ..trace import Cpu
from .hosts import hosted, hosts
from .state import a64
from .syndromes import EL0, EL1, EL2

__all__ = [
    "ASIDS",
    "DC",
    "REGIME",
    "REGIME_EL1",
    "REGIME_EL2",
    "SHARED",
    "VM",
    "VMIDS",
    "effective_level",
    "own_space",
    "vmid",
]  # fmt: skip

VM, DC = 1 << 0, 1 << 12
"""Of HCR_EL2: stage 2 is on; stage 1 of EL1&0 is off, and its memory cacheable."""

VMID, REGIME_AT, STAGES, SHARED_AT = 16, 32, 34, 40
ASIDS, VMIDS = 0xFFFF, 0xFFFF << VMID
REGIME, REGIME_EL1, REGIME_EL2 = 3 << REGIME_AT, 1 << REGIME_AT, 2 << REGIME_AT
SHARED = 1 << SHARED_AT

# TCR_ELx.A1 and AS, VTCR_EL2.VS.
A1, AS, VS = 22, 36, 19

# EL0, EL1, EL1 with PAN, EL2, EL2 with PAN, EL0 below a host at EL2.
OF_EL0, OF_EL1, OF_EL1_PAN, OF_EL2, OF_EL2_PAN, OF_HOST_EL0 = range(6)


def effective_level(cpu: Cpu, access: Value) -> Value:
    """The exception level whose rights an access has."""
    demoted = (access & UNPRIVILEGED) != 0
    able = (cpu.el == EL1) | ((cpu.el == EL2) & hosted(cpu))
    return select(demoted & able & (cpu.uao == 0), const(EL0, 8), cpu.el)


def _of_el0(cpu: Cpu) -> Value:
    return select(hosted(cpu), const(OF_HOST_EL0, 8), OF_EL0)


@a64.routine(returns=8)
def context(cpu: Cpu) -> Value:
    """See `Hooks.context`."""
    pan = cpu.pan.zext(8)
    high = select(cpu.el == EL1, OF_EL1 + pan, OF_EL2 + pan)
    return select(cpu.el == EL0, _of_el0(cpu), high)


@a64.routine(returns=8, current=8)
def user_context(cpu: Cpu, current: Value) -> Value:
    """See `Hooks.user_context`: of LDTR and the like (C3.2.5)."""
    demoted = effective_level(cpu, const(UNPRIVILEGED, 8)) == EL0
    return select(demoted, _of_el0(cpu), current)


def _asid(cpu: Cpu, level: int) -> Value:
    """The ASID of a regime with two ranges."""
    control = cpu.tcr_el[level]
    base = select(control[A1] == 1, cpu.ttbr1_el[level], cpu.ttbr0_el[level])
    wide: Value = select(control[AS] == 1, const(0xFFFF, 64), 0xFF)
    return base.lsr(48) & wide


def vmid(cpu: Cpu) -> Value:
    """The VMID, where it stands in the number of an address space."""
    wide = select(cpu.vtcr[VS] == 1, const(0xFFFF, 64), 0xFF)
    number: Value = (cpu.vttbr.lsr(48) & wide) << VMID
    return number


def own_space(cpu: Cpu) -> Value:
    """The number of what software at EL1, or a host at EL2, calls its translations: ASID 0."""
    host = (cpu.el == EL2) & hosted(cpu)
    return select(host, const(REGIME, 64), vmid(cpu) | REGIME_EL1)


def _space(cpu: Cpu) -> tuple[Value, Value]:
    """The address space of now but for its ASID, and that."""
    at_el2, host = cpu.el == EL2, hosts(cpu)
    stages = cpu.hcr[0].zext(64) | cpu.hcr[12].zext(64) << 1 | cpu.hcr[27].zext(64) << 2
    guest = vmid(cpu) | stages << STAGES | REGIME_EL1
    space = select(host, const(REGIME, 64), select(at_el2, const(REGIME_EL2, 64), guest))
    asid = select(host, _asid(cpu, EL2), select(at_el2, const(0, 64), _asid(cpu, EL1)))
    return space, asid


@a64.routine(returns=64)
def address_space(cpu: Cpu) -> Value:
    """See `Hooks.address_space`."""
    space, asid = _space(cpu)
    return space | asid


@a64.routine(returns=64)
def global_space(cpu: Cpu) -> Value:
    """See `Hooks.global_space`."""
    return _space(cpu)[0] | SHARED
