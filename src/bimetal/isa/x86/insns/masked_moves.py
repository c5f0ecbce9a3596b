"""Moves of bytes where a mask says so (MASKMOVQ, MASKMOVDQU), MOVNTI, and what clears registers:
EMMS, VZEROUPPER, VZEROALL."""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, pin, when
from ..fields import DI
from ..mmx_state import use_mmx
from ..operands import linear, operand, truncated
from ..simd import Form, describe, no_vvvv, read_parts, store_parts

LEGACY, VEX, MMX = Form(128, vex=False), Form(128, vex=True), Form(64, vex=False)


# -- bytes where a mask says so


def _masked(row: str, text: str, extension: str, form: Form) -> None:
    @describe(row, text, extension, restartable=True, where=no_vvvv if form.vex else None)
    def maskmov(cpu: Cpu, **fields: Value) -> None:
        """To DS:rDI, or another segment."""
        form.ready(cpu)
        (value,), (mask,) = (read_parts(cpu, fields[name], form) for name in ("reg", "rm"))
        offset = truncated(cpu.r[DI], fields["asize"])
        address = linear(cpu, fields, fields["seg"], offset, form.part // 8, True)
        for n in range(form.part // 8):
            with when(mask[8 * n + 7] == 1):
                cpu.store(address + n, value[8 * n + 7 : 8 * n])
        if form.width == 64:
            use_mmx(cpu)


_masked("66 0f f7 /r reg", "maskmovdqu {:Vdq}, {:Udq}", "sse2", LEGACY)
_masked("vex.128.66.0f f7 /r reg", "vmaskmovdqu {:Vdq}, {:Udq}", "avx", VEX)
_masked("np 0f f7 /r reg", "maskmovq {:Pq}, {:Nq}", "sse", MMX)


@describe("np 0f c3 /r mem", "movnti {:My}, {:Gy}", "sse2")
def movnti(cpu: Cpu, **fields: Value) -> None:
    source = operand(cpu, "Gy", fields)
    store_parts(cpu, fields, [source.read()])


# -- all of the state


@describe("np 0f 77", "emms", "mmx")
def emms(cpu: Cpu, **_: Value) -> None:
    MMX.ready(cpu)
    use_mmx(cpu)
    cpu.ftw = const(0, 8)


@describe("vex.128.0f 77", "vzeroupper", "avx", where=no_vvvv)
def vzeroupper(cpu: Cpu, long: Value, **_: Value) -> None:
    VEX.ready(cpu)
    for n in range(16 if pin(long) else 8):
        cpu.ymmh[n] = const(0, 128)


@describe("vex.256.0f 77", "vzeroall", "avx", where=no_vvvv)
def vzeroall(cpu: Cpu, long: Value, **_: Value) -> None:
    VEX.ready(cpu)
    for n in range(16 if pin(long) else 8):
        cpu.xmm[n] = const(0, 128)
        cpu.ymmh[n] = const(0, 128)
