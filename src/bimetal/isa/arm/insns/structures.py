"""Advanced SIMD loads and stores of structures (C4.1.94.1 and 2): LD1 to LD4, ST1 to ST4.

Elements of several registers alternate in memory. A store that faults halfway is repeated from its
start; a load reads everything before it writes a register.
"""

from __future__ import annotations

from collections.abc import Callable

from ....ir import vector
from ....ir.value import Value, const
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..operands import base_register, write_sp
from ..state import a64
from .simd import SIZES, write

MULTIPLE = (
    # opcode, elements of a structure, registers
    ("0111", 1, 1), ("1010", 1, 2), ("0110", 1, 3), ("0010", 1, 4),
    ("1000", 2, 2), ("0100", 3, 3), ("0000", 4, 4),
)  # fmt: skip


def _following(number: Value, n: int) -> Value:
    return (number + n) & 31


def _load(cpu: Cpu, at: Value, selem: int, registers: int, lane: int, width: int) -> list[Value]:
    """The registers' contents."""
    size = width // 8
    raw = [cpu.load(at + n * size, width) for n in range(registers)]
    if selem == 1:
        return raw
    count = width // lane
    found = []
    for register in range(selem):
        # Element n of this register is number n * selem + register in memory.
        value = const(0, width)
        for n in range(count):
            where = n * selem + register
            one = vector.element(raw[where // count], lane, where % count)
            value = value | one.zext(width) << lane * n
        found.append(value)
    return found


def _store(cpu: Cpu, at: Value, values: list[Value], selem: int, lane: int) -> None:
    width = values[0].width
    size, count = width // 8, width // lane
    for n in range(len(values)):
        out = values[n]
        if selem > 1:
            out = const(0, width)
            for place in range(count):
                element, register = divmod(n * count + place, selem)
                one = vector.element(values[register], lane, element)
                out = out | one.zext(width) << lane * place
        cpu.store(at + n * size, out)


def _multiple(opcode: str, selem: int, registers: int, loads: bool, post: str) -> None:
    """Whole registers; ``post`` is how the base moves on: not, by a register, by the size."""
    name = f"{'ld' if loads else 'st'}{selem}"
    head = f"0 Q:1 001100 {int(post != '')} {int(loads)} 0"
    row = {"": "00000", "register": "Rm:5", "size": "11111"}[post]
    ending = {"": "", "register": ", {Rm:x}", "size": f", {{:all{registers}}}"}[post]

    @a64.insn(
        f"{head} {row} {opcode} size:2 Rn:5 Rt:5",
        f"{name} {{:vlist{registers}}}, [{{Rn:xsp}}]{ending}",
        where=_allowed(selem, post),
        restartable=True,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rn: Value, Rt: Value, **fields: Value) -> None:
        need_fp(cpu)
        width, lane = 128 if pin(Q) else 64, SIZES[pin(size)]
        base = base_register(cpu, Rn)
        if loads:
            values = _load(cpu, base, selem, registers, min(lane, width), width)
            for n, value in enumerate(values):
                write(cpu, _following(Rt, n), value)
        else:
            values = [cpu.v[_following(Rt, n)].trunc(width) for n in range(registers)]
            _store(cpu, base, values, selem, lane)
        if post == "size":
            write_sp(cpu, Rn, base + registers * width // 8)
        elif post == "register":
            write_sp(cpu, Rn, base + cpu.x[fields["Rm"]])


def _allowed(selem: int, post: str) -> Callable[..., Value | bool]:
    def where(
        size: Value | int, Q: Value | int, Rm: Value | int | None = None, **_: Value | int
    ) -> Value | bool:
        allowed: Value | bool = True
        if selem > 1:
            allowed = (size != 3) | (Q == 1)
        if Rm is not None:
            allowed = (Rm != 31) & allowed
        return allowed

    return where


def _replicate(selem: int, post: str) -> None:
    """LD1R to LD4R: one structure to all lanes."""
    r, opcode = {1: ("0", "110"), 2: ("1", "110"), 3: ("0", "111"), 4: ("1", "111")}[selem]
    row = {"": "00000", "register": "Rm:5", "size": "11111"}[post]
    ending = {"": "", "register": ", {Rm:x}", "size": f", {{:each{selem}}}"}[post]

    @a64.insn(
        f"0 Q:1 001101 {int(post != '')} 1 {r} {row} {opcode} 0 size:2 Rn:5 Rt:5",
        f"ld{selem}r {{:vlist{selem}}}, [{{Rn:xsp}}]{ending}",
        where=_allowed(1, post),
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rn: Value, Rt: Value, **fields: Value) -> None:
        need_fp(cpu)
        width, lane = 128 if pin(Q) else 64, SIZES[pin(size)]
        base = base_register(cpu, Rn)
        values = [cpu.load(base + n * lane // 8, lane) for n in range(selem)]
        for n, value in enumerate(values):
            write(cpu, _following(Rt, n), vector.splat(value, width // lane))
        if post == "size":
            write_sp(cpu, Rn, base + selem * lane // 8)
        elif post == "register":
            write_sp(cpu, Rn, base + cpu.x[fields["Rm"]])


def _single(size: int, selem: int, loads: bool, post: str) -> None:
    """One lane of each register."""
    lane, letter = SIZES[size], "bhsd"[size]
    r = "0" if selem in (1, 3) else "1"
    high = "1" if selem > 2 else "0"
    code, index = {
        0: (f"00{high}", "S:1 size:2"),
        1: (f"01{high}", "S:1 size[1] 0"),
        2: (f"10{high}", "S:1 00"),
        3: (f"10{high}", "0 01"),
    }[size]
    row = {"": "00000", "register": "Rm:5", "size": "11111"}[post]
    ending = {"": "", "register": ", {Rm:x}", "size": f", #{selem * lane // 8}"}[post]

    @a64.insn(
        f"0 Q:1 001101 {int(post != '')} {int(loads)} {r} {row} {code} {index} Rn:5 Rt:5",
        f"{'ld' if loads else 'st'}{selem} {{:{letter}list{selem}}}[{{:at{size}}}], "
        f"[{{Rn:xsp}}]{ending}",
        where=(lambda Rm, **_: Rm != 31) if post == "register" else None,
        restartable=True,
    )
    def meaning(cpu: Cpu, Q: Value, Rn: Value, Rt: Value, **fields: Value) -> None:
        need_fp(cpu)
        number = Q.zext(4) << 3
        for field, at in (("S", 2), ("size", 0)):
            if field in fields:
                number = number | fields[field].zext(4) << at
        place = number.lsr(size).zext(32)
        base = base_register(cpu, Rn)
        if loads:
            values = [cpu.load(base + n * lane // 8, lane) for n in range(selem)]
            old = [cpu.v[_following(Rt, n)] for n in range(selem)]
            for n, value in enumerate(values):
                cpu.v[_following(Rt, n)] = vector.insert(old[n], lane, place, value)
        else:
            for n in range(selem):
                whole = cpu.v[_following(Rt, n)]
                cpu.store(base + n * lane // 8, vector.element(whole, lane, place))
        if post == "size":
            write_sp(cpu, Rn, base + selem * lane // 8)
        elif post == "register":
            write_sp(cpu, Rn, base + cpu.x[fields["Rm"]])


for _post in ("", "register", "size"):
    for _opcode, _selem, _registers in MULTIPLE:
        for _loads in (False, True):
            _multiple(_opcode, _selem, _registers, _loads, _post)
    for _selem in range(1, 5):
        _replicate(_selem, _post)
        for _size in range(4):
            for _loads in (False, True):
                _single(_size, _selem, _loads, _post)
