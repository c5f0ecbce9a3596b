"""Timers of a guest that waits for another hart while the host has other things to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal import Machine
from tests.boot.bare import BASE, FAIL_WITH_A0, write_program

MSTATUS, MIE, MTVEC, MENVCFG, TIME = 0x300, 0x304, 0x305, 0x30A, 0xC01
ROUNDS = 10
TENTHS_ALLOWED = 10
"""Of a second, for what takes milliseconds on a host that is only busy and not stuck."""

HANDLER, SETUP, ROUND, WAIT, NOT_LATER, REPORT, SPIN = (
    BASE + 4 * at for at in (5, 10, 19, 24, 29, 37, 36)
)
TIMERS = {
    "stimecmp": ("csrrw zero, 0x14D, {0}", "addi t0, zero, 32"),
    "mtimecmp": ("sd {0}, 0(s7)", "addi t0, zero, 128"),
}
"""How a timer is set to a register, and its bit of mie."""


def program(timer: str) -> tuple[str, ...]:
    """Hart 0 waits for timers and ends with how late they were, in tenths of a second and one
    more; the other one has something to do."""
    put, enable = TIMERS[timer]
    return (
        f"bne a0, zero, {SPIN:#x}",
        "auipc t0, 0",
        "addi t0, t0, 16",
        f"csrrw zero, {MTVEC}, t0",
        f"jal zero, {SETUP:#x}",
        f"csrrs s4, {TIME}, zero",  # the handler: when it was, and no more timers
        "addi s3, zero, 1",
        "addi t0, zero, -1",
        put.format("t0"),
        "mret",
        "lui s7, 0x2004",  # mtimecmp of the CLINT
        "addi t0, zero, 1",
        "slli t0, t0, 63",
        f"csrrs zero, {MENVCFG}, t0",
        enable,
        f"csrrw zero, {MIE}, t0",
        f"csrrsi zero, {MSTATUS}, 8",
        f"addi s1, zero, {ROUNDS}",
        "lui s5, 0x18",
        "addi s3, zero, 0",  # a round: ten milliseconds from now
        f"csrrs s6, {TIME}, zero",
        "addi t0, s5, 1696",
        "add s6, s6, t0",
        put.format("s6"),
        "pause",  # what waits for another hart
        f"beq s3, zero, {WAIT:#x}",
        "sub t0, s4, s6",
        f"bltu t0, s2, {NOT_LATER:#x}",
        "addi s2, t0, 0",  # the latest so far
        "addi s1, s1, -1",
        f"bne s1, zero, {ROUND:#x}",
        "lui t0, 0xF4",
        "addi t0, t0, 0x240",  # a tenth of a second
        "divu a0, s2, t0",
        "addi a0, a0, 1",
        f"jal zero, {REPORT:#x}",
        f"jal zero, {SPIN:#x}",
        *FAIL_WITH_A0,
    )


@pytest.fixture
def busy() -> Iterator[None]:
    """Twice as many busy processes as the host has processors."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("accel", ["jit", "interp"])
def test_timers_of_a_hart_that_pauses_are_in_time(accel: str, timer: str, tmp_path: Path) -> None:
    kernel = write_program(tmp_path / "p.elf", *program(timer))
    with Machine(memory="16M", cpus=2, bios="none", kernel=kernel, accel=accel) as vm:
        vm.start()
        assert vm.wait(120).code - 1 < TENTHS_ALLOWED
