"""The form of descriptions carries AArch64: diagram fields, two widths of one register, flags.

A sketch of the Arm Architecture Reference Manual (DDI 0487), C6.2, compared with Unicorn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest
from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, Uc
from unicorn import arm64_const as uc

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.describe import Isa
from bimetal.isa.state import StateSpec
from bimetal.isa.text import CompositeKind, Kind, in_range, named, number
from bimetal.isa.trace import Cpu, pin, when

from .bare import MEMORY, Bare

X_NAMES = (*(f"x{n}" for n in range(31)), "xzr")
W_NAMES = (*(f"w{n}" for n in range(31)), "wzr")
SHIFT_NAMES = ("lsl", "lsr", "asr")
CONDITION_NAMES = "eq ne cs cc mi pl vs vc hi ls ge lt gt le al nv".split()


def show_shift(fields: Mapping[str, int], pc: int) -> str:
    kind, amount = fields["shift"], fields["imm6"]
    return f", {SHIFT_NAMES[kind]} #{amount}" if kind or amount else ""


def read_shift(text: str, pc: int) -> dict[str, int]:
    kind, _, amount = text.removeprefix(", ").partition(" #")
    if not text:
        return {"shift": 0, "imm6": 0}
    return {"shift": SHIFT_NAMES.index(kind), "imm6": in_range(int(amount, 0), 6, False)}


state = StateSpec()
state.scalars(64, "pc", "sp")
state.scalars(1, "n", "z", "c", "v")
state.file("x", 32, 64, zero=31, names=X_NAMES)
kinds: dict[str, Kind] = {
    "u": number(),
    "rel": number(is_signed=True, relative=True),
    "x": named(X_NAMES),
    "w": named(W_NAMES),
    "xsp": named((*X_NAMES[:31], "sp")),
    "shifted": CompositeKind(show_shift, read_shift, r"(?:, (?:lsl|lsr|asr) #\d+)?"),
    "cond": named(CONDITION_NAMES),
}
arm = Isa("aarch64", state, kinds, granule=4, fetch=4, complete=lambda word: word == word)

Shift = Callable[[Value, Value], Value]
SHIFTS: tuple[Shift, ...] = (
    lambda value, amount: value << amount,
    lambda value, amount: value.lsr(amount),
    lambda value, amount: value.asr(amount),
    lambda value, amount: pure("rotr", value, amount),
)


def set_flags(cpu: Cpu, a: Value, b: Value, total: Value) -> None:
    """NZCV of an addition."""
    top = a.width - 1
    cpu.n, cpu.z = total[top], total == 0
    cpu.c, cpu.v = total.ult(a), ((a ^ total) & (b ^ total))[top]


def add_shifted(r: str, width: int, name: str, row: str) -> None:
    """ADD and ADDS (shifted register): no rotation, and shifts below the width."""

    @arm.insn(
        f"{row} 01011 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
        f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}{{:shifted}}",
        where=lambda shift, imm6, **_: (shift != 3) & ((imm6 & ~(width - 1) & 63) == 0),
    )
    def meaning(cpu: Cpu, shift: Value, Rm: Value, imm6: Value, Rn: Value, Rd: Value) -> None:
        registers = cpu.x.view(width)
        a = registers[Rn]
        b = SHIFTS[pin(shift)](registers[Rm], imm6.zext(width) & (width - 1))
        registers[Rd] = a + b
        if name == "adds":
            set_flags(cpu, a, b, a + b)


add_shifted("w", 32, "add", "0 0 0")
add_shifted("x", 64, "add", "1 0 0")
add_shifted("w", 32, "adds", "0 0 1")
add_shifted("x", 64, "adds", "1 0 1")

CONDITIONS: tuple[Callable[[Cpu], Value], ...] = (
    lambda cpu: cpu.z,
    lambda cpu: cpu.c,
    lambda cpu: cpu.n,
    lambda cpu: cpu.v,
    lambda cpu: cpu.c & ~cpu.z,
    lambda cpu: cpu.n == cpu.v,
    lambda cpu: (cpu.n == cpu.v) & ~cpu.z,
    lambda cpu: const(1, 1),
)


def holds(cpu: Cpu, cond: Value) -> Value:
    """ConditionHolds: the last bit inverts, but for the condition that is never false."""
    number = pin(cond)
    truth = CONDITIONS[number >> 1](cpu)
    return ~truth if number & 1 and number != 15 else truth


@arm.insn("1 0 0 11010100 Rm:5 cond:4 0 0 Rn:5 Rd:5", "csel {Rd:x}, {Rn:x}, {Rm:x}, {cond:cond}")
def csel(cpu: Cpu, Rm: Value, cond: Value, Rn: Value, Rd: Value) -> None:
    cpu.x[Rd] = select(holds(cpu, cond), cpu.x[Rn], cpu.x[Rm])


@arm.insn("11 111 0 01 01 imm[14:3] Rn:5 Rt:5", "ldr {Rt:x}, [{Rn:xsp}, #{imm}]")
def ldr(cpu: Cpu, imm: Value, Rn: Value, Rt: Value) -> None:
    base = select(Rn == 31, cpu.sp, cpu.x[Rn])
    cpu.x[Rt] = cpu.load(base + imm.zext(64), 64)


@arm.insn("bit[5] 011011 0 bit[4:0] imm[15:2] Rt:5", "tbz {Rt:x}, #{bit}, {imm:rel}")
def tbz(cpu: Cpu, bit: Value, imm: Value, Rt: Value) -> None:
    with when(cpu.x[Rt].lsr(bit.zext(64))[0] == 0):
        cpu.jump(cpu.pc + imm.sext(64))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("add x0, x1, x2", 0x8B020020),
        ("adds w3, w4, wzr, asr #31", 0x2B9F7C83),
        ("csel x0, x1, x2, lt", 0x9A82B020),
        ("ldr x5, [sp, #32760]", 0xF97FFFE5),
        ("tbz x7, #33, 0x1008", 0xB6080047),
    ],
)
def test_encodings_are_the_manuals(text: str, word: int) -> None:
    code = word.to_bytes(4, "little")
    assert arm.assemble(text, 0x1000) == code
    assert [shown for _, _, shown in arm.disassemble(code, 0x1000)] == [text]


def test_reserved_shifts_mean_nothing() -> None:
    assert arm.decode(0x8BC20020) is None
    assert arm.decode(0x0B028020) is None


def test_conditions_and_shifts_are_variants() -> None:
    assert {insn.name: len(insn.variants()) for insn in arm.insns} == {
        "add": 4, "adds": 4, "csel": 16, "ldr": 1, "tbz": 1,
    }  # fmt: skip


def unicorn(machine: Bare, line: str) -> Uc:
    """The same instruction, from the same state, under Unicorn."""
    emulator = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    pc = machine["pc"]
    emulator.mem_map(pc & -4096, 4096)
    emulator.mem_map(MEMORY, 4096)
    emulator.mem_write(MEMORY, bytes(machine.memory))
    nop = bytes.fromhex("1f2003d5")
    emulator.mem_write(pc, arm.assemble(line, pc) + 7 * nop)
    for n in range(8):
        emulator.reg_write(uc.UC_ARM64_REG_X0 + n, machine[f"x{n}"])
    emulator.reg_write(uc.UC_ARM64_REG_SP, machine["sp"])
    emulator.reg_write(uc.UC_ARM64_REG_NZCV, nzcv(machine))
    emulator.emu_start(pc, 0, count=1)
    return emulator


def nzcv(machine: Bare) -> int:
    """The flags as the register NZCV has them."""
    return sum(machine[flag] << (31 - n) for n, flag in enumerate("nzcv"))


LINES = (
    *("add x0, x1, x2", "add w0, w1, w2, lsl #31", "add x3, x3, x3, lsr #63"),
    *("adds x0, x1, x2", "adds w0, w1, w2, asr #3", "adds xzr, x1, x2", "adds x1, xzr, x1, asr #9"),
    *(f"csel x0, x1, x2, {condition}" for condition in CONDITION_NAMES),
    *("ldr x0, [x4, #8]", "ldr x4, [x4, #4080]", "ldr xzr, [sp, #16]", "ldr x1, [sp, #0]"),
    *("tbz x1, #0, 0x1010", "tbz x1, #63, 0x1008", "tbz xzr, #5, 0x1004"),
)


@pytest.mark.parametrize("line", LINES)
def test_agrees_with_unicorn(line: str) -> None:
    rng = random.Random(line)
    for _ in range(24):
        machine = Bare(arm)
        machine.memory[:] = rng.randbytes(4096)
        for n in range(8):
            edges = (0, 1, (1 << 63) - 1, 1 << 63, (1 << 31) - 1, 1 << 31, (1 << 64) - 1)
            machine[f"x{n}"] = rng.choice((*edges, rng.getrandbits(64)))
        machine["x4"], machine["sp"] = MEMORY + 8, MEMORY + 512
        for flag in "nzcv":
            machine[flag] = rng.getrandbits(1)
        emulator = unicorn(machine, line)
        machine.do(line)
        for n in range(8):
            assert machine[f"x{n}"] == emulator.reg_read(uc.UC_ARM64_REG_X0 + n), n
        assert nzcv(machine) == emulator.reg_read(uc.UC_ARM64_REG_NZCV)
        assert machine["pc"] == emulator.reg_read(uc.UC_ARM64_REG_PC)
