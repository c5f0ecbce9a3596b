"""Where AMD's processors do otherwise than Intel's, whose results this project gives.

On a host of AMD's a comparison with the host's own processor leaves out exactly what is listed
here; on other hosts it leaves out nothing. Where nothing else is said, the result is left open by
both makers: by the Intel SDM (volume 2, "Flags Affected" of each instruction) and by the AMD64
Architecture Programmer's Manual, APM (volume 3, "rFLAGS Affected"). Everything here was seen with
family 19h, model 1 (Zen 3); what other families do otherwise has to be added.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite, isnan

from bimetal.codegen.processor import made_by
from bimetal.isa.describe import Decoded

from ..state import DATA, Case, State
from .cases import decode, first_access
from .native import GENERAL

__all__ = ["AMD", "MISALIGNED_SSE", "STOPS", "comparable", "settled"]

AMD = made_by("AuthenticAMD")
"""Whether the host's processor is one of AMD's."""

CF, PF, AF, ZF, SF, OF = (1 << n for n in (0, 2, 4, 6, 7, 11))
OPEN = {
    **dict.fromkeys(("bsf", "bsr"), CF | PF | AF | SF | OF),
    **dict.fromkeys(("mul", "imul", "div", "idiv"), PF | AF | ZF | SF),
    **dict.fromkeys(("andn", "blsi", "blsmsk", "blsr", "bzhi"), PF),
    "bextr": PF | AF,
    **dict.fromkeys(("lzcnt", "tzcnt"), OF),
}
"""Flags that are left open whatever the operands are."""
OPEN_BY_SHIFTS = {
    **dict.fromkeys(("shl", "shr", "shld", "shrd"), AF | OF),
    "sar": AF,
    **dict.fromkeys(("rol", "ror", "rcl", "rcr"), OF),
}
"""Flags that are left open by counts above 1; AF is by 1, too."""
DOUBLE_SHIFTS = ("shld", "shrd")
"""Their flags and their result are left open by counts above the operand's width, which operands
of 16 bits allow."""

MISALIGNED_SSE = 1 << 17
"""MXCSR.MM, and its bit in MXCSR_MASK: operands of SSE may be misaligned if a program says so (APM
volume 1, 4.2.2). Intel's processors have no such bit."""

SHA = "sha_ni"
"""Operands in memory may be misaligned on AMD's processors whatever MXCSR says; on Intel's they
raise #GP (SDM volume 2, 2.4, type 4 without VEX). See `test_native`."""

ESTIMATES = ("rcpps", "rcpss", "rsqrtps", "rsqrtss")
"""Each maker has tables of its own, of which both manuals only promise a relative error below
1.5 * 2 ** -12."""
APART = 3.002 * 2**-12
"""How far, relatively, two estimates of one number may be apart: each by its error."""

DOT_PRODUCTS = {"dpps": 32, "dppd": 64}
"""The width of their numbers. Which of several products that are NaN is the sum, is left open, and
which of the products are made before an exception is raised: each is an operation of its own (SDM
volume 2, DPPS)."""

SIMD, EXCEPTIONS = 19, 0x3F
OE, UE, PE, MASKS = 8, 16, 32, 7
"""Flags of exceptions in MXCSR; how many bits higher they are masked.

That an overflow or underflow is also inexact AMD's processors say, where it is unmasked, of a
result with as large or small an exponent as it takes; Intel's of the one that it would have if it
were masked. (SDM volume 1, 11.5.2.6, and APM volume 1, 4.10, speak of results only, of which then
there is none.)"""

REMAINDERS = ("fprem", "fprem1")
"""A denormal operand whose exception is unmasked leaves C0 and C3 as they were on AMD's processors;
on Intel's they become bits of a quotient, of which the manuals speak only where there is one."""
DE, C0, C3 = 2, 0x100, 0x4000

STOPS = {
    "loads of SS": "each of several loads of SS delays a step, not only the first",
    "repeated up to a difference": "RF is clear between the steps of REPE CMPS",
    **dict.fromkeys(("movups", "movdqu"), "alignment checks are for MOVUPS and MOVDQU too"),
}
"""What debugged programs are stopped by on AMD's processors otherwise than on Intel's: of loads of
SS in a row only the first is sure to delay what waits (SDM volume 3, 6.8.3), between steps of
strings Intel's set RF (18.3.1.1), and accesses that need not be aligned they do not check."""


def comparable(case: Case) -> bool:
    """Whether this host's processor traps where Intel's do in a case."""
    decoded = _decoded(case)
    if not AMD or decoded.insn.extension != SHA:
        return True
    access = first_access(decoded, case.before.registers)
    return access is None or access[0] % 16 == 0


