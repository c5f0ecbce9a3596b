"""Rounds of runs: each boots QEMU and us in turn, for the same programs in the same order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct

from bench.caches import Cache, private_caches
from bench.laps import Lap
from bench.measure import Run, Running, settle
from bench.public.guest import guest
from bench.public.outcome import STORES, Round, times
from bench.public.table import Program, script
from bench.targets import Target
from bimetal.catalogue import cache_folder
from bimetal.catalogue.folder import scratch_folder

__all__ = ["Settings", "rounds"]

LIMITS = {False: 120, True: 1200}
"""Seconds for which a program is waited for, with its preparation; in the long form."""

LAST_WORDS = 60
"""Seconds for a guest to switch off."""


class Settings(Struct, frozen=True):
    """How the programs are run: which of them (`table.choose`), the guest's CPUs, busy loops beside
    it, in the long form, each after a boot of its own, and with which stores of ours."""

    only: Sequence[str] = ()
    cpus: int = 1
    load: int = 0
    long: bool = False
    alone: bool = False
    stores: Sequence[str] = STORES


class Rounds(Struct, frozen=True):
    """What does not change from round to round. ``initrd`` is a folder."""

    target: Target
    programs: dict[str, Program]
    settings: Settings
    options: Sequence[str]
    image: Path
    initrd: Path
    cache: Cache

    def round(self, number: int) -> Round:
        """Run all programs once under QEMU and once with each store, from another one on in each
        round: what comes later finds code that is common to all translated."""
        names = [*self.programs]
        turn = number * 7 % len(names)
        order = [*names[turn:], *names[:turn]]
        theirs: dict[str, Lap] = {}
        ours: dict[str, dict[str, Lap]] = {store: {} for store in self.settings.stores}
        for group in [[name] for name in order] if self.settings.alone else [order]:
            if "cold" in ours:
                self.cache.reset()
            elif number == 0:
                self.run(group, f"round {number + 1}, not counted", ours=True)
            theirs |= self.run(group, f"round {number + 1}, QEMU", ours=False)
            for store, found in ours.items():
                found |= self.run(group, f"round {number + 1}, {store}", ours=True)
        return Round(theirs, ours)

    def run(self, order: Sequence[str], title: str, *, ours: bool) -> dict[str, Lap]:
        """Boot once and have programs run."""
        settings = self.settings
        text = script(self.programs, order, long=settings.long)
        linux = guest(self.target, self.image, text, self.initrd, settings.cpus)
        command = linux.ours(self.options) if ours else linux.theirs()
        with busy(settings.load), Running(command, self.cache.path if ours else None) as running:
            for count, name in enumerate(order):
                progress(f"{title}: {name}, {count + 1} of {len(order)}")
                running.listen(LIMITS[settings.long], f"BENCH {name} ")
                if f"BENCH {name} " not in running.output:
                    break
            running.listen(LAST_WORDS)
            total = running.seconds
            found = times(Run(None, total, running.output, running.stop()))
        seen = ", ".join(f"{name} {lap.seconds:.2f}" for name, lap in found.items())
        progress(f"{title}: {len(found)} of {len(order)} in {total:.0f} s: {seen}", done=True)
        if len(found) < len(order) or any(lap.result == "failed" for lap in found.values()):
            click.echo(running.output[-2000:], err=True)
        if ours:
            progress("what is compiled in the background is waited for")
            settle(self.cache.path)
        return found


def rounds(
    target: Target,
    programs: dict[str, Program],
    image: Path,
    settings: Settings,
    count: int,
    options: Sequence[str],
) -> Iterator[Round]:
    """Run so many rounds. What our runs leave is in a cache of their own."""
    folder = cache_folder() / "bench" / target.name / "public"
    with private_caches(target, "public") as (cache,), scratch_folder(folder) as initrd:
        every = Rounds(target, programs, settings, options, image, initrd, cache)
        for number in range(count):
            yield every.round(number)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Loops that take so many of the host's processors."""
    loops: list[subprocess.Popen[bytes]] = []
    try:
        loops += [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def progress(text: str, *, done: bool = False) -> None:
    """Say where it is: in one line of a terminal, or at the end of each boot."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=done)
    elif done:
        click.echo(text, err=True)
