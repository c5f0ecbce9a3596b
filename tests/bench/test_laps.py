"""What guests print of their laps, and the comparison by it."""

from __future__ import annotations

import click
import pytest

from bench.laps import Lap, compare, laps
from bench.measure import Run
from bench.report import Pair


def printed(text: str) -> Run:
    return Run(None, 1.0, text, 0)


def lap(number: int, seconds: float, result: str = "c0de", name: str = "sort") -> str:
    return f"BENCH {name} lap={number} result={result} ticks={seconds * 10_000_000:.0f}\r\n"


def test_laps_are_found_by_name_in_their_order() -> None:
    text = "noise\n" + lap(0, 2) + lap(1, 1) + lap(0, 3, name="hash") + "more noise"
    assert laps(printed(text)) == {
        "sort": [Lap("c0de", 2.0), Lap("c0de", 1.0)],
        "hash": [Lap("c0de", 3.0)],
    }


def test_output_without_a_result_is_an_error() -> None:
    with pytest.raises(ValueError, match="no result in the output"):
        laps(printed("TRAP cause=2 pc=80000000\n"))


def test_the_last_lap_counts_and_the_first_is_kept() -> None:
    rounds = [
        (printed(lap(0, 2) + lap(1, 1)), printed(lap(0, 4) + lap(1, 3))),
        (printed(lap(0, 5) + lap(1, 2)), printed(lap(0, 6) + lap(1, 4))),
    ]
    timing = compare(rounds)["sort"]
    assert timing.steady == [Pair(1, 3), Pair(2, 4)]
    assert timing.first == [Pair(2, 4), Pair(5, 6)]


@pytest.mark.parametrize("theirs", [lap(0, 1, "bad"), lap(0, 1) + lap(1, 1)])
def test_other_results_under_qemu_are_an_error(theirs: str) -> None:
    with pytest.raises(click.ClickException, match="results differ"):
        compare([(printed(lap(0, 1)), printed(theirs))])
