"""Unicorn as an oracle: single steps, for what depends on where the instruction stands."""

from __future__ import annotations

from collections.abc import Sequence

from unicorn import UC_ARCH_RISCV, UC_ERR_FETCH_UNMAPPED, UC_MODE_RISCV64, Uc, UcError
from unicorn.riscv_const import UC_RISCV_REG_PC, UC_RISCV_REG_X0

from .state import CODE, DATA, Case, State

__all__ = ["execute"]

_PAGE = 4096


def execute(cases: Sequence[Case]) -> list[State]:
    """The state after each case. Integer registers and pc are looked at."""
    emulator = Uc(UC_ARCH_RISCV, UC_MODE_RISCV64)
    emulator.mem_map(CODE, _PAGE)
    emulator.mem_map(DATA, _PAGE)
    return [_one(emulator, case) for case in cases]


def _one(emulator: Uc, case: Case) -> State:
    emulator.ctl_remove_cache(CODE, CODE + 4)
    emulator.mem_write(CODE, case.word.to_bytes(4, "little"))
    emulator.mem_write(DATA, case.before.memory)
    names = [name for name in case.before.registers if name.startswith("x")]
    for name in names:
        emulator.reg_write(UC_RISCV_REG_X0 + int(name[1:]), case.before.registers[name])
    try:
        emulator.emu_start(CODE, 0, count=1)
    except UcError as error:
        # There is nothing where a jump leads to, which shows where it leads.
        if error.errno != UC_ERR_FETCH_UNMAPPED:
            raise
    after = {name: emulator.reg_read(UC_RISCV_REG_X0 + int(name[1:])) for name in names}
    after["pc"] = emulator.reg_read(UC_RISCV_REG_PC)
    return State(after, bytes(emulator.mem_read(DATA, len(case.before.memory))))
