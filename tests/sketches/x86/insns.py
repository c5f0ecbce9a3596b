"""Instructions (volume 2): add, cmp, xor, mov, dec, lea, jcc, jmp, call, ret, movs, cmpxchg."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir.value import Value, const
from bimetal.isa.trace import Cpu, pin, when

from .flags import ADD, CF, LOGIC, SUB, condition, eflags, record, set_status, worked_out
from .operands import Immediate, Memory, Place, Register, effective, operand_width, place
from .rows import COMPATIBILITY, opcode_row
from .state import x86

Meaning = Callable[[Cpu, Place, Place | Immediate], None]
RSP = 4


def alu(base: int, digit: int) -> Callable[[Meaning], Meaning]:
    """Describe one of the eight classic operations: four forms of ModRM, three of immediates."""

    def form(meaning: Meaning, row: str, dst: str, src: str) -> None:
        shown = "{imm:s}" if src[0] == "I" else f"{{:{src}}}"

        @x86.insn(opcode_row(row), f"{meaning.__name__.strip('_')} {{:{dst}}}, {shown}")
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


@alu(0x30, digit=6)
def xor(cpu: Cpu, dst: Place, src: Place | Immediate) -> None:
    a, b = dst.read(), src.read()
    dst.write(a ^ b)
    record(cpu, LOGIC, a, b, a ^ b)


@alu(0x38, digit=7)
def cmp(cpu: Cpu, dst: Place, src: Place | Immediate) -> None:
    a, b = dst.read(), src.read()
    record(cpu, SUB, a, b, a - b)


# -- moves


def move(row: str, dst: str, src: str) -> None:
    shown = "{imm:s}" if src[0] == "I" else f"{{:{src}}}"

    @x86.insn(opcode_row(row), f"mov {{:{dst}}}, {shown}")
    def mov(cpu: Cpu, **fields: Value) -> None:
        to = place(cpu, dst, fields)
        if src[0] == "I":
            to.write(Immediate(fields["imm"], to.width).read())
        else:
            to.write(place(cpu, src, fields).read())


move("88 /r", "Eb", "Gb")
move("89 /r", "Ev", "Gv")
move("8a /r", "Gb", "Eb")
move("8b /r", "Gv", "Ev")
move("c6 /0 ib", "Eb", "Ib")
move("c7 /0 iz", "Ev", "Iz")


@x86.insn(opcode_row("b8+r iv"), "mov {:Ov}, {imm:s}")
def mov_whole(cpu: Cpu, imm: Value, rm: Value, rex: Value, **fields: Value) -> None:
    width = operand_width(fields)
    Register(cpu, rm, width, rex).write(imm.trunc(width))


@x86.insn(opcode_row("8d /r"), "lea {:Gv}, {:M}", where=lambda memory, **_: memory == 1)
def lea(cpu: Cpu, **fields: Value) -> None:
    place(cpu, "Gv", fields).write(effective(cpu, fields).trunc(operand_width(fields)))


@x86.insn(opcode_row("48+r", COMPATIBILITY), "dec {:Ov}")
def dec(cpu: Cpu, rm: Value, rex: Value, **fields: Value) -> None:
    """All flags but CF follow. In 64-bit mode the byte is a REX prefix."""
    to, carry = Register(cpu, rm, operand_width(fields), rex), eflags.inline(cpu) & CF
    a = to.read()
    wide = a.zext(64), const(1, 64), (a - 1).zext(64)
    new = worked_out(const(SUB, 8), const(a.width, 8), *wide)
    to.write(a - 1)
    set_status(cpu, (new & ~CF) | carry)


@x86.insn(opcode_row("90"), "nop")
def nop(cpu: Cpu, **_: Value) -> None:
    pass


# -- jumps


def target(cpu: Cpu, away: Value, compatibility: Value) -> Value:
    """Where a relative jump leads: counted from the next instruction."""
    to = cpu.next_pc + away
    return to.trunc(32).zext(64) if pin(compatibility) else to


def branches(row: str, bits: int) -> None:
    @x86.insn(opcode_row(row), "j{cc:cc} {imm:rel}")
    def jcc(cpu: Cpu, cc: Value, imm: Value, compatibility: Value, **_: Value) -> None:
        with when(condition(cpu, pin(cc))):
            cpu.jump(target(cpu, imm.trunc(bits).sext(64), compatibility))


branches("70+cc cb", 8)
branches("0f 80+cc iz", 32)


def jumps(row: str, bits: int) -> None:
    @x86.insn(opcode_row(row), "jmp {imm:rel}")
    def jmp(cpu: Cpu, imm: Value, compatibility: Value, **_: Value) -> None:
        cpu.jump(target(cpu, imm.trunc(bits).sext(64), compatibility))


jumps("eb cb", 8)
jumps("e9 iz", 32)


@x86.insn(opcode_row("e8 iz"), "call {imm:rel}")
def call(cpu: Cpu, imm: Value, compatibility: Value, **_: Value) -> None:
    width = 32 if pin(compatibility) else 64
    stack, following = cpu.r[RSP], cpu.next_pc
    top = (stack - width // 8).trunc(width).zext(64)
    to = target(cpu, imm.trunc(32).sext(64), compatibility)
    cpu.store(top, following.trunc(width))
    cpu.r[RSP] = top
    cpu.jump(to)


@x86.insn(opcode_row("c3"), "ret")
def ret(cpu: Cpu, compatibility: Value, **_: Value) -> None:
    width = 32 if pin(compatibility) else 64
    stack = cpu.r[RSP]
    to = cpu.load(stack, width).zext(64)
    cpu.r[RSP] = (stack + width // 8).trunc(width).zext(64)
    cpu.jump(to)


# -- strings


def string_move(opcode: str, text: str, byte: bool) -> None:
    """movs, upwards. Each step is an execution of its own, so every fault is precise."""

    @x86.insn(opcode_row(opcode), f"{{rep:rep}}{text}")
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


string_move("a4", "movsb", byte=True)
string_move("a5", "movs", byte=False)


# -- atomics


def exchange(row: str, dst: str, src: str) -> None:
    @x86.insn(
        opcode_row(row),
        f"{{lock:lock}}cmpxchg {{:{dst}}}, {{:{src}}}",
        where=lambda lock, memory, **_: (lock == 0) | (memory == 1),
    )
    def cmpxchg(cpu: Cpu, lock: Value, **fields: Value) -> None:
        """If the accumulator is what is there, the source goes there; else it is loaded."""
        to, new = place(cpu, dst, fields), place(cpu, src, fields).read()
        accumulator = Register(cpu, const(0, 4), to.width, fields["rex"])
        expected = accumulator.read()
        if isinstance(to, Memory) and pin(lock):
            old = cpu.compare_and_swap(to.address, expected, new)
            with when(old != expected):
                accumulator.write(old)
        else:
            old = to.read()
            with when(old == expected) as equal:
                to.write(new)
                with equal.otherwise():
                    accumulator.write(old)
        record(cpu, SUB, expected, old, expected - old)


exchange("lock 0f b0 /r", "Eb", "Gb")
exchange("lock 0f b1 /r", "Ev", "Gv")
