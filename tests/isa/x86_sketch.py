"""A sketch of x86-64 (Intel's Software Developer's Manual, volume 2): add, cmp, jcc, movs.

Operand codes, lazy flags, registers of four widths, moves that are restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.describe import Isa
from bimetal.isa.state import StateSpec
from bimetal.isa.text import CompositeKind, Kind, named, number, optional
from bimetal.isa.trace import Cpu, pin, when

from .x86_rows import NONE, RIP, OpcodeRow

__all__ = ["CONDITIONS", "NAMES", "eflags", "x86"]

LEGACY = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
NAMES = {
    64: (*(f"r{name}" for name in LEGACY), *(f"r{n}" for n in range(8, 16))),
    32: (*(f"e{name}" for name in LEGACY), *(f"r{n}d" for n in range(8, 16))),
    16: (*LEGACY, *(f"r{n}w" for n in range(8, 16))),
    8: (*("al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"), *(f"r{n}b" for n in range(8, 16))),
}
HIGH = ("ah", "ch", "dh", "bh")
SIZES = {8: "byte", 16: "word", 32: "dword", 64: "qword"}
CONDITIONS = tuple("o no b ae e ne be a s ns p np l ge le g".split())
ADD, SUB = 0, 1

state = StateSpec()
state.scalars(64, "pc")
state.file("r", 17, 64, zero=NONE, names=NAMES[64])
# The flags are those of the last operation, worked out when somebody looks at them.
state.scalars(8, "flag_op", "flag_width")
state.scalars(64, "flag_a", "flag_b", "flag_r")


def width_of(fields: Mapping[str, int]) -> int:
    return 64 if fields["wide"] else 16 if fields["narrow"] else 32


def register_name(number: int, width: int, rex: int) -> str:
    return HIGH[number - 4] if width == 8 and not rex and 4 <= number < 8 else NAMES[width][number]


def show_memory(fields: Mapping[str, int], width: int) -> str:
    base, index, disp = fields["base"], fields["index"], fields["disp"]
    terms = [] if base == NONE else ["rip" if base == RIP else NAMES[64][base]]
    terms += [] if index == NONE else [f"{NAMES[64][index]}*{1 << fields['scale']}"]
    disp -= disp >> 63 << 64
    text = " + ".join(terms) if terms else hex(disp)
    tail = f" {'-' if disp < 0 else '+'} {abs(disp):#x}" if terms and disp else ""
    return f"{SIZES[width]} ptr [{text}{tail}]"


def by_width(byte: bool, show: Callable[[Mapping[str, int], int], str]) -> CompositeKind:
    """An operand that is printed by its width; the sketch reads registers only."""

    def read(text: str, pc: int) -> dict[str, int]:
        raise ValueError("the sketch assembles bytes, not text")

    return CompositeKind(lambda fields, pc: show(fields, 8 if byte else width_of(fields)), read)


def show_e(fields: Mapping[str, int], width: int) -> str:
    if fields["memory"]:
        return show_memory(fields, width)
    return register_name(fields["rm"], width, fields["rex"])


def show_g(fields: Mapping[str, int], width: int) -> str:
    return register_name(fields["reg"], width, fields["rex"])


kinds: dict[str, Kind] = {
    "rel": number(is_signed=True),
    "cc": named(CONDITIONS),
    "rep": optional("", ("", "rep1 ", "repne ", "rep "), ""),
    "Eb": by_width(True, show_e),
    "Ev": by_width(False, show_e),
    "Gb": by_width(True, show_g),
    "Gv": by_width(False, show_g),
    "s": number(is_signed=True, base=16),
}
x86 = Isa("x86-64", state, kinds, granule=1, fetch=15, complete=lambda byte: byte != byte)


# -- operands


def operand_width(fields: Mapping[str, Value]) -> int:
    return 64 if pin(fields["wide"]) else 16 if pin(fields["narrow"]) else 32


class Register:
    """A general register of 8 to 64 bits; without REX, bytes 4 to 7 are ah, ch, dh and bh."""

    def __init__(self, cpu: Cpu, number: Value, width: int, rex: Value):
        self.cpu, self.number, self.width = cpu, number, width
        self.high = (rex == 0) & (number.lsr(2) == 1)
        self.byte_of = select(self.high, number & 3, number)

    def read(self) -> Value:
        whole: Value = self.cpu.r[self.byte_of]
        if self.width > 8:
            return whole.trunc(self.width)
        return select(self.high, whole[15:8], whole[7:0])

    def write(self, value: Value) -> None:
        if self.width > 8:
            self.cpu.r.view(self.width, merge=self.width == 16)[self.number] = value
            return
        whole, byte = self.cpu.r[self.byte_of], value.zext(64)
        low = (whole & ~0xFF) | byte
        self.cpu.r[self.byte_of] = select(self.high, (whole & ~0xFF00) | byte << 8, low)


class Memory:
    """base + (index << scale) + disp."""

    def __init__(self, cpu: Cpu, fields: Mapping[str, Value], width: int):
        self.cpu, self.width = cpu, width
        relative = fields["base"] == RIP
        base = cpu.r[select(relative, NONE, fields["base"])]
        base = select(relative, cpu.next_pc, base)
        index = cpu.r[fields["index"]] << fields["scale"].zext(64)
        self.address = base + index + fields["disp"]

    def read(self) -> Value:
        return self.cpu.load(self.address, self.width)

    def write(self, value: Value) -> None:
        self.cpu.store(self.address, value)


class Immediate:
    """A constant of the instruction, sign-extended."""

    def __init__(self, value: Value, width: int):
        self.value = value.trunc(width)

    def read(self) -> Value:
        return self.value


Place = Register | Memory


def place(cpu: Cpu, code: str, fields: Mapping[str, Value]) -> Place:
    """The operand of an operand code: E or G for where, b or v for how wide."""
    width = 8 if code[1] == "b" else operand_width(fields)
    if code[0] == "G":
        return Register(cpu, fields["reg"], width, fields["rex"])
    if pin(fields["memory"]):
        return Memory(cpu, fields, width)
    return Register(cpu, fields["rm"], width, fields["rex"])


# -- flags


def record(cpu: Cpu, operation: int, a: Value, b: Value, result: Value) -> None:
    """Remember what the flags follow from."""
    cpu.flag_op, cpu.flag_width = const(operation, 8), const(a.width, 8)
    cpu.flag_a, cpu.flag_b, cpu.flag_r = a.zext(64), b.zext(64), result.zext(64)


@x86.routine(returns=64)
def eflags(cpu: Cpu) -> Value:
    """OF, SF, ZF, AF, PF and CF (volume 1, 3.4.3.1) where they stand in RFLAGS."""
    up = const(64, 64) - cpu.flag_width.zext(64)
    a, b, result = (value << up for value in (cpu.flag_a, cpu.flag_b, cpu.flag_r))
    adding = cpu.flag_op == ADD
    carry = select(adding, result.ult(a), a.ult(b))
    overflow = ((a ^ result) & select(adding, b ^ result, a ^ b))[63]
    even = pure("popcount", cpu.flag_r.trunc(8))[0] ^ 1
    half = (cpu.flag_a ^ cpu.flag_b ^ cpu.flag_r)[4]
    bits = ((overflow, 11), (result[63], 7), (result == 0, 6), (half, 4), (even, 2), (carry, 0))
    total = const(0, 64)
    for bit, position in bits:
        total = total | bit.zext(64) << position
    return total


def condition(cpu: Cpu, number: int) -> Value:
    """The conditions of Jcc, SETcc and CMOVcc (volume 1, appendix B)."""
    flags = eflags(cpu)
    overflow, sign, zero, parity, carry = (flags[n] for n in (11, 7, 6, 2, 0))
    less = sign ^ overflow
    truth = (overflow, carry, zero, carry | zero, sign, parity, less, less | zero)[number >> 1]
    return ~truth if number & 1 else truth


# -- instructions


Meaning = Callable[[Cpu, Place, Place | Immediate], None]


def alu(base: int, digit: int) -> Callable[[Meaning], Meaning]:
    """Describe one of the eight classic operations: four forms of ModRM, three of immediates."""

    def form(meaning: Meaning, row: str, dst: str, src: str) -> None:
        shown = "{imm:s}" if src[0] == "I" else f"{{:{src}}}"

        @x86.insn(OpcodeRow(row), f"{meaning.__name__} {{:{dst}}}, {shown}")
        def insn(cpu: Cpu, **fields: Value) -> None:
            to = place(cpu, dst, fields)
            if src[0] == "I":
                meaning(cpu, to, Immediate(fields["imm"], to.width))
            else:
                meaning(cpu, to, place(cpu, src, fields))

    def describe(meaning: Meaning) -> Meaning:
        for n, (dst, src) in enumerate((("Eb", "Gb"), ("Ev", "Gv"), ("Gb", "Eb"), ("Gv", "Ev"))):
            form(meaning, f"{base + n:02x} /r", dst, src)
        form(meaning, f"80 /{digit} ib", "Eb", "Ib")
        form(meaning, f"81 /{digit} iz", "Ev", "Iz")
        form(meaning, f"83 /{digit} ib", "Ev", "Ib")
        return meaning

    return describe


@alu(0x00, digit=0)
def add(cpu: Cpu, dst: Place, src: Place | Immediate) -> None:
    a, b = dst.read(), src.read()
    dst.write(a + b)
    record(cpu, ADD, a, b, a + b)


@alu(0x38, digit=7)
def cmp(cpu: Cpu, dst: Place, src: Place | Immediate) -> None:
    a, b = dst.read(), src.read()
    record(cpu, SUB, a, b, a - b)


@x86.insn(OpcodeRow("70+cc cb"), "j{cc:cc} {imm:rel}")
def jcc(cpu: Cpu, cc: Value, imm: Value, **_: Value) -> None:
    with when(condition(cpu, pin(cc))):
        cpu.jump(cpu.next_pc + imm)


def string_move(opcode: str, text: str, byte: bool) -> None:
    """movs, upwards. Each step is an execution of its own, so every fault is precise."""

    @x86.insn(OpcodeRow(opcode), f"{{rep:rep}}{text}")
    def movs(cpu: Cpu, rep: Value, **fields: Value) -> None:
        width = 8 if byte else operand_width(fields)
        rcx, rsi, rdi = (cpu.r[n] for n in (1, 6, 7))
        with when((rep == 0) | (rcx != 0)):
            cpu.store(rdi, cpu.load(rsi, width))
            cpu.r[6], cpu.r[7] = rsi + width // 8, rdi + width // 8
            with when(rep != 0):
                cpu.r[1] = rcx - 1
                with when(rcx != 1):
                    cpu.jump(cpu.pc)


string_move("A4", "movsb", byte=True)
string_move("A5", "movs", byte=False)
