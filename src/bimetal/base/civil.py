"""Civil time: a point in time as year, month, day, hour, minute and second, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["civil_of", "seconds_of"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def civil_of(seconds: int) -> datetime:
    """The civil time ``seconds`` after 1970-01-01 00:00 UTC; OverflowError beyond year 9999."""
    return EPOCH + timedelta(seconds=seconds)


def seconds_of(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Seconds from 1970-01-01 00:00 UTC; ValueError if there is no such time."""
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return (moment - EPOCH) // timedelta(seconds=1)
