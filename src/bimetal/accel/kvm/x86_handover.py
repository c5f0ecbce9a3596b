"""The state of a whole x86 machine, as a snapshot has it: what KVM makes of one that our own
accelerators ran, and they of one that KVM ran; and which processors both have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.x86_completing import completed, settled
from bimetal.accel.kvm.x86_exchange import (
    TSC,
    TSC_ADJUST,
    TSC_DEADLINE,
    check_paravirtual,
    from_kernel,
    to_kernel,
)
from bimetal.accel.memory import Memory
from bimetal.accel.saved import Saved
from bimetal.isa.x86 import x86 as isa
from bimetal.isa.x86.models import LEVELS, MODELS, processor
from bimetal.seam import Controllers, LocalController, SharedControllers

__all__ = ["announced", "for_engines", "for_kernel", "is_common"]

State = dict[str, Any]
Fresh = Mapping[str, Mapping[str, Any]]
WORD = (1 << 64) - 1
EVERYTHING = "max"
"""The model with all that is described."""
INTR = 0
TASK_PRIORITY = 0x80


def announced(model: str) -> str:
    """The name for KVM of a processor ``model`` of our own accelerators. It has other processors by
    the names of levels, made of the host's: ours are ``max`` without what they lack."""
    model = model or EVERYTHING
    if _base(model) not in LEVELS:
        return model
    lacking = MODELS[EVERYTHING].features - processor(model).features
    return ",".join([EVERYTHING, *(f"-{each}" for each in sorted(lacking))])


def is_common(model: str) -> bool:
    """Whether a processor ``model`` of KVM's is one of our own accelerators' too."""
    return _base(model) in MODELS and _base(model) not in LEVELS


def _base(model: str) -> str:
    return model.partition(",")[0].strip()


def for_kernel(
    state: Mapping[str, Any], fresh: Fresh, memory: Memory, board: SharedControllers
) -> State:
    """The state for KVM. The board's controllers, which are not in use there, get the ``fresh``
    states of a machine that was not started. Raises `BimetalError`."""
    now, runner, cpus = state["clock"], state["runner"], []
    controllers = board.for_kernel(state["devices"], len(runner["cpus"]), now)
    for each, local in zip(runner["cpus"], controllers.local, strict=True):
        saved = settled(Saved.read(isa, each["cpu"]), memory, now)
        cpu = to_kernel(saved, now=now, parked=bool(each["parked"]))
        sregs = bytearray(cpu["sregs"])
        x86.SREGS.put(sregs, "apic_base", local.base)
        x86.SREGS.put(sregs, "cr8", local.registers[TASK_PRIORITY] >> 4)
        cpu |= {"lapic": local.registers, "sregs": bytes(sregs)}
        if local.deadline:
            counted = cpu["msrs"][TSC] + local.deadline - now
            cpu["msrs"][TSC_DEADLINE] = min(max(counted, 1), WORD)
        cpus.append({**each, "cpu": cpu, "parked": False, "levels": {}})
    platform = {"clock": now, "chips": list(controllers.shared)}
    devices = board.unused(state["devices"], fresh)
    return {**state, "devices": devices, "runner": {**runner, "cpus": cpus, "platform": platform}}


def for_engines(
    state: Mapping[str, Any], fresh: Fresh, memory: Memory, board: SharedControllers
) -> State:
    """The state for our own accelerators. Raises `BimetalError`."""
    now, runner, cpus = state["clock"], state["runner"], []
    # All count from the time-stamp counter of the first one: the guest sees them count alike.
    msrs = runner["cpus"][0]["cpu"]["msrs"]
    offset = msrs[TSC] - now - msrs.get(TSC_ADJUST, 0)
    local = [_local(each["cpu"], offset, now) for each in runner["cpus"]]
    controllers = Controllers(local, runner["platform"]["chips"])
    devices, levels = board.for_board(controllers, state["devices"], now)
    for number, (each, level) in enumerate(zip(runner["cpus"], levels, strict=True)):
        check_paravirtual(each["cpu"]["msrs"])
        saved, parked = from_kernel(each["cpu"], index=number, now=now, tsc_offset=offset)
        saved.registers["line"][INTR] = int(level)
        plain = completed(saved, memory, now).plain()
        cpus.append({**each, "cpu": plain, "parked": parked, "levels": {INTR: level}})
    return {**state, "devices": devices, "runner": {**runner, "cpus": cpus, "platform": None}}


def _local(cpu: Mapping[str, Any], offset: int, now: int) -> LocalController:
    base = x86.SREGS.get(bytes(cpu["sregs"]), "apic_base")
    return LocalController(bytes(cpu["lapic"]), base, _moment(cpu["msrs"], offset, now))


def _moment(msrs: Mapping[int, int], offset: int, now: int) -> int:
    """The moment of a deadline, 0 if there is none. What is over is due at once, and what is beyond
    the clock's range as late as can be: numbers without a sign are compared."""
    deadline, counted = msrs.get(TSC_DEADLINE, 0), now + offset + msrs.get(TSC_ADJUST, 0) & WORD
    if deadline <= counted:
        return 1 if deadline else 0
    return min(now + deadline - counted, WORD)
