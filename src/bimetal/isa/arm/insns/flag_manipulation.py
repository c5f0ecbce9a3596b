"""Instructions that change nothing but the condition flags (FlagM, FlagM2)."""

from __future__ import annotations

from ....ir.value import Value, pure, select
from ...trace import Cpu
from ..flags import set_flags
from ..state import a64


@a64.insn("1 0 1 11010000 imm:6 00001 Rn:5 0 mask:4", "rmif {Rn:x}, {imm:i}, {mask:ix}",
          extension="flagm")  # fmt: skip
def rmif(cpu: Cpu, imm: Value, Rn: Value, mask: Value) -> None:
    bits = pure("rotr", cpu.x[Rn], imm.zext(64))
    old = (cpu.nf, cpu.zf, cpu.cf, cpu.vf)
    set_flags(cpu, *(select(mask[n] == 1, bits[n], old[3 - n]) for n in (3, 2, 1, 0)))


def _set_flags_by_size(name: str, sz: str, width: int) -> None:
    """SETF8 and SETF16."""

    @a64.insn(f"0 0 1 11010000 000000 {sz} 0010 Rn:5 0 1101", f"{name} {{Rn:w}}", extension="flagm")
    def meaning(cpu: Cpu, Rn: Value) -> None:
        value = cpu.x[Rn]
        set_flags(
            cpu, value[width - 1], value.trunc(width) == 0, cpu.cf, value[width] ^ value[width - 1]
        )


_set_flags_by_size("setf8", "0", 8)
_set_flags_by_size("setf16", "1", 16)


@a64.insn("1101010100 0 00 000 0100 0000 000 11111", "cfinv", extension="flagm")
def cfinv(cpu: Cpu) -> None:
    cpu.cf = ~cpu.cf


@a64.insn("1101010100 0 00 000 0100 0000 001 11111", "xaflag", extension="flagm2")
def xaflag(cpu: Cpu) -> None:
    z, c = cpu.zf, cpu.cf
    set_flags(cpu, ~c & ~z, z & c, c | z, ~c & z)


@a64.insn("1101010100 0 00 000 0100 0000 010 11111", "axflag", extension="flagm2")
def axflag(cpu: Cpu) -> None:
    z, c, v = cpu.zf, cpu.cf, cpu.vf
    set_flags(cpu, 0, z | v, c & ~v, 0)
