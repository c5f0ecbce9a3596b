"""Memory accesses: translation, alignment checks and aborts.

What the manual leaves open: a fault of an access that crosses pages reports the address of the part
that faults.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import FETCH, STORE
from ..trace import Cpu, slowly, when
from .hosts import ruling_level
from .memory_types import is_device
from .mmu import FAULT, ON_WALK, STAGE_2, STATUS, walk
from .spaces import effective_level
from .state import a64
from .syndromes import DATA_ABORT, EL1, EL2, FETCH_ABORT, PC_ALIGNMENT, TO_EL2, syndrome

__all__ = ["check_zeroed", "update_strict"]

EXTERNAL, ALIGNMENT = 0x10, 0x21  # fault status codes (D17.2.37)
WRITE, S1PTW = 1 << 6, 1 << 7  # of a data abort's syndrome
A = 1 << 1  # of SCTLR_ELx
DEVICE_SEEN, CHECKED = 1, 2  # of `STRICT`


@a64.routine(access=8, va=64, fault=64)
def abort(cpu: Cpu, access: Value, va: Value, fault: Value) -> None:
    """Raise the abort that `walk` has found, or another in its format."""
    fetch, stage_2 = (access & FETCH) != 0, (fault & STAGE_2) != 0
    data = syndrome(DATA_ABORT) | select(access[0] == STORE, const(WRITE, 64), 0)
    kind = select(fetch, syndrome(FETCH_ABORT), data)
    on_walk = select((fault & ON_WALK) != 0, const(S1PTW, 64), 0)
    to = select(stage_2, const(TO_EL2, 64), 0)
    cpu.trap(kind | on_walk | to | (fault.lsr(STATUS) & 0x3F), va)


@a64.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """Raise the external abort of an access to an address where there is nothing."""
    abort(cpu, access, va, const(EXTERNAL << STATUS, 64))


@a64.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    """Raise the alignment fault, of the program counter if it is misaligned (D1.3.5.3)."""
    with when((access & FETCH) != 0):
        cpu.trap(syndrome(PC_ALIGNMENT), va)
    abort(cpu, access, va, const(ALIGNMENT << STATUS, 64))


@a64.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    """See `Hooks.translate`."""
    level = effective_level(cpu, access)
    found = walk(cpu, va, access, level)
    with when((found & FAULT) != 0):
        abort(cpu, access, va, found)
    with when(is_device(cpu, found, level)), when(cpu.host("is_ram", 1, found & ~0xFFF) == 1):
        cpu.strict = cpu.strict | DEVICE_SEEN
    return found


@a64.routine(access=8, va=64)
def unaligned(cpu: Cpu, access: Value, va: Value) -> None:
    """See `Hooks.unaligned`: alignment checks (B2.8.3)."""
    level = effective_level(cpu, access)
    with when((cpu.sctlr_el[ruling_level(cpu, level)] & A) != 0):
        misaligned(cpu, access, va)
    with when((cpu.strict & DEVICE_SEEN) != 0):
        found = walk(cpu, va, access, level)
        with when(((found & FAULT) == 0) & is_device(cpu, found, level)):
            misaligned(cpu, access, va)


@a64.routine(va=64)
def _not_device(cpu: Cpu, va: Value) -> None:
    found = walk(cpu, va, const(STORE, 8), cpu.el)
    with when(((found & FAULT) == 0) & is_device(cpu, found, cpu.el)):
        misaligned(cpu, const(STORE, 8), va)


def check_zeroed(cpu: Cpu, va: Value) -> None:
    """Raise the alignment fault of DC ZVA in Device memory (C5.3). Memory has been accessed
    there: nothing is looked up before that is known of any Device memory."""
    with slowly((cpu.strict & DEVICE_SEEN) != 0):
        _not_device(cpu, va)


def update_strict(cpu: Cpu) -> None:
    """Update `STRICT` after a change of SCTLR_ELx.A or of the translation regime."""
    checks = ((cpu.sctlr_el[EL1] | cpu.sctlr_el[EL2]) & A) != 0
    cpu.strict = (cpu.strict & DEVICE_SEEN) | select(checks, const(CHECKED, 8), 0)
