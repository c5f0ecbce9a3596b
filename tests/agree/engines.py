"""Accelerators for whole programs: the reference, the interpreter, the translator under stress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.base.clock import RealClock
from bimetal.codegen.policy import stressed
from bimetal.seam import Accelerator

__all__ = ["STRESS", "engine"]

STRESS = (
    "everything",
    "optimise",
    "everything,forget",
    "optimise,forget,exact",
    "pieces,forget",
    "runs",
)
"""Modes of `bimetal.codegen.policy` that tests go through."""

POLLS_OFTEN = 7
"""Instructions between polls, so that each place that a short program comes to is seen."""


@contextmanager
def engine(
    name: str,
    *,
    isa: str = "riscv64",
    cpus: int = 1,
    slice: int = POLLS_OFTEN,
    firmware_calls: bool = True,
    model: str = "",
) -> Iterator[Accelerator]:
    """``reference``, ``interp``, or the translator in the stress modes that ``name`` lists."""
    accelerator: Accelerator
    clock = RealClock()
    given: dict[str, Any] = {"firmware_calls": firmware_calls, "model": model}
    if name == "reference":
        accelerator = Reference(isa, clock=clock, **given)
    elif name == "interp":
        accelerator = InterpAccelerator(isa, clock=clock, cpus=cpus, **given)
    else:
        policy = replace(stressed(name), slice=slice)
        accelerator = JitAccelerator(isa, clock=clock, cpus=cpus, policy=policy, **given)
    try:
        yield accelerator
    finally:
        accelerator.close()
