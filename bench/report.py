"""The one form of every comparison: both times, QEMU's divided by ours, and the spread of that."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["HEADER", "Pair", "geometric_mean", "mean_row", "mean_rows", "row"]

TITLE = 28
HEADER = f"{'seconds (median)':{TITLE}} {'bimetal':>8} {'qemu':>8} {'ratio':>8}   spread"


@dataclass(frozen=True)
class Pair:
    """The times of both in one round, in seconds."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Above 1 we are faster."""
        return self.theirs / self.ours


def row(title: str, pairs: Sequence[Pair]) -> str:
    """A line of the report: medians over the rounds, smallest and largest ratio."""
    ours = statistics.median(pair.ours for pair in pairs)
    theirs = statistics.median(pair.theirs for pair in pairs)
    ratios = sorted(pair.ratio for pair in pairs)
    return (
        f"{title:{TITLE}} {ours:8.2f} {theirs:8.2f} {statistics.median(ratios):8.2f}"
        f"   {ratios[0]:.2f} - {ratios[-1]:.2f}"
    )


def geometric_mean(results: Sequence[Sequence[Pair]]) -> float:
    """The mean over several guests of their median ratios."""
    return statistics.geometric_mean(
        statistics.median(pair.ratio for pair in pairs) for pairs in results
    )


def mean_row(results: Sequence[Sequence[Pair]], title: str = "geometric mean") -> str:
    """The line under several guests."""
    return f"{title:{TITLE}} {'':17} {geometric_mean(results):8.2f}"


def mean_rows(results: Mapping[str, Sequence[Pair]], kind: Callable[[str], str]) -> Iterator[str]:
    """The lines under guests of several kinds, by name."""
    groups: dict[str, list[Sequence[Pair]]] = {}
    for name, pairs in results.items():
        groups.setdefault(kind(name), []).append(pairs)
    for title, members in groups.items():
        yield mean_row(members, f"geometric mean, {title}")
