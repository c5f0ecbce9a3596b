"""mip: bits that software writes beside lines that the board drives (RISC-V II 3.1.9)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from bimetal.base.clock import RealClock
from bimetal.isa.riscv import rv64
from bimetal.seam import Cpu, Halt
from tests.accel.bare_cpu import ENGINES, Make, cpu_before, named

BASE = 0x8000_0000
SSIP, SEIP = 1 << 1, 1 << 9
MIP, SIP = 0x344, 0x144


@pytest.fixture(params=ENGINES, ids=named)
def start(request: pytest.FixtureRequest) -> Iterator[Make]:
    """A hart that executes the instructions given, in M-mode with all interrupts masked."""
    with cpu_before(request.param, rv64, BASE, clock=RealClock()) as before:
        yield partial(before, mideleg=0x222, a1=SSIP, a2=SEIP)


def run(cpu: Cpu) -> None:
    assert isinstance(cpu.run(), Halt)


@pytest.mark.parametrize(
    "change", [f"csrrs zero, {MIP:#x}, a1", f"csrrsi zero, {MIP:#x}, 2", f"csrrc a0, {MIP:#x}, a1"]
)
def test_a_line_that_was_high_during_a_change_is_not_kept(start: Make, change: str) -> None:
    read = f"csrrs a0, {MIP:#x}, zero"
    cpu = start(change, read, "wfi", read, "wfi")
    cpu.set_line(9, True)
    run(cpu)
    assert cpu.read_register("a0") & SEIP
    cpu.set_line(9, False)
    run(cpu)
    assert not cpu.read_register("a0") & SEIP


def test_what_software_set_is_kept_beside_the_line(start: Make) -> None:
    read = f"csrrs a0, {MIP:#x}, zero"
    cpu = start(
        f"csrrs zero, {MIP:#x}, a2", "wfi", read, f"csrrc zero, {MIP:#x}, a2", "wfi", read, "wfi"
    )
    cpu.set_line(9, True)
    run(cpu)
    cpu.set_line(9, False)
    run(cpu)
    assert cpu.read_register("a0") == SEIP
    run(cpu)
    assert cpu.read_register("a0") == 0


def test_a_supervisor_clears_the_software_interrupt_that_a_line_raised(start: Make) -> None:
    cpu = start(
        f"csrrs a3, {SIP:#x}, zero",
        f"csrrci zero, {SIP:#x}, 2",
        f"csrrs a4, {MIP:#x}, zero",
        f"csrrsi zero, {SIP:#x}, 2",
        f"csrrs a5, {MIP:#x}, zero",
        "wfi",
    )
    cpu.set_line(1, True)
    run(cpu)
    assert [cpu.read_register(name) for name in ("a3", "a4", "a5")] == [SSIP, 0, SSIP]
