"""Smaia and Ssaia: what a hart has of them itself, and what it asks of an IMSIC (RISC-V Advanced
Interrupt Architecture 1.0, chapters 2, 3 and 5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.isa.riscv import rv64
from bimetal.seam import Cpu, Exit, Halt, Mmio, RegisterAccess
from tests.accel.bare_cpu import ENGINES, Make, cpu_before, named

BASE = 0x8000_0000
HANDLER = BASE + 0x800
ILLEGAL = 2
ALL = (1 << 64) - 1
OPEN = {"pmpaddr0": ALL >> 10, "pmp0cfg": 0x1F}
"""All memory is S-mode's too."""
MIREG, MTOPEI, SIREG, STOPEI = 0x351, 0x35C, 0x151, 0x15C


@pytest.fixture(params=ENGINES, ids=named)
def start(request: pytest.FixtureRequest) -> Iterator[Make]:
    """A hart beside an IMSIC that executes instructions in M-mode, and waits at their end or in the
    handler of traps."""
    with cpu_before(request.param, rv64, BASE, controller=True, clock=VirtualClock()) as before:
        wait = {HANDLER: rv64.assemble("wfi", HANDLER)}

        def make(*lines: str, **registers: int) -> Cpu:
            return before(*lines, "wfi", mtvec=HANDLER, memory=wait, **OPEN, **registers)

        yield make


def asked(exit_: Exit) -> tuple[int, bool, bool, int, int]:
    """A `RegisterAccess` as number, read, write, value and mask."""
    assert isinstance(exit_, RegisterAccess), exit_
    return exit_.number, exit_.read, exit_.write, exit_.value, exit_.mask


def answer(exit_: Exit, value: int) -> None:
    assert isinstance(exit_, RegisterAccess)
    assert exit_.read
    exit_.value = value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("csrrw a0, mtopei, a1", (MTOPEI, True, True, 0xF0, ALL)),
        ("csrrw a0, stopei, zero", (STOPEI, True, True, 0, ALL)),
        ("csrrw zero, mtopei, a1", (MTOPEI, False, True, 0xF0, ALL)),
        ("csrrs a0, mtopei, zero", (MTOPEI, True, False, 0, ALL)),
        ("csrrs a0, mireg, a1", (MIREG | 0xC2 << 12, True, True, 0xF0, 0xF0)),
        ("csrrc a0, mireg, a1", (MIREG | 0xC2 << 12, True, True, 0, 0xF0)),
        ("csrrs zero, sireg, a1", (SIREG | 0x70 << 12, True, True, 0xF0, 0xF0)),
        ("csrrwi a0, sireg, 1", (SIREG | 0x70 << 12, True, True, 1, ALL)),
        ("csrrsi a0, sireg, 0", (SIREG | 0x70 << 12, True, False, 0, ALL)),
        ("csrrci a0, mireg, 3", (MIREG | 0xC2 << 12, True, True, 0, 3)),
    ],
)
def test_what_each_instruction_asks(
    start: Make, line: str, expected: tuple[int, bool, bool, int, int]
) -> None:
    cpu = start(line, "addi a2, a0, 1", a1=0xF0, miselect=0xC2, siselect=0x70, a0=5)
    exit_ = cpu.run()
    number, read, write, value, mask = asked(exit_)
    if not write:
        value = mask = expected[3]
        mask = ALL
    assert (number, read, write, value, mask) == expected
    if read:
        answer(exit_, 0x1234)
    assert isinstance(cpu.run(), Halt)
    into = 0x1234 if read and " a0," in line else 5
    assert cpu.read_register("a0") == into
    assert cpu.read_register("a2") == into + 1
    assert cpu.read_register("zero") == 0


def test_the_instruction_is_complete(start: Make) -> None:
    """What is saved behind it has the answer, and goes on behind the instruction."""
    cpu = start("csrrw a0, mtopei, zero", "csrrw a1, mtopei, a0")
    answer(cpu.run(), 7 << 16 | 7)
    state = cpu.save()
    cpu.load(state)
    assert asked(cpu.run()) == (MTOPEI, True, True, 7 << 16 | 7, ALL)
    assert cpu.read_register("pc") == BASE + 8


@pytest.mark.parametrize("selected", [*range(0x30, 0x40, 2)])
def test_priorities_are_zeros(start: Make, selected: int) -> None:
    cpu = start("csrrw a0, mireg, a1", "csrrs a2, sireg, a1", "csrrs a3, mireg, zero", a1=9, a0=1)
    cpu.write_register("miselect", selected)
    cpu.write_register("siselect", selected)
    assert isinstance(cpu.run(), Halt)
    assert [cpu.read_register(name) for name in ("a0", "a2", "a3", "mcause")] == [0, 0, 0, 0]
    assert cpu.read_register("pc") == BASE + 16


