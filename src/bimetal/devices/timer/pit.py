"""The interval timer of a PC (Intel, 8254 Programmable Interval Timer, 231164-005), and the
register by which a PC gates its third counter and drives a speaker with it, at port 61."""

from __future__ import annotations

from bimetal.base.clock import Clock
from bimetal.base.state import Stateful
from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.access import Access

__all__ = ["HZ", "PORTS", "SPEAKER", "Pit"]

HZ = 1_193_182
"""How fast the counters count."""
SECOND = 1_000_000_000
PORTS = 4
"""The timer's own ports."""
SPEAKER = 4
"""The offset of the register that a PC has at port 61."""
REFRESH_NS = 15_000
LOW, HIGH, BOTH = 1, 2, 3
RATE, SQUARE = 2, 3


class Counter(Stateful):
    """One of the three counters. Times are in nanoseconds of ``clock``."""

    saved = ("mode", "bcd", "access", "gate", "_count", "_began", "_stopped", "_loaded", "_low",
             "_second_read", "_latched", "_status")  # fmt: skip
    fixed = ("_clock",)

    def __init__(self, clock: Clock):
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """As after power-on, where nothing is defined: gated, and counting nothing."""
        self.mode, self.bcd, self.access, self.gate = SQUARE, False, BOTH, True
        self._count, self._began, self._stopped = 0x1_0000, 0, 0
        self._loaded = False
        self._low: int | None = None
        self._second_read = False
        self._latched: list[int] = []
        self._status: int | None = None

    # What it does

    def ticks(self) -> int:
        """Counted since the count was loaded, or since the gate rose."""
        until = self._clock.now_ns() if self._runs else self._stopped
        return (until - self._began) * HZ // SECOND

    @property
    def _runs(self) -> bool:
        return self.gate or self.mode in (1, 5)

    @property
    def output(self) -> bool:
        """The level of OUT."""
        return self._output_after(self.ticks())

    def _output_after(self, ticks: int) -> bool:
        count = self._count
        if not self._loaded:
            return self.mode != 0
        if self.mode == 0:
            return ticks >= count
        if self.mode == 1:
            return ticks >= count
        if not self.gate and self.mode in (RATE, SQUARE):
            return True
        if self.mode == RATE:
            return ticks % count != count - 1 or ticks == 0
        if self.mode == SQUARE:
            return ticks % count < (count + 1) // 2
        return ticks != count

    def next_change(self) -> int | None:
        """When OUT changes next, if ever."""
        if not self._loaded or not self._runs:
            return None
        ticks, count = self.ticks(), self._count
        if self.mode in (0, 1):
            change = count
        elif self.mode == RATE:
            inside = ticks % count
            change = ticks - inside + (count - 1 if inside < count - 1 else count)
        elif self.mode == SQUARE:
            inside, half = ticks % count, (count + 1) // 2
            change = ticks - inside + (half if inside < half else count)
        else:
            change = count if ticks < count else count + 1
        if change <= ticks:
            return None
        return self._began + -(-change * SECOND // HZ)

    def value(self) -> int:
        """The counting element, as the guest reads it."""
        ticks, count = self.ticks(), self._count
        if not self._loaded:
            left = 0
        elif self.mode == RATE:
            left = count - ticks % count
        elif self.mode == SQUARE:
            left = count - 2 * ticks % count
        else:
            left = count - ticks
        left %= 10_000 if self.bcd else 0x1_0000
        return int(str(left), 16) if self.bcd else left

    # What a guest does

    def choose(self, mode: int, access: int, bcd: bool) -> None:
        """A control word."""
        self.mode, self.access, self.bcd = mode - 4 if mode > 5 else mode, access, bcd
        self._loaded, self._low, self._second_read = False, None, False
        self._latched, self._status = [], None

    def write(self, byte: int) -> None:
        """A byte of the count."""
        if self.access == LOW:
            self._load(byte)
        elif self.access == HIGH:
            self._load(byte << 8)
        elif self._low is None:
            self._low = byte
            if self.mode == 0:
                self._loaded = False  # the first byte stops it
        else:
            low, self._low = self._low, None
            self._load(byte << 8 | low)

    def _load(self, count: int) -> None:
        if self.bcd:
            count = sum((count >> 4 * n & 0xF) * 10**n for n in range(4))
        self._count = count or (10_000 if self.bcd else 0x1_0000)
        self._began = self._stopped = self._clock.now_ns()
        self._loaded = True

    def set_gate(self, level: bool) -> None:
        """Drive GATE."""
        now = self._clock.now_ns()
        if level and not self.gate:
            if self.mode in (0, 4):
                self._began += now - self._stopped  # goes on
            else:
                self._began = now
        elif not level and self.gate:
            self._stopped = now
        self.gate = level

    def latch(self) -> None:
        """Keep the count for the next reading of it."""
        if not self._latched:
            value = self.value()
            low, high = value & 0xFF, value >> 8
            self._latched = {LOW: [low], HIGH: [high]}.get(self.access, [low, high])

    def latch_status(self) -> None:
        """Keep the status for the next reading."""
        if self._status is None:
            self._status = (
                self.output << 7
                | (not self._loaded) << 6
                | self.access << 4
                | self.mode << 1
                | self.bcd
            )

    def read(self) -> int:
        """A byte: of the status if that is kept, else of the count."""
        if self._status is not None:
            status, self._status = self._status, None
            return status
        if self._latched:
            return self._latched.pop(0)
        value = self.value()
        if self.access == BOTH:
            self._second_read = not self._second_read
            return value & 0xFF if self._second_read else value >> 8
        return value & 0xFF if self.access == LOW else value >> 8


class Pit(Device):
    """An 8254; ``irq`` is the output of counter 0. `SPEAKER` has the gate and the output of counter
    2, and a bit that toggles as memory was once refreshed. Nobody hears the speaker."""

    kind = "pit"
    mmio_size = PORTS + 1
    newer = True
    access = Access(width=1)
    saved = ("counters", "_alarm")
    fixed = ("clock",)

    COUNTER = RegArray(0, 3, size=1, writable=0)
    CONTROL = Reg(3, size=1, writable=0)
    SPEAKER = Reg(SPEAKER, size=1, writable=0x0F)

    irq = Out()

    def __init__(self, clock: Clock):
        self.clock = clock
        self.counters = [Counter(clock) for _ in range(3)]
        self._alarm = clock.timer(self._change)
        super().__init__()

    def reset(self) -> None:
        super().reset()
        for counter in self.counters:
            counter.reset()
        self.counters[2].set_gate(False)
        self._change()

    def r_COUNTER(self, index: int) -> int:
        return self.counters[index].read()

    def w_COUNTER(self, index: int, written: Value) -> None:
        self.counters[index].write(int(written))
        if index == 0:
            self._change()

    def w_CONTROL(self, written: Value) -> None:
        which, access = written >> 6, written >> 4 & 3
        if which == 3:
            for number, counter in enumerate(self.counters):
                if written & 2 << number:
                    if not written & 1 << 5:
                        counter.latch()
                    if not written & 1 << 4:
                        counter.latch_status()
        elif access == 0:
            self.counters[which].latch()
        else:
            self.counters[which].choose(written >> 1 & 7, access, bool(written & 1))
            if which == 0:
                self._change()

    def _change(self) -> None:
        first = self.counters[0]
        level = first.output
        if level != self.irq.high:
            self.irq(level)
        change = first.next_change()
        if change is None:
            self._alarm.cancel()
        else:
            self._alarm.arm(change)

    def r_SPEAKER(self) -> int:
        refresh = self.clock.now_ns() // REFRESH_NS & 1
        return self.SPEAKER | refresh << 4 | self.counters[2].output << 5

    def w_SPEAKER(self, written: Value) -> None:
        self.counters[2].set_gate(bool(written & 1))
