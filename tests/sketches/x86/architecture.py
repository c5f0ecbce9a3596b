"""The sketch as the engine and the accelerators see it."""

from __future__ import annotations

from bimetal.isa.contract import Architecture, RegisterStore, Start

from . import insns as _insns
from . import sse as _sse
from . import system as _system
from .flags import LOADED
from .sse import FLOATING, RESET
from .state import x86

__all__ = ["architecture"]

MEANINGS = (_insns, _sse, _system)
"""What they describe is in the ISA by now."""


def _reset(state: RegisterStore, start: Start) -> None:
    """In 64-bit mode without paging, which no processor is in; the tests set up the rest."""
    state.set("long", 0, 1)
    state.set("flag_op", 0, LOADED)
    state.set("mxcsr_control", 0, RESET)


architecture = Architecture(
    isa=x86,
    reset=_reset,
    arguments=(("r", 0),),
    results=(("r", 0),),
    deadline=lambda state: None,
    modes={0: "kernel"},
    models=("sketch",),
    floating=FLOATING,
)
