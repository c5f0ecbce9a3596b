"""What runs of the programs say: times that are compared, and results that must be the same."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from bench.laps import Lap, laps
from bench.measure import Run
from bench.public.table import Program
from bench.report import Pair, geometric_mean

__all__ = ["STORES", "Outcome", "Round", "compare", "header", "report", "times"]

STORES = ("cold", "warm")
"""What our run begins with: the store as after installation, or as runs before have left it."""

FAILED = "failed"
"""The result of a program that ended with an error, or printed nothing."""

WIDTH = 20

Times = Mapping[str, Lap]
"""What one emulator has run, by program."""


class Round(Struct, frozen=True):
    """The times under QEMU, and ours by store."""

    theirs: Times
    ours: Mapping[str, Times]


class Outcome(Struct, frozen=True):
    """The pairs of times by store and program, and what is wrong, each a line."""

    pairs: dict[str, dict[str, list[Pair]]]
    faults: list[str]


def times(run: Run) -> dict[str, Lap]:
    """What a guest has printed; nothing if it has not come so far."""
    try:
        return {name: lap for name, (lap, *_) in laps(run).items()}
    except ValueError:
        return {}


def compare(rounds: Iterable[Round], names: Sequence[str]) -> Outcome:
    """Put the times of all rounds together. Those of a program that is at fault do not count."""
    pairs: dict[str, dict[str, list[Pair]]] = {}
    faults: dict[str, None] = {}
    for each in rounds:
        for store, ours in each.ours.items():
            of_store = pairs.setdefault(store, {})
            for name in names:
                own, other = ours.get(name), each.theirs.get(name)
                wrong = fault(name, own, other, store)
                faults |= dict.fromkeys(wrong)
                if own and other and not wrong:
                    pair = Pair(own.seconds, other.seconds)
                    of_store.setdefault(name, []).append(pair)
    return Outcome(pairs, list(faults))


def fault(name: str, ours: Lap | None, theirs: Lap | None, store: str) -> list[str]:
    """What is wrong with one program in one round."""
    wrong = []
    for lap, where in ((ours, f"here, {store}"), (theirs, "under QEMU")):
        if lap is None:
            wrong.append(f"{name} does not come to its end ({where})")
        elif lap.result == FAILED:
            wrong.append(f"{name} fails ({where})")
    if ours and theirs and not wrong and ours.result != theirs.result:
        wrong.append(f"{name}: {ours.result} here ({store}), {theirs.result} under QEMU")
    return wrong


def header(stores: Sequence[str]) -> str:
    """The line above the report."""
    columns = "".join(f" {store:>8} {'ratio':>7}   {'spread':12}" for store in stores)
    return f"{'seconds (median)':{WIDTH}} {'qemu':>8}{columns}".rstrip()


def report(
    outcome: Outcome, programs: Mapping[str, Program], stores: Sequence[str]
) -> Iterator[str]:
    """A line for each program, the means by kind and of all, those below 1, and the faults."""
    for name in programs:
        by_store = [outcome.pairs.get(store, {}).get(name, []) for store in stores]
        if any(by_store):
            yield row(name, by_store)
    for kind in dict.fromkeys(program.kind for program in programs.values()):
        names = [name for name, program in programs.items() if program.kind == kind]
        yield from mean(f"mean, {kind}", outcome, names, stores)
    yield from mean("geometric mean", outcome, [*programs], stores)
    for store in stores:
        ratios = {n: ratio(pairs) for n, pairs in outcome.pairs.get(store, {}).items()}
        slow = sorted((value, name) for name, value in ratios.items() if value < 1)
        if slow:
            listed = ", ".join(f"{name} {value:.2f}" for value, name in slow)
            yield f"below 1, {store} ({len(slow)} of {len(ratios)}): {listed}"
    for wrong in outcome.faults:
        yield f"WRONG: {wrong}"


def ratio(pairs: Sequence[Pair]) -> float:
    return statistics.median(pair.ratio for pair in pairs)


def row(name: str, by_store: Sequence[Sequence[Pair]]) -> str:
    """Medians over the rounds, with the smallest and the largest ratio, by store."""
    theirs = statistics.median(pair.theirs for pair in max(by_store, key=len))
    line = f"{name:{WIDTH}} {theirs:8.2f}"
    for pairs in by_store:
        if not pairs:
            line += f" {'':8} {'':7}   {'':12}"
            continue
        ratios = sorted(pair.ratio for pair in pairs)
        ours = statistics.median(pair.ours for pair in pairs)
        spread = f"{ratios[0]:.2f} - {ratios[-1]:.2f}"
        line += f" {ours:8.2f} {statistics.median(ratios):7.2f}   {spread:12}"
    return line.rstrip()


def mean(
    title: str, outcome: Outcome, names: Sequence[str], stores: Sequence[str]
) -> Iterator[str]:
    """A line with the geometric means over some programs, if there are any."""
    line, any_there = f"{title:{WIDTH + 9}}", False
    for store in stores:
        found = [p for name in names if (p := outcome.pairs.get(store, {}).get(name))]
        any_there |= bool(found)
        line += f" {'':8} {geometric_mean(found) if found else 0:7.2f}   {'':12}"
    if any_there:
        yield line.rstrip()
