"""A whole boot with time counted in instructions: interpreted and translated it is the same run.

pytest -m boot tests/boot/test_clockwork.py
pytest -m slow tests/boot/test_clockwork.py      # larger regions, too, on both levels
"""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from bimetal import Payload
from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.base.clock import Clock
from bimetal.codegen.policy import USUAL, stressed
from tests.boot.clockwork import run
from tests.boot.conftest import Fetch

APPEND = 'console=ttyS0 bmrun="uname -a; cat /proc/interrupts; ls -l /proc/self; dmesg | wc"'
LIMIT = 20_000_000_000


def interpreted(clock: Clock) -> InterpAccelerator:
    return InterpAccelerator("riscv64", clock=clock, firmware_calls=True)


def translated(clock: Clock, level: int, limit: int) -> InterpAccelerator:
    """Every place that is ever sampled at once, in regions of ``limit`` instructions at most."""
    policy = replace(stressed("everything,exact"), slice=USUAL.slice, level=level, limit=limit)
    return JitAccelerator("riscv64", clock=clock, firmware_calls=True, policy=policy)


def same_as_interpreted(guest: Payload, level: int, limit: int) -> None:
    first = run(guest, APPEND, interpreted, LIMIT)
    assert "BIMETAL-GUEST-DONE" in first.printed
    assert len(first.shutdown) == 1
    assert run(guest, APPEND, partial(translated, level=level, limit=limit), LIMIT) == first


@pytest.mark.boot
@pytest.mark.slow
def test_small_regions(fetched: Fetch) -> None:
    same_as_interpreted(fetched("debian-riscv64"), level=1, limit=8)


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 2])
def test_large_regions(fetched: Fetch, level: int) -> None:
    same_as_interpreted(fetched("debian-riscv64"), level, limit=100)
