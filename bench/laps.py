"""Guests that time themselves: what they print, and how two emulators compare by it.

A guest does each piece of its work in laps and prints a line for each: the name, the number of
the lap, a result that must be the same under both emulators, and the ticks it took, 10 million a
second, by the guest's own clock. The last lap is the steady state: caches are full, what is hot
is translated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import click

from bench.measure import Run
from bench.report import Pair

__all__ = ["Lap", "Timing", "compare", "laps"]

TICKS_A_SECOND = 10_000_000
"""The timebase of the board ``virt``."""

LINE = re.compile(r"BENCH (\w+) lap=\d+ result=(\w+) ticks=(\d+)")


@dataclass(frozen=True)
class Lap:
    """One lap: its result, and its seconds by the guest's clock."""

    result: str
    seconds: float


@dataclass(frozen=True)
class Timing:
    """A piece of work in every round: its last lap and its first one."""

    steady: list[Pair]
    first: list[Pair]


def laps(run: Run) -> dict[str, list[Lap]]:
    """The laps that a guest has printed, by name. Raises ValueError if there are none."""
    found: dict[str, list[Lap]] = {}
    for name, result, ticks in LINE.findall(run.output):
        found.setdefault(name, []).append(Lap(result, int(ticks) / TICKS_A_SECOND))
    if not found:
        raise ValueError(f"no result in the output:\n{run.output}")
    return found


def compare(rounds: Sequence[tuple[Run, Run]]) -> dict[str, Timing]:
    """The times of each piece of work, ours and theirs; their results must agree."""
    timings: dict[str, Timing] = {}
    for our_run, their_run in rounds:
        ours, theirs = laps(our_run), laps(their_run)
        if results(ours) != results(theirs):
            raise click.ClickException(f"results differ: {ours} here, {theirs} under QEMU")
        for name, own in ours.items():
            timing = timings.setdefault(name, Timing([], []))
            timing.steady.append(Pair(own[-1].seconds, theirs[name][-1].seconds))
            timing.first.append(Pair(own[0].seconds, theirs[name][0].seconds))
    return timings


def results(found: dict[str, list[Lap]]) -> dict[str, list[str]]:
    """The part that does not depend on the machine's speed."""
    return {name: [lap.result for lap in of_one] for name, of_one in found.items()}
