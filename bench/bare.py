"""The C programs without an operating system: one guest, one piece of work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.laps import compare
from bench.linux import BIMETAL, QEMU
from bench.measure import alternate
from bench.programs import build
from bench.report import Pair, mean_row, row
from bimetal.catalogue import cache_folder

__all__ = ["report"]


def report(names: Sequence[str], rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time each program and yield the lines of the report."""
    steady = []
    for name in names:
        program = str(build(name, cache_folder() / "bench"))
        runs = alternate(
            [*BIMETAL, *options, "--bios", "none", "--kernel", program],
            [*QEMU, "-bios", "none", "-kernel", program],
            rounds,
        )
        timing = compare(runs)[name]
        steady.append(timing.steady)
        yield row(name, timing.steady)
        yield row("  first lap", timing.first)
        yield row("  with process start", [Pair(our.total, their.total) for our, their in runs])
    yield mean_row(steady)
