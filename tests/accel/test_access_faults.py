"""Accesses to what is not there: the fault, where it points, and that the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.base.clock import RealClock
from bimetal.isa.riscv import rv64
from bimetal.seam import Cpu, Halt, Mmio
from tests.accel.bare_cpu import ENGINES, Make, cpu_before, named

RAM, SIZE, END = 0x8000_0000, 0x10_0000, 0x8010_0000
NOWHERE, DEVICE = 0x1800_0000, 0x1000_0000
HANDLER = RAM + 0x100
FETCH, LOAD, STORE = 1, 5, 7
SV39 = 8 << 60


@pytest.fixture(params=ENGINES, ids=named)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a hart in M-mode before the instructions given; its trap handler and what follows the
    instructions are a wfi."""
    with cpu_before(request.param, rv64, RAM, SIZE, clock=RealClock()) as before:

        def make(*lines: str, **registers: int) -> Cpu:
            handler = {HANDLER: rv64.assemble("wfi")}
            return before(*lines, "wfi", memory=handler, **{"mtvec": HANDLER} | registers)

        yield make


def run(cpu: Cpu) -> list[tuple[int, int, bool]]:
    """To the next wfi, on a board that has nothing but a device full of sevens: the accesses that
    came to it, by address, size and direction."""
    seen = []
    while not isinstance(exit_ := cpu.run(), Halt):
        assert isinstance(exit_, Mmio), exit_
        assert not exit_.fault
        seen.append((exit_.address, exit_.size, exit_.write))
        exit_.fault = not DEVICE <= exit_.address < DEVICE + 0x1000
        if not exit_.write:
            exit_.value = 0 if exit_.fault else 0x0707_0707_0707_0707 & (1 << 8 * exit_.size) - 1
    return seen


def trap(cpu: Cpu) -> tuple[int, int, int]:
    """The cause and value of the trap, and how far behind the start it was."""
    cause, value, pc = (cpu.read_register(name) for name in ("mcause", "mtval", "mepc"))
    return cause, value, pc - RAM


@pytest.mark.parametrize(
    ("access", "cause"),
    [
        *((f"{load} a2, 0(a1)", LOAD) for load in ("lb", "lhu", "lw", "ld", "fld", "flw")),
        *((f"{store} a2, 0(a1)", STORE) for store in ("sb", "sh", "sw", "sd", "fsd")),
        ("c.lw a2, 0(a1)", LOAD),
        ("lr.w a2, (a1)", LOAD),
        ("amoadd.w a2, a2, (a1)", STORE),
        ("amoswap.d a2, a2, (a1)", STORE),
        ("cbo.zero (a1)", STORE),
        ("jalr zero, 0(a1)", FETCH),
    ],
)
def test_nothing_there_is_a_fault(make: Make, access: str, cause: int) -> None:
    access = access.replace("a2, 0", "fa2, 0") if access.startswith("f") else access
    cpu = make("addi a0, zero, 1", access, a1=NOWHERE, a2=99, mstatus=3 << 13)
    run(cpu)
    assert trap(cpu) == (cause, NOWHERE, NOWHERE - RAM if cause == FETCH else 4)
    assert [cpu.read_register(name) for name in ("a0", "a2")] == [1, 99]


def test_a_fault_is_over_with_its_trap(make: Make) -> None:
    """The next access, to a device, is answered as if nothing had been."""
    cpu = make("lw a2, 0(a1)", a1=NOWHERE)
    run(cpu)
    cpu.write_register("a1", DEVICE)
    cpu.write_register("pc", RAM)
    assert run(cpu) == [(DEVICE, 4, False)]
    assert cpu.read_register("a2") == 0x0707_0707


@pytest.mark.parametrize(
    ("access", "at", "cause", "value"),
    [
        ("ld a2, 0(a1)", END - 4, LOAD, END),
        ("sd a2, 0(a1)", END - 4, STORE, END),
        ("lw a2, 0(a1)", DEVICE + 0xFFD, LOAD, DEVICE + 0x1000),
        ("sw a2, 0(a1)", DEVICE + 0xFFD, STORE, DEVICE + 0x1000),
        ("ld a2, 0(a1)", RAM - 1, LOAD, RAM - 1),
    ],
)
def test_the_value_is_the_first_byte_that_is_not_there(
    make: Make, access: str, at: int, cause: int, value: int
) -> None:
    cpu = make(access, a1=at, a2=99)
    run(cpu)
    assert trap(cpu) == (cause, value, 0)
    assert cpu.read_register("a2") == 99


@pytest.mark.parametrize(
    "make", [each for each in ENGINES if each.name != "reference"], indirect=True, ids=named
)
def test_an_access_in_hot_code_faults_too(make: Make) -> None:
    """Some hundred thousand loads of memory, and then one of nothing."""
    cpu = make(
        "lui a4, 0x40",
        "lw a2, 0(a1)",
        "addi a4, a4, -1",
        f"bne a4, zero, {RAM + 4:#x}",
        "lui a1, 0x18000",
        f"jal zero, {RAM + 4:#x}",
        a1=RAM + 0x1000,
    )
    run(cpu)
    assert trap(cpu) == (LOAD, NOWHERE, 4)


def test_supervisor_takes_a_fault_that_is_delegated(make: Make) -> None:
    cpu = make("mret", "sw a2, 0(a1)", a1=NOWHERE)
    for name, value in (
        ("mepc", RAM + 4),
        ("mstatus", 1 << 11),
        ("medeleg", 1 << STORE),
        ("stvec", HANDLER),
        ("pmpaddr0", (1 << 54) - 1),
        ("pmp0cfg", 0x1F),
    ):
        cpu.write_register(name, value)
    run(cpu)
    found = [cpu.read_register(name) for name in ("scause", "stval", "sepc", "mcause")]
    assert found == [STORE, NOWHERE, RAM + 4, 0]


def test_a_page_table_that_is_not_there_is_an_access_fault(make: Make) -> None:
    """Of the kind of the access that needed it (RISC-V II 10.3.2, step 2)."""
    cpu = make("lw a2, 0(a1)", a1=0x1234, satp=SV39 | NOWHERE >> 12)
    cpu.write_register("mstatus", 1 << 17 | 1 << 11)  # MPRV: loads as S-mode does them
    cpu.write_register("pmpaddr0", (1 << 54) - 1)
    cpu.write_register("pmp0cfg", 0x1F)
    run(cpu)
    assert trap(cpu) == (LOAD, 0x1234, 0)


def test_a_fault_that_was_answered_is_saved(make: Make) -> None:
    cpu = make("lw a2, 0(a1)", a1=NOWHERE)
    exit_ = cpu.run()
    assert isinstance(exit_, Mmio)
    exit_.fault = True
    cpu.kick()
    cpu.run()
    state = cpu.save()
    cpu.reset()
    cpu.load(state)
    assert run(cpu) == []
    assert trap(cpu) == (LOAD, NOWHERE, 0)
