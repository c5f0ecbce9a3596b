"""No outcome that a memory model forbids is ever seen, interpreted or translated.

pytest -m slow tests/agree/test_litmus.py      # many rounds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from bimetal.accel.interp import InterpAccelerator
from tests.interrupting import interrupted

from . import litmus_riscv
from .arm import litmus_arm
from .engines import engine
from .litmus import Dialect, Litmus, outcomes
from .x86 import litmus_x86

QUICK, LONG = 2_000, 100_000
SLICE = 500
MOST = 4
ENGINES = {"interpreted": "interp", "level 1": "everything", "level 2": "optimise"}
Said = tuple[Dialect, Litmus]
USUAL: list[Said] = [
    (module.DIALECT, test) for module in (litmus_riscv, litmus_arm) for test in module.TESTS
]
ALL = [*USUAL, *((litmus_x86.DIALECT, test) for test in litmus_x86.TESTS)]
"""x86's interpreter takes minutes to compile."""


def named(value: object) -> str:
    return f"{value[0].isa} {value[1].name}" if isinstance(value, tuple) else str(value)


TURNS = (*("interpreted",) * 6, "level 1", "level 2")
BY_TURNS = [
    (name, said)
    for name in ENGINES
    for number, said in enumerate(USUAL)
    if said[1].close or TURNS[number % len(TURNS)] == name
]
"""Each test on one of the engines, and on all if it is one for compilers; most are interpreted, as
regions take longer to make than a test to run."""


Engines = Callable[[str], InterpAccelerator]


@pytest.fixture(scope="module", params=ENGINES)
def engines(request: pytest.FixtureRequest) -> Iterator[Engines]:
    """An engine for each instruction set that is asked for."""
    with ExitStack() as stack:

        @cache
        def made(isa: str) -> InterpAccelerator:
            accelerator = stack.enter_context(
                engine(ENGINES[request.param], isa=isa, cpus=MOST, slice=SLICE)
            )
            assert isinstance(accelerator, InterpAccelerator)
            return accelerator

        yield made


def nothing_forbidden(engines: Engines, said: Said, rounds: int, together: int) -> None:
    dialect, test = said
    seen = outcomes(engines(dialect.isa), dialect, test, rounds, together)
    assert seen.total() == rounds
    bad = {outcome: count for outcome, count in seen.items() if test.forbidden(outcome)}
    assert not bad, f"{test.name}: forbidden: {bad}, all: {dict(seen)}"


@pytest.mark.parametrize(("engines", "said"), BY_TURNS, ids=named, indirect=["engines"])
def test_quickly(engines: Engines, said: Said) -> None:
    # CPUs that meet before each round race closely, but wait for each other on a busy host.
    few = len(said[1].lines) == 2
    together = 1 if said[1].close else 20 if few else QUICK
    nothing_forbidden(engines, said, QUICK, together)


def test_who_interrupts_leaves_no_cpu_running() -> None:
    dialect, test = litmus_riscv.DIALECT, litmus_riscv.TESTS[0]
    with engine("interp", cpus=MOST, slice=SLICE) as accelerator:
        assert isinstance(accelerator, InterpAccelerator)
        for _ in range(3):
            with interrupted():
                outcomes(accelerator, dialect, test, rounds=10**6)
            assert outcomes(accelerator, dialect, test, QUICK).total() == QUICK


@pytest.mark.slow
@pytest.mark.parametrize("said", ALL, ids=named)
def test_at_length(engines: Engines, said: Said) -> None:
    nothing_forbidden(engines, said, LONG, together=2 if len(said[1].lines) == 2 else 500)
