"""Unicorn as an oracle for x86: code of 16, 32 or 64 bits, one step at a time.

It is QEMU's translator, so where it differs from the processor (`native`) the processor is right.
In code of 16 bits, which it executes in real mode, CS and the other segments begin at `CODE_16` and
`DATA_16`, and registers hold offsets, as they do in `native`.
"""

from __future__ import annotations

from collections.abc import Sequence

from unicorn import (
    UC_ARCH_X86,
    UC_ERR_FETCH_UNMAPPED,
    UC_ERR_INSN_INVALID,
    UC_HOOK_INTR,
    UC_MODE_16,
    UC_MODE_32,
    UC_MODE_64,
    Uc,
    UcError,
)
from unicorn import x86_const as x86

from ..state import CODE, DATA, Case, State
from .native import FLAGS, GENERAL

__all__ = ["Unicorn"]

PAGE = 4096
MODES = {16: UC_MODE_16, 32: UC_MODE_32, 64: UC_MODE_64}
INVALID, FAULTS = 6, 14
"""The vectors of an undefined instruction, and of an access to what is not there."""
NAMES = {
    64: dict(zip(GENERAL, GENERAL, strict=True)) | {"rip": "rip"},
    32: {name: f"e{name[1:]}" for name in (*GENERAL[:8], "rip")},
}
NAMES[16] = NAMES[32]
CODE_16, DATA_16 = 0x1_0000, 0x2_0000
OTHERS = {"rflags": "eflags", "fcw": "fpcw", "fsw": "fpsw"}


def _register(name: str, bits: int) -> int:
    """Unicorn's number of a register of ours."""
    theirs = NAMES[bits].get(name) or OTHERS.get(name, name)
    return int(getattr(x86, f"UC_X86_REG_{theirs.upper()}"))


def _theirs(name: str, value: int) -> object:
    """A value as Unicorn takes it: those of x87 are mantissa and exponent."""
    return (value & ((1 << 64) - 1), value >> 64) if name.startswith("st") else value


def _ours(name: str, value: object) -> int:
    if isinstance(value, tuple):
        mantissa, exponent = value
        return int(exponent) << 64 | int(mantissa)
    assert isinstance(value, int)
    return value & FLAGS if name == "rflags" else value


class Unicorn:
    """Unicorn's processor in code of so many bits."""

    def __init__(self, bits: int = 64):
        self.name, self.bits = f"unicorn {bits}", bits
        self.code, self.data = (CODE_16, DATA_16) if bits == 16 else (CODE, DATA)

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """The state after each case; what Unicorn has no registers for is left out."""
        emulator = Uc(UC_ARCH_X86, MODES[self.bits])
        emulator.mem_map(self.code, PAGE)
        emulator.mem_map(self.data - PAGE, 2 * PAGE)
        if self.bits == 16:
            emulator.reg_write(x86.UC_X86_REG_CS, self.code >> 4)
            for name in ("DS", "ES", "SS"):
                emulator.reg_write(_register(name, 16), self.data >> 4)
        raised: list[int] = []

        def stop(uc: Uc, vector: int, _: object) -> None:
            raised.append(vector)
            uc.emu_stop()

        emulator.hook_add(UC_HOOK_INTR, stop)
        return [self._one(emulator, case, raised) for case in cases]

    def _one(self, emulator: Uc, case: Case, raised: list[int]) -> State:
        raised.clear()
        emulator.ctl_remove_cache(self.code, self.code + 16)
        emulator.mem_write(self.code, case.word.to_bytes(case.size, "little") + b"\xf4" * 16)
        emulator.mem_write(self.data, case.before.memory)
        before = case.before.registers
        names = {
            name: _register(name, self.bits)
            for name in before
            if name != "ftw" and (self.bits == 64 or name not in GENERAL[8:])
        }
        for name, register in names.items():
            emulator.reg_write(register, _theirs(name, before[name]))
        trap = None
        try:
            emulator.emu_start(self.code, 0, count=1)
        except UcError as error:
            # There is nothing where a jump leads to, which shows where it leads.
            if error.errno != UC_ERR_FETCH_UNMAPPED:
                trap = INVALID if error.errno == UC_ERR_INSN_INVALID else FAULTS
        trap = raised[0] if raised else trap
        after = {name: _ours(name, emulator.reg_read(number)) for name, number in names.items()}
        return State(after, bytes(emulator.mem_read(self.data, len(case.before.memory))), trap)
