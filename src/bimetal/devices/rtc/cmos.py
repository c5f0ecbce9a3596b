"""The real-time clock and battery-backed memory of a PC.

Source: Motorola MC146818A data sheet; ACPI Specification for the century (register 32 hex here).

Deviations: an update takes no time, so UIP is never set; there is no square wave; daylight saving
is not applied; the time can be set to what the calendar has and is otherwise left alone.
"""

from __future__ import annotations

from bimetal.base.civil import civil_of, seconds_of
from bimetal.base.clock import Clock
from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access

__all__ = ["CENTURY", "CmosRtc"]

SECOND, SECOND_ALARM, MINUTE, MINUTE_ALARM, HOUR, HOUR_ALARM = range(6)
WEEKDAY, DAY, MONTH, YEAR, A, B, C, D = range(6, 14)
CENTURY = 0x32
CELLS = 128
TIME_CELLS = frozenset({SECOND, MINUTE, HOUR, WEEKDAY, DAY, MONTH, YEAR, CENTURY})
ALARM_CELLS = frozenset({SECOND_ALARM, MINUTE_ALARM, HOUR_ALARM})

A_RATE, A_OSCILLATOR_ON = 0x0F, 0x20
B_SET, B_PERIODIC, B_ALARM, B_UPDATE, B_BINARY, B_24_HOURS = 0x80, 0x40, 0x20, 0x10, 0x04, 0x02
C_ANY, C_PERIODIC, C_ALARM, C_UPDATE = 0x80, 0x40, 0x20, 0x10
D_VALID = 0x80
AFTERNOON = 0x80
ANYTHING = 0xC0
"""An alarm cell with both high bits set fits every value."""

SECOND_NS = 10**9
OSCILLATOR_HZ = 32768
DAY_SECONDS = 86400


