"""The sketch as the engine and the accelerators see it."""

from __future__ import annotations

from bimetal.isa.contract import Architecture, RegisterStore, Start

from . import atomics as _atomics
from . import floating as _floating
from . import insns as _insns
from . import system as _system
from .state import ppc

__all__ = ["MEANINGS", "architecture"]

MEANINGS = (_insns, _atomics, _floating, _system)
"""What they describe is in the ISA by now."""


def _reset(state: RegisterStore, start: Start) -> None:
    state.set("msr", 0, 1 << 63)


architecture = Architecture(
    isa=ppc,
    reset=_reset,
    arguments=(("r", 3),),
    results=(("r", 3),),
    deadline=lambda state: None,
    modes={0: "hypervisor"},
    models=("sketch",),
    floating=_floating.FLOATING,
)
