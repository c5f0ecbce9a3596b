"""Linux from power on to a shell: without regions from earlier runs, at the second time, and warm.

*Cold*: the store holds the compiled interpreter, which counts as installed, and nothing else.
*Second*: what a cold boot has left is there, and what was compiled in the background after it.
*Warm*: what many boots have left is there.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from bench.caches import private_caches
from bench.linux import linux
from bench.measure import Run, run
from bench.report import Pair, row
from bench.targets import Target

__all__ = ["Regions", "regions", "report"]

SHELL = "BIMETAL-GUEST-RC=0"
"""Printed when the guest's shell has run its first order."""

EARLIER = 3
"""Boots before the first warm one that is counted."""

KINDS = ("cold", "second", "warm")
COUNTS = re.compile(r"([\d,]+) regions (compiled|from the store)")


@dataclass(frozen=True)
class Regions:
    """Where a run's regions came from."""

    compiled: int
    stored: int

    @property
    def share(self) -> float:
        """The part that came from the store, of 1."""
        return self.stored / max(1, self.compiled + self.stored)


def regions(result: Run) -> Regions | None:
    """What ``bimetal run --stats`` has said of regions; None where nothing is translated."""
    counts = {what: int(count.replace(",", "")) for count, what in COUNTS.findall(result.output)}
    return Regions(counts["compiled"], counts["from the store"]) if counts else None


def seconds(result: Run) -> float:
    """From process start to the shell."""
    if result.marker is None:
        raise click.ClickException(f"the guest did not come up:\n{result.output[-2000:]}")
    return result.marker


def boots(target: Target, rounds: int, options: Sequence[str]) -> Iterator[dict[str, Run]]:
    """Rounds of one boot of each kind, and one of QEMU."""
    guest = linux(target, "true")
    ours, theirs = guest.ours([*options, "--stats"]), guest.theirs()
    with private_caches(target, "cold", "warm") as (cold, warm):
        for _ in range(EARLIER):
            run(ours, SHELL, to_end=True, cache=warm.path)
        run(theirs, SHELL, to_end=True)
        for _ in range(rounds):
            cold.reset()
            runs = {"cold": run(ours, SHELL, to_end=True, cache=cold.path)}
            # Not counted: that run was followed by compiling in the background, and after such a
            # pause a host may take longer to give memory, to whoever comes next.
            run(theirs, SHELL, to_end=True)
            for kind, cache in (("second", cold), ("warm", warm)):
                runs[kind] = run(ours, SHELL, to_end=True, cache=cache.path)
            yield {**runs, "qemu": run(theirs, SHELL, to_end=True)}


def report(target: Target, rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time boots and yield the lines of the report."""
    done = list(boots(target, rounds, options))
    for kind in KINDS:
        pairs = [Pair(seconds(each[kind]), seconds(each["qemu"])) for each in done]
        yield row(f"Linux to a shell, {kind}", pairs)
        counted = [found for each in done if (found := regions(each[kind]))]
        if counted:
            yield regions_row(counted)


def regions_row(counted: Sequence[Regions]) -> str:
    """Where regions came from: medians over the rounds."""
    stored = statistics.median(each.stored for each in counted)
    compiled = statistics.median(each.compiled for each in counted)
    shares = sorted(each.share for each in counted)
    return (
        f"  regions: {stored:.0f} from the store, {compiled:.0f} compiled:"
        f" {statistics.median(shares):.1%} ({shares[0]:.1%} - {shares[-1]:.1%})"
    )
