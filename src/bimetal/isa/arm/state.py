"""AArch64 state: registers, flags, what is stored of the system registers, and the `Isa`.

References are to the Arm Architecture Reference Manual for A-profile, DDI 0487 (issue J.a).
"""

from __future__ import annotations

from functools import partial

from ..contract import STRICT
from ..describe import Isa
from ..reservation import Reservation
from ..state import StateSpec
from .features import BREAKPOINTS, COUNTERS, IDENTIFICATION, NEEDS, WATCHPOINTS
from .landings import LANDING, MODES, scan
from .text import KINDS, W_NAMES, X_NAMES

__all__ = ["FIQ", "FLAGS", "IRQ", "VFIQ", "VIRQ", "a64", "monitor"]

IRQ, FIQ, VIRQ, VFIQ = range(4)
"""Interrupt inputs."""

V_NAMES = tuple(f"v{n}" for n in range(32))

FLAGS = ("nf", "zf", "cf", "vf")
"""PSTATE.N, Z, C and V, a register each: most instructions set or look at one or two of them."""

_state = StateSpec()
_state.scalars(64, "pc")
_state.file("x", 32, 64, zero=31, names=X_NAMES, doc="general-purpose registers, B1.2.1")
_state.scalars(64, "sp")  # the current stack pointer; those of other modes are in sp_el

# All but these and the vector registers is stored as is handy. What people see of it are system
# registers, by the names that MRS and MSR have for them (`sysregs`), and PSTATE (`exceptions`).
_file, _scalars = partial(_state.file, internal=True), partial(_state.scalars, internal=True)
_scalars(1, *FLAGS)
_state.file("v", 32, 128, names=V_NAMES, doc="SIMD and floating-point registers, B1.2.1")

# PSTATE (D1.4): exception level, which stack pointer, interrupt masks (D A I F in bits 3 to 0).
_scalars(8, "el", legal=lambda level: level <= 2)
_scalars(8, "spsel", bits=1)
_scalars(8, "daif", bits=15)
_scalars(8, "pan", "uao", "dit", "ssbs", bits=1)
_scalars(8, "btype", bits=3)
_scalars(8, "ss", "il", bits=1)
_file("sp_el", 4, 64, doc="stack pointers of the exception levels that do not use theirs")
# Interrupt inputs, one byte each so that other threads may store to them.
_file("line", 4, 8, doc="IRQ, FIQ, and their virtual forms")

_scalars(32, "fpcr", "fpsr_qc")
# 1 while floating-point instructions need no check: nothing traps them, and FPCR asks for no more
# than a rounding mode and default NaNs.
_scalars(8, "fp_ready")

# System registers with one of a kind for each exception level (D17.2).
for _name in ("vbar", "elr", "spsr", "esr", "far", "sctlr", "tcr", "ttbr0", "ttbr1", "mair",
              "amair", "afsr0", "afsr1", "contextidr", "tpidr", "actlr"):  # fmt: skip
    _file(f"{_name}_el", 4, 64, doc=f"{_name.upper()}_ELx, by level")
_scalars(64, "cpacr", "tpidrro", "par", "csselr", "mdscr", "cntkctl", "cntfrq")
# EL2: what hypervisors set (D17.2), the intermediate address of the last stage 2 fault, and
# MemAttr and, above it, SH of the last page of stage 2.
_scalars(64, "hcr", "hcrx", "cptr", "hstr", "vttbr", "vtcr", "vpidr", "vmpidr", "hpfar",
               "mdcr", "cnthctl", "cntvoff", "hacr", "fault_ipa", "walk_slot",
               "memory_of_stage_2")  # fmt: skip
# Timers (D11): physical, virtual, hypervisor's physical and virtual: comparison and control.
_file("timer_cval", 4, 64)
_file("timer_ctl", 4, 8)
# The levels of the vCPU's outputs: the timers' in their order, and the performance monitors'.
_file("outputs", 5, 8)

# Self-hosted debug (D2): breakpoints, watchpoints, locks, claim tags; what there is to examine and
# to watch, and 1 while PSTATE.SS is 0 for the instruction in hand alone, which is stepped.
_file("dbgbvr", BREAKPOINTS, 64)
_file("dbgbcr", BREAKPOINTS, 64)
_file("dbgwvr", WATCHPOINTS, 64)
_file("dbgwcr", WATCHPOINTS, 64)
_scalars(8, "oslock", "osdlr", "dbgprcr", "claimed")
_scalars(8, "debugging", "stepping")
# Performance monitors (D13): counters of events and of cycles, what they count, and the count of
# instructions that they have followed.
_file("pmcount", COUNTERS + 1, 64)
_file("pmtype", COUNTERS + 1, 64)
_scalars(64, "pmcr", "pmcnten", "pmovs", "pminten", "pmuserenr", "pmselr")
_scalars(64, "pm_since")
# What kind of vCPU it is: its number, identification registers by `identity`, whether there is an
# EL2 and a GICv3's CPU interface, and which of HVC (1) and SMC (2) comes out as a firmware call.
_scalars(64, "cpu_index", "midr", "mpidr")
_file("identity", len(IDENTIFICATION), 64, doc="identification registers of features")
_scalars(8, "el2_there", "gic_there", "firmware_calls")
# 1 while an HLT may be a semihosting call: until it is known that nobody serves them.
_scalars(8, "semihosting")
# What other vCPUs have to forget before this one's next barrier is complete.
_scalars(8, "owed")
# Keys of pointer authentication (D17.2), low half first: IA, IB, DA, DB, GA. What follows from
# other registers for the level of now (`pauth`): which keys are used and how, and the bits of a
# pointer that hold its code: of instructions and data, of the low and the high range.
_file("pac_key", 10, 64)
_scalars(16, "pac")
_file("pac_field", 4, 64)
# Whether a misaligned access may fault: 1 once memory has been looked at through a page of the type
# Device, and 2 while some level has alignment checked.
_scalars(8, STRICT)

a64 = Isa(
    "aarch64", _state, KINDS, granule=4, fetch=4, operands=24, features=tuple(NEEDS),
    scan=scan, modes=MODES, landing=LANDING, chapters=("bimetal.isa.arm.insns",),
)  # fmt: skip

monitor = Reservation(a64, widest=128)
"""The exclusive monitors, local and global (B2.9)."""

assert len(W_NAMES) == len(X_NAMES)
