"""The C programs without an operating system: one guest, one piece of work.

Each round runs us twice, *cold* with a store of compiled code as after installation, and with
what earlier rounds have left in it. Where nothing is translated there is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.caches import private_caches
from bench.laps import Timing, compare
from bench.measure import Run, run
from bench.programs import build, kind
from bench.report import Pair, mean_rows, row
from bench.targets import NATIVE, Target
from bimetal.catalogue import cache_folder

__all__ = ["beside_native", "report"]


def commands(name: str, target: Target, options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our command for a program, and QEMU's."""
    program = build(name, target.compiler, cache_folder() / "bench")
    return target.bare(program, options), target.bare_theirs(program)


def report(
    target: Target,
    names: Sequence[str],
    rounds: int,
    options: Sequence[str],
    translated: bool = True,
) -> Iterator[str]:
    """Time each program and yield the lines of the report."""
    kinds = {"": "warm", ", cold": "cold"} if translated else {"": "warm"}
    steady: dict[str, list[Pair]] = {}
    for name in names:
        done = runs(target, *commands(name, target, options), rounds, tuple(kinds.values()))
        for title, cache in kinds.items():
            pairs = [(each[cache], each["peer"]) for each in done]
            timing = compare(pairs)[name]
            if not title:
                steady[name] = timing.steady
                yield row(name, timing.steady)
            yield from beginning(title, pairs, timing)
    yield from mean_rows(steady, kind)


def beside_native(
    target: Target, names: Sequence[str], rounds: int, options: Sequence[str]
) -> Iterator[str]:
    """Time each program here and compiled for the host itself, and yield the lines of the report.

    The lines are as those of `report`, with the host in the place of QEMU: 0.5 is half its speed.
    """
    steady: dict[str, list[Pair]] = {}
    for name in names:
        ours, _ = commands(name, target, options)
        theirs = [str(build(name, NATIVE, cache_folder() / "bench"))]
        done = runs(target, ours, theirs, rounds, ("warm",))
        timing = compare([(each["warm"], each["peer"]) for each in done])[name]
        steady[name] = timing.steady
        yield row(f"{name}, native", timing.steady)
    yield from mean_rows(steady, kind)


def runs(
    target: Target,
    ours: Sequence[str],
    theirs: Sequence[str],
    rounds: int,
    kinds: Sequence[str],
) -> list[dict[str, Run]]:
    """Rounds of runs of each kind and one of the peer's, after a round that is not counted."""
    done = []
    with private_caches(target, *kinds) as caches:
        for _ in range(rounds + 1):
            ran = {}
            for kind, cache in zip(kinds, caches, strict=True):
                if kind == "cold":
                    cache.reset()
                ran[kind] = run(ours, cache=cache.path)
            done.append({**ran, "peer": run(theirs)})
    return done[1:]


def beginning(title: str, pairs: Sequence[tuple[Run, Run]], timing: Timing) -> Iterator[str]:
    """The lines about the time until code has been translated."""
    yield row(f"  first lap{title}", timing.first)
    whole = [Pair(our.total, their.total) for our, their in pairs]
    yield row(f"  with process start{title}", whole)
