"""RISC-V as the engine and the accelerators see it."""

from __future__ import annotations

from ..contract import Architecture, RegisterStore, Start
from . import aia, rv64
from .extensions import EXTENSIONS
from .fp import FLOATING
from .mmu import ADUE
from .models import MODELS, processor
from .traps import STCE

__all__ = ["architecture"]

NEVER = (1 << 64) - 1


def _reset(state: RegisterStore, start: Start) -> None:
    state.set("hartid", 0, start.index)
    state.set("priv", 0, 3)
    state.set("pc", 0, 0x1000)
    state.set("stimecmp", 0, NEVER)
    state.set("semihosting", 0, 1)
    aia.reset(state, imsic=start.controller)
    # The manual leaves menvcfg open at reset (II 3.4). Kernels for M-mode that know nothing of
    # Svadu expect hardware to set A and D bits, as in QEMU; ADUE = 0 would be Svade.
    state.set("menvcfg", 0, ADUE)
    if start.firmware_calls:
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


def _deadline(state: RegisterStore) -> int | None:
    compare = state.get("stimecmp")
    on = state.get("menvcfg") & STCE and state.get("mie") & 1 << 5
    return compare * 100 if on and compare != NEVER else None


architecture = Architecture(
    isa=rv64,
    reset=_reset,
    arguments=tuple(("x", n) for n in range(10, 18)),
    results=(("x", 10), ("x", 11)),
    deadline=_deadline,
    modes={0: "user", 1: "supervisor", 3: "machine"},
    models=MODELS,
    processor=processor,
    extensions=EXTENSIONS,
    floating=FLOATING,
    accessed="x",
    semihosting="semihosting",
)
