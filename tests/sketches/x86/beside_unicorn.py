"""What random programs end with, on a machine and under Unicorn."""

from __future__ import annotations

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as uc

from ..sketched import SIZE, Sketched
from .flags import STATUS
from .programs import CODE
from .state import NAMES

__all__ = ["by_unicorn", "outcome"]


def outcome(machine: Sketched) -> dict[str, object]:
    """Registers, flags and memory."""
    registers = {name: machine[name] for name in NAMES[64]}
    return registers | {"flags": machine["rflags"] & STATUS, "memory": machine.get(0, SIZE)}


def by_unicorn(program: bytes, size: int) -> dict[str, object]:
    """The same of Unicorn, which stops behind so many bytes, before the store that ends it."""
    emulator = Uc(UC_ARCH_X86, UC_MODE_64)
    emulator.mem_map(0, SIZE)
    emulator.mem_write(CODE, program)
    emulator.emu_start(CODE, CODE + size)
    registers: dict[str, object] = {
        name: emulator.reg_read(getattr(uc, f"UC_X86_REG_{name.upper()}")) for name in NAMES[64]
    }
    flags = emulator.reg_read(uc.UC_X86_REG_EFLAGS) & STATUS
    return registers | {"flags": flags, "memory": bytes(emulator.mem_read(0, SIZE))}
