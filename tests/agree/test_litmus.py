"""No outcome that RVWMO forbids is ever seen, interpreted or translated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.base.clock import RealClock
from bimetal.codegen.policy import stressed

from .litmus import Litmus, outcomes
from .litmus_tests import FOUR, TWO

QUICK, LONG = 2_000, 100_000


def engine(name: str) -> InterpAccelerator:
    """The interpreter, or the translator at once on a level."""
    if name == "interp":
        return InterpAccelerator("riscv64", clock=RealClock())
    policy = stressed({"level 1": "everything", "level 2": "optimise"}[name])
    return JitAccelerator("riscv64", clock=RealClock(), policy=replace(policy, slice=500))


def nothing_forbidden(test: Litmus, name: str, rounds: int, together: int) -> None:
    accelerator = engine(name)
    try:
        seen = outcomes(accelerator, test, rounds, together)
    finally:
        accelerator.close()
    assert seen.total() == rounds
    bad = {outcome: count for outcome, count in seen.items() if test.forbidden(outcome)}
    assert not bad, f"{test.name}: forbidden: {bad}, all: {dict(seen)}"


every_engine = pytest.mark.parametrize("name", ["interp", "level 1", "level 2"])


@every_engine
@pytest.mark.parametrize("test", TWO, ids=lambda t: t.name)
def test_two_harts(test: Litmus, name: str) -> None:
    nothing_forbidden(test, name, QUICK, together=20)


@every_engine
@pytest.mark.parametrize("test", FOUR, ids=lambda t: t.name)
def test_more_harts(test: Litmus, name: str) -> None:
    nothing_forbidden(test, name, QUICK, together=QUICK)


@pytest.mark.slow
@every_engine
@pytest.mark.parametrize("test", TWO + FOUR, ids=lambda t: t.name)
def test_at_length(test: Litmus, name: str) -> None:
    nothing_forbidden(test, name, LONG, together=50)
