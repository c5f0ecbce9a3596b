"""Traces as text."""

from __future__ import annotations

from bimetal.ir.text import listing
from bimetal.isa.riscv import rv64

SC = """\
%1:64 = x[rs1]
%2:64 = x[rs2]
%3:32 = trunc(%2)
%4:64 = %1 & 3
%5:1 = %4 != 0
if %5, rarely:
    misaligned(1, %1)
%6:1 = local(0)
%7:8 = reserved_size[0]
%8:1 = %7 == 4
%9:64 = reserved_address[0]
%10:1 = %9 == %1
%11:1 = %8 & %10
if %11:
    %12:64 = reserved_low[0]
    %13:32 = trunc(%12)
    %14:32 = cas.32.aligned.sequential(%1, %13, %3)
    %15:1 = %14 == %13
    %6 := %15
reserved_size[0] = 0
%16:1 = %6
%17:1 = %16 ^ 1
%18:64 = zext(%17)
x[rd] = %18
"""


def trace(name: str) -> str:
    insn = next(insn for insn in rv64.insns if insn.name == name)
    return listing(insn.trace({}))


def test_a_plain_instruction_is_a_line_for_each_operation() -> None:
    assert trace("add") == "%1:64 = x[rs1]\n%2:64 = x[rs2]\n%3:64 = %1 + %2\nx[rd] = %3\n"


def test_blocks_are_indented() -> None:
    assert trace("sc.w") == SC


def test_calls_and_atomics_have_names() -> None:
    assert "%4:32 = amo add.32.aligned.sequential(%1, %3)\n" in trace("amoadd.w")
    assert "csr_check(csr, 1)\n" in trace("csrrw")
    assert "hcall fence_code()\nsync\n" in trace("fence.i")


def test_rare_alternatives_have_an_else() -> None:
    lines = trace("fcvt.w.d").splitlines()
    assert lines.count("else:") == 1
    assert "    %78 := %90" in lines[lines.index("else:") :]
