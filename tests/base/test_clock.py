"""Clocks and timers: time jumps, deadlines are met in order."""

import os
import select

import pytest

from bimetal.base.clock import LONGEST_WAIT, Clock, RealClock, Timer, VirtualClock

Calls = list[tuple[str, int]]


def recorder(clock: Clock, calls: Calls, name: str) -> Timer:
    return clock.timer(lambda: calls.append((name, clock.now_ns())))


def test_timers_fire_in_order_at_their_own_deadlines() -> None:
    clock = VirtualClock()
    calls: Calls = []
    for name, deadline in (("late", 300), ("early", 100), ("middle", 200)):
        recorder(clock, calls, name).arm(deadline)
    clock.advance(250)
    assert calls == [("early", 100), ("middle", 200)]
    assert clock.now_ns() == 250
    assert clock.next_deadline() == 300


def test_rearming_replaces_the_deadline_and_cancel_forgets_it() -> None:
    clock = VirtualClock()
    calls: Calls = []
    timer, other = recorder(clock, calls, "timer"), recorder(clock, calls, "other")
    timer.arm(100)
    timer.arm(50)
    timer.arm(80)
    other.arm(60)
    other.cancel()
    clock.advance(1000)
    assert calls == [("timer", 80)]
    assert clock.next_deadline() is None


def test_a_deadline_in_the_past_fires_at_the_next_look() -> None:
    clock = VirtualClock()
    calls: Calls = []
    clock.advance(500)
    recorder(clock, calls, "past").arm(10)
    clock.run_due()
    assert calls == [("past", 500)]


def test_a_callback_may_arm_its_timer_again() -> None:
    clock, ticks = VirtualClock(), []

    def tick() -> None:
        ticks.append(clock.now_ns())
        timer.arm(clock.now_ns() + 10)

    timer = clock.timer(tick)
    timer.arm(10)
    clock.advance(35)
    assert ticks == [10, 20, 30]


def test_jump_goes_to_the_next_deadline() -> None:
    clock = VirtualClock()
    calls: Calls = []
    assert not clock.jump()
    recorder(clock, calls, "only").arm(12345)
    assert clock.jump()
    assert calls == [("only", 12345)]


def test_whoever_sleeps_is_told_of_an_earlier_deadline_only() -> None:
    clock, told = VirtualClock(), []
    clock.on_earlier = lambda: told.append(clock.next_deadline())
    first, second, third = (clock.timer(lambda: None) for _ in range(3))
    first.arm(100)
    second.arm(200)
    third.arm(50)
    assert told == [100, 50]


def test_a_timer_that_is_always_armed_anew_does_not_fill_the_queue() -> None:
    clock = VirtualClock()
    timer = clock.timer(lambda: None)
    for deadline in range(1_000_000, 1_010_000):
        timer.arm(deadline)
    assert len(clock._queue) < 200
    assert clock.next_deadline() == 1_009_999


def test_wall_time_of_a_virtual_clock_follows_it() -> None:
    clock = VirtualClock(wall_start_ns=10**18)
    clock.advance(7)
    assert clock.wall_ns() == 10**18 + 7


def test_a_paused_real_clock_stands_still_and_goes_on_without_a_jump() -> None:
    clock = RealClock()
    clock.pause()
    stopped = clock.now_ns()
    assert clock.now_ns() == stopped
    origin = clock.origin_ns
    clock.resume()
    assert clock.now_ns() >= stopped
    assert clock.origin_ns > origin


def test_the_host_waits_for_a_real_clock_only() -> None:
    real, virtual = RealClock(), VirtualClock()
    assert real.host_seconds(0) == 0
    waiting = real.host_seconds(real.now_ns() + 10**12)
    assert waiting is not None
    assert 0 < waiting <= 1000
    assert virtual.host_seconds(0) == 0
    assert virtual.host_seconds(1) is None


@pytest.mark.parametrize("days", [25, 365, 107_000_000, 2_000_000_000_000])
def test_no_deadline_makes_the_host_wait_longer_than_it_can(days: int) -> None:
    clock = RealClock()
    seconds = clock.host_seconds(days * 86400 * 10**9)
    assert seconds == LONGEST_WAIT
    poller = select.poll()
    poller.register((wakeup := os.eventfd(1)), select.POLLIN)
    assert poller.poll(seconds * 1000), "a wait that poll(2) takes"
    os.close(wakeup)


def test_timers_armed_anew_while_they_run_wait_for_their_turn() -> None:
    class Slow(VirtualClock):
        def now_ns(self) -> int:
            self._now += 10
            return self._now

    clock, fired = Slow(), []

    def fire() -> None:
        fired.append(clock.now_ns())
        timer.arm(clock.now_ns() + 5)

    timer = clock.timer(fire)
    timer.arm(0)
    clock.run_due()
    assert len(fired) == 1
