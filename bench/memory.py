"""Resident memory beside QEMU's, and whether it grows while a guest creates processes.

    python -m bench.memory                   both emulators, Linux idle at the same point
    python -m bench.memory --minutes 60      processes created in a loop for an hour

The loop is run on one CPU. Memory has grown if the emulator and its helpers have written to more
of it, the guest's not counted, in the last third of the run than in the third after the settling
time.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bench.caches import private_caches
from bench.linux import MEMORY, linux
from bench.measure import Running
from bench.programs import SOURCES
from bench.resident import Resident, resident
from bench.targets import RISCV64, Target

__all__ = ["Sample", "beside", "growth", "loop"]

IDLE = "BENCH-IDLE"
SETTLED = 5.0
"""Seconds after its last word at which an idle guest is looked at: translators have finished."""

LIMIT = 300.0
SETTLING = 1 / 6
"""The share of the loop in which memory may still grow: caches fill, code is translated."""

MIB = 1 << 20
TOLERANCE = 2 * MIB
"""Bytes that the medians may differ by: a heap breathes."""

HEADER = f"{'MiB resident':24} {'guest':>8} {'own':>8} {'helpers':>8} {'total':>8} {'written':>8}"


@dataclass(frozen=True)
class Sample:
    """A look at the loop: after how many seconds, how many processes there have been, memory."""

    seconds: float
    processes: int
    memory: Resident


def row(title: str, memory: Resident) -> str:
    """A line of either table."""
    parts = (memory.guest, memory.own, memory.helpers, memory.total, memory.written)
    return f"{title:24} " + " ".join(f"{part / MIB:8.1f}" for part in parts)


def idle(command: Sequence[str], cache: Path | None = None) -> Resident:
    """The memory of an emulator whose guest has come up and waits."""
    with Running(command, cache) as running:
        if running.listen(LIMIT, IDLE) is None:
            raise click.ClickException(f"the guest did not come up:\n{running.output[-2000:]}")
        running.listen(SETTLED)
        return resident(running.process.pid, MEMORY)


def beside(target: Target, options: Sequence[str]) -> Iterator[str]:
    """Both emulators with the same guest at the same point: the lines of the report."""
    guest = linux(target, f"echo {IDLE}; sleep 100000")
    yield HEADER
    with private_caches(target, "memory") as (cache,):
        yield row("bimetal", idle(guest.ours(options), cache.path))
    yield row("qemu", idle(guest.theirs()))


def loop(
    command: Sequence[str], seconds: float, every: float, cache: Path | None = None
) -> list[Sample]:
    """Samples of an emulator whose guest creates processes, shown as they are taken."""
    samples: list[Sample] = []
    with Running(command, cache) as running:
        if running.listen(LIMIT, "BENCH processes=") is None:
            raise click.ClickException(f"the guest did not come up:\n{running.output[-2000:]}")
        end = running.seconds + seconds
        while running.seconds < end:
            running.listen(min(every, end - running.seconds))
            if running.ended:
                raise click.ClickException(f"the guest ended:\n{running.output[-2000:]}")
            processes = int(re.findall(r"BENCH processes=(\d+)", running.output)[-1])
            memory = resident(running.process.pid, MEMORY)
            samples.append(Sample(running.seconds, processes, memory))
            click.echo(row(f"{running.seconds:8.0f} s {processes:9}", memory))
    return samples


def growth(samples: Sequence[Sample]) -> int:
    """How many bytes more are written to at the end than after settling: medians of a third."""
    settled = samples[int(len(samples) * SETTLING) :]
    third = max(1, len(settled) // 3)
    first, last = settled[:third], settled[-third:]
    return round(
        statistics.median(sample.memory.written for sample in last)
        - statistics.median(sample.memory.written for sample in first)
    )


def verdict(samples: Sequence[Sample]) -> str:
    """What the loop has shown, in a sentence."""
    created = samples[-1].processes - samples[0].processes
    more = growth(samples)
    return (
        f"{created} processes in {samples[-1].seconds - samples[0].seconds:.0f} s;"
        f" MiB written to, from the first third after settling to the last: {more / MIB:+.1f}:"
        f" {'it grew' if more > TOLERANCE else 'it did not grow'}"
    )


@click.command()
@click.option("--minutes", default=0.0, help="Run the loop of processes for so long.")
@click.option("--every", default=60.0, show_default=True, help="Seconds between samples.")
@click.option("--accel", default="auto", show_default=True, help="Our accelerator.")
def main(minutes: float, every: float, accel: str) -> None:
    """Show resident memory: of idle guests, or in a loop of processes."""
    options = ["--accel", accel]
    if not minutes:
        for line in beside(RISCV64, options):
            click.echo(line)
        return
    click.echo(HEADER)
    guest = linux(RISCV64, "sh /bench/processes.sh", SOURCES / "processes.sh")
    with private_caches(RISCV64, "memory") as (cache,):
        click.echo(verdict(loop(guest.ours(options), minutes * 60, every, cache.path)))


if __name__ == "__main__":
    main()
