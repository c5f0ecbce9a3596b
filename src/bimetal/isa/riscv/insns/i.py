"""RV32I and RV64I: the base integer instruction set (volume I, chapters 2 and 4)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value
from ...trace import Cpu, when
from ..semihosting import asks_host
from ..state import rv64
from ..traps import BREAKPOINT, environment_call

Binary = Callable[[Value, Value], Value]


def sext32(value: Value) -> Value:
    """The low word, sign-extended: the form of every 32-bit result in RV64."""
    return value.trunc(32).sext(64)


def slt(a: Value, b: Value) -> Value:
    """1 if a < b, signed."""
    return a.slt(b).zext(64)


def sltu(a: Value, b: Value) -> Value:
    """1 if a < b, unsigned."""
    return a.ult(b).zext(64)


def _immediate(name: str, funct3: str, operation: Binary) -> None:
    @rv64.insn(f"imm:12 rs1:5 {funct3} rd:5 0010011", f"{name} {{rd:x}}, {{rs1:x}}, {{imm:s}}")
    def meaning(cpu: Cpu, imm: Value, rs1: Value, rd: Value) -> None:
        cpu.x[rd] = operation(cpu.x[rs1], imm.sext(64))


for _name, _funct3, _operation in (
    ("addi", "000", lambda a, b: a + b),
    ("slti", "010", slt),
    ("sltiu", "011", sltu),
    ("xori", "100", lambda a, b: a ^ b),
    ("ori", "110", lambda a, b: a | b),
    ("andi", "111", lambda a, b: a & b),
):
    _immediate(_name, _funct3, _operation)


def shift(extension: str, name: str, row: str, operation: Binary) -> None:
    """Describe a shift by a constant: rd = operation(rs1, shamt)."""

    @rv64.insn(f"{row} 0010011", f"{name} {{rd:x}}, {{rs1:x}}, {{shamt}}", extension=extension)
    def meaning(cpu: Cpu, shamt: Value, rs1: Value, rd: Value) -> None:
        cpu.x[rd] = operation(cpu.x[rs1], shamt.zext(64))


shift("i", "slli", "000000 shamt:6 rs1:5 001 rd:5", lambda a, b: a << b)
shift("i", "srli", "000000 shamt:6 rs1:5 101 rd:5", lambda a, b: a.lsr(b))
shift("i", "srai", "010000 shamt:6 rs1:5 101 rd:5", lambda a, b: a.asr(b))


def register(
    extension: str, name: str, funct7: str, funct3: str, operation: Binary, opcode: str
) -> None:
    """Describe an instruction of the R format: rd = operation(rs1, rs2)."""

    @rv64.insn(
        f"{funct7} rs2:5 rs1:5 {funct3} rd:5 {opcode}",
        f"{name} {{rd:x}}, {{rs1:x}}, {{rs2:x}}",
        extension=extension,
    )
    def meaning(cpu: Cpu, rs2: Value, rs1: Value, rd: Value) -> None:
        cpu.x[rd] = operation(cpu.x[rs1], cpu.x[rs2])


OP, OP_32 = "0110011", "0111011"
for _name, _funct7, _funct3, _operation in (
    ("add", "0000000", "000", lambda a, b: a + b),
    ("sub", "0100000", "000", lambda a, b: a - b),
    ("sll", "0000000", "001", lambda a, b: a << (b & 63)),
    ("slt", "0000000", "010", slt),
    ("sltu", "0000000", "011", sltu),
    ("xor", "0000000", "100", lambda a, b: a ^ b),
    ("srl", "0000000", "101", lambda a, b: a.lsr(b & 63)),
    ("sra", "0100000", "101", lambda a, b: a.asr(b & 63)),
    ("or", "0000000", "110", lambda a, b: a | b),
    ("and", "0000000", "111", lambda a, b: a & b),
):
    register("i", _name, _funct7, _funct3, _operation, OP)

for _name, _funct7, _funct3, _operation in (
    ("addw", "0000000", "000", lambda a, b: sext32(a + b)),
    ("subw", "0100000", "000", lambda a, b: sext32(a - b)),
    ("sllw", "0000000", "001", lambda a, b: (a.trunc(32) << (b.trunc(32) & 31)).sext(64)),
    ("srlw", "0000000", "101", lambda a, b: a.trunc(32).lsr(b.trunc(32) & 31).sext(64)),
    ("sraw", "0100000", "101", lambda a, b: a.trunc(32).asr(b.trunc(32) & 31).sext(64)),
):
    register("i", _name, _funct7, _funct3, _operation, OP_32)


@rv64.insn("imm:12 rs1:5 000 rd:5 0011011", "addiw {rd:x}, {rs1:x}, {imm:s}")
def addiw(cpu: Cpu, imm: Value, rs1: Value, rd: Value) -> None:
    cpu.x[rd] = sext32(cpu.x[rs1] + imm.sext(64))


def shift_word(extension: str, name: str, funct7: str, funct3: str, operation: Binary) -> None:
    """Describe a shift of the low word by a constant."""

    @rv64.insn(
        f"{funct7} shamt:5 rs1:5 {funct3} rd:5 0011011",
        f"{name} {{rd:x}}, {{rs1:x}}, {{shamt}}",
        extension=extension,
    )
    def meaning(cpu: Cpu, shamt: Value, rs1: Value, rd: Value) -> None:
        cpu.x[rd] = operation(cpu.x[rs1].trunc(32), shamt.zext(32)).sext(64)


shift_word("i", "slliw", "0000000", "001", lambda a, b: a << b)
shift_word("i", "srliw", "0000000", "101", lambda a, b: a.lsr(b))
shift_word("i", "sraiw", "0100000", "101", lambda a, b: a.asr(b))


@rv64.insn("imm[31:12] rd:5 0110111", "lui {rd:x}, {imm:upper}")
def lui(cpu: Cpu, imm: Value, rd: Value) -> None:
    cpu.x[rd] = imm.sext(64)


@rv64.insn("imm[31:12] rd:5 0010111", "auipc {rd:x}, {imm:upper}")
def auipc(cpu: Cpu, imm: Value, rd: Value) -> None:
    cpu.x[rd] = cpu.pc + imm.sext(64)


@rv64.insn("imm[20|10:1|11|19:12] rd:5 1101111", "jal {rd:x}, {imm:rel}")
def jal(cpu: Cpu, imm: Value, rd: Value) -> None:
    cpu.x[rd] = cpu.next_pc
    cpu.jump(cpu.pc + imm.sext(64))


@rv64.insn("imm:12 rs1:5 000 rd:5 1100111", "jalr {rd:x}, {imm:s}({rs1:x})")
def jalr(cpu: Cpu, imm: Value, rs1: Value, rd: Value) -> None:
    target = (cpu.x[rs1] + imm.sext(64)) & ~1
    cpu.x[rd] = cpu.next_pc
    cpu.jump(target)


def _branch(name: str, funct3: str, condition: Binary) -> None:
    @rv64.insn(
        f"imm[12|10:5] rs2:5 rs1:5 {funct3} imm[4:1|11] 1100011",
        f"{name} {{rs1:x}}, {{rs2:x}}, {{imm:rel}}",
    )
    def meaning(cpu: Cpu, imm: Value, rs2: Value, rs1: Value) -> None:
        with when(condition(cpu.x[rs1], cpu.x[rs2])):
            cpu.jump(cpu.pc + imm.sext(64))


for _name, _funct3, _condition in (
    ("beq", "000", lambda a, b: a == b),
    ("bne", "001", lambda a, b: a != b),
    ("blt", "100", lambda a, b: a.slt(b)),
    ("bge", "101", lambda a, b: a.sge(b)),
    ("bltu", "110", lambda a, b: a.ult(b)),
    ("bgeu", "111", lambda a, b: a.uge(b)),
):
    _branch(_name, _funct3, _condition)


def _load(name: str, funct3: str, width: int, signed: bool) -> None:
    @rv64.insn(f"imm:12 rs1:5 {funct3} rd:5 0000011", f"{name} {{rd:x}}, {{imm:s}}({{rs1:x}})")
    def meaning(cpu: Cpu, imm: Value, rs1: Value, rd: Value) -> None:
        value = cpu.load(cpu.x[rs1] + imm.sext(64), width)
        cpu.x[rd] = value.sext(64) if signed else value.zext(64)


for _name, _funct3, _width, _signed in (
    ("lb", "000", 8, True),
    ("lh", "001", 16, True),
    ("lw", "010", 32, True),
    ("ld", "011", 64, True),
    ("lbu", "100", 8, False),
    ("lhu", "101", 16, False),
    ("lwu", "110", 32, False),
):
    _load(_name, _funct3, _width, _signed)


def _store(name: str, funct3: str, width: int) -> None:
    @rv64.insn(
        f"imm[11:5] rs2:5 rs1:5 {funct3} imm[4:0] 0100011",
        f"{name} {{rs2:x}}, {{imm:s}}({{rs1:x}})",
    )
    def meaning(cpu: Cpu, imm: Value, rs2: Value, rs1: Value) -> None:
        cpu.store(cpu.x[rs1] + imm.sext(64), cpu.x[rs2].trunc(width))


for _name, _funct3, _width in (
    ("sb", "000", 8),
    ("sh", "001", 16),
    ("sw", "010", 32),
    ("sd", "011", 64),
):
    _store(_name, _funct3, _width)


# The sets of a fence: input, output, reads and writes.
_STORES, _LOADS = 0b0101, 0b1010


def _fence(row: str, text: str) -> None:
    """A fence that orders all that its sets name (I 2.7); the reserved forms are fences too."""

    @rv64.insn(row, text)
    def meaning(cpu: Cpu, pred: Value, succ: Value, **fields: Value) -> None:
        with when(((pred & _STORES) != 0) & ((succ & _LOADS) != 0)) as full:
            cpu.fence()
            with full.otherwise():
                cpu.fence(full=False)


_fence("0000 pred:4 succ:4 00000 000 00000 0001111", "fence {pred:iorw}, {succ:iorw}")
_fence(
    "fm:4 pred:4 succ:4 rs1:5 000 rd:5 0001111",
    "fence.reserved {fm}, {pred:iorw}, {succ:iorw}, {rd:x}, {rs1:x}",
)


@rv64.insn("1000 0011 0011 00000 000 00000 0001111", "fence.tso")
def fence_tso(cpu: Cpu) -> None:
    """As ``fence rw, rw``, but later loads may pass earlier stores (I 2.7)."""
    cpu.fence(full=False)


@rv64.insn("0000 0001 0000 00000 000 00000 0001111", "pause", extension="zihintpause")
def pause(cpu: Cpu) -> None:
    """A hint that this hart waits for another one, encoded as a fence that orders nothing."""
    cpu.relax()


@rv64.insn("000000000000 00000 000 00000 1110011", "ecall")
def ecall(cpu: Cpu) -> None:
    environment_call(cpu)


# Restartable: looking at the instructions beside it may set the accessed bit of their page.
@rv64.insn("000000000001 00000 000 00000 1110011", "ebreak", restartable=True)
def ebreak(cpu: Cpu) -> None:
    if cpu.length == 2:
        cpu.trap(BREAKPOINT, cpu.pc)  # c.ebreak asks for nothing else
        return
    with when(asks_host(cpu) == 1) as call:
        cpu.leave("semihosting", cpu.pc)
        with call.otherwise():
            cpu.trap(BREAKPOINT, cpu.pc)
