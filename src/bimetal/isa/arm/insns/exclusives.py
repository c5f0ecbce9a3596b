"""Exclusives and ordered accesses (C4.1.94.3 to 6; B2.9, B2.3).

The monitor remembers the value that was loaded: a store of the same value by another vCPU between
goes unnoticed, which is how compare-and-swap serves such sequences. Pairs that are loaded without
having been stored by STXP are atomic for 128 bits only where they are loaded as one access.
"""

from __future__ import annotations

from ....ir.access import Order
from ....ir.value import Value, const
from ...trace import Cpu, when
from ..operands import base_register
from ..state import a64

SIZES = (("00", 8, "w", "b"), ("01", 16, "w", "h"), ("10", 32, "w", ""), ("11", 64, "x", ""))


def _load_exclusive(size: tuple[str, int, str, str], o0: str) -> None:
    code, bits, r, suffix = size

    @a64.insn(
        f"{code} 001000 0 1 0 11111 {o0} 11111 Rn:5 Rt:5",
        f"ld{'a' if o0 == '1' else ''}xr{suffix} {{Rt:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rn: Value, Rt: Value) -> None:
        address = base_register(cpu, Rn)
        order = Order.SEQUENTIAL if o0 == "1" else Order.PLAIN
        value = cpu.load(address, bits, aligned=True, order=order).zext(64)
        cpu.monitor_address, cpu.monitor_low = address, value
        cpu.monitor_size = const(bits // 8, 8)
        cpu.x[Rt] = value


def _store_exclusive(size: tuple[str, int, str, str], o0: str) -> None:
    code, bits, r, suffix = size

    @a64.insn(
        f"{code} 001000 0 0 0 Rs:5 {o0} 11111 Rn:5 Rt:5",
        f"st{'l' if o0 == '1' else ''}xr{suffix} {{Rs:w}}, {{Rt:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rs: Value, Rn: Value, Rt: Value) -> None:
        address, new = base_register(cpu, Rn), cpu.x[Rt].trunc(bits)
        failed = cpu.local(const(1, 64))
        with when((cpu.monitor_size == bits // 8) & (cpu.monitor_address == address)):
            expected = cpu.monitor_low.trunc(bits)
            old = cpu.compare_and_swap(address, expected, new)
            failed.set((old != expected).zext(64))
        cpu.monitor_size = const(0, 8)
        cpu.x[Rs] = failed.value


def _load_pair(sz: str, bits: int, r: str, o0: str) -> None:
    @a64.insn(
        f"1 {sz} 001000 0 1 1 11111 {o0} Rt2:5 Rn:5 Rt:5",
        f"ld{'a' if o0 == '1' else ''}xp {{Rt:{r}}}, {{Rt2:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rt2: Value, Rn: Value, Rt: Value) -> None:
        address = base_register(cpu, Rn)
        order = Order.SEQUENTIAL if o0 == "1" else Order.PLAIN
        both = cpu.load(address, 2 * bits, aligned=True, order=order)
        low, high = both.trunc(bits).zext(64), both[2 * bits - 1 : bits].zext(64)
        cpu.monitor_address, cpu.monitor_low, cpu.monitor_high = address, low, high
        cpu.monitor_size = const(2 * bits // 8, 8)
        cpu.x[Rt] = low
        cpu.x[Rt2] = high


def _store_pair(sz: str, bits: int, r: str, o0: str) -> None:
    @a64.insn(
        f"1 {sz} 001000 0 0 1 Rs:5 {o0} Rt2:5 Rn:5 Rt:5",
        f"st{'l' if o0 == '1' else ''}xp {{Rs:w}}, {{Rt:{r}}}, {{Rt2:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rs: Value, Rt2: Value, Rn: Value, Rt: Value) -> None:
        address, size = base_register(cpu, Rn), 2 * bits
        low, high = cpu.x[Rt].trunc(bits), cpu.x[Rt2].trunc(bits)
        failed = cpu.local(const(1, 64))
        with when((cpu.monitor_size == size // 8) & (cpu.monitor_address == address)):
            seen = cpu.monitor_high.trunc(bits).zext(size) << bits
            expected = seen | cpu.monitor_low.trunc(bits).zext(size)
            new = high.zext(size) << bits | low.zext(size)
            old = cpu.compare_and_swap(address, expected, new)
            failed.set((old != expected).zext(64))
        cpu.monitor_size = const(0, 8)
        cpu.x[Rs] = failed.value


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
