"""RISC-V state: RV64 registers, the CSRs' storage, and the operand kinds of its assembly.

CSR numbers and views (sstatus of mstatus, sie of mie) are in `csrs`; here is what is stored.
References are to The RISC-V Instruction Set Manual, volumes I (unprivileged) and II (privileged),
version 20240411.
"""

from __future__ import annotations

from ...ir.ops import signed
from ...ir.value import Value, const, select
from ..describe import Isa
from ..reservation import Reservation
from ..state import StateSpec
from ..text import OperandKind, in_range, named, number, optional
from .extensions import FEATURES

__all__ = ["CSR_NAMES", "F_NAMES", "PMP_COUNT", "X_NAMES", "reservation", "rv64"]

X_NAMES = (
    *("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *(f"a{i}" for i in range(8)),
    *(f"s{i}" for i in range(2, 12)),
    *(f"t{i}" for i in range(3, 7)),
)
F_NAMES = (
    *(f"ft{i}" for i in range(8)),
    *("fs0", "fs1"),
    *(f"fa{i}" for i in range(8)),
    *(f"fs{i}" for i in range(2, 12)),
    *(f"ft{i}" for i in range(8, 12)),
)
PMP_COUNT = 16

_state = StateSpec()
# IALIGN is 16: bit 0 of the program counter, and of what is to become one, is always 0 (I 1.5).
_state.scalars(64, "pc", bits=~1)
_state.file("x", 32, 64, zero=0, names=X_NAMES, doc="integer registers, I 2.1")
_state.file("f", 32, 64, names=F_NAMES, doc="floating-point registers, I 20.1", floating=True)
# The privilege mode (II 1.2): 0 user, 1 supervisor, 3 machine.
_state.scalars(8, "priv", legal=lambda mode: mode in (0, 1, 3))
_state.scalars(64, "mstatus", "mtvec", "mscratch", "mepc", "mcause", "mtval")
_state.scalars(64, "mie", "medeleg", "mideleg", "mcounteren", "mcountinhibit", "menvcfg")
_state.scalars(64, "stvec", "sscratch", "sepc", "scause", "stval", "satp")
_state.scalars(64, "scounteren", "senvcfg", "stimecmp")
# Interrupt-pending bits that software writes; those driven by lines are engine state.
_state.scalars(64, "mip_soft", internal=True)
_state.scalars(8, "frm", bits=7)
# 1 while floating-point instructions need no check: mstatus.FS is Dirty and frm is valid.
_state.scalars(8, "fp_ready", bits=1, internal=True)
# Interrupt inputs by their bit of mip, one byte each so that other threads may store to them.
_state.file("line", 16, 8, doc="external interrupt lines", bits=1, internal=True)
# 1 once the time has passed stimecmp (Sstc); renewed whenever the engine polls.
_state.scalars(8, "timer_fired", bits=1, internal=True)
_state.file("pmpcfg", PMP_COUNT, 8, names=[f"pmp{i}cfg" for i in range(PMP_COUNT)])
_state.file("pmpaddr", PMP_COUNT, 64, names=[f"pmpaddr{i}" for i in range(PMP_COUNT)])
# How many PMP entries are on: most guests of a virtual machine never set one.
_state.scalars(8, "pmp_active", internal=True)
# minstret = instructions retired since reset + offset; likewise mcycle, which counts the same.
_state.scalars(64, "minstret_offset", "mcycle_offset", internal=True)
_state.scalars(64, "hartid", internal=True)
# 1 if there is an IMSIC on the board, and the registers by which to reach it (`aia`).
_state.scalars(8, "imsic", bits=1, internal=True)
_state.scalars(64, "miselect", "siselect")
_state.younger |= dict.fromkeys(("imsic", "miselect", "siselect"), 0)
# 1 while an ebreak may be a semihosting call: until it is known that nobody serves them.
_state.scalars(8, "semihosting", bits=1, internal=True)
# 1 while an ecall from S-mode goes to the machine's own SBI instead of trapping to M-mode.
_state.scalars(8, "firmware_calls", bits=1, internal=True)

# The names of CSRs by number; `csrs` fills it in as it declares them.
CSR_NAMES: dict[int, str] = {}


def _show_csr(value: int, width: int, _: int) -> str:
    return CSR_NAMES.get(value, hex(value))


def _read_csr(text: str, width: int, _: int) -> int:
    named_so = next((number for number, name in CSR_NAMES.items() if name == text), None)
    return in_range(int(text, 0), width, False) if named_so is None else named_so


_ROUNDING = ("rne", "rtz", "rdn", "rup", "rmm", "rm5", "rm6", "dyn")


def _show_upper(value: int, width: int, _: int) -> str:
    return hex(signed(value, width) >> 12 & 0xF_FFFF)


def _read_upper(text: str, width: int, _: int) -> int:
    return in_range(signed(in_range(int(text, 0), 20, False) << 12, 32), width, True)


def _read_iorw(text: str, width: int, _: int) -> int:
    return 0 if text == "0" else _IORW.index(text)


_IORW = ["".join(c for i, c in enumerate("iorw") if n >> (3 - i) & 1) for n in range(16)]

KINDS = {
    "u": number(),
    "s": number(is_signed=True),
    "upper": OperandKind(_show_upper, _read_upper),
    "rel": number(is_signed=True, relative=True),
    "x": named(X_NAMES),
    "f": named(F_NAMES),
    "xc": named(X_NAMES, offset=8),
    "fc": named(F_NAMES, offset=8),
    # Assemblers write the rounding mode of an exact conversion as rne, and then not at all.
    "rm": optional(", ", _ROUNDING, "dyn"),
    "rm_exact": optional(", ", _ROUNDING, "rne"),
    "iorw": OperandKind(lambda value, width, pc: _IORW[value] or "0", _read_iorw),
    "order": optional(".", ("", "rl", "aq", "aqrl"), ""),
    "csr": OperandKind(_show_csr, _read_csr),
}


def _scan(raw: Value, mode: Value) -> tuple[Value, Value]:
    """Lengths by the low bits (volume I, "Expanded Instruction-Length Encoding").

    Beyond 32 bits the encoding is what tools use and the manual proposes; where it reserves all
    that is longer, the first 16 bits stand alone.
    """
    more = raw[14:12].zext(8)
    long = select(more == 7, const(2, 8), more * 2 + 10)
    long = select(raw[6:0] == 0x3F, const(8, 8), long)
    long = select(raw[5:0] == 0x1F, const(6, 8), long)
    return raw, select(raw[1:0] != 3, const(2, 8), select(raw[4:0] != 0x1F, const(4, 8), long))


rv64 = Isa(
    "riscv64",
    _state,
    KINDS,
    granule=2,
    fetch=4,
    scan=_scan,
    features=FEATURES,
    chapters=("bimetal.isa.riscv.insns",),
)

reservation = Reservation(rv64)
"""What lr makes and sc asks for (I 14.2)."""
