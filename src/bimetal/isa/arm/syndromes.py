"""What an exception tells its handler (D17.2.37), and raising one.

The cause of a trap is the syndrome as it stands in ESR_ELx, with what else has to be known in bits
above it (`KIND`, `TO_EL2`); the value is what FAR_ELx gets. There is no EL3 and no AArch32.
"""

from __future__ import annotations

from ...ir.value import Value, const
from ..trace import Cpu

__all__ = [
    "AUTHENTICATION", "BRANCH_TARGET", "BREAKPOINT", "BREAKPOINT_INSTRUCTION", "DATA_ABORT", "E2H",
    "EL0", "EL1", "EL2", "FETCH_ABORT", "FMO", "FP_ACCESS", "HVC", "ILLEGAL_STATE", "IMO", "KIND",
    "MEMORY_OPERATION", "OF_FIQ", "OF_IRQ", "PC_ALIGNMENT", "SMC", "SP_ALIGNMENT", "STEP", "SVC",
    "SYNCHRONOUS", "SYSTEM", "TAKEN", "TGE", "TO_EL1", "TO_EL2", "UNKNOWN", "VF", "VI", "WAIT",
    "WATCHPOINT", "hypervisor_on", "syndrome", "trap_to", "undefined",
]  # fmt: skip

EL0, EL1, EL2 = range(3)

# Exception classes (D17.2.37, ESR_ELx.EC). Aborts, breakpoints and steps have one more if they
# come from the level that they are taken to.
UNKNOWN, WAIT, FP_ACCESS, AUTHENTICATION = 0x00, 0x01, 0x07, 0x09
BRANCH_TARGET, ILLEGAL_STATE = 0x0D, 0x0E
SVC, HVC, SMC, SYSTEM = 0x15, 0x16, 0x17, 0x18
FETCH_ABORT, PC_ALIGNMENT, DATA_ABORT, SP_ALIGNMENT = 0x20, 0x22, 0x24, 0x26
MEMORY_OPERATION = 0x27
BREAKPOINT, STEP, WATCHPOINT = 0x30, 0x32, 0x34
BREAKPOINT_INSTRUCTION = 0x3C
IL = 1 << 25

# Above the syndrome: the kind of vector (D1.3.1.6), and where the exception must be taken to.
KIND = 40
SYNCHRONOUS, OF_IRQ, OF_FIQ, OF_SERROR = range(4)
TO_EL2, TO_EL1 = 1 << 44, 1 << 45
TAKEN = 1 << 48  # interrupts have no syndrome; this keeps their cause from being 0

# Bits of HCR_EL2 (D17.2.48).
FMO, IMO, VF, VI, TGE, E2H = 1 << 3, 1 << 4, 1 << 6, 1 << 7, 1 << 27, 1 << 34


def syndrome(exception_class: int, iss: Value | int = 0) -> Value:
    """ESR_ELx of an exception that a 32-bit instruction raises."""
    base = const(exception_class << 26 | IL, 64)
    return base | iss if isinstance(iss, Value) else base | const(iss, 64)


def undefined(cpu: Cpu) -> None:
    """Raise the exception of an undefined instruction."""
    cpu.trap(syndrome(UNKNOWN))


def trap_to(cpu: Cpu, el: int, exception_class: int, iss: Value | int = 0) -> None:
    """Raise an exception that is taken to EL1 or EL2 whatever the usual rule says."""
    cpu.trap(syndrome(exception_class, iss) | (TO_EL2 if el == EL2 else TO_EL1))


def hypervisor_on(cpu: Cpu, bits: int) -> Value:
    """Whether HCR_EL2 asks for any of ``bits`` where it counts: EL2 is there and not in use."""
    on: Value = (cpu.el != EL2) & ((cpu.hcr & bits) != 0)
    return on
