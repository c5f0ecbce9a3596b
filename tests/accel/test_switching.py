"""The switch interval of the process is lent, not taken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.accel.switching import QUICK_SECONDS, QuickSwitching
from bimetal.machine.machine import Machine


@pytest.fixture
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield sys.getswitchinterval()
    sys.setswitchinterval(before)


def test_the_last_one_puts_it_back(usual: float) -> None:
    quick = QuickSwitching()
    quick.begin()
    quick.begin()
    assert sys.getswitchinterval() == pytest.approx(QUICK_SECONDS)
    quick.end()
    assert sys.getswitchinterval() == pytest.approx(QUICK_SECONDS)
    quick.end()
    assert sys.getswitchinterval() == usual


def test_what_is_shorter_stays(usual: float) -> None:
    sys.setswitchinterval(1e-5)
    quick = QuickSwitching()
    quick.begin()
    assert sys.getswitchinterval() == pytest.approx(1e-5)
    quick.end()
    assert sys.getswitchinterval() == pytest.approx(1e-5)


def test_what_somebody_else_sets_meanwhile_stays(usual: float) -> None:
    quick = QuickSwitching()
    quick.begin()
    sys.setswitchinterval(0.05)
    quick.end()
    assert sys.getswitchinterval() == pytest.approx(0.05)


def test_a_machine_gives_it_back(usual: float, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"\x6f\0\0\0")  # j .
    with Machine(kernel=kernel, kernel_format="raw", memory="16M", accel="jit") as vm:
        vm.start()
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == usual
