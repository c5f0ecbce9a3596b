"""Time as a machine sees it, and the timers that wait for it.

A device asks its clock for the time and for timers and knows nothing else about time. The
machine *drives* the clock: it looks at `next_deadline` and calls `run_due` when that moment has
come. Callbacks therefore run where the machine calls `run_due`, under the machine's lock, and so
must every call of `Timer.arm` and `Timer.cancel`.
"""

from __future__ import annotations

import heapq
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count

__all__ = [
    "LONGEST_WAIT",
    "Clock",
    "Countdown",
    "RealClock",
    "Timer",
    "VirtualClock",
    "local_text",
    "monotonic_seconds",
    "processor_seconds",
    "wall_nanoseconds",
    "wall_seconds",
]

LONGEST_WAIT = 3600.0
"""Seconds for which the host waits at once at most. Guests set timers centuries ahead, and poll(2)
takes milliseconds in an int, which is 24 days: whoever has waited looks again what time it is."""

PRUNE_MINIMUM = 64
"""Entries of timers since armed anew that a queue may hold besides the live ones."""


class Timer:
    """One alarm of a clock, made by `Clock.timer`: armed for one deadline at most."""

    __slots__ = ("_callback", "_clock", "deadline")

    def __init__(self, clock: Clock, callback: Callable[[], None]):
        self._clock, self._callback = clock, callback
        self.deadline: int | None = None

    def arm(self, deadline_ns: int) -> None:
        """Call back once the clock shows ``deadline_ns``; replaces an earlier deadline.

        A deadline in the past fires at the next `Clock.run_due`.
        """
        if deadline_ns != self.deadline:
            self.deadline = deadline_ns
            self._clock._enqueue(self, deadline_ns)

    def cancel(self) -> None:
        """Do not call back. Idempotent."""
        self.deadline = None

    def _fire(self) -> None:
        self.deadline = None
        self._callback()


class Clock(ABC):
    """Nanoseconds since the machine began to run, and an ordered queue of timers."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, Timer]] = []
        self._order = count()
        self._prune_at = PRUNE_MINIMUM
        self.on_earlier: Callable[[], None] | None = None
        """Called when a timer becomes the first to fire, so that whoever sleeps wakes up."""

    @abstractmethod
    def now_ns(self) -> int:
        """The time, which never goes back and stands still while the machine is paused."""

    @abstractmethod
    def set(self, now_ns: int) -> None:
        """Show another time from now on, that of a machine that was saved. Timers that are armed
        keep their deadlines. Called while the clock is paused."""

    @abstractmethod
    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 00:00 UTC, for real-time clocks."""

    @abstractmethod
    def host_seconds(self, deadline_ns: int) -> float | None:
        """How long the host had better wait before it looks again whether ``deadline_ns`` has come:
        0 to `LONGEST_WAIT`, or None if waiting does not bring it nearer."""

    @abstractmethod
    def pause(self) -> None:
        """Stop the time. Idempotent."""

    @abstractmethod
    def resume(self) -> None:
        """Let the time go on from where `pause` stopped it. Idempotent."""

    def timer(self, callback: Callable[[], None]) -> Timer:
        """A new timer, not armed."""
        return Timer(self, callback)

    def next_deadline(self) -> int | None:
        """When the next timer fires, or None if none is armed."""
        queue = self._queue
        while queue and queue[0][2].deadline != queue[0][0]:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def run_due(self) -> None:
        """Call back every timer whose deadline has come, in the order of the deadlines.

        What becomes due meanwhile waits for the next call: timers that are armed anew faster than
        they are run do not keep the caller.
        """
        now = self.now_ns()
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            heapq.heappop(self._queue)[2]._fire()

    def _enqueue(self, timer: Timer, deadline: int) -> None:
        first = self.next_deadline()
        if len(self._queue) > self._prune_at:
            self._queue = [entry for entry in self._queue if entry[2].deadline == entry[0]]
            heapq.heapify(self._queue)
            self._prune_at = 2 * len(self._queue) + PRUNE_MINIMUM
        heapq.heappush(self._queue, (deadline, next(self._order), timer))
        if self.on_earlier is not None and (first is None or deadline < first):
            self.on_earlier()


class RealClock(Clock):
    """The host's monotonic clock, counted from the creation of the clock.

    ``origin_ns`` is the value of the host's CLOCK_MONOTONIC at time 0, for native code that reads
    that clock itself; it changes only in `resume`, while no CPU runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.origin_ns = time.monotonic_ns()
        self._paused_at: int | None = None

    def now_ns(self) -> int:
        if self._paused_at is not None:
            return self._paused_at
        return time.monotonic_ns() - self.origin_ns

    def set(self, now_ns: int) -> None:
        if self._paused_at is None:
            raise ValueError("a clock that runs cannot be set")
        self._paused_at = now_ns

    def wall_ns(self) -> int:
        return time.time_ns()

    def host_seconds(self, deadline_ns: int) -> float | None:
        return min(max(0, deadline_ns - self.now_ns()) / 1_000_000_000, LONGEST_WAIT)

    def pause(self) -> None:
        self._paused_at = self.now_ns()

    def resume(self) -> None:
        if self._paused_at is not None:
            self.origin_ns = time.monotonic_ns() - self._paused_at
            self._paused_at = None


class VirtualClock(Clock):
    """A clock that stands still until it is told to jump: for tests and replay.

    ``wall_start_ns`` is what `wall_ns` shows at time 0.
    """

    def __init__(self, wall_start_ns: int = 0) -> None:
        super().__init__()
        self._now = 0
        self._wall_start = wall_start_ns

    def now_ns(self) -> int:
        return self._now

    def set(self, now_ns: int) -> None:
        self._now = now_ns

    def wall_ns(self) -> int:
        return self._wall_start + self._now

    def host_seconds(self, deadline_ns: int) -> float | None:
        return 0.0 if deadline_ns <= self._now else None

    def pause(self) -> None:
        """A clock that only jumps has nothing to stop."""

    def resume(self) -> None:
        """Nothing was stopped."""

    def advance(self, nanoseconds: int) -> None:
        """Jump forward, running each timer on the way at its own deadline."""
        if nanoseconds < 0:
            raise ValueError(f"cannot advance a clock by {nanoseconds} ns")
        target = self._now + nanoseconds
        while (deadline := self.next_deadline()) is not None and deadline <= target:
            self._now = max(self._now, deadline)
            self.run_due()
        self._now = target

    def jump(self) -> bool:
        """Go to the next deadline and run its timers; False if no timer is armed."""
        deadline = self.next_deadline()
        if deadline is None:
            return False
        self.advance(max(0, deadline - self._now))
        return True


class Countdown:
    """So many seconds of the host's time, from now on."""

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """How many are left, at least 0."""
        return max(0.0, self._end - time.monotonic())


def local_text(seconds: int) -> str:
    """A time on the clock of the host's place, ``seconds`` after 1970-01-01 00:00 UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def wall_nanoseconds() -> int:
    """Nanoseconds since 1970-01-01 00:00 UTC on the host."""
    return time.time_ns()


def wall_seconds() -> int:
    """Whole seconds since 1970-01-01 00:00 UTC on the host."""
    return int(time.time())


def monotonic_seconds() -> float:
    """Seconds since some time in the past, for measuring: they never go back."""
    return time.monotonic()


def processor_seconds() -> float:
    """Seconds of processor time that this process has used."""
    return time.process_time()
