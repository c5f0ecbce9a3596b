"""The PL031: the time, setting it, and the alarm."""

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.rtc.pl031 import Pl031

DR, MR, LR, CR, IMSC, RIS, MIS, ICR = range(0, 0x20, 4)
START = 1_700_000_000
SECOND = 10**9


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(wall_start_ns=START * SECOND + SECOND // 2)


@pytest.fixture
def rtc(clock: VirtualClock) -> Pl031:
    return Pl031(clock)


def raised(rtc: Pl031) -> bool:
    return rtc.irq.high


def test_the_time_goes_on(rtc: Pl031, clock: VirtualClock) -> None:
    assert rtc.read(DR, 4) == START
    clock.advance(10 * SECOND)
    assert rtc.read(DR, 4) == START + 10
    rtc.write(LR, 4, 1000)
    clock.advance(SECOND)
    assert rtc.read(DR, 4) == 1001
    rtc.reset()
    assert rtc.read(DR, 4) == 1001


def test_whoever_wants_to_know_hears_of_another_time(rtc: Pl031) -> None:
    told = list[int]()
    rtc.changed.connect(told.append)
    for seconds in (60, -60):
        rtc.write(LR, 4, START + seconds)
    assert told == [60, -60]


def test_an_alarm(rtc: Pl031, clock: VirtualClock) -> None:
    rtc.write(IMSC, 4, 1)
    rtc.write(MR, 4, START + 2)
    clock.advance(SECOND + SECOND // 2 - 1)
    assert not raised(rtc)
    clock.advance(1)
    assert rtc.read(DR, 4) == START + 2
    assert raised(rtc)
    assert (rtc.read(RIS, 4), rtc.read(MIS, 4)) == (1, 1)
    rtc.write(IMSC, 4, 0)
    assert not raised(rtc)
    assert (rtc.read(RIS, 4), rtc.read(MIS, 4)) == (1, 0)
    rtc.write(ICR, 4, 1)
    assert rtc.read(RIS, 4) == 0


def test_an_alarm_moves_with_the_time(rtc: Pl031, clock: VirtualClock) -> None:
    rtc.write(IMSC, 4, 1)
    rtc.write(MR, 4, START + 100)
    rtc.write(LR, 4, START + 99)
    clock.advance(SECOND)
    assert raised(rtc)


def test_an_alarm_at_once_and_one_in_a_century(rtc: Pl031, clock: VirtualClock) -> None:
    rtc.write(IMSC, 4, 1)
    rtc.write(MR, 4, START - 1)
    clock.advance(3600 * SECOND)
    assert not raised(rtc)
    rtc.write(MR, 4, START + 3600)
    assert raised(rtc)


def test_the_clock_cannot_be_stopped(rtc: Pl031) -> None:
    rtc.write(CR, 4, 0)
    assert rtc.read(CR, 4) == 1


def test_a_snapshot(rtc: Pl031, clock: VirtualClock) -> None:
    rtc.write(IMSC, 4, 1)
    rtc.write(LR, 4, 500)
    rtc.write(MR, 4, 510)
    other = Pl031(clock)
    other.load(rtc.save())
    assert other.read(DR, 4) == 500
    clock.advance(10 * SECOND)
    assert raised(other)
