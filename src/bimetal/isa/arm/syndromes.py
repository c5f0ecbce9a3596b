"""What an exception tells its handler (D17.2.37), and raising one.

The cause of a trap is the syndrome as it stands in ESR_ELx, with what else has to be known in bits
above it (`KIND`, `TO_EL2`); the value is what FAR_ELx gets. There is no EL3 and no AArch32.
"""

from __future__ import annotations

from ...ir.value import Value, const
from ..trace import Cpu, slowly, when

__all__ = [
    "AMO", "AUTHENTICATION", "BRANCH_TARGET", "BREAKPOINT", "BREAKPOINT_INSTRUCTION", "DATA_ABORT",
    "E2H", "EL0", "EL1", "EL2", "FETCH_ABORT", "FMO", "FP_ACCESS", "HVC", "ILLEGAL_STATE", "IMO",
    "KIND", "MEMORY_OPERATION", "NO_CONDITION", "OF_FIQ", "OF_IRQ", "OF_SERROR", "PC_ALIGNMENT",
    "SERROR", "SMC", "SP_ALIGNMENT", "STEP", "SVC", "SYNCHRONOUS", "SYSTEM", "TAKEN", "TGE",
    "TO_EL2", "UNKNOWN", "VF", "VI", "VIRTUAL_INTERRUPT", "VSE", "WAIT", "WATCHPOINT", "refused",
    "syndrome", "trap_to_el2", "trapped_by_hypervisor", "undefined",
]  # fmt: skip

EL0, EL1, EL2 = range(3)

# Exception classes (D17.2.37, ESR_ELx.EC). Aborts, breakpoints and steps have one more if they
# come from the level that they are taken to.
UNKNOWN, WAIT, FP_ACCESS, AUTHENTICATION = 0x00, 0x01, 0x07, 0x09
BRANCH_TARGET, ILLEGAL_STATE = 0x0D, 0x0E
SVC, HVC, SMC, SYSTEM = 0x15, 0x16, 0x17, 0x18
FETCH_ABORT, PC_ALIGNMENT, DATA_ABORT, SP_ALIGNMENT = 0x20, 0x22, 0x24, 0x26
MEMORY_OPERATION, SERROR = 0x27, 0x2F
BREAKPOINT, STEP, WATCHPOINT = 0x30, 0x32, 0x34
BREAKPOINT_INSTRUCTION = 0x3C
IL = 1 << 25
NO_CONDITION = 1 << 24 | 0xE << 20  # COND is always, and valid

# Above the syndrome: the kind of vector (D1.3.1.6), that it must be taken to EL2, and that it is a
# virtual interrupt, which EL1 takes.
KIND = 40
SYNCHRONOUS, OF_IRQ, OF_FIQ, OF_SERROR = range(4)
TO_EL2, VIRTUAL_INTERRUPT = 1 << 44, 1 << 45
TAKEN = 1 << 48  # interrupts have no syndrome; this keeps their cause from being 0

# Bits of HCR_EL2 (D17.2.48).
FMO, IMO, AMO, VF, VI, VSE = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8
TGE, E2H = 1 << 27, 1 << 34


def syndrome(exception_class: int, iss: Value | int = 0) -> Value:
    """ESR_ELx of an exception that a 32-bit instruction raises."""
    base = const(exception_class << 26 | IL, 64)
    return base | iss if isinstance(iss, Value) else base | const(iss, 64)


def undefined(cpu: Cpu) -> None:
    """Raise the exception of an undefined instruction."""
    cpu.trap(syndrome(UNKNOWN))


def refused(cpu: Cpu, iss: Value) -> None:
    """Raise the exception of an access of EL0 to the system that the level above does not allow:
    EL1, or EL2 where all of EL0's exceptions go there (HCR_EL2.TGE)."""
    cpu.trap(syndrome(SYSTEM, iss))


def trap_to_el2(cpu: Cpu, exception_class: int, iss: Value | int = 0) -> None:
    """Raise an exception that is taken to EL2 whatever the usual rule says."""
    cpu.trap(syndrome(exception_class, iss) | TO_EL2)


def trapped_by_hypervisor(
    cpu: Cpu, bits: int, iss: Value | int, exception_class: int = SYSTEM
) -> None:
    """Trap an instruction to EL2 if HCR_EL2 asks for that by any of ``bits``. They count for
    nothing at EL2, and at the EL0 of a host at EL2 (D17.2.48)."""
    with slowly((cpu.hcr & bits) != 0):
        of_host = (cpu.hcr & (E2H | TGE)) == E2H | TGE
        with when((cpu.el != EL2) & ~of_host):
            trap_to_el2(cpu, exception_class, iss)
