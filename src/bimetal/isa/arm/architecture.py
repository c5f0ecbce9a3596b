"""AArch64 as the engine and the accelerators see it."""

from __future__ import annotations

from ..contract import Architecture, RegisterStore, Start
from . import a64
from . import mmu as _mmu  # noqa: F401
from .syndromes import EL1

__all__ = ["architecture"]


def _reset(state: RegisterStore, start: Start) -> None:
    state.set("cpu_index", 0, start.index)
    state.set("el", 0, EL1)
    state.set("spsel", 0, 1)
    state.set("daif", 0, 15)
    state.set("fp_ready", 0, 1)
    state.set("firmware_calls", 0, int(start.firmware_calls))


architecture = Architecture(
    isa=a64,
    reset=_reset,
    arguments=tuple(("x", n) for n in range(8)),
    results=tuple(("x", n) for n in range(4)),
    deadline=lambda state: None,
    rounding=lambda state: (0, 3, 2, 1)[state.get("fpcr") >> 22 & 3],
    modes={0: "EL0", 1: "EL1", 2: "EL2", 3: "EL3"},
    models=("max",),
    user="EL0",
)
