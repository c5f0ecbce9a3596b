"""Civil time, also where Python's own calendar ends."""

from datetime import UTC, datetime

import pytest

from bimetal.base.civil import Civil, civil_of, seconds_of


@pytest.mark.parametrize("seconds", [0, -1, 951_782_400, 4_102_444_799, -62_135_596_800])
def test_within_pythons_calendar_it_is_pythons(seconds: int) -> None:
    there = datetime.fromtimestamp(seconds, UTC)
    assert civil_of(seconds) == (*there.timetuple()[:6], there.isoweekday())


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        # date -u -d '9999-12-31 23:59:59' +'%s %u', and so on
        (253_402_300_799, Civil(9999, 12, 31, 23, 59, 59, 5)),
        (253_402_300_800, Civil(10000, 1, 1, 0, 0, 0, 6)),
        (-62_167_219_200, Civil(0, 1, 1, 0, 0, 0, 6)),
        (1_000_000_000_000, Civil(33658, 9, 27, 1, 46, 40, 5)),
    ],
)
def test_beyond_it_the_calendar_goes_on(seconds: int, moment: Civil) -> None:
    assert civil_of(seconds) == moment
    assert seconds_of(*moment[:6]) == seconds


@pytest.mark.parametrize("day", [(1900, 2, 29), (10100, 2, 29), (2026, 13, 1), (2026, 4, 31)])
def test_days_that_do_not_exist(day: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"month|day"):
        seconds_of(*day, 0, 0, 0)
