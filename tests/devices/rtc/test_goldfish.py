"""The Goldfish clock as Linux's driver talks to it."""

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.rtc.goldfish import GoldfishRtc

TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH = 0x0, 0x4, 0x8, 0xC
IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT = 0x10, 0x14, 0x18, 0x1C
START = 1_800_000_000_000_000_000


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


def raised(rtc: GoldfishRtc) -> bool:
    return rtc.irq.high


def time_of(rtc: GoldfishRtc) -> int:
    return rtc.read(TIME_LOW, 4) | rtc.read(TIME_HIGH, 4) << 32


def set_alarm(rtc: GoldfishRtc, when: int) -> None:
    rtc.write(ALARM_HIGH, 4, when >> 32)
    rtc.write(ALARM_LOW, 4, when & 0xFFFF_FFFF)
    rtc.write(IRQ_ENABLED, 4, 1)


def test_whoever_wants_to_know_hears_of_another_time(clock: VirtualClock) -> None:
    rtc, told = GoldfishRtc(clock), list[int]()
    rtc.changed.connect(told.append)
    for seconds in (60, -60):
        wanted = clock.wall_ns() + seconds * 10**9
        rtc.write(TIME_HIGH, 4, wanted >> 32)
        rtc.write(TIME_LOW, 4, wanted & 0xFFFF_FFFF)
    assert told == [60, -60]


def test_time_goes_on_and_reading_the_low_half_latches_the_high_one(clock: VirtualClock) -> None:
    rtc = GoldfishRtc(clock)
    assert time_of(rtc) == START
    low = rtc.read(TIME_LOW, 4)
    clock.advance(5 << 32)
    assert low | rtc.read(TIME_HIGH, 4) << 32 == START
    assert time_of(rtc) == START + (5 << 32)


def test_the_guest_sets_the_time(clock: VirtualClock) -> None:
    rtc = GoldfishRtc(clock)
    rtc.write(TIME_HIGH, 4, 7)
    rtc.write(TIME_LOW, 4, 9)
    clock.advance(11)
    assert time_of(rtc) == (7 << 32) + 20
    rtc.reset()
    assert time_of(rtc) == (7 << 32) + 20


def test_an_alarm(clock: VirtualClock) -> None:
    rtc = GoldfishRtc(clock)
    set_alarm(rtc, START + 1000)
    assert rtc.read(ALARM_STATUS, 4) == 1
    clock.advance(999)
    assert not raised(rtc)
    clock.advance(1)
    assert raised(rtc)
    assert rtc.read(ALARM_STATUS, 4) == 0
    rtc.write(CLEAR_INTERRUPT, 4, 1)
    assert not raised(rtc)


def test_an_alarm_in_the_past_rings_at_once(clock: VirtualClock) -> None:
    rtc = GoldfishRtc(clock)
    set_alarm(rtc, START - 1)
    assert raised(rtc)
    rtc.write(IRQ_ENABLED, 4, 0)
    assert not raised(rtc)


def test_a_cleared_alarm_does_not_ring(clock: VirtualClock) -> None:
    rtc = GoldfishRtc(clock)
    set_alarm(rtc, START + 1000)
    rtc.write(CLEAR_ALARM, 4, 1)
    clock.advance(2000)
    assert not raised(rtc)
    assert clock.next_deadline() is None


def test_setting_the_time_moves_a_pending_alarm(clock: VirtualClock) -> None:
    rtc = GoldfishRtc(clock)
    set_alarm(rtc, START + 1_000_000)
    rtc.write(TIME_HIGH, 4, (START + 999_000) >> 32)
    rtc.write(TIME_LOW, 4, (START + 999_000) & 0xFFFF_FFFF)
    clock.advance(1000)
    assert raised(rtc)


def test_an_alarm_survives_a_snapshot(clock: VirtualClock) -> None:
    rtc = GoldfishRtc(clock)
    set_alarm(rtc, START + 1000)
    other = GoldfishRtc(clock)
    other.load(rtc.save())
    clock.advance(1000)
    assert other.irq.high
    third = GoldfishRtc(clock)
    third.load(other.save())
    assert third.irq.high