class CmosRtc(Device):
    """Ports 70 (index) and 71 (data); wall-clock time from ``clock``, moved by what guests set."""

    kind = "cmos"
    mmio_size = 2
    access = Access(width=1)
    fixed = ("clock",)
    saved = ("cells", "moved_ns", "_second", "_period")

    INDEX = Reg(0, size=1, ADDRESS=(6, 0), NMI_OFF=7, doc="which cell DATA is")
    DATA = Reg(1, size=1, writable=0)

    irq = Out()
    changed = Out(int, "seconds that it is ahead of the host's clock, since the guest has set it")

    def __init__(self, clock: Clock):
        self.clock = clock
        self.cells = [0] * CELLS
        self.cells[A], self.cells[B], self.cells[D] = A_OSCILLATOR_ON | 6, B_24_HOURS, D_VALID
        self.moved_ns = 0
        self._second = clock.timer(self._each_second)
        self._period = clock.timer(self._each_period)
        super().__init__()

    def reset(self) -> None:
        """Disable interrupts. Time and memory are kept: they are battery-backed."""
        super().reset()
        self.cells[B] &= ~(B_PERIODIC | B_ALARM | B_UPDATE)
        self.cells[C] = 0
        self._arm()
        self._drive()

    def restored(self) -> None:
        """The host's time went on meanwhile."""
        if self._second.deadline is not None:
            self._second.arm(self._moment(self._next_event()))

    # Accesses

    def r_DATA(self) -> int:
        cell = self.INDEX.ADDRESS
        if cell in TIME_CELLS and not self.cells[B] & B_SET:
            self._latch()
        value = self.cells[cell]
        if cell == C:
            self.cells[C] = 0
            self._drive()
        return value

    def w_DATA(self, written: Value) -> None:
        cell = self.INDEX.ADDRESS
        if cell in (C, D):
            raise GuestError(f"write to the read-only cell {cell:#x}")
        if cell in TIME_CELLS:
            self._set_time_cell(cell, written)
        elif cell == B:
            self._set_mode(written)
        else:
            self.cells[cell] = int(written)
        if cell in ALARM_CELLS or cell in (A, B):
            self._arm()

    def _set_mode(self, mode: int) -> None:
        was_set = self.cells[B] & B_SET
        if mode & B_SET and not was_set:
            self._latch()
            mode &= ~B_UPDATE
        self.cells[B] = mode
        if was_set and not mode & B_SET:
            self._adopt()
        self._drive()

    def _set_time_cell(self, cell: int, value: int) -> None:
        if not self.cells[B] & B_SET:
            self._latch()
        self.cells[cell] = value
        if not self.cells[B] & B_SET:
            self._adopt()

    # Time

    def _now(self) -> int:
        return (self.clock.wall_ns() + self.moved_ns) // SECOND_NS

    def _latch(self) -> None:
        """Put the present time into the cells."""
        moment = civil_of(self._now())
        century, year = divmod(moment.year, 100)
        self._store_hour(moment.hour)
        for cell, value in (
            (SECOND, moment.second),
            (MINUTE, moment.minute),
            (WEEKDAY, moment.weekday % 7 + 1),
            (DAY, moment.day),
            (MONTH, moment.month),
            (YEAR, year),
            (CENTURY, century % 100),
        ):
            self.cells[cell] = self._encoded(value)

    def _adopt(self) -> None:
        """Make what the cells say the present time, if there is such a time."""
        year = 100 * self._decoded(self.cells[CENTURY]) + self._decoded(self.cells[YEAR])
        month, day = self._decoded(self.cells[MONTH]), self._decoded(self.cells[DAY])
        minute, second = self._decoded(self.cells[MINUTE]), self._decoded(self.cells[SECOND])
        try:
            wanted = seconds_of(year, month, day, self._hour(self.cells[HOUR]), minute, second)
        except ValueError:
            self.guest_error("the clock was set to a time that the calendar does not have")
            return
        self.moved_ns += wanted * SECOND_NS - (self.clock.wall_ns() + self.moved_ns)
        self.changed(self.moved_ns // SECOND_NS)
        self._arm()

    def _encoded(self, value: int) -> int:
        return value if self.cells[B] & B_BINARY else value // 10 << 4 | value % 10

    def _decoded(self, cell: int) -> int:
        return cell if self.cells[B] & B_BINARY else 10 * (cell >> 4) + (cell & 0xF)

    def _store_hour(self, hour: int) -> None:
        if self.cells[B] & B_24_HOURS:
            self.cells[HOUR] = self._encoded(hour)
        else:
            half = AFTERNOON if hour >= 12 else 0
            self.cells[HOUR] = self._encoded(hour % 12 or 12) | half

    def _hour(self, cell: int) -> int:
        if self.cells[B] & B_24_HOURS:
            return self._decoded(cell)
        hour = self._decoded(cell & ~AFTERNOON) % 12
        return hour + 12 if cell & AFTERNOON else hour

    # Interrupts

    def _arm(self) -> None:
        """Set the timers to the next events that the guest wants to hear of."""
        mode = self.cells[B]
        if mode & (B_UPDATE | B_ALARM) and not mode & B_SET:
            self._second.arm(self._moment(self._next_event()))
        else:
            self._second.cancel()
        rate = self.cells[A] & A_RATE
        if mode & B_PERIODIC and rate:
            divider = rate - 1 if rate > 2 else rate + 6
            self._period.arm(self.clock.now_ns() + SECOND_NS * (1 << divider) // OSCILLATOR_HZ)
        else:
            self._period.cancel()

    def _next_event(self) -> int:
        """The second at which the next update or alarm interrupt is due."""
        now = self._now()
        if self.cells[B] & B_UPDATE:
            return now + 1
        today = now - now % DAY_SECONDS
        wait = self._alarm_after(now - today)
        return today + wait if wait is not None else today + DAY_SECONDS

    def _alarm_after(self, second_of_day: int) -> int | None:
        """The next second of this day, or of the next one, that fits the alarm."""
        hours = self._fitting(HOUR_ALARM, 24)
        minutes, seconds = self._fitting(MINUTE_ALARM, 60), self._fitting(SECOND_ALARM, 60)
        for day in (0, DAY_SECONDS):
            for hour in hours:
                if day + 3600 * hour + 3599 <= second_of_day:
                    continue
                for minute in minutes:
                    start = day + 3600 * hour + 60 * minute
                    if start + 59 <= second_of_day:
                        continue
                    for second in seconds:
                        if start + second > second_of_day:
                            return start + second
        return None

    def _fitting(self, cell: int, count: int) -> range:
        value = self.cells[cell]
        if value & ANYTHING == ANYTHING:
            return range(count)
        wanted = self._hour(value) if cell == HOUR_ALARM else self._decoded(value)
        return range(wanted, wanted + 1) if wanted < count else range(0)

    def _moment(self, second: int) -> int:
        """When, by the machine's clock, the guest's ``second`` begins."""
        # The wall clock is read first: a little late finds the second begun, a little early not.
        wait = second * SECOND_NS - self.clock.wall_ns() - self.moved_ns
        return wait + self.clock.now_ns()

    def _each_second(self) -> None:
        now = self._now() % DAY_SECONDS
        if self.cells[B] & B_UPDATE:
            self._raise(C_UPDATE)
        if self._alarm_after(now - 1) == now:
            self._raise(C_ALARM)
        self._arm()

    def _each_period(self) -> None:
        self._raise(C_PERIODIC)
        self._arm()

    def _raise(self, flag: int) -> None:
        self.cells[C] |= flag
        self._drive()

    def _drive(self) -> None:
        """The flags of C stand where B enables them."""
        wanted = self.cells[C] & self.cells[B] & (C_PERIODIC | C_ALARM | C_UPDATE)
        self.cells[C] = self.cells[C] & ~C_ANY | (C_ANY if wanted else 0)
        self.irq(bool(wanted))
