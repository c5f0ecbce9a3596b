"""AMD's SSE4A (AMD64 Architecture Programmer's Manual, volume 4): fields of bits in the low half of
a vector register, and scalars stored past the caches.

What the manual leaves undefined is as on processors: the upper half becomes 0, and fields end at
bit 63.
"""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu
from ..simd import Form, describe, store_parts

LEGACY = Form(128, vex=False)


def _field(length: Value, index: Value) -> tuple[Value, Value]:
    """The mask of a field at bit 0, and where its lowest bit is; a length of 0 is one of 64."""
    bits = length & 63
    mask = select(bits == 0, const(-1, 64), (const(1, 64) << bits) - 1)
    return mask, index & 63


def _extract(cpu: Cpu, to: Value, length: Value, index: Value) -> None:
    mask, at = _field(length, index)
    cpu.xmm[to] = (cpu.xmm[to].trunc(64).lsr(at) & mask).zext(128)


def _insert(cpu: Cpu, to: Value, source: Value, length: Value, index: Value) -> None:
    mask, at = _field(length, index)
    kept = cpu.xmm[to].trunc(64) & ~(mask << at)
    cpu.xmm[to] = (kept | (source.trunc(64) & mask) << at).zext(128)


def _said(imm: Value) -> tuple[Value, Value]:
    """Length and index as immediate bytes."""
    return imm[7:0].zext(64), imm[15:8].zext(64)


@describe("66 0f 78 /0 reg iw", "extrq {:Udq}, {:Ib}, {:I1}", "sse4a")
def extrq_immediate(cpu: Cpu, rm: Value, imm: Value, **_: Value) -> None:
    LEGACY.ready(cpu)
    _extract(cpu, rm, *_said(imm))


@describe("66 0f 79 /r reg", "extrq {:Vdq}, {:Udq}", "sse4a")
def extrq(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
    LEGACY.ready(cpu)
    said = cpu.xmm[rm].trunc(64)
    _extract(cpu, reg, said, said.lsr(8))


@describe("f2 0f 78 /r reg iw", "insertq {:Vdq}, {:Udq}, {:Ib}, {:I1}", "sse4a")
def insertq_immediate(cpu: Cpu, reg: Value, rm: Value, imm: Value, **_: Value) -> None:
    LEGACY.ready(cpu)
    _insert(cpu, reg, cpu.xmm[rm], *_said(imm))


@describe("f2 0f 79 /r reg", "insertq {:Vdq}, {:Udq}", "sse4a")
def insertq(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
    LEGACY.ready(cpu)
    source = cpu.xmm[rm]
    said = source[127:64]
    _insert(cpu, reg, source, said, said.lsr(8))


def _past_caches(prefix: str, name: str, letter: str, width: int) -> None:
    @describe(f"{prefix} 0f 2b /r mem", f"{name} {{:M{letter}}}, {{:Vdq}}", "sse4a")
    def store(cpu: Cpu, **fields: Value) -> None:
        LEGACY.ready(cpu)
        store_parts(cpu, fields, [cpu.xmm[fields["reg"]].trunc(width)])


_past_caches("f2", "movntsd", "q", 64)
_past_caches("f3", "movntss", "d", 32)
