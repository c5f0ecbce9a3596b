"""The deadline of a local APIC's timer waits for the time-stamp counter, whatever is added to that
(Intel's manual, volume 3, 11.5.4.1 and 18.17.3)."""

from __future__ import annotations

import pytest

from bimetal.seam import RegisterAccess

from .x86_machine import X86Machine, assemble, machines

machine = machines("reference", "interp", "everything")

TSC, TSC_ADJUST, DEADLINE = 0x10, 0x3B, 0x6E0
LATE = 1 << 60


def write(machine: X86Machine, number: int, value: int, waiting: int) -> int:
    """What the board is told of a deadline when a register is written; it is told that it waits for
    a moment, 0 for none."""
    code = assemble(f"mov ecx, {number}\nmov eax, {value & 0xFFFF_FFFF}\nmov edx, {value >> 32}")
    machine.place(code + assemble("wrmsr\nhlt"), 64)
    told = -1
    while isinstance(exit := machine.run(), RegisterAccess):
        assert exit.number == DEADLINE
        if exit.write:
            told = exit.value
        else:
            exit.value = waiting
    return told


@pytest.mark.parametrize("ahead", [1000, -1000, 1 << 40])
def test_it_comes_earlier_if_the_counter_is_put_forward(machine: X86Machine, ahead: int) -> None:
    assert write(machine, TSC_ADJUST, ahead % (1 << 64), LATE) == LATE - ahead


def test_it_is_over_if_the_counter_is_beyond_it(machine: X86Machine) -> None:
    assert write(machine, TSC_ADJUST, LATE, LATE) == 1
    assert write(machine, TSC, 2 * LATE, LATE) == 1


def test_there_is_none_if_there_was_none(machine: X86Machine) -> None:
    assert write(machine, TSC_ADJUST, 1000, 0) == -1
    assert machine["rip"] > 0


def test_one_that_is_far_away_is_not_over(machine: X86Machine) -> None:
    for value in ((1 << 64) - 1, (1 << 64) - (1 << 20)):
        assert write(machine, DEADLINE, value, 0) >= value
