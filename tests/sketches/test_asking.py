"""Ports, and registers of the board that an instruction goes on with: the board is asked once for
each access, whoever executes the instruction."""

from __future__ import annotations

import pytest

from bimetal.seam import Pio, RegisterAccess

from .asking import asking
from .sketched import END, Sketched, machines

CODE, COUNTER = 0x1_0000, 0x2_0000
ENGINES = ("reference", "interp", "everything", "runs")

machine = machines("asking", ENGINES)


def begin(machine: Sketched, *lines: str, **registers: int) -> None:
    code = b"".join(asking.assemble(line, CODE + 4 * n) for n, line in enumerate(lines))
    machine.begin(code, CODE, **registers)


def port(machine: Sketched) -> Pio:
    exit_ = machine.run()
    assert isinstance(exit_, Pio), exit_
    return exit_


def register(machine: Sketched) -> RegisterAccess:
    exit_ = machine.run()
    assert isinstance(exit_, RegisterAccess), exit_
    return exit_


def test_ports_are_read_and_written(machine: Sketched) -> None:
    begin(
        machine,
        "in r1, r2",
        "out r2, r1",
        "store r1, 0(r15)",
        r2=0x1_0CFC,
        r15=END,
    )
    asked = port(machine)
    assert (asked.port, asked.size, asked.write) == (0xCFC, 2, False)
    asked.value = 0xFFFF_1234  # a board's answer may be wider
    asked = port(machine)
    assert (asked.port, asked.size, asked.write, asked.value) == (0xCFC, 1, True, 0x34)
    assert machine.finish() == 0x1234


def test_an_instruction_goes_on_with_several_answers(machine: Sketched) -> None:
    begin(machine, "sum r3, r2", "sum r3, r2", "store r2, 0(r15)", r2=0x60, r3=COUNTER, r15=END)
    for _ in range(2):
        for answer in (1, 20):
            asked = port(machine)
            assert (asked.port, asked.size, asked.write) == (0x60, 1, False)
            asked.value = answer
        of_board = register(machine)
        assert (of_board.number, of_board.read, of_board.write) == (7, True, False)
        of_board.value = 1 << 63
    assert machine.finish() == 0x60
    assert machine.word(COUNTER) == 42


def test_registers_of_the_board_are_written(machine: Sketched) -> None:
    value = 0x8765_4321_0FED_CBA9
    begin(machine, "tell r1, r2", "store r1, 0(r15)", r1=0x80B, r2=value, r15=END)
    asked = register(machine)
    assert (asked.number, asked.read, asked.write, asked.value) == (0x80B, False, True, value)
    assert machine.finish() == 0x80B


@pytest.mark.parametrize("answers", [1, 2])
def test_what_was_answered_is_part_of_the_state(machine: Sketched, answers: int) -> None:
    """As is which of the instruction's questions comes next."""
    begin(machine, "sum r3, r2", "store r2, 0(r15)", r2=0x60, r3=COUNTER, r15=END)
    for _ in range(answers):
        port(machine).value = 5
    saved = machine.cpu.save()
    machine["pc"] = CODE  # what was asked is abandoned
    machine.cpu.load(saved)
    for _ in range(2 - answers):
        port(machine).value = 5
    register(machine).value = 100
    assert machine.finish() == 0x60
    assert machine.word(COUNTER) == 110


def test_a_register_may_be_read_while_the_board_is_asked(machine: Sketched) -> None:
    begin(machine, "sum r3, r2", "store r2, 0(r15)", r2=0x60, r3=COUNTER, r15=END)
    for _ in range(2):
        port(machine).value = 1
    asked = register(machine)
    asked.value = 8
    assert machine["r2"] == 0x60
    assert machine.finish() == 0x60
    assert machine.word(COUNTER) == 10
