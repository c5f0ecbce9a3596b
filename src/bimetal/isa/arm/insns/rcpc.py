"""Loads that acquire, but may pass earlier STLRs (FEAT_LRCPC), and ordered accesses with an
offset (FEAT_LRCPC2)."""

from __future__ import annotations

from ....ir.access import Order
from ....ir.value import Value
from ...trace import Cpu
from ..operands import base_register
from ..state import a64

SIZES = (("00", "b", 8), ("01", "h", 16), ("10", "", 32), ("11", "", 64))


def _load(row: str, text: str, bits: int, to: int = 0, extension: str = "rcpc2") -> None:
    """``to`` is the width that the value is extended to by its sign."""

    @a64.insn(f"{row} Rn:5 Rt:5", text, extension=extension)
    def meaning(cpu: Cpu, Rn: Value, Rt: Value, **fields: Value) -> None:
        address = base_register(cpu, Rn)
        if "imm9" in fields:
            address = address + fields["imm9"].sext(64)
        value = cpu.load(address, bits, aligned=True, order=Order.ACQUIRE)
        cpu.x[Rt] = (value.sext(to) if to else value).zext(64)


def _store(row: str, text: str, bits: int) -> None:
    @a64.insn(f"{row} Rn:5 Rt:5", text, extension="rcpc2")
    def meaning(cpu: Cpu, imm9: Value, Rn: Value, Rt: Value) -> None:
        address, value = base_register(cpu, Rn) + imm9.sext(64), cpu.x[Rt].trunc(bits)
        cpu.store(address, value, aligned=True, order=Order.SEQUENTIAL)


NEAR = "[{Rn:xsp}, {imm9:is}]"
for _size, _suffix, _bits in SIZES:
    _r = "x" if _bits == 64 else "w"
    _load(
        f"{_size} 111 0 00 1 0 1 11111 1 100 00",
        f"ldapr{_suffix} {{Rt:{_r}}}, [{{Rn:xsp}}]",
        _bits,
        extension="rcpc",
    )
    _store(f"{_size} 011001 00 0 imm9:9 00", f"stlur{_suffix} {{Rt:{_r}}}, {NEAR}", _bits)
    _load(f"{_size} 011001 01 0 imm9:9 00", f"ldapur{_suffix} {{Rt:{_r}}}, {NEAR}", _bits)
    if _bits < 64:
        _signed = f"ldapurs{_suffix or 'w'}"
        _load(f"{_size} 011001 10 0 imm9:9 00", f"{_signed} {{Rt:x}}, {NEAR}", _bits, 64)
    if _bits < 32:
        _load(f"{_size} 011001 11 0 imm9:9 00", f"{_signed} {{Rt:w}}, {NEAR}", _bits, 32)
