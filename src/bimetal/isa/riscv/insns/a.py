"""A: atomic instructions (volume I, chapter 14; Zalrsc and Zaamo).

Deviation: every access is sequentially consistent, whatever its aq and rl bits ask for.
"""

from __future__ import annotations

from ....ir.access import Order
from ....ir.value import Value
from ...trace import Cpu
from ..state import reservation, rv64

_SIZES = (("w", "010", 32), ("d", "011", 64))


def _load_reserved(suffix: str, funct3: str, width: int) -> None:
    @rv64.insn(
        f"00010 aqrl:2 00000 rs1:5 {funct3} rd:5 0101111",
        f"lr.{suffix}{{aqrl:order}} {{rd:x}}, ({{rs1:x}})",
    )
    def meaning(cpu: Cpu, aqrl: Value, rs1: Value, rd: Value) -> None:
        value = reservation.load(cpu, cpu.x[rs1], width, order=Order.SEQUENTIAL)
        cpu.x[rd] = value.sext(64)


def _store_conditional(suffix: str, funct3: str, width: int) -> None:
    @rv64.insn(
        f"00011 aqrl:2 rs2:5 rs1:5 {funct3} rd:5 0101111",
        f"sc.{suffix}{{aqrl:order}} {{rd:x}}, {{rs2:x}}, ({{rs1:x}})",
    )
    def meaning(cpu: Cpu, aqrl: Value, rs2: Value, rs1: Value, rd: Value) -> None:
        stored = reservation.store(cpu, cpu.x[rs1], cpu.x[rs2].trunc(width))
        cpu.x[rd] = (~stored).zext(64)


def _fetch_and(operation: str, name: str, funct5: str, size: tuple[str, str, int]) -> None:
    suffix, funct3, width = size

    @rv64.insn(
        f"{funct5} aqrl:2 rs2:5 rs1:5 {funct3} rd:5 0101111",
        f"{name}.{suffix}{{aqrl:order}} {{rd:x}}, {{rs2:x}}, ({{rs1:x}})",
    )
    def meaning(cpu: Cpu, aqrl: Value, rs2: Value, rs1: Value, rd: Value) -> None:
        cpu.x[rd] = cpu.amo(operation, cpu.x[rs1], cpu.x[rs2].trunc(width)).sext(64)


for _size in _SIZES:
    _load_reserved(*_size)
    _store_conditional(*_size)
    for _name, _operation, _funct5 in (
        ("amoswap", "xchg", "00001"),
        ("amoadd", "add", "00000"),
        ("amoxor", "xor", "00100"),
        ("amoand", "and", "01100"),
        ("amoor", "or", "01000"),
        ("amomin", "min", "10000"),
        ("amomax", "max", "10100"),
        ("amominu", "umin", "11000"),
        ("amomaxu", "umax", "11100"),
    ):
        _fetch_and(_operation, _name, _funct5, _size)
