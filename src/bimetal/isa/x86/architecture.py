"""x86 as the engine and the accelerators see it."""

from __future__ import annotations

from ..contract import Architecture, RegisterStore, Start
from . import x86
from .identity import SETTABLE, for_linux, settable, words
from .models import ABSENT, MODELS, processor
from .state import CS, SEGMENTS
from .vector_state import FLOATING, RESET_MXCSR

__all__ = ["architecture"]


def _reset(state: RegisterStore, start: Start) -> None:
    """The state after RESET (volume 3, table 9-1)."""
    for number, name in enumerate(SEGMENTS):
        state.set("limit", number, 0xFFFF)
        state.set("attributes", number, _RIGHTS.get(name, 0x93))
    state.set("selector", CS, 0xF000)
    state.set("base", CS, 0xFFFF_0000)
    state.set("pc", 0, 0xFFFF_FFF0)
    state.set("cr0", 0, 0x6000_0010)
    state.set("gdtr_limit", 0, 0xFFFF)
    state.set("idtr_limit", 0, 0xFFFF)
    state.set("dr", 6, 0xFFFF_0FF0)
    state.set("dr", 7, 0x400)
    state.set("xcr0", 0, 1)
    state.set("mxcsr_control", 0, RESET_MXCSR)
    state.set("fcw", 0, 0x40)
    state.set("decoding", 0, 3)
    state.set("pat", 0, 0x0007_0406_0007_0406)
    state.set("misc_enable", 0, 1)  # fast strings
    state.set("cpu_index", 0, start.index)
    model = processor(start.model)
    for number, word in enumerate(words(model)):
        state.set("identity", number, word)
    for number, register in enumerate(SETTABLE):
        state.set("settable", number, settable(model.features, register))


_RIGHTS = {"cs": 0x9B, "tr": 0x8B, "ldtr": 0x82}

architecture = Architecture(
    isa=x86,
    reset=_reset,
    arguments=(("r", 0),),
    results=(("r", 0),),
    deadline=lambda state: None,
    modes={0: "ring 0", 1: "ring 1", 2: "ring 2", 3: "ring 3"},
    models=tuple(MODELS),
    absent=ABSENT,
    linux=lambda model: for_linux(processor(model)),
    processor=processor,
    user="ring 3",
    floating=FLOATING,
    accessed="acknowledged",
)
