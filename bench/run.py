"""Speed beside QEMU's TCG: the same guests, turn and turn about, on one machine in one run.

    python -m bench.run                      every program, then the Linux boot
    python -m bench.run sort hash --rounds 9
    python -m bench.run --boot-only

A ratio is QEMU's time divided by ours: above 1 we are faster. Each round runs both, so that what
else the machine does falls on both; the figure is the median over the rounds, and the spread is
the smallest and the largest. A first run of each, which fills caches, is not counted.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from bench.measure import Run, laps, run
from bench.programs import build, names
from bimetal.catalogue import Payload, cache_folder, fetch

MARKER = "BIMETAL-GUEST-UP"
QEMU = ("qemu-system-riscv64", "-M", "virt", "-accel", "tcg", "-m", "512M", "-nographic")
BIMETAL = (sys.executable, "-m", "bimetal", "run", "--board", "riscv-virt", "--memory", "512M")


@dataclass(frozen=True)
class Pair:
    """The times of both in one round, in seconds."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours


def row(title: str, pairs: Sequence[Pair]) -> str:
    """A line of the report."""
    ours = statistics.median(pair.ours for pair in pairs)
    theirs = statistics.median(pair.theirs for pair in pairs)
    ratios = sorted(pair.ratio for pair in pairs)
    return (
        f"{title:24} {ours:8.2f} {theirs:8.2f} {statistics.median(ratios):8.2f}"
        f"   {ratios[0]:.2f} - {ratios[-1]:.2f}"
    )


def alternate(
    ours: Sequence[str], theirs: Sequence[str], rounds: int, marker: str = ""
) -> list[tuple[Run, Run]]:
    """Both commands in turn, after one run of each that is not counted."""
    run(ours, marker), run(theirs, marker)
    return [(run(ours, marker), run(theirs, marker)) for _ in range(rounds)]


@dataclass(frozen=True)
class Timing:
    """A program's times: its last lap, its first lap, and process start to process end."""

    steady: list[Pair]
    first: list[Pair]
    process: list[Pair]


def bench(name: str, rounds: int, options: Sequence[str]) -> Timing:
    """Time one program."""
    program = str(build(name, cache_folder() / "bench"))
    runs = alternate(
        [*BIMETAL, *options, "--bios", "none", "--kernel", program],
        [*QEMU, "-bios", "none", "-kernel", program],
        rounds,
    )
    timing = Timing([], [], [])
    for ours, theirs in runs:
        ours_laps, their_laps = laps(ours), laps(theirs)
        if [result for result, _ in ours_laps] != [result for result, _ in their_laps]:
            raise click.ClickException(f"{name}: {ours_laps} here, {their_laps} under QEMU")
        timing.steady.append(Pair(ours_laps[-1][1], their_laps[-1][1]))
        timing.first.append(Pair(ours_laps[0][1], their_laps[0][1]))
        timing.process.append(Pair(ours.total, theirs.total))
    return timing


def boot(guest: Payload, rounds: int, options: Sequence[str]) -> list[Pair]:
    """Time a Linux boot from process start to the first line of user space."""
    files = [str(guest.kernel), str(guest.initrd)]
    runs = alternate(
        [*BIMETAL, *options, "--kernel", files[0], "--initrd", files[1], "--append", guest.append],
        [*QEMU, "-kernel", files[0], "-initrd", files[1], "-append", guest.append],
        rounds,
        MARKER,
    )
    return [Pair(seconds_to_marker(ours), seconds_to_marker(theirs)) for ours, theirs in runs]


def seconds_to_marker(result: Run) -> float:
    if result.marker is None:
        raise click.ClickException(f"the guest did not come up:\n{result.output[-2000:]}")
    return result.marker


def geometric_mean(pairs: Sequence[Sequence[Pair]]) -> float:
    return statistics.geometric_mean(
        statistics.median(pair.ratio for pair in of_one) for of_one in pairs
    )


@click.command()
@click.argument("programs", nargs=-1)
@click.option("--rounds", "-n", default=5, show_default=True, help="Counted runs of each.")
@click.option("--accel", default="auto", show_default=True, help="Our accelerator.")
@click.option("--boot/--no-boot", "with_boot", default=True, help="Time the Linux boot too.")
@click.option("--boot-only", is_flag=True, help="Time nothing but the Linux boot.")
def main(
    programs: tuple[str, ...], rounds: int, accel: str, with_boot: bool, boot_only: bool
) -> None:
    """Compare Bimetal with QEMU on PROGRAMS (all of them)."""
    unknown = sorted(set(programs) - set(names()))
    if unknown:
        raise click.UsageError(f"no program {unknown[0]!r}; there are {', '.join(names())}")
    options = ["--accel", accel]
    say: Callable[[str], None] = click.echo
    say(f"{'seconds (median)':24} {'bimetal':>8} {'qemu':>8} {'ratio':>8}   spread")
    results = []
    for name in [] if boot_only else programs or names():
        timing = bench(name, rounds, options)
        results.append(timing.steady)
        say(row(name, timing.steady))
        say(row("  first lap", timing.first))
        say(row("  with process start", timing.process))
    if results:
        say(f"{'geometric mean':24} {'':17} {geometric_mean(results):8.2f}")
    if boot_only or with_boot:
        guest = fetch("debian-riscv64")
        say(row("Linux to user space", boot(guest, rounds, options)))


if __name__ == "__main__":
    main()
