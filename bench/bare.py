"""The C programs without an operating system: one guest, one piece of work.

Each round runs us twice, *cold* with a store of compiled code as after installation, and with
what earlier rounds have left in it. Where nothing is translated there is no difference.
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


def report(
    names: Sequence[str], rounds: int, options: Sequence[str], translated: bool = True
) -> Iterator[str]:
    """Time each program and yield the lines of the report."""
    kinds = {"": "warm", ", cold": "cold"} if translated else {"": "warm"}
    steady = []
    for name in names:
        program = str(build(name, cache_folder() / "bench"))
        ours = [*BIMETAL, *options, "--bios", "none", "--kernel", program]
        theirs = [*QEMU, "-bios", "none", "-kernel", program]
        done = runs(ours, theirs, rounds, tuple(kinds.values()))
        for title, kind in kinds.items():
            pairs = [(each[kind], each["qemu"]) for each in done]
            timing = compare(pairs)[name]
            if not title:
                steady.append(timing.steady)
                yield row(name, timing.steady)
            yield from beginning(title, pairs, timing)
    yield mean_row(steady)


def runs(
    ours: Sequence[str], theirs: Sequence[str], rounds: int, kinds: Sequence[str]
) -> list[dict[str, Run]]:
    """Rounds of runs of each kind and one of QEMU, after a round that is not counted."""
    done = []
    with private_caches(*kinds) as caches:
        for _ in range(rounds + 1):
            ran = {}
            for kind, cache in zip(kinds, caches, strict=True):
                if kind == "cold":
                    cache.reset()
                ran[kind] = run(ours, cache=cache.path)
            done.append({**ran, "qemu": run(theirs)})
    return done[1:]


def beginning(title: str, pairs: Sequence[tuple[Run, Run]], timing: Timing) -> Iterator[str]:
    """The lines about the time until code has been translated."""
    yield row(f"  first lap{title}", timing.first)
    whole = [Pair(our.total, their.total) for our, their in pairs]
    yield row(f"  with process start{title}", whole)
