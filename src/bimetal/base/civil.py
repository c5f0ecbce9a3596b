"""Civil time: a point in time as year, month, day, hour, minute and second, in UTC.

The calendar is the Gregorian one at all times; its years go on below 1 (that year 0 is) and above
9999, where Python's own end: a guest may set its clock to whatever the registers can hold.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

__all__ = ["Civil", "civil_of", "seconds_of"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CYCLE_YEARS, CYCLE_SECONDS = 400, 146_097 * 86_400
"""After which the calendar repeats itself, weekdays included."""


class Civil(NamedTuple):
    """A second in UTC; ``weekday`` counts from Monday, 1, to Sunday, 7."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    weekday: int


def civil_of(seconds: int) -> Civil:
    """The civil time ``seconds`` after 1970-01-01 00:00 UTC."""
    cycles, rest = divmod(seconds, CYCLE_SECONDS)
    moment = EPOCH + timedelta(seconds=rest)
    year, month, day, hour, minute, second, *_ = moment.timetuple()
    return Civil(year + CYCLE_YEARS * cycles, month, day, hour, minute, second, moment.isoweekday())


def seconds_of(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Seconds from 1970-01-01 00:00 UTC; ValueError if there is no such time."""
    cycles, rest = divmod(year - EPOCH.year, CYCLE_YEARS)
    moment = datetime(EPOCH.year + rest, month, day, hour, minute, second, tzinfo=UTC)
    return cycles * CYCLE_SECONDS + (moment - EPOCH) // timedelta(seconds=1)
