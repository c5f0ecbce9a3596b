"""AArch64 as the engine and the accelerators see it."""

from __future__ import annotations

from functools import cache

from ..contract import Architecture, RegisterStore, Start
from . import a64
from .exceptions import BY_HVC, BY_SMC
from .features import COUNTERS, DESCRIBED, IDENTIFICATION
from .fp import FLOATING
from .models import MODELS, processor
from .syndromes import EL1, EL2
from .timers import ENABLE, FREQUENCY, MASKED, NANOSECONDS, VIRTUAL

__all__ = ["architecture"]

MPIDR_ONE = 1 << 31  # RES1


@cache
def _identities(model: str, hypervisor: bool, controller: bool) -> tuple[int, ...]:
    """The values of the identification registers of a vCPU, without the features that the machine
    does not have."""
    said = [processor(model).says(name) for name in IDENTIFICATION]
    for n, name in enumerate(IDENTIFICATION):
        for field, there in (("EL2", hypervisor), ("GIC", controller)):
            if field in (fields := DESCRIBED.get(name, {})) and not there:
                said[n] &= ~(15 << fields[field][0])
    return tuple(said)


def _reset(state: RegisterStore, start: Start) -> None:
    cluster, number = divmod(start.index, 16)
    state.set("cpu_index", 0, start.index)
    state.set("mpidr", 0, MPIDR_ONE | cluster << 8 | number)
    state.set("vmpidr", 0, MPIDR_ONE | cluster << 8 | number)
    model = processor(start.model)
    state.set("midr", 0, model.midr)
    state.set("vpidr", 0, model.midr)
    for n, said in enumerate(_identities(start.model, start.hypervisor, start.controller)):
        state.set("identity", n, said)
    state.set("el", 0, EL2 if start.hypervisor else EL1)
    state.set("el2_there", 0, int(start.hypervisor))
    state.set("gic_there", 0, int(start.controller))
    state.set("spsel", 0, 1)
    state.set("daif", 0, 15)
    state.set("semihosting", 0, 1)
    state.set("hcr", 0, 1 << 31)
    state.set("mdcr", 0, COUNTERS)
    state.set("oslock", 0, 1)
    state.set("cntfrq", 0, FREQUENCY)
    if start.firmware_calls:
        state.set("firmware_calls", 0, BY_SMC if start.hypervisor else BY_HVC)
    for level in (EL1, EL2):
        state.set("sctlr_el", level, 0x30D0_0800 if level == EL1 else 0x30C5_0830)


def _deadline(state: RegisterStore) -> int | None:
    """When the next timer fires, among those that are enabled, not masked, and whose output is not
    high yet: the board already knows of outputs that are high."""
    offset = state.get("cntvoff")
    waits = [
        (state.get("timer_cval", n) + (offset if n == VIRTUAL else 0)) % (1 << 64) * NANOSECONDS
        for n in range(4)
        if state.get("timer_ctl", n) & (ENABLE | MASKED) == ENABLE and not state.get("outputs", n)
    ]
    return min(waits, default=None)


architecture = Architecture(
    isa=a64,
    reset=_reset,
    arguments=tuple(("x", n) for n in range(8)),
    results=tuple(("x", n) for n in range(4)),
    deadline=_deadline,
    modes={0: "EL0", 1: "EL1", 2: "EL2", 3: "EL3"},
    models=tuple(MODELS),
    floating=FLOATING,
    processor=processor,
    user="EL0",
    outputs="outputs",
    accessed="x",
    semihosting="semihosting",
)
