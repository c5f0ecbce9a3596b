"""Random programs end as under Unicorn: instructions of 1 to 15 bytes in loops and behind jumps."""

from __future__ import annotations

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as uc

from tests.sketches.sketched import SIZE

from .x86_machine import STACK, X86Machine, machines
from .x86_programs import CODE, random_program

machine = machines()
SEEDS = {"reference": range(8), "interp": range(100)}
STATUS = 0x8D5
"""CF, PF, AF, ZF, SF and OF."""
NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))


def outcome(machine: X86Machine) -> dict[str, object]:
    """Registers, flags and memory."""
    registers = {name: machine[name] for name in NAMES}
    return registers | {"flags": machine["rflags"] & STATUS, "memory": machine.get(0, SIZE)}


def by_unicorn(program: bytes, size: int) -> dict[str, object]:
    """The same of Unicorn, which stops before the store that ends the program."""
    emulator = Uc(UC_ARCH_X86, UC_MODE_64)
    emulator.mem_map(0, SIZE)
    emulator.mem_write(CODE, program + b"\xf4" * 16)
    emulator.reg_write(uc.UC_X86_REG_RSP, STACK)
    emulator.emu_start(CODE, CODE + size)
    registers: dict[str, object] = {
        name: emulator.reg_read(getattr(uc, f"UC_X86_REG_{name.upper()}")) for name in NAMES
    }
    flags = emulator.reg_read(uc.UC_X86_REG_EFLAGS) & STATUS
    return registers | {"flags": flags, "memory": bytes(emulator.mem_read(0, SIZE))}


def test_random_programs_end_as_under_unicorn(machine: X86Machine) -> None:
    for seed in SEEDS.get(machine.engine, range(20)):
        program, size = random_program(seed)
        machine.place(program, at=CODE)
        machine.finish()
        assert outcome(machine) == by_unicorn(program, size), f"seed {seed}"
