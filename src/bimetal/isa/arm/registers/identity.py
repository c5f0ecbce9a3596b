"""Identification registers (D17.2): who this processor is and what it has."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu, slowly
from ..features import CACHE_LINE, IDENTIFICATION
from ..hosts import hosted, ruling_control
from ..state import a64
from ..syndromes import EL0, EL1, EL2, refused, trapped_by_hypervisor
from ..sysregs import Read, constant, system_register

__all__ = ["DZE", "TDZ", "ZERO_BLOCK"]

# HCR_EL2: traps of identification registers.
TID1, TID2, TID3, TID4 = 1 << 16, 1 << 17, 1 << 18, 1 << 49
TDZ = 1 << 28  # traps DC ZVA
# SCTLR_ELx: what EL0 may look at.
UCT, DZE = 1 << 15, 1 << 14
ZERO_BLOCK = 64
"""Bytes that DC ZVA clears."""


def _virtual(real: str, seen: str) -> Read:
    """A register that EL2 can show otherwise to EL1 (VPIDR_EL2, VMPIDR_EL2)."""

    def read(cpu: Cpu) -> Value:
        other = (cpu.el == EL1) & (cpu.el2_there == 1)
        value: Value = select(other, getattr(cpu, seen), getattr(cpu, real))
        return value

    return read


constant("midr_el1", (3, 0, 0, 0, 0), _virtual("midr", "vpidr"), shown=False)
constant("mpidr_el1", (3, 0, 0, 0, 5), _virtual("mpidr", "vmpidr"), shown=False)
a64.view("midr_el1", 64, lambda cpu: cpu.midr)
a64.view("mpidr_el1", 64, lambda cpu: cpu.mpidr)
constant("revidr_el1", (3, 0, 0, 0, 6), 0, trapped=TID1)
constant("aidr_el1", (3, 1, 0, 0, 7), 0, trapped=TID1)

# One level of split caches of 32 KiB, two ways, and a unified one of 1 MiB above them: sets and
# ways are looked at by loops that clean caches, which there is nothing of here.
CLIDR = 3 | 4 << 3 | 1 << 24 | 1 << 27
CCSIDR = {0: 2 | 1 << 3 | 255 << 13, 1: 2 | 1 << 3 | 255 << 13, 2: 2 | 15 << 3 | 1023 << 13}
constant("clidr_el1", (3, 1, 0, 0, 1), CLIDR, trapped=TID2 | TID4)


def _ccsidr(cpu: Cpu) -> Value:
    value = const(0, 64)
    for which, size in CCSIDR.items():
        value = select(cpu.csselr == which, const(size, 64), value)
    return value


def _write_csselr(cpu: Cpu, value: Value) -> None:
    cpu.csselr = value & 15


constant("ccsidr_el1", (3, 1, 0, 0, 0), _ccsidr, trapped=TID2 | TID4)
system_register(
    "csselr_el1", (3, 2, 0, 0, 0), lambda cpu: cpu.csselr, _write_csselr, trapped=TID2 | TID4
)


def _cache_type(cpu: Cpu, writes: bool, iss: Value) -> None:
    with slowly((cpu.el == EL0) & ((ruling_control(cpu) & UCT) == 0)):
        refused(cpu, iss)
    trapped_by_hypervisor(cpu, TID2, iss)


# Instruction caches need no invalidation where data caches are clean to unification (IDC), lines
# are of 64 bytes; the one thing to do is an ISB after IC (DIC is 0).
LINE = (CACHE_LINE // 4).bit_length() - 1
CTR = 1 << 31 | 3 << 14 | LINE << 16 | LINE | 4 << 20 | 4 << 24 | 1 << 28
system_register("ctr_el0", (3, 3, 0, 0, 1), lambda cpu: const(CTR, 64), check=_cache_type)


def _dczid(cpu: Cpu) -> Value:
    forbidden = (cpu.el == EL0) & ((ruling_control(cpu) & DZE) == 0)
    trapped = (cpu.el != EL2) & ~hosted(cpu) & ((cpu.hcr & TDZ) != 0)
    blocks = (ZERO_BLOCK // 4).bit_length() - 1
    return const(blocks, 64) | select(forbidden | trapped, const(16, 64), 0)


constant("dczid_el0", (3, 3, 0, 0, 7), _dczid)

# -- features, by the model: set at reset
for _at, (_name, (_crm, _op2)) in enumerate(IDENTIFICATION.items()):
    constant(_name, (3, 0, 0, _crm, _op2), lambda cpu, _at=_at: cpu.identity[_at], trapped=TID3)  # type: ignore[misc]

# AArch32 is not there: its registers read as zero, like all that are reserved among these.
_NAMES32 = {
    1: ("pfr0", "pfr1", "dfr0", "afr0", "mmfr0", "mmfr1", "mmfr2", "mmfr3"),
    2: ("isar0", "isar1", "isar2", "isar3", "isar4", "isar5", "mmfr4", "isar6"),
}
_TAKEN = set(IDENTIFICATION.values())
for _crm in range(1, 8):
    for _op2 in range(8):
        _known = _NAMES32.get(_crm)
        if (_crm, _op2) in _TAKEN:
            continue
        _name = f"id_{_known[_op2]}_el1" if _known else f"s3_0_c0_c{_crm}_{_op2}"
        constant(_name, (3, 0, 0, _crm, _op2), 0, trapped=TID3, shown=bool(_known))
