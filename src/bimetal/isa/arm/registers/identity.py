"""Identification registers (D17.2): who this processor is and what it has."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu, slowly
from ..syndromes import EL0, EL1
from ..sysregs import constant, system_register
from .timers import trap_to_owner

__all__ = ["DZE", "ZERO_BLOCK"]

# HCR_EL2: traps of identification registers.
TID1, TID2, TID3 = 1 << 16, 1 << 17, 1 << 18
# SCTLR_ELx: what EL0 may look at.
UCT, DZE = 1 << 15, 1 << 14
CACHE_LINE = 64
ZERO_BLOCK = 64
"""Bytes that DC ZVA clears."""


def _virtual(real: str, seen: str) -> object:
    """A register that EL2 can show otherwise to EL1 (VPIDR_EL2, VMPIDR_EL2)."""

    def read(cpu: Cpu) -> Value:
        other = (cpu.el == EL1) & (cpu.el2_there == 1)
        value: Value = select(other, getattr(cpu, seen), getattr(cpu, real))
        return value

    return read


constant("midr_el1", (3, 0, 0, 0, 0), _virtual("midr", "vpidr"))  # type: ignore[arg-type]
constant("mpidr_el1", (3, 0, 0, 0, 5), _virtual("mpidr", "vmpidr"))  # type: ignore[arg-type]
constant("revidr_el1", (3, 0, 0, 0, 6), 0, trapped=TID1)
constant("aidr_el1", (3, 1, 0, 0, 7), 0, trapped=TID1)

# One level of split caches of 32 KiB, two ways, and a unified one of 1 MiB above them: sets and
# ways are looked at by loops that clean caches, which there is nothing of here.
CLIDR = 3 | 4 << 3 | 1 << 24 | 1 << 27
CCSIDR = {0: 2 | 1 << 3 | 255 << 13, 1: 2 | 1 << 3 | 255 << 13, 2: 2 | 15 << 3 | 1023 << 13}
constant("clidr_el1", (3, 1, 0, 0, 1), CLIDR, trapped=TID2)


def _ccsidr(cpu: Cpu) -> Value:
    value = const(0, 64)
    for which, size in CCSIDR.items():
        value = select(cpu.csselr == which, const(size, 64), value)
    return value


def _write_csselr(cpu: Cpu, value: Value) -> None:
    cpu.csselr = value & 15


constant("ccsidr_el1", (3, 1, 0, 0, 0), _ccsidr, trapped=TID2)
system_register("csselr_el1", (3, 2, 0, 0, 0), lambda cpu: cpu.csselr, _write_csselr, trapped=TID2)


def _cache_type(cpu: Cpu, writes: bool, iss: Value) -> None:
    with slowly((cpu.el == EL0) & ((cpu.sctlr_el[1] & UCT) == 0)):
        trap_to_owner(cpu, iss)


# Instruction caches need no invalidation where data caches are clean to unification (IDC), lines
# are of 64 bytes; the one thing to do is an ISB after IC (DIC is 0).
CTR = 1 << 31 | 3 << 14 | 4 << 16 | 4 | 4 << 20 | 4 << 24 | 1 << 28
system_register("ctr_el0", (3, 3, 0, 0, 1), lambda cpu: const(CTR, 64), check=_cache_type)


def _dczid(cpu: Cpu) -> Value:
    forbidden = (cpu.el == EL0) & ((cpu.sctlr_el[1] & DZE) == 0)
    blocks = (ZERO_BLOCK // 4).bit_length() - 1
    return const(blocks, 64) | select(forbidden, const(16, 64), 0)


constant("dczid_el0", (3, 3, 0, 0, 7), _dczid)

# -- features: each field says what is described, and no more (D17.2.61 and on)
Fields = dict[str, tuple[int, int]]
"""Of a register by name: where a field stands, and what it says."""

FEATURES: dict[str, tuple[int, int, Fields]] = {
    # CRm, op2, fields
    "id_aa64pfr0_el1": (
        # CSV2, CSV3: nothing is executed speculatively, so no branch and no fault tells of others.
        4, 0, {"EL0": (0, 1), "EL1": (4, 1), "EL2": (8, 1), "FP": (16, 0), "AdvSIMD": (20, 0),
               "GIC": (24, 1), "DIT": (48, 1), "CSV2": (56, 1), "CSV3": (60, 1)}
    ),
    "id_aa64pfr1_el1": (4, 1, {"SSBS": (4, 2)}),
    "id_aa64zfr0_el1": (4, 4, {}),
    "id_aa64smfr0_el1": (4, 5, {}),
    "id_aa64dfr0_el1": (
        5, 0, {"DebugVer": (0, 6), "BRPs": (12, 5), "WRPs": (20, 3), "CTX_CMPs": (28, 1)}
    ),
    "id_aa64dfr1_el1": (5, 1, {}),
    "id_aa64afr0_el1": (5, 4, {}),
    "id_aa64afr1_el1": (5, 5, {}),
    "id_aa64isar0_el1": (
        6, 0, {"AES": (4, 2), "SHA1": (8, 1), "SHA2": (12, 2), "CRC32": (16, 1),
               "Atomic": (20, 2), "RDM": (28, 1), "SHA3": (32, 1), "SM3": (36, 1), "SM4": (40, 1),
               "DP": (44, 1), "TS": (52, 2), "RNDR": (60, 1)}
    ),
    "id_aa64isar1_el1": (
        6, 1, {"DPB": (0, 2), "JSCVT": (12, 1), "LRCPC": (20, 2), "FRINTTS": (32, 1),
               "SB": (36, 1), "SPECRES": (40, 1), "I8MM": (52, 1)}
    ),
    "id_aa64isar2_el1": (6, 2, {"MOPS": (16, 1)}),
    "id_aa64mmfr0_el1": (
        7, 0, {"PARange": (0, 5), "ASIDBits": (4, 2), "TGran16": (20, 1), "TGran64": (24, 0)}
    ),
    "id_aa64mmfr1_el1": (
        7, 1, {"HAFDBS": (0, 2), "VH": (8, 1), "HPDS": (12, 1), "PAN": (20, 1), "HCX": (40, 1)}
    ),
    "id_aa64mmfr2_el1": (7, 2, {"UAO": (4, 1)}),
    "id_aa64mmfr3_el1": (7, 3, {}),
}  # fmt: skip
OPTIONAL = {"EL2": "el2_there", "GIC": "gic_there"}
"""Fields that are 0 unless a register of the state is 1."""


def _describe_features() -> None:
    for name, (crm, op2, fields) in FEATURES.items():
        value = sum(says << at for at, says in fields.values())
        optional = [(OPTIONAL[field], at) for field, (at, _) in fields.items() if field in OPTIONAL]

        def read(cpu: Cpu, value: int = value, optional: list[tuple[str, int]] = optional) -> Value:
            said = const(value, 64)
            for there, at in optional:
                said = select(getattr(cpu, there) == 1, said, said & ~(15 << at))
            return said

        constant(name, (3, 0, 0, crm, op2), read, trapped=TID3)


_describe_features()

# AArch32 is not there: its registers read as zero, like all that are reserved among these.
_NAMES32 = {
    1: ("pfr0", "pfr1", "dfr0", "afr0", "mmfr0", "mmfr1", "mmfr2", "mmfr3"),
    2: ("isar0", "isar1", "isar2", "isar3", "isar4", "isar5", "mmfr4", "isar6"),
}
_TAKEN = {(crm, op2) for crm, op2, _ in FEATURES.values()}
for _crm in range(1, 8):
    for _op2 in range(8):
        _known = _NAMES32.get(_crm)
        if (_crm, _op2) in _TAKEN:
            continue
        _name = f"id_{_known[_op2]}_el1" if _known else f"s3_0_c0_c{_crm}_{_op2}"
        constant(_name, (3, 0, 0, _crm, _op2), 0, trapped=TID3)
