"""Instructions of 1 to 15 bytes, in two decode modes, on every accelerator, beside Unicorn."""

from __future__ import annotations

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as uc

from .sketched import SIZE, Sketched, machines
from .x86.flags import STATUS
from .x86.programs import CODE, random_program
from .x86.state import NAMES

machine = machines("x86-sketch")
SEEDS = {"reference": range(8), "interp": range(8)}


def outcome(machine: Sketched) -> dict[str, object]:
    """Registers, flags and memory."""
    registers = {name: machine[name] for name in NAMES[64]}
    return registers | {"flags": machine["rflags"] & STATUS, "memory": machine.get(0, SIZE)}


def by_unicorn(program: bytes, size: int) -> dict[str, object]:
    """The same of Unicorn, which stops before the store that ends the program."""
    emulator = Uc(UC_ARCH_X86, UC_MODE_64)
    emulator.mem_map(0, SIZE)
    emulator.mem_write(CODE, program + b"\xcc" * 16)
    emulator.emu_start(CODE, CODE + size)
    registers: dict[str, object] = {
        name: emulator.reg_read(getattr(uc, f"UC_X86_REG_{name.upper()}")) for name in NAMES[64]
    }
    flags = emulator.reg_read(uc.UC_X86_REG_EFLAGS) & STATUS
    return registers | {"flags": flags, "memory": bytes(emulator.mem_read(0, SIZE))}


def agree(machine: Sketched, seed: int) -> None:
    program, size = random_program(seed)
    machine.begin(program, CODE)
    machine.finish()
    assert outcome(machine) == by_unicorn(program, size), f"seed {seed}"


def test_random_programs_end_as_under_unicorn(machine: Sketched) -> None:
    for seed in SEEDS.get(machine.engine, range(1)):
        agree(machine, seed)


@pytest.mark.slow
def test_many_more_end_as_under_unicorn(machine: Sketched) -> None:
    for seed in range(100, 120):
        agree(machine, seed)
