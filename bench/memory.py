"""Resident memory beside QEMU's, and whether it grows while a guest creates processes.

    python -m bench.memory                   both emulators, Linux idle at the same point
    python -m bench.memory --minutes 60      processes created in a loop for an hour

The loop is run on one CPU. Memory has grown if the emulator has more of its own, the guest's
memory not counted, in the last third of the run than in the third after the settling time.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from bench.linux import MEMORY, linux
from bench.measure import Running
from bench.resident import Resident, resident

__all__ = ["Sample", "growth", "idle", "loop"]

IDLE = "BENCH-IDLE"
SETTLED = 5.0
"""Seconds after its last word at which an idle guest is looked at: translators have finished."""

LIMIT = 300.0
SETTLING = 1 / 6
"""The share of the loop in which memory may still grow: caches fill, code is translated."""

TOLERANCE = 2 << 20
"""Bytes that the medians may differ by: a heap breathes."""

HEADER = f"{'MiB resident':24} {'guest':>8} {'own':>8} {'helpers':>8} {'total':>8}"


@dataclass(frozen=True)
class Sample:
    """A look at the loop: after how many seconds, how many processes there have been, memory."""

    seconds: float
    processes: int
    memory: Resident


def row(title: str, memory: Resident) -> str:
    """A line of either table."""
    parts = (memory.guest, memory.own, memory.helpers, memory.total)
    return f"{title:24} " + " ".join(f"{part / (1 << 20):8.1f}" for part in parts)


def idle(command: Sequence[str]) -> Resident:
    """The memory of an emulator whose guest has come up and waits."""
    with Running(command) as running:
        if running.listen(LIMIT, IDLE) is None:
            raise click.ClickException(f"the guest did not come up:\n{running.output[-2000:]}")
        running.listen(SETTLED)
        return resident(running.process.pid, MEMORY)


def loop(command: Sequence[str], seconds: float, every: float) -> list[Sample]:
    """Samples of an emulator whose guest creates processes, shown as they are taken."""
    samples: list[Sample] = []
    with Running(command) as running:
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


def growth(
    samples: Sequence[Sample], part: Callable[[Resident], int] = lambda memory: memory.overhead
) -> int:
    """How many bytes more there are at the end than after settling: medians of a third each."""
    settled = samples[int(len(samples) * SETTLING) :]
    third = max(1, len(settled) // 3)
    first, last = settled[:third], settled[-third:]
    return round(
        statistics.median(part(sample.memory) for sample in last)
        - statistics.median(part(sample.memory) for sample in first)
    )


def verdict(samples: Sequence[Sample]) -> str:
    """What the loop has shown, in a sentence."""
    more = growth(samples)
    created = samples[-1].processes - samples[0].processes
    kept = "it grew" if more > TOLERANCE else "it did not grow"
    return (
        f"{created} processes in {samples[-1].seconds - samples[0].seconds:.0f} s; "
        f"memory besides the guest's changed by {more / (1 << 20):+.1f} MiB: {kept}"
    )


@click.command()
@click.option("--minutes", default=0.0, help="Run the loop of processes for so long.")
@click.option("--every", default=60.0, show_default=True, help="Seconds between samples.")
@click.option("--accel", default="auto", show_default=True, help="Our accelerator.")
def main(minutes: float, every: float, accel: str) -> None:
    """Show resident memory: of idle guests, or in a loop of processes."""
    options = ["--accel", accel]
    click.echo(HEADER)
    if minutes:
        guest = linux("sh /bench/processes.sh", "processes.sh")
        click.echo(verdict(loop(guest.ours(options), minutes * 60, every)))
        return
    guest = linux(f"echo {IDLE}; sleep 100000")
    click.echo(row("bimetal", idle(guest.ours(options))))
    click.echo(row("qemu", idle(guest.theirs())))


if __name__ == "__main__":
    main()
