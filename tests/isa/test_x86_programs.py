"""Random programs end as under Unicorn: instructions of 1 to 15 bytes in loops and behind jumps."""

from __future__ import annotations

from tests.sketches.x86.beside_unicorn import by_unicorn, outcome
from tests.sketches.x86.programs import CODE, random_program

from .x86_machine import HALTS, X86Machine, machines

machine = machines()
SEEDS = {"reference": range(8), "interp": range(100)}


def test_random_programs_end_as_under_unicorn(machine: X86Machine) -> None:
    for seed in SEEDS.get(machine.engine, range(20)):
        program, size = random_program(seed)
        machine.place(program, at=CODE, rsp=0)
        machine.finish()
        assert outcome(machine) == by_unicorn(program + HALTS, size), f"seed {seed}"
