"""Privileged instructions (volume II, 3.3 and 10.2) and Zifencei (volume I, chapter 6)."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu, when
from ..csrs import TSR, TVM, TW
from ..mmu import MPRV, of_asid
from ..state import rv64
from ..traps import (
    MACHINE,
    MIE,
    MPIE,
    MPP,
    SIE,
    SPIE,
    SPP,
    SUPERVISOR,
    USER,
    illegal,
    poll_timer,
    wakes,
)  # fmt: skip


@rv64.insn("0011000 00010 00000 000 00000 1110011", "mret")
def mret(cpu: Cpu) -> None:
    status = cpu.mstatus
    with when(cpu.priv != MACHINE):
        illegal(cpu)
    previous = (status.lsr(11) & 3).trunc(8)
    mie = select((status & MPIE) != 0, const(MIE, 64), 0)
    # MPRV ends when M-mode is left (II 3.1.6.3).
    kept = select(previous == MACHINE, status, status & ~MPRV)
    cpu.mstatus = (kept & ~(MIE | MPP)) | mie | MPIE
    cpu.priv = previous
    cpu.sync()
    cpu.jump(cpu.mepc)


@rv64.insn("0001000 00010 00000 000 00000 1110011", "sret")
def sret(cpu: Cpu) -> None:
    status = cpu.mstatus
    trapped = (cpu.priv == SUPERVISOR) & ((status & TSR) != 0)
    with when((cpu.priv == USER) | trapped):
        illegal(cpu)
    sie = select((status & SPIE) != 0, const(SIE, 64), 0)
    cpu.priv = select((status & SPP) != 0, const(SUPERVISOR, 8), USER)
    cpu.mstatus = (status & ~(SIE | SPP | MPRV)) | sie | SPIE
    cpu.sync()
    cpu.jump(cpu.sepc)


@rv64.insn("0001000 00101 00000 000 00000 1110011", "wfi")
def wfi(cpu: Cpu) -> None:
    # With TW set, a wait in S-mode may be cut short at once (II 3.3.3); U-mode always is.
    timeout = (cpu.priv != MACHINE) & ((cpu.mstatus & TW) != 0)
    with when((cpu.priv == USER) | timeout):
        illegal(cpu)
    poll_timer(cpu)
    with when(wakes(cpu) == 0):
        cpu.leave("halt")
    cpu.sync()


@rv64.insn("0001001 rs2:5 rs1:5 000 00000 1110011", "sfence.vma {rs1:x}, {rs2:x}")
def sfence_vma(cpu: Cpu, rs2: Value, rs1: Value) -> None:
    trapped = (cpu.priv == SUPERVISOR) & ((cpu.mstatus & TVM) != 0)
    with when((cpu.priv == USER) | trapped):
        illegal(cpu)
    all_spaces = rs2 == 0
    mask, match = (select(all_spaces, 0, value) for value in of_asid(cpu.x[rs2]))
    with when(rs1 == 0) as all_pages:
        with when(all_spaces) as everything:
            cpu.host("flush", 0)
            with everything.otherwise():
                cpu.host("flush_spaces", 0, mask, match)
        with all_pages.otherwise():
            page = cpu.x[rs1] & ~0xFFF
            cpu.host("flush_pages", 0, page, const(1, 64), mask, match, mask)
    cpu.sync()


@rv64.insn("000000000000 00000 001 00000 0001111", "fence.i", extension="zifencei")
def fence_i(cpu: Cpu) -> None:
    cpu.host("fence_code", 0)
    cpu.sync()


@rv64.insn(
    "imm:12 rs1:5 001 rd:5 0001111",
    "fence.i.reserved {rd:x}, {rs1:x}, {imm}",
    extension="zifencei",
)
def fence_i_reserved(cpu: Cpu, imm: Value, rs1: Value, rd: Value) -> None:
    fence_i(cpu)  # its other fields are to be ignored (I 6)
