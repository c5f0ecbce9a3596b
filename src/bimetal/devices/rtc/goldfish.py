"""The Goldfish real-time clock: nanoseconds since 1970 in two halves, and one alarm.

Registers as in the documentation of the Android emulator, GOLDFISH-VIRTUAL-HARDWARE.TXT, section
"Goldfish real-time clock", and as Linux's rtc-goldfish uses them.
"""

from __future__ import annotations

from bimetal.base.clock import Clock
from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access

__all__ = ["GoldfishRtc"]

TIME_MASK = (1 << 64) - 1
SECOND = 10**9


class GoldfishRtc(Device):
    """Wall-clock time from ``clock``, moved by what the guest sets, and an alarm interrupt."""

    kind = node_name = "rtc"
    compatible = ("google,goldfish-rtc",)
    access = Access(sizes=(4, 8), width=4)
    fixed = ("clock",)
    saved = ("moved_ns", "alarm_ns", "_pending", "_timer")

    TIME_LOW = Reg(0x00, writable=0, doc="reading latches TIME_HIGH, writing sets both")
    TIME_HIGH = Reg(0x04)
    ALARM_LOW = Reg(0x08, doc="writing arms the alarm")
    ALARM_HIGH = Reg(0x0C)
    IRQ_ENABLED = Reg(0x10, writable=1)
    CLEAR_ALARM = Reg(0x14, writable=0)
    ALARM_STATUS = Reg(0x18, readonly=True)
    CLEAR_INTERRUPT = Reg(0x1C, writable=0)

    irq = Out()
    changed = Out(int, "seconds that it is ahead of the host's clock, since the guest has set it")

    def __init__(self, clock: Clock):
        self.clock = clock
        self.moved_ns = 0
        self.alarm_ns: int | None = None
        self._pending = False
        self._timer = clock.timer(self._ring)
        super().__init__()

    def reset(self) -> None:
        """The time is kept: a reset does not affect the battery-backed clock."""
        super().reset()
        self._disarm()
        self._pending = False
        self._drive()

    def restored(self) -> None:
        """The host's time went on meanwhile."""
        if self.alarm_ns is not None:
            self._arm(self.alarm_ns)

    def r_TIME_LOW(self) -> int:
        time = self._time()
        self.TIME_HIGH = time >> 32
        return time & 0xFFFF_FFFF

    def w_TIME_LOW(self, written: Value) -> None:
        self.moved_ns += (self.TIME_HIGH << 32 | written) - self._time()
        self.changed(self.moved_ns // SECOND)
        if self.alarm_ns is not None:
            self._arm(self.alarm_ns)

    def w_ALARM_LOW(self, written: Value) -> None:
        self._arm(self.ALARM_HIGH << 32 | written)

    def w_IRQ_ENABLED(self, written: Value) -> None:
        self._drive()

    def w_CLEAR_ALARM(self, written: Value) -> None:
        self._disarm()

    def w_CLEAR_INTERRUPT(self, written: Value) -> None:
        self._pending = False
        self._drive()

    def _time(self) -> int:
        return (self.clock.wall_ns() + self.moved_ns) & TIME_MASK

    def _arm(self, alarm_ns: int) -> None:
        wait = alarm_ns - self._time()
        if wait <= 0:
            self._ring()
        else:
            self.alarm_ns, self.values["ALARM_STATUS"] = alarm_ns, Value(1)
            self._timer.arm(self.clock.now_ns() + wait)

    def _disarm(self) -> None:
        self._timer.cancel()
        self.alarm_ns, self.values["ALARM_STATUS"] = None, Value(0)

    def _ring(self) -> None:
        self._disarm()
        self._pending = True
        self._drive()

    def _drive(self) -> None:
        self.irq(self._pending and self.IRQ_ENABLED == 1)
