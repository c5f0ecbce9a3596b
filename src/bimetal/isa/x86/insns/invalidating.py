"""Instructions that invalidate caches and translations (volume 3, 4.10.4 and 12.5.5)."""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, slowly, when
from ..control import PCIDE
from ..describing import insn
from ..operands import Register, address_of
from ..privilege import need_ring_0
from ..traps import general_protection


@insn("0f 08", "invd")
def invd(cpu: Cpu, **_: Value) -> None:
    need_ring_0(cpu)
    cpu.sync()


@insn("0f 09", "wbinvd")
def wbinvd(cpu: Cpu, **_: Value) -> None:
    need_ring_0(cpu)
    cpu.sync()


@insn("0f 01 /7 mem", "invlpg {:Mb}")
def invlpg(cpu: Cpu, **fields: Value) -> None:
    need_ring_0(cpu)
    every, page = const(0, 64), address_of(cpu, fields, 1) & ~0xFFF
    cpu.host("flush_pages", 0, page, const(1, 64), every, every, every)
    cpu.sync()


@insn("66 0f38 82 /r mem", "invpcid {:Gr}, {:M}", extension="invpcid")
def invpcid(cpu: Cpu, **fields: Value) -> None:
    """More than it asks for is forgotten."""
    need_ring_0(cpu)
    kind = Register(cpu, fields["reg"], 64).read()
    address = address_of(cpu, fields, 16)
    number, page = cpu.load(address, 64), cpu.load(address + 8, 64)
    beyond = (number.lsr(12) != 0) | ((kind.ult(2)) & (number != 0) & ((cpu.cr4 & PCIDE) == 0))
    with slowly(const(3, 64).ult(kind) | beyond):
        general_protection(cpu)
    every = const(0, 64)
    with when(kind == 0) as one:
        cpu.host("flush_pages", 0, page & ~0xFFF, const(1, 64), every, every, every)
        with one.otherwise():
            cpu.host("flush", 0)
    cpu.sync()