@pytest.mark.parametrize("selected", [0, 0x2F, 0x31, 0x3F, 0x40, 0x6F, 0x81, 0xC1, 0xFF])
@pytest.mark.parametrize("line", ["csrrs a0, mireg, zero", "csrrw zero, sireg, a1"])
def test_what_selects_nothing(start: Make, line: str, selected: int) -> None:
    cpu = start(line, miselect=selected, siselect=selected)
    assert isinstance(cpu.run(), Halt)
    assert cpu.read_register("mcause") == ILLEGAL
    assert cpu.read_register("mepc") == BASE


@pytest.mark.parametrize("selected", [0x70, 0x71, 0x72, 0x7F, 0x80, 0xBE, 0xC0, 0xFE])
def test_what_selects_a_register_of_a_file(start: Make, selected: int) -> None:
    cpu = start("csrrs a0, sireg, zero", priv=1, siselect=selected)
    exit_ = cpu.run()
    assert asked(exit_)[0] == SIREG | selected << 12


def test_what_selectors_hold(start: Make) -> None:
    cpu = start(
        "csrrw zero, miselect, a1", "csrrs a2, miselect, zero",
        "csrrw zero, siselect, a1", "csrrs a3, siselect, zero", a1=ALL,
    )  # fmt: skip
    cpu.run()
    assert (cpu.read_register("a2"), cpu.read_register("a3")) == (0xFF, 0x1FF)


@pytest.mark.parametrize("name", ["mtopei", "mireg", "mtopi", "miselect", "mvien", "mvip"])
def test_m_mode_has_its_own(start: Make, name: str) -> None:
    cpu = start(f"csrrs a0, {name}, zero", priv=1, miselect=0x70)
    assert isinstance(cpu.run(), Halt)
    assert cpu.read_register("mcause") == ILLEGAL


@pytest.mark.parametrize("name", ["mtopi", "stopi"])
def test_the_top_is_read_only(start: Make, name: str) -> None:
    cpu = start(f"csrrw a0, {name}, zero")
    assert isinstance(cpu.run(), Halt)
    assert cpu.read_register("mcause") == ILLEGAL


@pytest.mark.parametrize("engine", ENGINES, ids=named)
@pytest.mark.parametrize(
    "name",
    ["mtopei", "stopei", "mireg", "sireg", "miselect", "siselect", "mtopi", "stopi", "mvip"],
)
def test_without_an_imsic_there_are_none(engine: type, name: str) -> None:
    with cpu_before(engine, rv64, BASE, clock=VirtualClock()) as before:
        cpu = before(f"csrrs a0, {name}, zero", "wfi", mtvec=BASE + 4, miselect=0x70)
        assert isinstance(cpu.run(), Halt)
        assert cpu.read_register("mcause") == ILLEGAL


def test_the_first_of_what_is_pending_and_enabled(start: Make) -> None:
    read = ("csrrs a0, mtopi, zero", "csrrs a1, stopi, zero", "sw zero, 0(a2)")
    cpu = start(*read * 4, mideleg=0x222, a2=0x1000)
    run = partial(tops, cpu)
    for line in (1, 9, 3, 7, 11):
        cpu.set_line(line, True)
    cpu.write_register("mie", 0)
    assert run() == (0, 0)
    cpu.write_register("mie", 0xAAA)
    assert run() == (11, 9)
    cpu.set_line(11, False)
    cpu.set_line(9, False)
    assert run() == (3, 1)
    cpu.set_line(3, False)
    cpu.set_line(1, False)
    assert run() == (7, 0)


def tops(cpu: Cpu) -> tuple[int, int]:
    """The numbers that mtopi and stopi tell; their priorities are those of harts without any."""
    assert isinstance(cpu.run(), Mmio)
    told = cpu.read_register("a0"), cpu.read_register("a1")
    assert all(value & 0xFFFF == (1 if value else 0) for value in told)
    return told[0] >> 16, told[1] >> 16


def test_virtual_bits_are_those_of_software(start: Make) -> None:
    cpu = start(
        "csrrs a0, mvip, a1", "csrrs a2, mvip, zero", "csrrs a3, mip, zero",
        "csrrw zero, mvien, a1", "csrrs a4, mvien, zero", a1=ALL,
    )  # fmt: skip
    cpu.set_line(11, True)
    assert isinstance(cpu.run(), Halt)
    assert cpu.read_register("a2") == 0x222
    assert cpu.read_register("a3") == 0xA22
    assert cpu.read_register("a4") == 0
