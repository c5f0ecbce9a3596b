"""Unicorn as an oracle: single steps, for what depends on where the instruction stands too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from unicorn import (
    UC_ARCH_ARM64,
    UC_ARCH_RISCV,
    UC_ERR_FETCH_UNMAPPED,
    UC_MODE_ARM,
    UC_MODE_RISCV64,
    Uc,
    UcError,
)
from unicorn import arm64_const as arm
from unicorn.riscv_const import UC_RISCV_REG_PC, UC_RISCV_REG_X0

from .state import CODE, DATA, Case, State

__all__ = ["AARCH64", "RISCV64", "Processor"]

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Processor:
    """What Unicorn calls a processor and those of its registers that are looked at; ``fixed`` are
    values of others."""

    architecture: int
    mode: int
    model: int | None
    registers: Mapping[str, int]
    fixed: Mapping[int, int] = field(default_factory=dict)

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """The state after each case."""
        emulator = Uc(self.architecture, self.mode)
        if self.model is not None:
            emulator.ctl_set_cpu_model(self.model)
        emulator.mem_map(CODE, _PAGE)
        emulator.mem_map(DATA, _PAGE)
        for register, value in self.fixed.items():
            emulator.reg_write(register, value)
        return [self._one(emulator, case) for case in cases]

    def _one(self, emulator: Uc, case: Case) -> State:
        emulator.ctl_remove_cache(CODE, CODE + 4)
        emulator.mem_write(CODE, case.word.to_bytes(4, "little"))
        emulator.mem_write(DATA, case.before.memory)
        names = self.registers.keys() & case.before.registers.keys()
        for name in names - {"pc"}:
            emulator.reg_write(self.registers[name], case.before.registers[name])
        try:
            emulator.emu_start(CODE, 0, count=1)
        except UcError as error:
            # There is nothing where a jump leads to, which shows where it leads.
            if error.errno != UC_ERR_FETCH_UNMAPPED:
                raise
        after = {name: emulator.reg_read(self.registers[name]) for name in names}
        return State(after, bytes(emulator.mem_read(DATA, len(case.before.memory))))


def _numbered(name: Callable[[int], str], first: int, count: int) -> dict[str, int]:
    return {name(n): first + n for n in range(count)}


RISCV64 = Processor(
    UC_ARCH_RISCV,
    UC_MODE_RISCV64,
    None,
    {"pc": UC_RISCV_REG_PC, **_numbered("x{}".format, UC_RISCV_REG_X0, 32)},
)

AARCH64 = Processor(
    UC_ARCH_ARM64,
    UC_MODE_ARM,
    arm.UC_CPU_ARM64_MAX,
    {
        **_numbered("x{}".format, arm.UC_ARM64_REG_X0, 29),
        **_numbered("v{}".format, arm.UC_ARM64_REG_V0, 32),
        "x29": arm.UC_ARM64_REG_X29,
        "x30": arm.UC_ARM64_REG_X30,
        "sp": arm.UC_ARM64_REG_SP,
        "pc": arm.UC_ARM64_REG_PC,
        "nzcv": arm.UC_ARM64_REG_NZCV,
        "fpcr": arm.UC_ARM64_REG_FPCR,
        "fpsr": arm.UC_ARM64_REG_FPSR,
    },
    fixed={arm.UC_ARM64_REG_CPACR_EL1: 3 << 20},
)
"""At EL1, with floating point and without translation of addresses."""
