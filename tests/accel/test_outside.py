"""What firmware asks of a hart between two instructions: to wait, and where addresses lead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.isa.riscv import rv64
from bimetal.seam import Cpu, Halt, Kicked, Mmio, Suspendable, Translating
from tests.accel.bare_cpu import ENGINES, Make, cpu_before, named

RAM, SIZE, TABLE = 0x8000_0000, 0x4000, 0x8000_1000
SUPERVISOR, USER = 1, 0
V, R, W, X, U, A, D = (1 << n for n in (0, 1, 2, 3, 4, 6, 7))
SUM = 1 << 18
SSIP, STIP, STCE = 1, 5, 1 << 63


@pytest.fixture(params=ENGINES, ids=named)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a hart in S-mode before the instructions given, with page tables; behind them it
    touches a device."""
    engine, clock = request.param, VirtualClock()
    with cpu_before(engine, rv64, RAM, SIZE, clock=clock, firmware_calls=True) as before:

        def make(*lines: str, table: dict[int, int] | None = None, **registers: int) -> Cpu:
            memory = {at: entry.to_bytes(8, "little") for at, entry in (table or {}).items()}
            given = {"priv": SUPERVISOR} | registers
            return before(*lines, "sb zero, 0(zero)", memory=memory, **given)

        yield make


# -- waiting


def suspended(cpu: Cpu) -> Cpu:
    assert isinstance(cpu, Suspendable)
    cpu.suspend()
    assert cpu.suspended
    assert isinstance(cpu.run(), Halt)
    assert cpu.suspended
    return cpu


def is_over(cpu: Cpu) -> bool:
    """Whether the wait is, when the hart runs."""
    exit_ = cpu.run()
    assert isinstance(exit_, Halt | Mmio)
    assert isinstance(cpu, Suspendable)
    assert cpu.suspended == isinstance(exit_, Halt)
    return not cpu.suspended


def test_a_suspended_hart_waits_for_an_interrupt_that_it_wants(make: Make) -> None:
    cpu = suspended(make(sie=1 << SSIP))
    assert not is_over(cpu)
    cpu.set_line(9, True)  # which is not enabled
    assert not is_over(cpu)
    cpu.set_line(SSIP, True)  # masked, as S-mode has interrupts off
    assert is_over(cpu)


def test_a_kick_does_not_end_a_wait(make: Make) -> None:
    cpu = suspended(make())
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    cpu.flush()
    assert not is_over(cpu)


def test_a_hart_waits_for_its_timer(make: Make) -> None:
    cpu = suspended(make(sie=1 << STIP, menvcfg=STCE, stimecmp=1 << 60))
    exit_ = cpu.run()
    assert isinstance(exit_, Halt)
    assert exit_.deadline == 100 << 60
    cpu.write_register("stimecmp", 0)
    assert is_over(cpu)


def test_a_wait_is_saved_and_forgotten_by_a_reset(make: Make) -> None:
    cpu = suspended(make(sie=1 << SSIP))
    state = cpu.save()
    cpu.reset()
    cpu.write_register("pc", RAM)
    assert is_over(cpu)
    cpu.load(state)
    assert not is_over(cpu)
    cpu.set_line(SSIP, True)
    assert is_over(cpu)


# -- where addresses lead


def leads(cpu: Cpu, address: int) -> int | None:
    assert isinstance(cpu, Translating)
    return cpu.translate(address)


def test_addresses_without_translation(make: Make) -> None:
    cpu = make()
    assert leads(cpu, RAM + 5) == RAM + 5
    assert leads(cpu, 0x10) == 0x10  # whether there is anything or not


PAGES = {
    TABLE: RAM >> 12 << 10 | V | R,
    TABLE + 8: RAM >> 12 << 10 | V | R | U,
    TABLE + 16: RAM >> 12 << 10 | V | X,
    TABLE + 24: (TABLE + 0x1000) >> 12 << 10 | V,
    TABLE + 0x1000 + 8 * 511: TABLE >> 12 << 10 | V,
    TABLE + 32: 0x10_0000 >> 12 << 10 | V,
}
"""Five gigabytes: for S-mode, for U-mode, only to be executed, more tables, a table nowhere."""

LAST_PAGE = 3 << 30 | 511 << 21 | 2 << 12


@pytest.mark.parametrize(
    ("registers", "address", "place"),
    [
        ({}, 0x123, RAM + 0x123),
        ({}, 1 << 30, None),
        ({"sstatus": SUM}, 1 << 30 | 0x2345, RAM + 0x2345),
        ({"priv": USER}, 1 << 30 | 0x2345, RAM + 0x2345),
        ({"priv": USER}, 0, None),
        ({}, 2 << 30, None),
        ({}, 3 << 30, None),
        ({}, LAST_PAGE, None),
        ({}, 4 << 30, None),
        ({}, 5 << 30, None),
        ({}, 1 << 38, None),
        ({"priv": 3}, 0x123, 0x123),
    ],
)
def test_addresses_lead_where_the_tables_say(
    make: Make, registers: dict[str, int], address: int, place: int | None
) -> None:
    cpu = make(table=PAGES, satp=8 << 60 | TABLE >> 12, **registers)
    assert leads(cpu, address) == place


def test_to_look_at_a_page_does_not_access_it(make: Make) -> None:
    cpu = make("ld a0, 0(a1)", table=PAGES, a1=TABLE, satp=8 << 60 | TABLE >> 12)
    leads(cpu, 0x123)
    cpu.write_register("satp", 0)
    assert isinstance(cpu.run(), Mmio)
    assert not cpu.read_register("a0") & A
