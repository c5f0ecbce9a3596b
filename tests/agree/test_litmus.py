"""No outcome that RVWMO forbids is ever seen, interpreted or translated.

pytest -m slow tests/agree/test_litmus.py      # many rounds
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bimetal.accel.interp import InterpAccelerator

from .engines import engine
from .litmus import Litmus, outcomes
from .litmus_tests import FOUR, TWO

QUICK, LONG = 4_000, 100_000
SLICE = 500
ENGINES = {"interpreted": "interp", "level 1": "everything", "level 2": "optimise"}
HARTS = sum(2 * len(test.harts) for test in TWO + FOUR)


@pytest.fixture(scope="module", params=ENGINES)
def accelerator(request: pytest.FixtureRequest) -> Iterator[InterpAccelerator]:
    """An engine with room for the harts of all tests."""
    with ExitStack() as stack:
        made = stack.enter_context(engine(ENGINES[request.param], cpus=HARTS, slice=SLICE))
        assert isinstance(made, InterpAccelerator)
        yield made


def nothing_forbidden(
    accelerator: InterpAccelerator, test: Litmus, rounds: int, together: int
) -> None:
    seen = outcomes(accelerator, test, rounds, together)
    assert seen.total() == rounds
    bad = {outcome: count for outcome, count in seen.items() if test.forbidden(outcome)}
    assert not bad, f"{test.name}: forbidden: {bad}, all: {dict(seen)}"


@pytest.mark.parametrize("test", TWO, ids=lambda t: t.name)
def test_two_harts(accelerator: InterpAccelerator, test: Litmus) -> None:
    # Harts that meet before each round race closely, but wait for each other on a busy host.
    nothing_forbidden(accelerator, test, QUICK, together=1 if "early" in test.name else 20)


@pytest.mark.parametrize("test", FOUR, ids=lambda t: t.name)
def test_more_harts(accelerator: InterpAccelerator, test: Litmus) -> None:
    nothing_forbidden(accelerator, test, QUICK, together=QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("test", TWO + FOUR, ids=lambda t: t.name)
def test_at_length(accelerator: InterpAccelerator, test: Litmus) -> None:
    nothing_forbidden(accelerator, test, LONG, together=2 if len(test.harts) == 2 else 500)
