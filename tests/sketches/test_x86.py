"""The form of descriptions carries x86-64: the sketch, compared with Unicorn."""

from __future__ import annotations

import random

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as uc

from bimetal.accel.reference import Guest
from bimetal.ir.evaluate import Trap, call
from tests.isa.bare import MEMORY, Bare

from .x86.architecture import architecture
from .x86.flags import eflags
from .x86.rows import unscan
from .x86.state import CONDITIONS, NAMES

x86 = architecture.isa

CODES = {
    "00c4": "add ah, al",
    "4000c4": "add spl, al",
    "4500c8": "add r8b, r9b",
    "00d7": "add bh, dl",
    "01d8": "add eax, ebx",
    "4d01c8": "add r8, r9",
    "6601d8": "add ax, bx",
    "480344cb10": "add rax, qword ptr [rbx + rcx*8 + 0x10]",
    "0143fc": "add dword ptr [rbx - 0x4], eax",
    "00a300040000": "add byte ptr [rbx + 0x400], ah",
    "45022c24": "add r13b, byte ptr [r12]",
    "83c07f": "add eax, 0x7f",
    "4883c1ff": "add rcx, -0x1",
    "6683c27f": "add dx, 0x7f",
    "81c178563412": "add ecx, 0x12345678",
    "664181c5cced": "add r13w, -0x1234",
    "80c480": "add ah, -0x80",
    "4983440c0180": "add qword ptr [r12 + rcx*1 + 0x1], -0x80",
    "810378563412": "add dword ptr [rbx], 0x12345678",
    "03042510200000": "add eax, dword ptr [0x2010]",
    "48030510100000": "add rax, qword ptr [rip + 0x1010]",
    "39d8": "cmp eax, ebx",
    "4839d8": "cmp rax, rbx",
    "663b03": "cmp ax, word ptr [rbx]",
    "38c4": "cmp ah, al",
    "803c4b01": "cmp byte ptr [rbx + rcx*2], 0x1",
    "f00fb10b": "lock cmpxchg dword ptr [rbx], ecx",
    "f0480fb10b": "lock cmpxchg qword ptr [rbx], rcx",
    "660fb14b06": "cmpxchg word ptr [rbx + 0x6], cx",
    "0fb1d1": "cmpxchg ecx, edx",
    "0fb0d4": "cmpxchg ah, dl",
    "450fb0c1": "cmpxchg r9b, r8b",
    "4831d8": "xor rax, rbx",
    "6683f0ff": "xor ax, -0x1",
    "4c8d64cb10": "lea r12, [rbx + rcx*8 + 0x10]",
    "49bc8877665544332211": "mov r12, 0x1122334455667788",
    "a4": "movsb",
    "f3a4": "rep movsb",
    "f348a5": "rep movs",
    "66a5": "movs",
}


@pytest.mark.parametrize(("code", "text"), CODES.items())
def test_disassembles(code: str, text: str) -> None:
    raw = bytes.fromhex(code)
    assert next(x86.disassemble(raw + b"\xcc" * 8)) == (0, raw, text)


def random_code(rng: random.Random, opcode: int) -> bytes:
    """An instruction with random prefixes, ModRM and what follows."""
    prefixes = rng.choice((b"", b"", b"\x66"))
    rex = rng.choice((b"", bytes([0x40 | rng.getrandbits(4)])))
    return prefixes + rex + bytes([opcode]) + rng.randbytes(14)


OPCODES = (*range(4), *range(0x38, 0x3C), 0x80, 0x81, 0x83)


@pytest.mark.parametrize("opcode", OPCODES)
def test_encoding_undoes_decoding(opcode: int) -> None:
    """To the same fields: the same instruction may have longer encodings."""
    rng, seen = random.Random(opcode), 0
    for _ in range(100):
        decoded = x86.read(random_code(rng, opcode))
        if decoded is None:
            continue
        again = x86.read(unscan(decoded.insn.pattern.encode(decoded.fields)).ljust(15, b"\0"))
        assert again is not None
        assert again.fields | {"length": 0} == decoded.fields | {"length": 0}
        assert again.length <= decoded.length
        seen += 1
    assert seen > 15


def test_handlers_are_few() -> None:
    """Width and kind of operand are pinned, and in memory the mode; registers stay dynamic."""
    add_forms = [len(insn.variants()) for insn in x86.insns if insn.name == "add"]
    assert add_forms == [3, 9, 3, 9, 3, 9, 9]


FLAGS = 0x8D5


