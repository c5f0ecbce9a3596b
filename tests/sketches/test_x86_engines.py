"""Instructions of 1 to 15 bytes, in two decode modes, on every accelerator, beside Unicorn."""

from __future__ import annotations

import pytest

from .sketched import UNDEFINED, Sketched, machines
from .x86.beside_unicorn import by_unicorn, outcome
from .x86.programs import CODE, random_program

machine = machines("x86-sketch")
SEEDS = {"reference": range(8), "interp": range(8)}


def agree(machine: Sketched, seed: int) -> None:
    program, size = random_program(seed)
    machine.begin(program, CODE)
    machine.finish()
    assert outcome(machine) == by_unicorn(program + UNDEFINED, size), f"seed {seed}"


def test_random_programs_end_as_under_unicorn(machine: Sketched) -> None:
    for seed in SEEDS.get(machine.engine, range(1)):
        agree(machine, seed)


@pytest.mark.slow
def test_many_more_end_as_under_unicorn(machine: Sketched) -> None:
    for seed in range(100, 120):
        agree(machine, seed)
