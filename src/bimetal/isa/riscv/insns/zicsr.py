"""Zicsr: atomic read and modify of control and status registers (volume I, chapter 7)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.requests import RegisterUse
from ....ir.value import Value, const
from ...trace import Cpu, when
from ..aia import access_window
from ..csrs import csr_check, csr_modified, csr_read, csr_write
from ..state import rv64

Update = Callable[[Value, Value], Value]


def _access(
    cpu: Cpu, csr: Value, rd: Value, source: Value, writes: Value, update: Update, reads: Value
) -> None:
    old = cpu.local(const(0, 64))
    with when(reads):
        old.set(csr_read(cpu, csr))
    with when(writes):
        csr_write(cpu, csr, update(csr_modified(cpu, csr, old.value), source))
        cpu.sync()
    cpu.x[rd] = old.value


def _describe(
    name: str, funct3: str, immediate: bool, update: Update, always: str, use: RegisterUse
) -> None:
    """``always`` is the half that happens even for x0 (I 6.1, table 7)."""
    operand = "{rs1}" if immediate else "{rs1:x}"

    @rv64.insn(f"csr:12 rs1:5 {funct3} rd:5 1110011", f"{name} {{rd:x}}, {{csr:csr}}, {operand}")
    def meaning(cpu: Cpu, csr: Value, rs1: Value, rd: Value) -> None:
        source = rs1.zext(64) if immediate else cpu.x[rs1]
        yes = const(1, 1)
        writes = yes if always == "write" else rs1 != 0
        reads = yes if always == "read" else rd != 0
        check = csr_check(cpu, csr, const(1, 5) if always == "write" else rs1)
        with when(check != 0) as window:
            access_window(cpu, csr, rd, source, reads if always == "write" else writes, use)
            with window.otherwise():
                _access(cpu, csr, rd, source, writes, update, reads)


for _immediate, _suffix, _top in ((False, "", "0"), (True, "i", "1")):
    for _name, _low, _update, _always, _use in (
        ("csrrw", "01", lambda old, new: new, "write", RegisterUse.EXCHANGE),
        ("csrrs", "10", lambda old, new: old | new, "read", RegisterUse.SET),
        ("csrrc", "11", lambda old, new: old & ~new, "read", RegisterUse.CLEAR),
    ):
        _describe(_name + _suffix, _top + _low, _immediate, _update, _always, _use)
