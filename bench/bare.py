"""The C programs without an operating system: one guest, one piece of work.

Each round runs us twice, *cold* with a store of compiled code as after installation, and with
what earlier rounds have left in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.caches import private_caches
from bench.laps import Timing, compare
from bench.linux import BIMETAL, QEMU
from bench.measure import Run, run
from bench.programs import build
from bench.report import Pair, mean_row, row
from bimetal.catalogue import cache_folder

__all__ = ["report"]


def report(names: Sequence[str], rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time each program and yield the lines of the report."""
    steady = []
    for name in names:
        program = str(build(name, cache_folder() / "bench"))
        ours = [*BIMETAL, *options, "--bios", "none", "--kernel", program]
        theirs = [*QEMU, "-bios", "none", "-kernel", program]
        done = runs(ours, theirs, rounds)
        warm, cold = ([(each[kind], each[2]) for each in done] for kind in (0, 1))
        steady.append(compare(warm)[name].steady)
        yield row(name, steady[-1])
        for title, pairs in (("", warm), (", cold", cold)):
            yield from beginning(title, pairs, compare(pairs)[name])
    yield mean_row(steady)


def runs(ours: Sequence[str], theirs: Sequence[str], rounds: int) -> list[tuple[Run, Run, Run]]:
    """Rounds of a warm run, a cold one, and one of QEMU, after one that is not counted."""
    done = []
    with private_caches("warm", "cold") as (warm, cold):
        for _ in range(rounds + 1):
            cold.reset()
            ran_cold = run(ours, cache=cold.path)
            done.append((run(ours, cache=warm.path), ran_cold, run(theirs)))
    return done[1:]


def beginning(title: str, pairs: Sequence[tuple[Run, Run]], timing: Timing) -> Iterator[str]:
    """The lines about the time until code has been translated."""
    yield row(f"  first lap{title}", timing.first)
    whole = [Pair(our.total, their.total) for our, their in pairs]
    yield row(f"  with process start{title}", whole)
