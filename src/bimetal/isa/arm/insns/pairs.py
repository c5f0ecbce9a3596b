"""Loads and stores of two registers (C4.1.94.15 to 18).

Storing a pair is two stores: if the second one faults, the first one is repeated later.
"""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu
from ..fp_access import need_fp
from ..operands import base_register, write_sp
from ..state import a64


def _pair(opc: str, vector: str, kind: str, bits: int, loads: bool, signed: bool = False) -> None:
    name = ("ldp" if loads else "stp") + ("sw" if signed else "")
    ways = [
        ("001", name, "[{Rn:xsp}], {imm7:" + f"is{bits // 8}" + "}"),
        ("010", name, "[{Rn:xsp}, {imm7:" + f"is{bits // 8}" + "}]"),
        ("011", name, "[{Rn:xsp}, {imm7:" + f"is{bits // 8}" + "}]!"),
    ]
    if not signed:
        ways.append(("000", name[:2] + "n" + name[2:], ways[1][2]))
    for way, text, address in ways:
        _describe(f"{opc} 101 {vector} {way} {int(loads)}", text, address, (kind, bits, signed))


def _describe(row: str, name: str, address: str, what: tuple[str, int, bool]) -> None:
    kind, bits, signed = what
    vector, loads = row[7] == "1", row[-1] == "1"
    post, writes = row[9:12] == "001", row[9:12] in ("001", "011")

    @a64.insn(
        f"{row} imm7:7 Rt2:5 Rn:5 Rt:5",
        f"{name} {{Rt:{kind}}}, {{Rt2:{kind}}}, {address}",
        restartable=True,
    )
    def meaning(cpu: Cpu, imm7: Value, Rt2: Value, Rn: Value, Rt: Value) -> None:
        if vector:
            need_fp(cpu)
        file = cpu.v if vector else cpu.x
        base = base_register(cpu, Rn)
        moved = base + (imm7.sext(64) << (bits // 8).bit_length() - 1)
        at = base if post else moved
        if loads:
            first, second = (cpu.load(at + n, bits) for n in (0, bits // 8))
            for number, value in ((Rt, first), (Rt2, second)):
                wide = value.sext(64) if signed else value
                file[number] = wide.zext(128 if vector else 64)
        else:
            first, second = (file[number].trunc(bits) for number in (Rt, Rt2))
            cpu.store(at, first)
            cpu.store(at + bits // 8, second)
        if writes:
            write_sp(cpu, Rn, moved)


for _loads in (False, True):
    _pair("00", "0", "w", 32, _loads)
    _pair("10", "0", "x", 64, _loads)
    _pair("00", "1", "s_", 32, _loads)
    _pair("01", "1", "d", 64, _loads)
    _pair("10", "1", "q", 128, _loads)
_pair("01", "0", "x", 32, True, signed=True)
