"""The clock of a PC as Linux's rtc_cmos and old software talk to it."""

from __future__ import annotations

import pytest

from bimetal.base.civil import seconds_of
from bimetal.base.clock import VirtualClock
from bimetal.devices.rtc.cmos import CmosRtc

SECOND = 10**9
START = seconds_of(2026, 11, 22, 23, 59, 50)
A, B, C, D, CENTURY = 0xA, 0xB, 0xC, 0xD, 0x32
SET, PERIODIC, ALARM, UPDATE, BINARY, H24 = 0x80, 0x40, 0x20, 0x10, 0x04, 0x02
IRQF = 0x80


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START * SECOND)


@pytest.fixture
def rtc(clock: VirtualClock) -> CmosRtc:
    return CmosRtc(clock)


def read(rtc: CmosRtc, cell: int) -> int:
    rtc.write(0, 1, cell)
    return rtc.read(1, 1)


def write(rtc: CmosRtc, cell: int, value: int) -> None:
    rtc.write(0, 1, cell)
    rtc.write(1, 1, value)


def raised(rtc: CmosRtc) -> bool:
    return rtc.irq.high


def now(rtc: CmosRtc) -> str:
    """The time as the cells show it, in hexadecimal digits: BCD reads well."""
    return "-".join(f"{read(rtc, cell):02x}" for cell in (CENTURY, 9, 8, 7, 4, 2, 0))


def test_whoever_wants_to_know_hears_of_another_time(rtc: CmosRtc) -> None:
    told = list[int]()
    rtc.changed.connect(told.append)
    write(rtc, B, SET | H24)
    write(rtc, 2, 0x58)  # a minute earlier
    write(rtc, B, H24)
    assert told == [-60]


def test_the_time_in_bcd(rtc: CmosRtc, clock: VirtualClock) -> None:
    assert read(rtc, D) == 0x80
    assert read(rtc, A) & 0x80 == 0
    assert now(rtc) == "20-26-11-22-23-59-50"
    assert read(rtc, 6) == 1, "Sunday"
    clock.advance(10 * SECOND)
    assert now(rtc) == "20-26-11-23-00-00-00"
    assert read(rtc, 6) == 2, "Monday"


def test_the_time_in_binary_and_in_halves_of_the_day(rtc: CmosRtc, clock: VirtualClock) -> None:
    write(rtc, B, BINARY | H24)
    assert (read(rtc, 4), read(rtc, 2)) == (23, 59)
    write(rtc, B, 0)
    assert read(rtc, 4) == 0x91, "11 pm"
    clock.advance(10 * SECOND)
    assert read(rtc, 4) == 0x12, "12 am is midnight"


def test_setting_the_time(rtc: CmosRtc, clock: VirtualClock) -> None:
    write(rtc, B, SET | H24)
    for cell, value in ((CENTURY, 0x19), (9, 0x99), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x59)):
        write(rtc, cell, value)
    write(rtc, 0, 0x58)
    clock.advance(60 * SECOND)
    assert now(rtc) == "19-99-12-31-23-59-58", "it stands while it is set"
    write(rtc, B, H24)
    clock.advance(2 * SECOND)
    assert now(rtc) == "20-00-01-01-00-00-00"


@pytest.mark.parametrize(
    ("century", "year", "first", "then"),
    [
        (0x99, 0x99, "99-99-12-31-23-59-58", "00-00-01-01-00-00-00"),
        (0x00, 0x00, "00-00-12-31-23-59-58", "00-01-01-01-00-00-00"),
    ],
)
def test_the_years_at_both_ends(
    rtc: CmosRtc, clock: VirtualClock, century: int, year: int, first: str, then: str
) -> None:
    write(rtc, B, SET | H24)
    for cell, value in ((CENTURY, century), (9, year), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x59)):
        write(rtc, cell, value)
    write(rtc, 0, 0x58)
    write(rtc, B, H24 | ALARM | UPDATE)
    assert now(rtc) == first
    clock.advance(2 * SECOND)
    assert now(rtc) == then
    assert not rtc.events.counts


def test_a_time_that_does_not_exist_is_the_guests_error(rtc: CmosRtc) -> None:
    write(rtc, B, SET | H24)
    write(rtc, 8, 0x13)
    write(rtc, B, H24)
    assert sum(rtc.events.counts.values()) == 1
    assert now(rtc) == "20-26-11-22-23-59-50"


def test_the_alarm(rtc: CmosRtc, clock: VirtualClock) -> None:
    for cell, value in ((1, 0x05), (3, 0x00), (5, 0x00)):
        write(rtc, cell, value)
    write(rtc, B, H24 | ALARM)
    clock.advance(14 * SECOND)
    assert not raised(rtc)
    clock.advance(1 * SECOND)
    assert raised(rtc)
    assert read(rtc, C) == IRQF | ALARM
    assert not raised(rtc)
    assert read(rtc, C) == 0
    clock.advance(86400 * SECOND)
    assert raised(rtc), "the next day again"


def test_an_alarm_for_every_minute(rtc: CmosRtc, clock: VirtualClock) -> None:
    for cell, value in ((1, 0x30), (3, 0xFF), (5, 0xC0)):
        write(rtc, cell, value)
    write(rtc, B, H24 | ALARM)
    for wait in (40, 60, 60):
        clock.advance((wait - 1) * SECOND)
        assert not raised(rtc)
        clock.advance(SECOND)
        assert raised(rtc)
        read(rtc, C)


def test_an_alarm_that_never_fits(rtc: CmosRtc, clock: VirtualClock) -> None:
    for cell, value in ((1, 0x99), (3, 0xFF), (5, 0xFF)):
        write(rtc, cell, value)
    write(rtc, B, H24 | ALARM)
    clock.advance(3 * 86400 * SECOND)
    assert not raised(rtc)


def test_the_update_interrupt_each_second(rtc: CmosRtc, clock: VirtualClock) -> None:
    write(rtc, B, H24 | UPDATE)
    for _ in range(3):
        clock.advance(SECOND)
        assert read(rtc, C) == IRQF | UPDATE
    write(rtc, B, H24)
    clock.advance(SECOND)
    assert read(rtc, C) == 0


@pytest.mark.parametrize(("rate", "hertz"), [(6, 1024), (15, 2), (3, 8192), (1, 256), (2, 128)])
def test_the_periodic_interrupt(rtc: CmosRtc, clock: VirtualClock, rate: int, hertz: int) -> None:
    write(rtc, A, 0x20 | rate)
    write(rtc, B, H24 | PERIODIC)
    count = 0
    for _ in range(10):
        clock.advance(SECOND // hertz + 1)
        count += read(rtc, C) == IRQF | PERIODIC
    assert count == 10


def test_a_reset_keeps_time_and_memory(rtc: CmosRtc, clock: VirtualClock) -> None:
    write(rtc, 0x40, 0x5A)
    write(rtc, B, H24 | UPDATE)
    clock.advance(SECOND)
    rtc.reset()
    assert not raised(rtc)
    assert read(rtc, 0x40) == 0x5A
    assert read(rtc, B) == H24
    assert now(rtc) == "20-26-11-22-23-59-51"


def test_read_only_cells(rtc: CmosRtc) -> None:
    write(rtc, D, 0)
    assert read(rtc, D) == 0x80
    assert sum(rtc.events.counts.values()) == 1


def test_the_state_goes_on_elsewhere(rtc: CmosRtc, clock: VirtualClock) -> None:
    write(rtc, B, H24 | UPDATE)
    other = CmosRtc(clock)
    other.load(rtc.save())
    clock.advance(SECOND)
    assert raised(other)
