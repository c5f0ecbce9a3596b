"""The form of descriptions carries PowerPC: bit rows with the manual's numbering, two byte orders.

A sketch of the Power ISA (version 3.1B, Book I), compared with Unicorn.
"""

from __future__ import annotations

import itertools

import pytest
from unicorn import UC_ARCH_PPC, UC_MODE_BIG_ENDIAN, UC_MODE_PPC64, Uc
from unicorn import ppc_const as uc

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.describe import Isa
from bimetal.isa.state import StateSpec
from bimetal.isa.text import named, number, optional
from bimetal.isa.trace import Cpu, when

from .bare import MEMORY, Bare

R_NAMES = tuple(f"r{n}" for n in range(32))
SO, OV = 1 << 31, 1 << 30  # of XER
LITTLE_ENDIAN = 1  # of MSR

state = StateSpec()
state.scalars(64, "pc", "msr", "xer")
state.scalars(32, "cr")
state.file("r", 32, 64, names=R_NAMES)
kinds = {
    "u": number(),
    "s": number(is_signed=True),
    "r": named(R_NAMES),
    "r0": named(("0", *R_NAMES[1:])),
    "o": optional("", ("", "o"), ""),
    "dot": optional("", ("", "."), ""),
}
ppc = Isa(
    "ppc64", state, kinds, granule=4, fetch=4,
    order="big", msb0=True,
)  # fmt: skip


def record(cpu: Cpu, result: Value) -> None:
    """CR0: negative, positive, zero, summary overflow (Book I, 2.3.1)."""
    sign = select(result.slt(0), const(8, 4), select(result == 0, const(2, 4), 4))
    summary = (cpu.xer & SO) != 0
    cpu.cr = (cpu.cr & 0x0FFF_FFFF) | ((sign | summary.zext(4)).zext(32) << 28)


@ppc.insn("011111 RT:5 RA:5 RB:5 OE:1 100001010 Rc:1", "add{OE:o}{Rc:dot} {RT:r}, {RA:r}, {RB:r}")
def add(cpu: Cpu, RT: Value, RA: Value, RB: Value, OE: Value, Rc: Value) -> None:
    a, b = cpu.r[RA], cpu.r[RB]
    total = a + b
    cpu.r[RT] = total
    with when(OE == 1):
        overflow = ((a ^ total) & (b ^ total))[63] == 1
        cpu.xer = select(overflow, cpu.xer | SO | OV, cpu.xer & ~OV)
    with when(Rc == 1):
        record(cpu, total)


@ppc.insn(
    "011110 RS:5 RA:5 sh[1:5] mb[1:5|0] 000 sh[0] Rc:1",
    "rldicl{Rc:dot} {RA:r}, {RS:r}, {sh}, {mb}",
)
def rldicl(cpu: Cpu, RS: Value, RA: Value, sh: Value, mb: Value, Rc: Value) -> None:
    result = pure("rotl", cpu.r[RS], sh.zext(64)) & const(-1, 64).lsr(mb.zext(64))
    cpu.r[RA] = result
    with when(Rc == 1):
        record(cpu, result)


def in_guest_order(cpu: Cpu, value: Value) -> Value:
    """Memory is little-endian to a description; MSR.LE says what it is to the guest."""
    return select((cpu.msr & LITTLE_ENDIAN) != 0, value, pure("bswap", value))


def effective(cpu: Cpu, RA: Value, D: Value) -> Value:
    """(RA|0) + D."""
    return select(RA == 0, 0, cpu.r[RA]) + D.sext(64)


@ppc.insn("100000 RT:5 RA:5 D:16", "lwz {RT:r}, {D:s}({RA:r0})")
def lwz(cpu: Cpu, RT: Value, RA: Value, D: Value) -> None:
    cpu.r[RT] = in_guest_order(cpu, cpu.load(effective(cpu, RA, D), 32)).zext(64)


@ppc.insn("100100 RS:5 RA:5 D:16", "stw {RS:r}, {D:s}({RA:r0})")
def stw(cpu: Cpu, RS: Value, RA: Value, D: Value) -> None:
    cpu.store(effective(cpu, RA, D), in_guest_order(cpu, cpu.r[RS].trunc(32)))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("add r3, r4, r5", "7c642a14"),
        ("addo. r31, r0, r1", "7fe00e15"),
        ("rldicl r3, r4, 40, 17", "78834442"),
        ("lwz r6, -8(r7)", "80c7fff8"),
        ("stw r6, 16(0)", "90c00010"),
    ],
)
def test_encodings_are_the_manuals(text: str, code: str) -> None:
    assert ppc.assemble(text) == bytes.fromhex(code)
    assert [shown for _, _, shown in ppc.disassemble(bytes.fromhex(code))] == [text]


