"""A: atomic instructions (volume I, chapter 14; Zalrsc and Zaamo).

Deviation: every access is sequentially consistent, whatever its aq and rl bits ask for.
"""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, slowly, when
from ..state import rv64
from ..traps import STORE_MISALIGNED

_SIZES = (("w", "010", 32), ("d", "011", 64))


def _load_reserved(suffix: str, funct3: str, width: int) -> None:
    @rv64.insn(
        f"00010 aqrl:2 00000 rs1:5 {funct3} rd:5 0101111",
        f"lr.{suffix}{{aqrl:order}} {{rd:x}}, ({{rs1:x}})",
    )
    def meaning(cpu: Cpu, aqrl: Value, rs1: Value, rd: Value) -> None:
        address = cpu.x[rs1]
        value = cpu.load(address, width, aligned=True).sext(64)
        cpu.reserved_address, cpu.reserved_value = address, value
        cpu.reserved = const(width // 8, 8)
        cpu.x[rd] = value


def _store_conditional(suffix: str, funct3: str, width: int) -> None:
    @rv64.insn(
        f"00011 aqrl:2 rs2:5 rs1:5 {funct3} rd:5 0101111",
        f"sc.{suffix}{{aqrl:order}} {{rd:x}}, {{rs2:x}}, ({{rs1:x}})",
    )
    def meaning(cpu: Cpu, aqrl: Value, rs2: Value, rs1: Value, rd: Value) -> None:
        # The reservation is the value that lr saw: a store of the same value by another hart
        # goes unnoticed, which is how compare-and-swap serves LR/SC sequences everywhere.
        address, new = cpu.x[rs1], cpu.x[rs2].trunc(width)
        with slowly((address & (width // 8 - 1)) != 0):
            cpu.trap(STORE_MISALIGNED, address)
        failed = cpu.local(const(1, 64))
        with when((cpu.reserved == width // 8) & (cpu.reserved_address == address)):
            expected = cpu.reserved_value.trunc(width)
            old = cpu.compare_and_swap(address, expected, new)
            failed.set((old != expected).zext(64))
        cpu.reserved = const(0, 8)
        cpu.x[rd] = failed.value


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
