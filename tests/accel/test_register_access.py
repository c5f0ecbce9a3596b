"""Registers of a CPU that a controller on the board has, under every accelerator of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.accel.script import ScriptAccelerator, ScriptCpu
from bimetal.base.clock import VirtualClock
from bimetal.codegen.policy import stressed
from bimetal.isa.arm import a64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Exit, Halt, MemorySlot, RegisterAccess

BASE, SIZE = 0x4000_0000, 0x1_0000
VECTORS = BASE + 0x800
IAR1, EOIR1, PMR, SRE = (
    3 << 14 | crn << 7 | crm << 3 | op2
    for crn, crm, op2 in ((12, 12, 0), (12, 12, 1), (4, 6, 0), (12, 12, 5))
)
UNDEFINED, TRAPPED = 0, 0x18  # exception classes


def _jit(policy: str) -> Callable[..., Accelerator]:
    def make(isa: str, **options: object) -> Accelerator:
        return JitAccelerator(isa, policy=replace(stressed(policy), slice=7), **options)  # type: ignore[arg-type]

    return make


ENGINES: dict[str, Callable[..., Accelerator]] = {
    "reference": Reference,
    "interp": InterpAccelerator,
    "everything": _jit("everything"),
    "optimise,forget": _jit("optimise,forget"),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Callable[..., Accelerator]:
    return ENGINES[request.param]


@contextmanager
def running(
    engine: Callable[..., Accelerator], *program: str, controller: bool = True, **options: object
) -> Iterator[Cpu]:
    """A CPU before a program, which waits at its end."""
    accelerator = engine("aarch64", clock=VirtualClock(), controller=controller, **options)
    ram = Ram("ram", SIZE)
    code = b"".join(a64.assemble(text, BASE + 4 * n) for n, text in enumerate((*program, "wfi")))
    ram.bytes[: len(code)] = code
    wait = a64.assemble("wfi", VECTORS)
    ram.bytes[VECTORS - BASE : VECTORS - BASE + 0x800] = wait * 0x200
    accelerator.set_memory([MemorySlot(BASE, SIZE, ram.host)])
    cpu = accelerator.add_cpu(0)
    cpu.write_register("pc", BASE)
    try:
        yield cpu
    finally:
        accelerator.close()
        ram.close()


def access(exit_: Exit) -> tuple[int, bool, int]:
    """A `RegisterAccess` as number, write, value."""
    assert isinstance(exit_, RegisterAccess), exit_
    return exit_.number, exit_.write, exit_.value


def answer(exit_: Exit, value: int) -> None:
    """Give a read its answer."""
    assert isinstance(exit_, RegisterAccess), exit_
    assert not exit_.write
    exit_.value = value


def test_reads_are_answered_and_writes_come_out(engine: Callable[..., Accelerator]) -> None:
    program = ("mrs x1, icc_iar1_el1", "add x2, x1, x1", "msr icc_eoir1_el1, x2")
    with running(engine, *program) as cpu:
        exit_ = cpu.run()
        assert access(exit_)[:2] == (IAR1, False)
        answer(exit_, 27)
        assert access(cpu.run()) == (EOIR1, True, 54)
        assert isinstance(cpu.run(), Halt)
        assert cpu.read_register("x1") == 27


def test_the_zero_register_takes_no_answer(engine: Callable[..., Accelerator]) -> None:
    with running(
        engine, "mrs xzr, icc_iar1_el1", "add x3, xzr, xzr", "msr icc_pmr_el1, xzr"
    ) as cpu:
        answer(cpu.run(), 99)
        assert access(cpu.run()) == (PMR, True, 0)
        cpu.run()
        assert cpu.read_register("x3") == 0


def test_the_instruction_is_complete(engine: Callable[..., Accelerator]) -> None:
    """What is saved behind it has the answer, and goes on behind the instruction."""
    with running(engine, "mrs x1, icc_iar1_el1", "msr icc_eoir1_el1, x1") as cpu:
        answer(cpu.run(), 1023)
        state = cpu.save()
        assert cpu.read_register("pc") == BASE + 4
        cpu.write_register("x1", 5)
        cpu.load(state)
        assert access(cpu.run()) == (EOIR1, True, 1023)


def test_an_interrupt_that_the_answer_lowers_is_not_taken(
    engine: Callable[..., Accelerator],
) -> None:
    program = ("msr daifclr, #2", "msr icc_eoir1_el1, x1", "add x5, x6, xzr")
    with running(engine, *program) as cpu:
        cpu.write_register("x6", 7)
        cpu.write_register("daif", 15 << 6)
        exit_ = cpu.run()
        assert access(exit_)[:2] == (EOIR1, True)
        cpu.set_line(0, True)
        cpu.set_line(0, False)
        assert isinstance(cpu.run(), Halt)
        assert cpu.read_register("x5") == 7


def test_without_a_controller_they_are_undefined(engine: Callable[..., Accelerator]) -> None:
    with running(engine, "mrs x1, icc_iar1_el1", controller=False) as cpu:
        cpu.write_register("vbar_el1", VECTORS)
        assert isinstance(cpu.run(), Halt)
        assert cpu.read_register("esr_el1") >> 26 == UNDEFINED


def test_the_processor_says_whether_there_is_one(engine: Callable[..., Accelerator]) -> None:
    for controller in (False, True):
        with running(engine, "mrs x1, id_aa64pfr0_el1", controller=controller) as cpu:
            cpu.run()
            assert cpu.read_register("x1") >> 24 & 15 == int(controller)


def test_there_is_no_way_around_the_registers(engine: Callable[..., Accelerator]) -> None:
    with running(engine, "msr icc_sre_el1, xzr", "mrs x1, icc_sre_el1") as cpu:
        assert isinstance(cpu.run(), Halt)
        assert cpu.read_register("x1") == 7


@pytest.mark.parametrize("text", ["mrs x1, icc_iar1_el1", "msr icc_sgi1r_el1, x1"])
def test_el2_that_has_el1s_interrupts_takes_their_registers_too(
    engine: Callable[..., Accelerator], text: str
) -> None:
    """Until there is a virtual interface."""
    with running(engine, text, hypervisor=True) as cpu:
        cpu.write_register("hcr_el2", 1 << 31 | 1 << 4)
        cpu.write_register("pstate", 0x3C5)
        cpu.write_register("vbar_el2", VECTORS)
        assert isinstance(cpu.run(), Halt)
        assert cpu.read_register("esr_el2") >> 26 == TRAPPED


def test_a_script_takes_answers_alike() -> None:
    accelerator = ScriptAccelerator([RegisterAccess(IAR1), RegisterAccess(EOIR1, True, 27)])
    cpu = accelerator.add_cpu(0)
    assert isinstance(cpu, ScriptCpu)
    answer(cpu.run(), 27)
    assert access(cpu.run()) == (EOIR1, True, 27)
    assert isinstance(cpu.run(), Halt)
    assert cpu.answers == [27]
