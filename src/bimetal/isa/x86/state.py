"""x86's registers, what is stored of them, and the `Isa`.

References are to Intel's Software Developer's Manual. Names are the manual's, and those that KVM's
vCPUs have for the same registers; a segment register ``cs`` is its selector, the hidden part is
``cs.base``, ``cs.limit`` (in bytes) and ``cs.attributes`` (volume 3, table 25-2, "Format of Access
Rights": type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16).
"""

from __future__ import annotations

from functools import partial

from ..decoding import DecodeMode
from ..describe import Isa
from ..state import StateSpec
from .extensions import EXTENSIONS
from .fields import NONE
from .identity import LEAVES, SETTABLE
from .relocated import relocated
from .scan import FETCH, scan
from .text import KINDS, REGISTERS
from .unscan import unscan

__all__ = [
    "CS", "DS", "ES", "FLAGS", "FS", "GS", "LDTR", "SEGMENTS", "SS", "TR", "UNGUARDED", "x86",
]  # fmt: skip

ES, CS, SS, DS, FS, GS, LDTR, TR = range(8)
"""Segment registers as instructions number them; and the two that are none of theirs."""
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")

FLAGS = ("cf", "pf", "af", "zf", "sf", "of")
"""The flags of arithmetic, a register each: most instructions set all of them, few look at one."""

_state = StateSpec()
# The linear address of the instruction; the instruction pointer is `rip`, a view.
_state.scalars(64, "pc")
_state.file("r", 17, 64, zero=NONE, names=REGISTERS[64], doc="general registers, volume 1, 3.4.1")

_file, _scalars = partial(_state.file, internal=True), partial(_state.scalars, internal=True)
_scalars(1, *FLAGS)
# All other flags, where they stand in RFLAGS: TF, IF, DF, IOPL, NT, RF, VM, AC, VIF, VIP, ID.
_scalars(32, "system_flags")


def _hidden(part: str) -> tuple[str, ...]:
    return tuple(f"{name}.{part}" for name in SEGMENTS)


# Segment registers (volume 3, 3.4.3). Number 8 is that of linear addresses: its base is 0.
_state.file("selector", 8, 16, names=SEGMENTS)
_state.file("base", 9, 64, zero=8, names=_hidden("base"))
_state.file("limit", 8, 32, names=_hidden("limit"))
_state.file("attributes", 8, 32, names=_hidden("attributes"), bits=0x1F0FF)
# From which offset on loads, and 16 further stores, have to look at limit and rights: inverted.
UNGUARDED = 32
_file("guard", 33, 64, zero=UNGUARDED)
for _table in ("gdtr", "idtr"):
    _state.file(f"{_table}_base", 1, 64, names=(f"{_table}.base",))
    _state.file(f"{_table}_limit", 1, 16, names=(f"{_table}.limit",))

# Control registers (volume 3, 2.5), and what is worked out of them: the privilege level, the decode
# mode and the context of accesses.
_state.scalars(64, "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "xcr0")
_scalars(8, "cpl", "decoding")
# What the four entries of the first level of PAE paging were when CR3 was loaded (4.4.1).
_file("pdpte", 4, 64)
_state.file("dr", 8, 64, names=[f"dr{n}" for n in range(8)])

# XMM registers, the upper halves of YMM registers, MXCSR without its flags (volume 1, 10.2, 14.1).
_state.file("xmm", 16, 128, names=[f"xmm{n}" for n in range(16)])
_file("ymmh", 16, 128)
_scalars(32, "mxcsr_control")
# What vector and x87 instructions have to look at first: 0 where nothing is unusual.
_scalars(8, "vector_checks")
# The x87 (volume 1, 8.1): significands, which are the MMX registers, signs with exponents, control
# and status; of each register a bit that says whether it is in use; the last instruction's opcode
# and address, and its operand's.
_state.file("mm", 8, 64, names=[f"mm{n}" for n in range(8)])
_file("exponent", 8, 16)
_state.scalars(16, "fcw", "fsw")
_state.scalars(8, "ftw")
_state.scalars(16, "fop")
_state.scalars(64, "fip", "fdp")
# What the address of an instruction is ahead of its offset in the code segment.
_scalars(64, "code_base")
_state.younger["code_base"] = 0

# Model-specific registers (volume 4); the MTRRs, variable ones first.
_state.scalars(64, "sysenter_cs", "sysenter_esp", "sysenter_eip", "pat", "star", "lstar", "cstar",
               "sfmask", "kernel_gs_base")  # fmt: skip
_scalars(64, "tsc_aux", "tsc_adjust", "misc_enable", "mtrr_default", "feature_control", "spec_ctrl")
_file("mtrr", 48, 64)
# How far the time-stamp counter is ahead of the machine's clock, besides what the guest adjusts: it
# may have counted elsewhere, at another rate.
_scalars(64, "tsc_offset")
_state.younger["tsc_offset"] = 0

# Events: the inputs INTR and NMI, a byte each so that other threads may store to them; the
# interrupt that the board has said it is; whether an NMI is being handled; shutdown; and how many
# instructions had retired by the one, such as STI, behind which interrupts wait for another one,
# and by the last load of SS, behind which #DB waits too.
_file("line", 2, 8)
_file("acknowledged", 1, 64)
_scalars(8, "nmi_blocked", "shutdown")
_scalars(64, "shadow", "debug_shadow")
# The instruction (`now`) by which a task was entered last.
_scalars(64, "task_entered")
# Debugging (see `debug`): what is to be done; what waits for #DB; which instruction was examined
# last, and how many had retired by it.
_scalars(8, "debugging")
_scalars(16, "debug_pending")
_scalars(64, "examined_pc", "examined_at")
_state.younger |= dict.fromkeys(("debug_shadow", "debugging", "examined_pc", "examined_at"), 0)
_state.younger["task_entered"] = 0
# The number of the CPU, and what CPUID has told last.
_scalars(32, "cpu_index")
_file("told", 4, 32)
# What the processor's model is: all that CPUID tells whatever the state is, and the bits of CR4,
# EFER and XCR0 that can be set.
_file("identity", 4 * len(LEAVES), 32, fixed=True)
_file("settable", len(SETTABLE), 64, fixed=True)

x86 = Isa(
    "x86_64", _state, KINDS, granule=1, fetch=FETCH, scan=scan, unscan=unscan, operands=24,
    coherent=True, features=EXTENSIONS, chapters=("bimetal.isa.x86.insns",),
    relocated=relocated,
    modes=(
        DecodeMode("64-bit"), DecodeMode("32-bit, flat", 32),
        DecodeMode("32-bit", 32), DecodeMode("16-bit", 32),
    ),
)  # fmt: skip
