"""Exclusives and ordered accesses (C4.1.94.3 to 6; B2.9, B2.3).

`isa.reservation` describes the monitors. LDXP of 16 bytes makes two loads, as the manual allows: if
the following STXP succeeds, they have read a single value.
"""

from __future__ import annotations

from ....ir.access import Order
from ....ir.value import Value
from ...trace import Cpu
from ..operands import base_register
from ..state import a64, monitor

SIZES = (("00", 8, "w", "b"), ("01", 16, "w", "h"), ("10", 32, "w", ""), ("11", 64, "x", ""))
"""For each size in memory: its code, width in bits, register kind in assembly, suffix of the name.
"""


def _load_exclusive(size: tuple[str, int, str, str], o0: str) -> None:
    code, bits, r, suffix = size

    @a64.insn(
        f"{code} 001000 0 1 0 11111 {o0} 11111 Rn:5 Rt:5",
        f"ld{'a' if o0 == '1' else ''}xr{suffix} {{Rt:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rn: Value, Rt: Value) -> None:
        address = base_register(cpu, Rn)
        order = Order.SEQUENTIAL if o0 == "1" else Order.PLAIN
        cpu.x[Rt] = monitor.load(cpu, address, bits, order=order).zext(64)


def _store_exclusive(size: tuple[str, int, str, str], o0: str) -> None:
    code, bits, r, suffix = size

    @a64.insn(
        f"{code} 001000 0 0 0 Rs:5 {o0} 11111 Rn:5 Rt:5",
        f"st{'l' if o0 == '1' else ''}xr{suffix} {{Rs:w}}, {{Rt:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rs: Value, Rn: Value, Rt: Value) -> None:
        stored = monitor.store(cpu, base_register(cpu, Rn), cpu.x[Rt].trunc(bits))
        cpu.x[Rs] = (~stored).zext(64)


def _load_pair(sz: str, bits: int, r: str, o0: str) -> None:
    @a64.insn(
        f"1 {sz} 001000 0 1 1 11111 {o0} Rt2:5 Rn:5 Rt:5",
        f"ld{'a' if o0 == '1' else ''}xp {{Rt:{r}}}, {{Rt2:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rt2: Value, Rn: Value, Rt: Value) -> None:
        address = base_register(cpu, Rn)
        order = Order.SEQUENTIAL if o0 == "1" else Order.PLAIN
        both = monitor.load(cpu, address, 2 * bits, order=order)
        cpu.x[Rt] = both.trunc(bits).zext(64)
        cpu.x[Rt2] = both[2 * bits - 1 : bits].zext(64)


def _store_pair(sz: str, bits: int, r: str, o0: str) -> None:
    @a64.insn(
        f"1 {sz} 001000 0 0 1 Rs:5 {o0} Rt2:5 Rn:5 Rt:5",
        f"st{'l' if o0 == '1' else ''}xp {{Rs:w}}, {{Rt:{r}}}, {{Rt2:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rs: Value, Rt2: Value, Rn: Value, Rt: Value) -> None:
        low, high = (cpu.x[n].trunc(bits).zext(2 * bits) for n in (Rt, Rt2))
        stored = monitor.store(cpu, base_register(cpu, Rn), high << bits | low)
        cpu.x[Rs] = (~stored).zext(64)


def _ordered(size: tuple[str, int, str, str], loads: bool, o0: str) -> None:
    """LDAR, STLR; LDLAR and STLLR, which promise less."""
    code, bits, r, suffix = size
    name = {(True, "1"): "ldar", (False, "1"): "stlr", (True, "0"): "ldlar", (False, "0"): "stllr"}

    @a64.insn(
        f"{code} 001000 1 {int(loads)} 0 11111 {o0} 11111 Rn:5 Rt:5",
        f"{name[loads, o0]}{suffix} {{Rt:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rn: Value, Rt: Value) -> None:
        address = base_register(cpu, Rn)
        if loads:
            value = cpu.load(address, bits, aligned=True, order=Order.SEQUENTIAL)
            cpu.x[Rt] = value.zext(64)
        else:
            cpu.store(address, cpu.x[Rt].trunc(bits), aligned=True, order=Order.SEQUENTIAL)


for _size in SIZES:
    for _o0 in "01":
        _load_exclusive(_size, _o0)
        _store_exclusive(_size, _o0)
        _ordered(_size, True, _o0)
        _ordered(_size, False, _o0)
for _sz, _bits, _r in (("0", 32, "w"), ("1", 64, "x")):
    for _o0 in "01":
        _load_pair(_sz, _bits, _r, _o0)
        _store_pair(_sz, _bits, _r, _o0)
