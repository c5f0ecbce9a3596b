"""Pointer authentication (C4.1.95.6, C4.1.93, C4.1.94.27): making and checking codes, and branches,
returns and loads that check first."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const
from ...trace import Cpu, slowly
from ..exceptions import leave_handler
from ..landings import CALLED
from ..operands import base_register, read_sp, write_sp
from ..pauth import DA, DB, IA, IB, authenticated, generic, signed, stripped
from ..state import a64
from ..syndromes import EL0, undefined
from .branches import jumps

Change = Callable[[Cpu, int, Value, Value], Value]
"""What is made of a pointer, with a key and a modifier."""
CHANGES: tuple[tuple[str, Change], ...] = (("pac", signed), ("aut", authenticated))
KEYS = (("ia", IA), ("ib", IB), ("da", DA), ("db", DB))
BRANCHES = (("a", IA), ("b", IB))

# -- in any register


def _one_source(name: str, zero: str, op: int, key: int, change: Change) -> None:
    @a64.insn(f"1 10 11010110 00001 000 {op:03b} Rn:5 Rd:5", f"{name} {{Rd:x}}, {{Rn:xsp}}")
    def modified(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        cpu.x[Rd] = change(cpu, key, cpu.x[Rd], read_sp(cpu, Rn))

    @a64.insn(f"1 10 11010110 00001 001 {op:03b} 11111 Rd:5", f"{zero} {{Rd:x}}")
    def unmodified(cpu: Cpu, Rd: Value) -> None:
        cpu.x[Rd] = change(cpu, key, cpu.x[Rd], const(0, 64))


for _number, (_stem, _change) in enumerate(CHANGES):
    for _end, _key in KEYS:
        _zero = f"{_stem}{_end[0]}z{_end[1]}"
        _one_source(f"{_stem}{_end}", _zero, 4 * _number + _key, _key, _change)


def _strip(name: str, op: int, data: bool) -> None:
    @a64.insn(f"1 10 11010110 00001 01000 {op} 11111 Rd:5", f"{name} {{Rd:x}}")
    def meaning(cpu: Cpu, Rd: Value) -> None:
        cpu.x[Rd] = stripped(cpu, cpu.x[Rd], data)


_strip("xpaci", 0, False)
_strip("xpacd", 1, True)


@a64.insn(
    "1 00 11010110 Rm:5 001100 Rn:5 Rd:5", "pacga {Rd:x}, {Rn:x}, {Rm:xsp}", extension="pacga"
)
def pacga(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    cpu.x[Rd] = generic(cpu, cpu.x[Rn], read_sp(cpu, Rm))


# -- among the hints, so that they do nothing where there is no such extension


def _hint(
    name: str,
    number: int,
    register: int,
    modifier: Callable[[Cpu], Value],
    key: int,
    change: Change,
) -> None:
    @a64.insn(f"1101010100 0 00 011 0010 {number:07b} 11111", name)
    def meaning(cpu: Cpu) -> None:
        cpu.x[register] = change(cpu, key, cpu.x[register], modifier(cpu))


for _number, (_stem, _change) in enumerate(CHANGES):
    for _end, _key in BRANCHES:
        _at = 4 * _number + 2 * _key
        _name = f"{_stem}i{_end}"
        _hint(f"{_name}1716", 8 + _at, 17, lambda cpu: cpu.x[16], _key, _change)
        _hint(f"{_name}z", 24 + _at, 30, lambda cpu: const(0, 64), _key, _change)
        _hint(f"{_name}sp", 25 + _at, 30, lambda cpu: cpu.sp, _key, _change)


@a64.insn("1101010100 0 00 011 0010 0000111 11111", "xpaclri")
def xpaclri(cpu: Cpu) -> None:
    cpu.x[30] = stripped(cpu, cpu.x[30], False)


# -- branches


def _branches(end: str, key: int) -> None:
    def with_register(cpu: Cpu, Rn: Value, Rm: Value) -> Value:
        return authenticated(cpu, key, cpu.x[Rn], read_sp(cpu, Rm))

    def with_zero(cpu: Cpu, Rn: Value) -> Value:
        return authenticated(cpu, key, cpu.x[Rn], const(0, 64))

    registers, row = "{Rn:x}, {Rm:xsp}", "11111 0000 1"
    for z, modifier, text, target in (
        ("1", "Rm:5", f"bra{end} {registers}", with_register),
        ("0", "11111", f"bra{end}z {{Rn:x}}", with_zero),
    ):
        jumps(f"1101011 {z} 0 00 {row} {key} Rn:5 {modifier}", text, target, "pauth")

    def call(cpu: Cpu, target: Value) -> None:
        cpu.x[30] = cpu.next_pc
        cpu.jump(target, landing=CALLED)

    @a64.insn(f"1101011 1 0 01 {row} {key} Rn:5 Rm:5", f"blra{end} {registers}")
    def blra(cpu: Cpu, Rn: Value, Rm: Value) -> None:
        call(cpu, with_register(cpu, Rn, Rm))

    @a64.insn(f"1101011 0 0 01 {row} {key} Rn:5 11111", f"blra{end}z {{Rn:x}}")
    def blraz(cpu: Cpu, Rn: Value) -> None:
        call(cpu, with_zero(cpu, Rn))

    @a64.insn(f"1101011 0 0 10 {row} {key} 11111 11111", f"reta{end}")
    def reta(cpu: Cpu) -> None:
        cpu.jump(authenticated(cpu, key, cpu.x[30], cpu.sp))

    @a64.insn(f"1101011 0 100 {row} {key} 11111 11111", f"ereta{end}")
    def ereta(cpu: Cpu) -> None:
        with slowly(cpu.el == EL0):
            undefined(cpu)
        cpu.sync()
        at = cpu.el.trunc(2)
        target = authenticated(cpu, key, cpu.elr_el[at], cpu.sp)
        leave_handler(cpu)
        cpu.jump(target)


for _end, _key in BRANCHES:
    _branches(_end, _key)

# -- loads


def _load(name: str, m: int, key: int, writes_back: bool) -> None:
    row = f"11 111 0 00 {m} imm[12] 1 imm[11:3] {int(writes_back)} 1 Rn:5 Rt:5"
    end = "!" if writes_back else ""

    @a64.insn(row, f"{name} {{Rt:x}}, [{{Rn:xsp}}, {{imm:is}}]{end}")
    def meaning(cpu: Cpu, imm: Value, Rn: Value, Rt: Value) -> None:
        base = base_register(cpu, Rn)
        address = authenticated(cpu, key, base, const(0, 64)) + imm.sext(64)
        cpu.x[Rt] = cpu.load(address, 64)
        if writes_back:
            write_sp(cpu, Rn, address)


for _m, (_end, _key) in enumerate((("a", DA), ("b", DB))):
    for _writes_back in (False, True):
        _load(f"ldra{_end}", _m, _key, _writes_back)
