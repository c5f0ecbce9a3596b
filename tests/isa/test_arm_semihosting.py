"""Semihosting calls of AArch64: HLT with one immediate, at every exception level."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.base.clock import VirtualClock
from bimetal.isa.arm import a64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Kicked, MemorySlot, Mmio, Semihosting

RAM, SIZE = 0x4000_0000, 0x4000
VECTORS = RAM + 0x2000
NOWHERE = 0x1000
TOUCH = "str x9, [x9, #0]"
CALL = "hlt 0xf000"
EL0, EL1, EL2 = range(3)
FROM_EL0, FROM_HERE, IRQ_HERE = 0x400, 0x200, 0x280
MASKED = 15 << 6  # of PSTATE: D, A, I and F
UNDEFINED, TRAPPED = 1 << 25, 1
"""ESR_ELx of an undefined instruction, and what a test puts there before."""

Make = Callable[..., Cpu]


@pytest.fixture(params=[InterpAccelerator, JitAccelerator, Reference], ids=lambda e: e.name)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a vCPU at the first of some instructions; behind them, and in its handlers of
    exceptions, it touches a device."""
    engine: Callable[..., Accelerator] = request.param
    accelerator = engine("aarch64", clock=VirtualClock(), hypervisor=True)
    ram = Ram("ram", SIZE)
    accelerator.set_memory([MemorySlot(RAM, SIZE, ram.host)])

    def make(*lines: str, el: int = EL1, **registers: int) -> Cpu:
        code = b"".join(a64.assemble(line) for line in (*lines, TOUCH))
        ram.bytes[: len(code)] = code
        for vector in (FROM_EL0, FROM_HERE, IRQ_HERE):
            ram.bytes[VECTORS - RAM + vector :][:4] = a64.assemble(TOUCH)
        cpu = accelerator.add_cpu(0)
        start = {
            "pc": RAM, "pstate": MASKED | el << 2 | int(el > EL0),
            "vbar_el1": VECTORS, "vbar_el2": VECTORS,
            "esr_el1": TRAPPED, "esr_el2": TRAPPED, "x0": 5, "x1": 0x1234, "x9": NOWHERE,
        }  # fmt: skip
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


def level(cpu: Cpu) -> int:
    return cpu.read_register("currentel") >> 2


def ends(cpu: Cpu, *, syndrome: int = TRAPPED) -> Cpu:
    """Run to the device, behind the call or in the handler of an exception."""
    assert isinstance(cpu.run(), Mmio)
    at = "esr_el2" if level(cpu) == EL2 else "esr_el1"
    assert cpu.read_register(at) == syndrome
    return cpu


@pytest.mark.parametrize("el", [EL0, EL1, EL2])
def test_a_call_is_answered(make: Make, el: int) -> None:
    cpu = make(CALL, el=el)
    call = asked(cpu)
    assert (call.operation, call.parameter) == (5, 0x1234)
    call.result = -1
    assert ends(cpu).read_register("x0") == (1 << 64) - 1
    assert (cpu.read_register("x1"), level(cpu)) == (0x1234, el)


@pytest.mark.parametrize("other", ["hlt 0xf001", "hlt 0x0", "hlt 0xffff", "hlt 0x7000"])
def test_any_other_is_undefined(make: Make, other: str) -> None:
    assert ends(make(other), syndrome=UNDEFINED).read_register("elr_el1") == RAM


def test_a_refused_call_is_undefined_and_the_last(make: Make) -> None:
    cpu = make(CALL)
    asked(cpu).refused = True
    assert ends(cpu, syndrome=UNDEFINED).read_register("elr_el1") == RAM
    assert cpu.read_register("x0") == 5
    cpu.write_register("esr_el1", TRAPPED)
    cpu.write_register("pc", RAM)
    ends(cpu, syndrome=UNDEFINED)
    cpu.reset()
    cpu.write_register("pc", RAM)
    asked(cpu)


def test_a_call_without_an_answer_is_made_again(make: Make) -> None:
    cpu = make(CALL)
    for _ in range(3):
        call = asked(cpu)
        assert call.operation == 5
        call.again = True
    asked(cpu).result = 7
    assert ends(cpu).read_register("x0") == 7


def test_an_interrupt_comes_between_two_attempts(make: Make) -> None:
    cpu = make(CALL, daif=0)
    asked(cpu).again = True
    cpu.set_line(0, True)
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    assert isinstance(cpu.run(), Mmio)
    assert cpu.read_register("pc") == VECTORS + IRQ_HERE
    assert cpu.read_register("elr_el1") == RAM
