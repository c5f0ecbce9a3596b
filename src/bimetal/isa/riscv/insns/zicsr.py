"""Zicsr: atomic read and modify of control and status registers (volume I, chapter 7)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const
from ...trace import Cpu, when
from ..csrs import csr_check, csr_modified, csr_read, csr_write
from ..state import rv64

Update = Callable[[Value, Value], Value]


def _access(
    cpu: Cpu, csr: Value, rd: Value, source: Value, writes: Value, update: Update, reads: Value
) -> None:
    csr_check(cpu, csr, writes.zext(8))
    old = cpu.local(const(0, 64))
    with when(reads):
        old.set(csr_read(cpu, csr))
    with when(writes):
        csr_write(cpu, csr, update(csr_modified(cpu, csr, old.value), source))
        cpu.sync()
    cpu.x[rd] = old.value


def _describe(name: str, funct3: str, immediate: bool, update: Update, always: str) -> None:
    """``always`` is the half that happens even for x0 (I 6.1, table 7)."""
    operand = "{rs1}" if immediate else "{rs1:x}"

    @rv64.insn(f"csr:12 rs1:5 {funct3} rd:5 1110011", f"{name} {{rd:x}}, {{csr:csr}}, {operand}")
    def meaning(cpu: Cpu, csr: Value, rs1: Value, rd: Value) -> None:
        source = rs1.zext(64) if immediate else cpu.x[rs1]
        yes = const(1, 1)
        writes = yes if always == "write" else rs1 != 0
        reads = yes if always == "read" else rd != 0
        _access(cpu, csr, rd, source, writes, update, reads)


for _immediate, _suffix, _top in ((False, "", "0"), (True, "i", "1")):
    _describe(f"csrrw{_suffix}", _top + "01", _immediate, lambda old, new: new, "write")
    _describe(f"csrrs{_suffix}", _top + "10", _immediate, lambda old, new: old | new, "read")
    _describe(f"csrrc{_suffix}", _top + "11", _immediate, lambda old, new: old & ~new, "read")