def settled(cases: Sequence[Case], ours: Sequence[State], theirs: Sequence[State]) -> list[State]:
    """What the host's processor did, and where it may do otherwise than Intel's, what we did."""
    if not AMD:
        return list(theirs)
    return [_settled(*each) for each in zip(cases, ours, theirs, strict=True)]


def _settled(case: Case, ours: State, theirs: State) -> State:
    decoded = _decoded(case)
    name = decoded.insn.name.removeprefix("v")
    theirs = _take(theirs, ours, rflags=_open_flags(name, decoded, case))
    if name in DOUBLE_SHIFTS and _count(decoded, case) > 16 and _width(decoded) == 16:
        theirs = _shifted(decoded, case, ours, theirs)
    if name in ESTIMATES:
        theirs = _take_alike(theirs, ours, 32, _near)
    if name in DOT_PRODUCTS:
        theirs = _take_alike(theirs, ours, DOT_PRODUCTS[name], _both_nan)
    if ours.trap == theirs.trap == SIMD:
        theirs = _take(theirs, ours, mxcsr=_open_exceptions(name, ours.registers["mxcsr"]))
    status = ours.registers.get("fsw", 0)
    if name in REMAINDERS and status & DE and not ours.registers["fcw"] & DE:
        theirs = _take(theirs, ours, fsw=C0 | C3)
    return theirs


def _decoded(case: Case) -> Decoded:
    decoded = decode(case.word.to_bytes(case.size, "little"))
    assert decoded is not None
    return decoded


def _take(theirs: State, ours: State, **masks: int) -> State:
    """A state with some bits of registers from another one."""
    taken = {
        name: theirs.registers[name] & ~mask | ours.registers[name] & mask
        for name, mask in masks.items()
        if mask
    }
    return theirs.with_registers(**taken) if taken else theirs


def _width(decoded: Decoded) -> int:
    """That of a shift's operand, in bits."""
    if "{:Eb}" in decoded.insn.template.text:
        return 8
    return 64 if decoded.fields["wide"] else 16 if decoded.fields["osize"] == 0 else 32


def _count(decoded: Decoded, case: Case) -> int:
    """How far a shift shifts."""
    text = decoded.insn.template.text
    if text.endswith(" 1"):
        return 1
    given = decoded.fields["imm"] if text.endswith("{:Ib}") else case.before.registers["rcx"]
    return given & (63 if _width(decoded) == 64 else 31)


def _open_flags(name: str, decoded: Decoded, case: Case) -> int:
    if name not in OPEN_BY_SHIFTS:
        return OPEN.get(name, 0)
    count, width = _count(decoded, case), _width(decoded)
    if name in DOUBLE_SHIFTS and count > width:
        return CF | PF | AF | ZF | SF | OF
    return OPEN_BY_SHIFTS[name] & (0 if count == 0 else AF if count == 1 else AF | OF)


def _open_exceptions(name: str, mxcsr: int) -> int:
    """Of an instruction that raised some."""
    if name in DOT_PRODUCTS:
        return EXCEPTIONS
    return mxcsr & PE if mxcsr & ~(mxcsr >> MASKS) & (OE | UE) else 0


def _shifted(decoded: Decoded, case: Case, ours: State, theirs: State) -> State:
    """With our result of a double shift, in a register or in memory."""
    access = first_access(decoded, case.before.registers)
    if access is None:
        return _take(theirs, ours, **{GENERAL[decoded.fields["rm"]]: 0xFFFF})
    at = access[0] - DATA
    memory = theirs.memory[:at] + ours.memory[at : at + 2] + theirs.memory[at + 2 :]
    return replace(theirs, memory=memory)


def _take_alike(
    theirs: State, ours: State, lane: int, alike: Callable[[float, float], bool]
) -> State:
    """A state with those numbers in vector registers from another one that are alike."""
    number = struct.Struct("<f" if lane == 32 else "<d")
    taken = {}
    for name in (name for name in theirs.registers if name.startswith("ymm")):
        a, b = (state.registers[name].to_bytes(32, "little") for state in (ours, theirs))
        mixed = b""
        for at in range(0, 32, number.size):
            one, other = a[at : at + number.size], b[at : at + number.size]
            mixed += one if alike(*number.unpack(one), *number.unpack(other)) else other
        taken[name] = int.from_bytes(mixed, "little")
    return theirs.with_registers(**taken)


def _near(a: float, b: float) -> bool:
    return isfinite(a) and abs(a - b) <= APART * abs(b)


def _both_nan(a: float, b: float) -> bool:
    return isnan(a) and isnan(b)
