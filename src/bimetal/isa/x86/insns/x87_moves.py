"""The x87: loads, stores, moves between registers, and control (volume 1, 8.3.2 and 8.1)."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir.extended import extended
from ....ir.value import Value, const, select
from ...trace import Cpu, pin, when
from ..descriptors import in_real_mode, in_v86
from ..fields import AX, LONG
from ..operands import Memory, Register, address_of
from ..simd import describe
from ..vector_state import check_vectors
from ..x87_stack import (
    IE,
    INDEFINITE,
    SF,
    Operation,
    control_of,
    control_ready,
    math_operand,
    math_ready,
    note,
    note_pointers,
    push_status,
    withheld,
)
from ..x87_state import C1, INIT_FCW, B, in_use, place, read_register, renew_status, write_register
from .x87 import number

EARLY_STORE = 0x1F
"""Exceptions that, not masked, leave memory alone: all but inexact."""


# -- loads


def _load(row: str, name: str, kind: str, code: str) -> None:
    @describe(row, f"{name} {{:{code}}}", "fpu")
    def load(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        wide = kind in ("80", "bcd")
        address, operand = math_operand(cpu, fields, 10 if wide else int(kind[-2:]) // 8)
        value = _eighty(cpu, address) if wide else cpu.load(address, int(kind[-2:]))
        if kind == "80":
            loaded = value, const(0, 16)
        elif kind[0] == "i":
            loaded = extended("from_i64", control_of(cpu), value.sext(64))
        else:
            loaded = extended(f"from_{kind}", control_of(cpu), value)
        push_status(cpu, *loaded, operand=operand)


def _eighty(cpu: Cpu, address: Value) -> Value:
    low, high = cpu.load(address, 64), cpu.load(address + 8, 16)
    value: Value = low.zext(80) | high.zext(80) << 64
    return value


for _row, _name, _kind, _code in (
    ("d9 /0 mem", "fld", "32", "Md"), ("dd /0 mem", "fld", "64", "Mq"),
    ("db /5 mem", "fld", "80", "Mt"), ("df /0 mem", "fild", "i16", "Mw"),
    ("db /0 mem", "fild", "i32", "Md"), ("df /5 mem", "fild", "i64", "Mq"),
    ("df /4 mem", "fbld", "bcd", "Mt"),
):  # fmt: skip
    _load(_row, _name, _kind, _code)


@describe("d9 /0 reg", "fld {:STi}", "fpu")
def fld(cpu: Cpu, **fields: Value) -> None:
    math_ready(cpu)
    op = Operation(cpu, number(fields))
    push_status(cpu, *op.checked(op.values[0], const(0, 16)))


# -- stores


def _store(row: str, name: str, operation: str, width: int, code: str, pops: int) -> None:
    """What an empty register stores is the indefinite value."""
    extension = "sse3" if name == "fisttp" else "fpu"

    @describe(row, f"{name} {{:{code}}}", extension, restartable=True)
    def store(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0)
        value, status = (
            (op.values[0], const(0, 16)) if operation == "80"
            else extended(operation, control_of(cpu), op.values[0])
        )  # fmt: skip
        nothing, _ = (
            (const(INDEFINITE, 80), 0) if operation == "80"
            else extended(operation, control_of(cpu), const(INDEFINITE, 80))
        )  # fmt: skip
        value = select(op.empty, nothing, value).trunc(width)
        status = select(op.empty, const(IE | SF, 16), status)
        popped = const(1, 8) << place(cpu, 0).zext(8)
        address, operand = math_operand(cpu, fields, width // 8, writes=True)

        def write() -> None:
            if width == 80:
                cpu.store(address, value.trunc(64))
                cpu.store(address + 8, value[79:64])
            else:
                cpu.store(address, value)
            if pops:
                cpu.ftw = cpu.ftw & ~popped

        with when(withheld(cpu, status, EARLY_STORE)) as wrong:
            note(cpu, status, operand=operand)
            with wrong.otherwise():
                note(cpu, status, C1, pops, write, operand)


for _row, _name, _operation, _width, _code, _pops in (
    ("d9 /2 mem", "fst", "to_32", 32, "Md", 0), ("d9 /3 mem", "fstp", "to_32", 32, "Md", 1),
    ("dd /2 mem", "fst", "to_64", 64, "Mq", 0), ("dd /3 mem", "fstp", "to_64", 64, "Mq", 1),
    ("db /7 mem", "fstp", "80", 80, "Mt", 1), ("df /6 mem", "fbstp", "to_bcd", 80, "Mt", 1),
    ("df /2 mem", "fist", "to_i16", 16, "Mw", 0), ("df /3 mem", "fistp", "to_i16", 16, "Mw", 1),
    ("db /2 mem", "fist", "to_i32", 32, "Md", 0), ("db /3 mem", "fistp", "to_i32", 32, "Md", 1),
    ("df /7 mem", "fistp", "to_i64", 64, "Mq", 1),
):  # fmt: skip
    _store(_row, _name, _operation, _width, _code, _pops)
for _row, _width, _code in (("df", 16, "Mw"), ("db", 32, "Md"), ("dd", 64, "Mq")):
    _store(f"{_row} /1 mem", "fisttp", f"cut_i{_width}", _width, _code, 1)


def _copy(row: str, name: str, pops: int) -> None:
    @describe(row, f"{name} {{:STi}}", "fpu")
    def copy(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0)
        op.put(number(fields), *op.checked(op.values[0], const(0, 16)), pops=pops)


_copy("dd /2 reg", "fst", 0)
_copy("dd /3 reg", "fstp", 1)


# -- between registers


@describe("d9 /1 reg", "fxch {:STi}", "fpu")
def fxch(cpu: Cpu, **fields: Value) -> None:
    """Empty registers become the default NaN first."""
    math_ready(cpu)
    i = number(fields)
    values = []
    empty = const(0, 1)
    for n in (0, i):
        free = ~in_use(cpu, n)
        values.append(select(free, const(INDEFINITE, 80), read_register(cpu, n)))
        empty = empty | free
    status = select(empty, const(IE | SF, 16), 0)
    top, other = place(cpu, 0), place(cpu, i)
    both = const(1, 8) << top.zext(8) | const(1, 8) << other.zext(8)

    def write() -> None:
        for at, value in ((other, values[0]), (top, values[1])):
            cpu.mm[at], cpu.exponent[at] = value.trunc(64), value[79:64]
        cpu.ftw = cpu.ftw | both

    with when(withheld(cpu, status)) as wrong:
        note(cpu, status)
        with wrong.otherwise():
            note(cpu, status, write=write)


def _conditional(row: str, name: str, flag: str, wanted: bool) -> None:
    @describe(row, f"{name} st, {{:STi}}", "cmov")
    def move(cpu: Cpu, **fields: Value) -> None:
        math_ready(cpu)
        op = Operation(cpu, 0, number(fields))
        truth = {"b": cpu.cf, "e": cpu.zf, "be": cpu.cf | cpu.zf, "u": cpu.pf}[flag]
        top, other = op.values
        moved = select(truth if wanted else ~truth, other, top)
        said = select(op.empty, const(C1, 16), 0)
        op.put(0, *op.checked(moved, const(0, 16)), said=said)


for _middle, _flag in enumerate(("b", "e", "be", "u")):
    _conditional(f"da /{_middle} reg", f"fcmov{_flag}", _flag, True)
    _conditional(f"db /{_middle} reg", f"fcmovn{_flag}", _flag, False)


# -- the stack


def _turn(row: str, name: str, by: int) -> None:
    @describe(row, name, "fpu")
    def turn(cpu: Cpu, **_: Value) -> None:
        math_ready(cpu)
        note(cpu, const(0, 16), C1, by)


_turn("d9 f6", "fdecstp", -1)
_turn("d9 f7", "fincstp", 1)


@describe("dd /0 reg", "ffree {:STi}", "fpu")
def ffree(cpu: Cpu, **fields: Value) -> None:
    math_ready(cpu)
    freed = const(1, 8) << place(cpu, number(fields)).zext(8)
    note(cpu, const(0, 16))
    cpu.ftw = cpu.ftw & ~freed


@describe("d9 d0", "fnop", "fpu")
def fnop(cpu: Cpu, **_: Value) -> None:
    math_ready(cpu)
    note_pointers(cpu)


@describe("9b", "fwait", "fpu")
def fwait(cpu: Cpu, **_: Value) -> None:
    math_ready(cpu)


# -- control


@describe("db e3", "fninit", "fpu")
def fninit(cpu: Cpu, **_: Value) -> None:
    control_ready(cpu)
    cpu.fcw, cpu.fsw, cpu.ftw = const(INIT_FCW, 16), const(0, 16), const(0, 8)
    cpu.fop, cpu.fip, cpu.fdp = const(0, 16), const(0, 64), const(0, 64)
    check_vectors(cpu)


@describe("db e2", "fnclex", "fpu")
def fnclex(cpu: Cpu, **_: Value) -> None:
    control_ready(cpu)
    cpu.fsw = cpu.fsw & ~(B | 0xFF)
    check_vectors(cpu)


def _set_control(cpu: Cpu, value: Value) -> None:
    """FCW, of which one bit is always set and some never; ES follows."""
    fcw = value & 0x1F7F | 0x40
    cpu.fcw = fcw
    cpu.fsw = renew_status(cpu.fsw, fcw)
    check_vectors(cpu)


@describe("d9 /5 mem", "fldcw {:Mw}", "fpu")
def fldcw(cpu: Cpu, **fields: Value) -> None:
    math_ready(cpu)
    _set_control(cpu, Memory(cpu, fields, 16).read())


@describe("d9 /7 mem", "fnstcw {:Mw}", "fpu")
def fnstcw(cpu: Cpu, **fields: Value) -> None:
    control_ready(cpu)
    Memory(cpu, fields, 16, writes=True).write(cpu.fcw)


@describe("dd /7 mem", "fnstsw {:Mw}", "fpu")
def fnstsw(cpu: Cpu, **fields: Value) -> None:
    control_ready(cpu)
    Memory(cpu, fields, 16, writes=True).write(cpu.fsw)


@describe("df e0", "fnstsw ax", "fpu")
def fnstsw_ax(cpu: Cpu, **_: Value) -> None:
    control_ready(cpu)
    Register(cpu, const(AX, 4), 16).write(cpu.fsw)


# -- the environment (volume 1, 8.1.10): 28 bytes, or 14 with operands of 16 bits


def _tags(cpu: Cpu) -> Value:
    """The whole tag word: 0 for a number, 1 for a zero, 2 for what is special, 3 if empty."""
    tags = const(0, 16)
    for n in range(8):
        mantissa, biased = cpu.mm[n], cpu.exponent[n] & 0x7FFF
        zero = (mantissa == 0) & (biased == 0)
        normal = (biased != 0) & (biased != 0x7FFF) & (mantissa[63] == 1)
        tag = select(zero, const(1, 16), select(normal, const(0, 16), 2))
        tags = tags | select(cpu.ftw[n] == 1, tag, 3) << 2 * n
    return tags


FILLED = 0xFFFF << 16
"""Reserved halves of words are ones."""
OPCODE = 0x7FF


def _in_real_format(cpu: Cpu) -> Value:
    """Whether the pointers are those of real and virtual-8086 mode (figures 8-11 and 8-12)."""
    there: Value = (in_real_mode(cpu) | in_v86(cpu)) & (cpu.decoding != LONG)
    return there


def _store_environment(cpu: Cpu, area: Value, size: int) -> None:
    """Without segments, as processors do that have no FCS and FDS (8.1.8)."""
    step, real = size // 8, _in_real_format(cpu)
    instruction, operand, opcode = cpu.fip.trunc(32), cpu.fdp.trunc(32), cpu.fop.zext(32) & OPCODE
    fill = FILLED if size == 32 else 0
    # Where bits 31 to 16 of a pointer are in the word behind it: there are 20 of 16-bit operands.
    above = [(each.lsr(16) << 12).trunc(size).zext(32) for each in (instruction, operand)]
    words = [word.zext(32) | fill for word in (cpu.fcw, cpu.fsw, _tags(cpu))]
    words.append(select(real, instruction & 0xFFFF | fill, instruction))
    words.append(select(real, above[0] | opcode, opcode << 16))
    words.append(select(real, operand & 0xFFFF | fill, operand))
    words.append(select(real, above[1], const(fill, 32)))
    for n, word in enumerate(words):
        cpu.store(area + step * n, word.trunc(size))


def _load_environment(cpu: Cpu, area: Value, size: int) -> tuple[Value, ...]:
    """Control, status and tags, the pointers to instruction and operand, and the opcode."""
    step, real = size // 8, _in_real_format(cpu)
    words = [cpu.load(area + step * n, size).zext(32) for n in range(7)]
    upper = 0xFFFF_0000 if size == 32 else 0xF_0000
    pointers = [
        select(real, words[n] & 0xFFFF | words[n + 1] << 4 & upper, words[n]) for n in (3, 5)
    ]
    opcode = select(real, words[4], words[4].lsr(16)).trunc(16) & OPCODE
    return *words[:3], *pointers, opcode


def _set_environment(cpu: Cpu, words: tuple[Value, ...]) -> None:
    fcw, fsw, tags = (word.trunc(16) for word in words[:3])
    used = const(0, 8)
    for n in range(8):
        used = used | (tags[2 * n + 1 : 2 * n] != 3).zext(8) << n
    cpu.fcw = fcw & 0x1F7F | 0x40
    cpu.fsw, cpu.ftw = renew_status(fsw, fcw), used
    cpu.fip, cpu.fdp, cpu.fop = words[3].zext(64), words[4].zext(64), words[5]
    check_vectors(cpu)


def _operand_bits(fields: Mapping[str, Value]) -> int:
    return 16 if pin(fields["osize"]) == 0 else 32


@describe("d9 /6 mem", "fnstenv {:M}", "fpu", restartable=True)
def fnstenv(cpu: Cpu, **fields: Value) -> None:
    """All exceptions are masked afterwards."""
    control_ready(cpu)
    size = _operand_bits(fields)
    _store_environment(cpu, address_of(cpu, fields, 7 * size // 8, writes=True), size)
    _set_control(cpu, cpu.fcw | 0x3F)


@describe("d9 /4 mem", "fldenv {:M}", "fpu", restartable=True)
def fldenv(cpu: Cpu, **fields: Value) -> None:
    math_ready(cpu)
    size = _operand_bits(fields)
    area = address_of(cpu, fields, 7 * size // 8)
    _set_environment(cpu, _load_environment(cpu, area, size))


@describe("dd /6 mem", "fnsave {:M}", "fpu", restartable=True)
def fnsave(cpu: Cpu, **fields: Value) -> None:
    """The environment and the registers; the x87 is initial afterwards."""
    control_ready(cpu)
    size = _operand_bits(fields)
    first = 7 * size // 8
    area = address_of(cpu, fields, first + 80, writes=True)
    _store_environment(cpu, area, size)
    for n in range(8):
        value, at = read_register(cpu, n), area + (first + 10 * n)
        cpu.store(at, value.trunc(64))
        cpu.store(at + 8, value[79:64])
    fninit(cpu)


@describe("dd /4 mem", "frstor {:M}", "fpu", restartable=True)
def frstor(cpu: Cpu, **fields: Value) -> None:
    math_ready(cpu)
    size = _operand_bits(fields)
    first = 7 * size // 8
    area = address_of(cpu, fields, first + 80)
    words = _load_environment(cpu, area, size)
    values = []
    for n in range(8):
        at = area + (first + 10 * n)
        values.append(cpu.load(at, 64).zext(80) | cpu.load(at + 8, 16).zext(80) << 64)
    _set_environment(cpu, words)
    for n, value in enumerate(values):
        write_register(cpu, n, value)