def unicorn(machine: Bare, line: str) -> Uc:
    """The same instruction, from the same state, under Unicorn."""
    emulator = Uc(UC_ARCH_PPC, UC_MODE_PPC64 | UC_MODE_BIG_ENDIAN)
    emulator.ctl_set_cpu_model(uc.UC_CPU_PPC64_POWER5_V2_1)
    emulator.mem_map(machine["pc"] & -4096, 4096)
    emulator.mem_map(MEMORY, 4096)
    emulator.mem_write(MEMORY, bytes(machine.memory))
    emulator.mem_write(machine["pc"], ppc.assemble(line))
    for n, name in enumerate(R_NAMES):
        emulator.reg_write(uc.UC_PPC_REG_0 + n, machine[name])
    emulator.emu_start(machine["pc"], machine["pc"] + 4, count=1)
    return emulator


WIDE = (0, 1, 1 << 62, (1 << 63) - 1, 1 << 63, 0x0123_4567_89AB_CDEF)
# Unicorn records as in 32-bit mode: these come out alike in both.
NARROW = (0, 1, 7, (1 << 30) - 1, (1 << 64) - 1, (1 << 64) - 7, (1 << 64) - (1 << 30))


@pytest.mark.parametrize(
    ("line", "operands"),
    [
        ("add r3, r4, r5", WIDE),
        ("add r5, r5, r5", WIDE),
        ("add. r3, r4, r5", NARROW),
        ("addo. r3, r4, r5", NARROW),
        ("lwz r3, -4(r6)", WIDE),
        ("lwz r6, 0(r6)", WIDE),
        ("stw r4, 12(r6)", WIDE),
    ],
)
def test_agrees_with_unicorn(line: str, operands: tuple[int, ...]) -> None:
    for r4, r5 in itertools.product(operands, operands):
        machine = Bare(ppc)
        machine.memory[2000:2200] = bytes(range(200))
        machine["r4"], machine["r5"], machine["r6"] = r4, r5, MEMORY + 2048
        emulator = unicorn(machine, line)
        machine.do(line)
        for n, name in enumerate(R_NAMES):
            assert machine[name] == emulator.reg_read(uc.UC_PPC_REG_0 + n), name
        assert machine["cr"] >> 28 == emulator.reg_read(uc.UC_PPC_REG_CR0)
        assert machine["xer"] & (SO | OV) == emulator.reg_read(uc.UC_PPC_REG_XER) & (SO | OV)
        assert machine.memory == emulator.mem_read(MEMORY, 4096)


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("rldicl r3, r4, 16, 56", 0x23),  # extract a byte
        ("rldicl r3, r4, 60, 4", 0x0012_3456_789A_BCDE),  # shift right by four
        ("rldicl r3, r4, 0, 32", 0x89AB_CDEF),  # clear the high half
        ("rldicl r3, r4, 63, 0", 0x8091_A2B3_C4D5_E6F7),  # rotate right by one
    ],
)
def test_uses_of_rldicl(line: str, result: int) -> None:
    machine = Bare(ppc)
    machine["r4"] = 0x0123_4567_89AB_CDEF
    assert machine.do(line)["r3"] == result


def test_summary_overflow_stays() -> None:
    machine = Bare(ppc)
    machine["r4"] = (1 << 63) - 1
    machine.do("addo. r5, r4, r4")
    assert (machine["xer"], machine["cr"]) == (SO | OV, 0x9000_0000)
    machine.do("addo. r5, r4, r3")
    assert (machine["xer"], machine["cr"]) == (SO, 0x5000_0000)


def test_both_byte_orders() -> None:
    machine = Bare(ppc)
    machine.memory[:4] = bytes.fromhex("11223344")
    machine["r4"] = MEMORY
    assert machine.do("lwz r3, 0(r4)")["r3"] == 0x11223344
    machine["msr"] = LITTLE_ENDIAN
    assert machine.do("lwz r3, 0(r4)")["r3"] == 0x44332211
    machine.do("stw r3, 4(r4)")
    assert machine.memory[4:8] == bytes.fromhex("11223344")
