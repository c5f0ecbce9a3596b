"""What the generic accelerators need to know of an ISA beyond its descriptions, by ISA name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..isa.describe import Isa
from ..isa.riscv import rv64
from ..isa.riscv.mmu import ADUE
from ..isa.riscv.traps import STCE

__all__ = ["PROFILES", "Profile", "RegisterStore"]


class RegisterStore(Protocol):
    """The registers of a CPU, wherever an accelerator keeps them."""

    def get(self, file: str, index: int = 0) -> int:
        """A register's value."""

    def set(self, file: str, index: int, value: int) -> None:
        """Set a register."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How the outside meets a CPU of one ISA.

    ``reset`` sets the registers that do not reset to zero; ``arguments`` and ``results`` are the
    registers of firmware calls; ``deadline`` is when the CPU's own timer fires, in nanoseconds;
    ``modes`` are the privilege modes by the numbers that the routine ``mode`` gives.
    """

    isa: Isa
    reset: Callable[[RegisterStore, int, bool], None]
    arguments: tuple[tuple[str, int], ...]
    results: tuple[tuple[str, int], ...]
    deadline: Callable[[RegisterStore], int | None]
    modes: Mapping[int, str]


def _riscv_reset(state: RegisterStore, hartid: int, firmware_calls: bool) -> None:
    state.set("hartid", 0, hartid)
    state.set("priv", 0, 3)
    state.set("pc", 0, 0x1000)
    state.set("stimecmp", 0, (1 << 64) - 1)
    if firmware_calls:
        # What an SBI implementation sets up before it enters the kernel: every trap but ecall
        # from S-mode and all supervisor interrupts are the kernel's, counters are readable,
        # Sstc, hardware A and D bits and cache-block operations are on.
        state.set("firmware_calls", 0, 1)
        state.set("medeleg", 0, 0xB1FF)
        state.set("mideleg", 0, 0x222)
        state.set("mcounteren", 0, 7)
        # Linux without SBI's PMU extension leaves this as it finds it; user space reads `time`.
        state.set("scounteren", 0, 7)
        state.set("menvcfg", 0, STCE | ADUE | 1 << 7 | 1 << 6 | 3 << 4)


def _riscv_deadline(state: RegisterStore) -> int | None:
    never = (1 << 64) - 1
    compare = state.get("stimecmp")
    on = state.get("menvcfg") & STCE and state.get("mie") & 1 << 5
    return compare * 100 if on and compare != never else None


PROFILES: dict[str, Profile] = {
    "riscv64": Profile(
        isa=rv64,
        reset=_riscv_reset,
        arguments=tuple(("x", n) for n in range(10, 18)),
        results=(("x", 10), ("x", 11)),
        deadline=_riscv_deadline,
        modes={0: "user", 1: "supervisor", 3: "machine"},
    )
}
