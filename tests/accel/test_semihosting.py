"""The three instructions of a semihosting call, wherever they stand, and an ebreak that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.base.clock import VirtualClock
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Kicked, MemorySlot, Mmio, Semihosting

RAM, SIZE = 0x8000_0000, 0x4000
HANDLER = RAM + 0x2000
BREAKPOINT = 3
USER = 0
TOUCH = "sb zero, 0(zero)"
CALL = ("slli zero, zero, 31", "ebreak", "srai zero, zero, 7")

Make = Callable[..., Cpu]


@pytest.fixture(params=[InterpAccelerator, JitAccelerator, Reference], ids=lambda e: e.name)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a hart at the first of some instructions; behind them, and in its trap handler, it
    touches a device."""
    engine: Callable[..., Accelerator] = request.param
    accelerator = engine("riscv64", clock=VirtualClock())
    ram = Ram("ram", SIZE)
    accelerator.set_memory([MemorySlot(RAM, SIZE, ram.host)])

    def make(*lines: str, at: int = RAM, **registers: int) -> Cpu:
        code = b"".join(rv64.assemble(line) for line in (*lines, TOUCH))
        ram.bytes[at - RAM : at - RAM + len(code)] = code
        ram.bytes[HANDLER - RAM : HANDLER - RAM + 4] = rv64.assemble(TOUCH)
        cpu = accelerator.add_cpu(0)
        start = {"pc": at, "mtvec": HANDLER, "a0": 5, "a1": 0x1234}
        for name, value in (start | registers).items():
            cpu.write_register(name, value)
        return cpu

    yield make
    accelerator.close()
    ram.close()


def asked(cpu: Cpu) -> Semihosting:
    exit_ = cpu.run()
    assert isinstance(exit_, Semihosting), exit_
    return exit_


def ends(cpu: Cpu, *, cause: int = 0) -> Cpu:
    """Run to the device, behind the call or in the handler of a trap."""
    assert isinstance(cpu.run(), Mmio)
    assert cpu.read_register("mcause") == cause
    return cpu


@pytest.mark.parametrize("at", [RAM, RAM + 2, RAM + 0x1000, RAM + 0x1FF4, RAM + 0x0FF2])
def test_a_call_is_answered(make: Make, at: int) -> None:
    cpu = make(*CALL, at=at)
    call = asked(cpu)
    assert (call.operation, call.parameter) == (5, 0x1234)
    call.result = -1
    assert ends(cpu).read_register("a0") == (1 << 64) - 1
    assert cpu.read_register("a1") == 0x1234


@pytest.mark.parametrize(
    "lines",
    [
        ("ebreak",),
        ("addi zero, zero, 31", "ebreak", "srai zero, zero, 7"),
        ("slli zero, zero, 31", "ebreak", "srai zero, zero, 8"),
        ("slli zero, zero, 31", "c.ebreak", "srai zero, zero, 7"),
    ],
)
def test_any_other_is_a_breakpoint(make: Make, lines: tuple[str, ...]) -> None:
    ends(make(*lines), cause=BREAKPOINT)


@pytest.mark.parametrize("at", [RAM + 0xFF8, RAM + 0xFFC, RAM + 0xFF6, RAM + 0xFFA])
def test_a_call_over_the_end_of_a_page_is_none(make: Make, at: int) -> None:
    cpu = ends(make(*CALL, at=at), cause=BREAKPOINT)
    assert cpu.read_register("mepc") == cpu.read_register("mtval") == at + 4


def test_programs_in_user_mode_are_not_heard(make: Make) -> None:
    cpu = make("mret", *CALL, mepc=RAM + 4, pmpaddr0=(1 << 54) - 1, pmp0cfg=0x1F)
    ends(cpu, cause=BREAKPOINT)


def test_a_refused_call_is_a_breakpoint_and_the_last(make: Make) -> None:
    cpu = make(*CALL)
    asked(cpu).refused = True
    assert ends(cpu, cause=BREAKPOINT).read_register("mepc") == RAM + 4
    assert cpu.read_register("a0") == 5
    cpu.write_register("mcause", 0)
    cpu.write_register("pc", RAM)
    ends(cpu, cause=BREAKPOINT)
    cpu.reset()
    cpu.write_register("pc", RAM)
    asked(cpu)


def test_a_call_without_an_answer_is_made_again(make: Make) -> None:
    cpu = make(*CALL)
    for _ in range(3):
        call = asked(cpu)
        assert call.operation == 5
        call.again = True
    asked(cpu).result = 7
    assert ends(cpu).read_register("a0") == 7


def test_an_interrupt_comes_between_two_attempts(make: Make) -> None:
    cpu = make(*CALL, mie=1 << 11, mstatus=1 << 3)
    asked(cpu).again = True
    cpu.set_line(11, True)
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    ends(cpu, cause=1 << 63 | 11)
    assert cpu.read_register("mepc") == RAM + 4


def test_attempts_do_not_count_as_instructions(make: Make) -> None:
    cpu = make(*CALL, "csrrs a2, minstret, zero")
    for _ in range(5):
        asked(cpu).again = True
    asked(cpu)
    assert ends(cpu).read_register("a2") == 3
