"""The interval timer of a PC while time passes, by its data sheet ("Mode Definitions")."""

from __future__ import annotations

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.timer.pit import HZ, SPEAKER, Pit

SECOND = 1_000_000_000


class Timer:
    """A timer whose time passes in its own ticks."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.pit = Pit(self.clock)
        self.changes: list[bool] = []
        self.pit.irq.connect(self.changes.append)
        self._ticks = 0

    def load(self, counter: int, mode: int, count: int) -> None:
        self.pit.write(3, 1, counter << 6 | 3 << 4 | mode << 1)
        for byte in (count & 0xFF, count >> 8):
            self.pit.write(counter, 1, byte)

    def advance(self, ticks: int) -> None:
        self._ticks += ticks
        until = -(-self._ticks * SECOND // HZ)
        while (deadline := self.clock.next_deadline()) is not None and deadline <= until:
            self.clock.advance(max(deadline - self.clock.now_ns(), 0))
            self.clock.run_due()
        self.clock.advance(until - self.clock.now_ns())

    def value(self, counter: int) -> int:
        self.pit.write(3, 1, counter << 6)
        return self.pit.read(counter, 1) | self.pit.read(counter, 1) << 8

    def output(self) -> bool:
        """That of counter 2."""
        return bool(self.pit.read(SPEAKER, 1) & 1 << 5)


def test_mode_0_interrupts_once_at_the_end() -> None:
    timer = Timer()
    timer.load(0, 0, 1000)
    timer.changes.clear()
    timer.advance(999)
    assert timer.value(0) == 1
    assert timer.changes == []
    timer.advance(1)
    assert timer.changes == [True]
    timer.advance(5000)
    assert timer.changes == [True]
    assert timer.value(0) == 0x1_0000 - 5000, "it counts on"


def test_mode_2_has_a_low_tick_in_each_period() -> None:
    timer = Timer()
    timer.load(0, 2, 100)
    timer.changes.clear()
    timer.advance(98)
    assert timer.changes == []
    timer.advance(1)
    assert timer.changes == [False]
    timer.advance(1)
    assert timer.changes == [False, True]
    timer.advance(1000)
    assert timer.changes == [False, True] * 11
    assert timer.value(0) == 100


@pytest.mark.parametrize("count", [100, 101])
def test_mode_3_is_a_square(count: int) -> None:
    timer = Timer()
    timer.load(0, 3, count)
    timer.changes.clear()
    timer.advance((count + 1) // 2)
    assert timer.changes == [False]
    timer.advance(count // 2)
    assert timer.changes == [False, True]
    timer.advance(10 * count)
    assert len(timer.changes) == 22


def test_mode_4_strobes_once() -> None:
    timer = Timer()
    timer.load(0, 4, 50)
    timer.changes.clear()
    timer.advance(50)
    assert timer.changes == [False]
    timer.advance(1)
    assert timer.changes == [False, True]
    timer.advance(10_000)
    assert timer.changes == [False, True]


def test_the_gate_stops_the_third_counter() -> None:
    """As Linux measures the time-stamp counter by it."""
    timer = Timer()
    timer.pit.write(SPEAKER, 1, 0)
    timer.load(2, 0, 500)
    timer.advance(1000)
    assert not timer.output()
    timer.pit.write(SPEAKER, 1, 1)
    timer.advance(498)
    assert not timer.output()
    timer.advance(3)  # the gate rose between two ticks
    assert timer.output()


def test_a_count_of_zero_is_the_longest() -> None:
    timer = Timer()
    timer.load(0, 2, 0)
    timer.advance(0x8000)
    assert timer.value(0) == 0x8000


def test_decimal_counts() -> None:
    timer = Timer()
    timer.pit.write(3, 1, 3 << 4 | 2 << 1 | 1)
    timer.pit.write(0, 1, 0x00)
    timer.pit.write(0, 1, 0x10)
    timer.advance(1)
    assert timer.value(0) == 0x999


def test_a_count_that_is_kept_stays_until_it_is_read() -> None:
    timer = Timer()
    timer.load(0, 2, 1000)
    timer.advance(100)
    timer.pit.write(3, 1, 0)
    timer.advance(100)
    timer.pit.write(3, 1, 0)  # one that is kept already
    assert timer.pit.read(0, 1) | timer.pit.read(0, 1) << 8 == 900
    assert timer.value(0) == 800
