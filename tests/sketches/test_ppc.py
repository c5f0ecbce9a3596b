"""The form of descriptions carries PowerPC: bit rows as the manual numbers them, beside Unicorn."""

from __future__ import annotations

import itertools

import pytest
from unicorn import UC_ARCH_PPC, UC_MODE_BIG_ENDIAN, UC_MODE_PPC64, Uc
from unicorn import ppc_const as uc

from tests.isa.bare import MEMORY, Bare

from .ppc.architecture import architecture
from .ppc.insns import OV, SO
from .ppc.state import R_NAMES

ppc = architecture.isa


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