def unicorn(machine: Bare, code: bytes, steps: int = 0) -> Uc:
    """The same instruction, from the same state, under Unicorn."""
    emulator = Uc(UC_ARCH_X86, UC_MODE_64)
    pc = machine["pc"]
    emulator.mem_map(pc & -4096, 4096)
    emulator.mem_map(MEMORY, 4096)
    emulator.mem_write(MEMORY, bytes(machine.memory))
    emulator.mem_write(pc, code)
    for name in NAMES[64]:
        emulator.reg_write(getattr(uc, f"UC_X86_REG_{name.upper()}"), machine[name])
    emulator.reg_write(uc.UC_X86_REG_EFLAGS, flags_of(machine))
    emulator.emu_start(pc, pc + len(code), count=steps)
    return emulator


def flags_of(machine: Bare) -> int:
    """The flags, worked out."""
    return call(eflags, Guest(machine.registers, machine, machine["pc"], machine.environment))


def start(rng: random.Random) -> Bare:
    """Registers with edges in them, pointers where addresses come from, flags of some addition."""
    machine = Bare(x86)
    machine.memory[:] = rng.randbytes(4096)
    for name in NAMES[64]:
        edges = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFF_FFFF, 1 << 31, 1 << 63)
        machine[name] = rng.choice((*edges, rng.getrandbits(64)))
    machine["rbx"], machine["rcx"], machine["r12"] = MEMORY + 1024, rng.randrange(64), MEMORY + 256
    machine["flag_width"] = width = rng.choice((8, 16, 32, 64))
    a, b = rng.getrandbits(width), rng.getrandbits(width)
    machine["flag_a"], machine["flag_b"] = a, b
    machine["flag_r"] = (a + b) & ((1 << width) - 1)
    return machine


def agree(machine: Bare, code: bytes) -> None:
    """Execute on both and compare everything."""
    emulator = unicorn(machine, code)
    pc = machine["pc"]
    machine.execute(code)
    while machine["pc"] == pc:
        machine.execute(code)
    for name in NAMES[64]:
        assert machine[name] == emulator.reg_read(getattr(uc, f"UC_X86_REG_{name.upper()}")), name
    assert flags_of(machine) == emulator.reg_read(uc.UC_X86_REG_EFLAGS) & FLAGS
    assert machine.memory == emulator.mem_read(MEMORY, 4096)


def destination(machine: Bare, text: str) -> int:
    """What an exchange compares with the accumulator."""
    if "[" in text:
        at = 1024 + (6 if "0x6" in text else 0)
        # Unicorn clears the upper half of RAX when EAX is equal; processors do not.
        return int.from_bytes(machine.memory[at : at + (4 if "dword" in text else 8)], "little")
    if text.startswith("cmpxchg ecx"):
        return machine["rcx"] & 0xFFFF_FFFF
    return 0x4141 if "ah" in text else machine["r9"]


@pytest.mark.parametrize("code", CODES, ids=CODES.values())
def test_agrees_with_unicorn(code: str) -> None:
    rng = random.Random(code)
    for _ in range(24):
        machine = start(rng)
        if "movs" in CODES[code]:
            machine["rsi"], machine["rdi"] = MEMORY + rng.randrange(1024), MEMORY + 1000
        if "cmpxchg" in CODES[code] and rng.random() < 0.5:
            machine["rax"] = destination(machine, CODES[code])
        agree(machine, bytes.fromhex(code))


@pytest.mark.parametrize("number", range(16), ids=CONDITIONS)
def test_jumps_agree_with_unicorn(number: int) -> None:
    rng = random.Random(number)
    for _ in range(16):
        machine = start(rng)
        code = bytes([0x70 | number, 0x10])
        emulator = unicorn(machine, code + b"\x90" * 32, steps=1)
        machine.execute(code)
        assert machine["pc"] == emulator.reg_read(uc.UC_X86_REG_RIP)


def test_interrupted_move_goes_on() -> None:
    """A fault in the middle leaves the registers where it happened."""
    machine = Bare(x86)
    machine["rcx"], machine["rsi"], machine["rdi"] = 4, MEMORY + 4094, MEMORY
    code = bytes.fromhex("f3a4")
    machine.execute(code)
    machine.execute(code)
    with pytest.raises(Trap):
        machine.execute(code)
    assert (machine["rcx"], machine["rsi"], machine["rdi"]) == (2, MEMORY + 4096, MEMORY + 2)
    assert machine["pc"] == 0x1000
