"""Speed beside QEMU's TCG: the same guests, turn and turn about, on one machine in one run.

A ratio is QEMU's time divided by ours: above 1 we are faster. Each round runs both, so that what
else the machine does falls on both; the figure is the median over the rounds, and the spread is
the smallest and the largest. A first run of each, which fills caches, is not counted.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from bench import bare, boot, disk, memory, network, report, scripts
from bench.programs import common_names, names
from bench.public import part as public
from bench.public.outcome import STORES
from bench.public.rounds import Settings
from bench.public.table import choose
from bench.targets import TARGETS, Target

PARTS: dict[str, Callable[[Target, int, Sequence[str]], Iterator[str]]] = {
    "boot": boot.report,
    "shell": scripts.shell,
    "debian": scripts.debian,
    "harts": scripts.harts,
    "turns": scripts.turns,
    "network": network.report,
    "disk": disk.report,
}
"""What is timed in Linux guests."""

USUAL = ("programs", *PARTS, "memory", "native")
"""What is run if nothing is named."""

KNOWN = (*USUAL, "public")


def own_names(target: Target) -> list[str]:
    """The programs of one instruction set alone."""
    return [name for name in names(target.compiler) if name not in common_names()]


EPILOG = (
    "\b\nPARTS are\n"
    "  programs  every C program without an operating system, or name some of them:\n"
    f"            {', '.join(common_names()[:6])},\n"
    f"            {', '.join(common_names()[6:])}\n"
    + "".join(
        f"            {', '.join(own_names(target))} ({target.name})\n"
        for target in TARGETS.values()
    )
    + "  boot      Linux to a shell: cold, for the second time, and warm\n"
    "  shell     a script in the guest: forks, pipes, files\n"
    "  debian    gzip, sha256sum, openssl and python3 in a Debian on a disk\n"
    "  harts     threads that share work on four CPUs\n"
    "  turns     processes that take turns on one CPU\n"
    "  network   files over the user network, down and up\n"
    "  disk      requests of a disk: 1 MiB and 4 KiB, one and 32 at a time, raw and qcow2\n"
    "  memory    what is resident while Linux waits; see also python -m bench.memory\n"
    "  native    the common programs beside the same, compiled for the host\n"
    "  public    programs of other people in Debian, only if it is named; the options\n"
    "            below --isa are its own"
)


@click.command(epilog=EPILOG)
@click.argument("parts", nargs=-1)
@click.option("--rounds", "-n", default=5, show_default=True, help="Counted runs of each.")
@click.option("--accel", default="jit", show_default=True, help="Our accelerator.")
@click.option("--isa", "targets", type=click.Choice([*TARGETS]), multiple=True, help="[all]")
@click.option("--only", multiple=True, metavar="NAME", help="Programs, or kinds of them.  [all]")
@click.option("--cpus", type=click.IntRange(1, 8), default=1, show_default=True, help="Guest's.")
@click.option("--load", type=click.IntRange(0), default=0, help="Busy loops beside.")
@click.option("--long", is_flag=True, help="About 30 s each instead of one or two.")
@click.option("--alone", is_flag=True, help="Boot for each program anew.")
@click.option("--store", "stores", type=click.Choice(STORES), multiple=True, help="[both]")
def main(
    parts: tuple[str, ...], rounds: int, accel: str, targets: tuple[str, ...], **of_public: Any
) -> None:
    """Compare Bimetal with QEMU in PARTS (all of them, but for public)."""
    # What ends for it ends the emulators too, as for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(**of_public | {"stores": of_public["stores"] or STORES})
    try:
        choose("", settings.only)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    wanted = parts or USUAL
    chosen = [TARGETS[name] for name in targets or TARGETS]
    known = {*KNOWN, *(name for target in chosen for name in names(target.compiler))}
    if unknown := sorted({*parts} - known):
        listed = ", ".join([*KNOWN, *sorted(known - {*KNOWN})])
        raise click.UsageError(f"no part {unknown[0]!r}; there are {listed}")
    for target in chosen:
        click.echo(target.name)
        compare(target, wanted, rounds, accel)
        if "public" in wanted:
            show(public.report(target, rounds, ["--accel", accel], settings))


def compare(target: Target, wanted: Sequence[str], rounds: int, accel: str) -> None:
    """Show the wanted parts of one instruction set, except ``public``."""
    if {*wanted} != {"public"}:
        click.echo(report.HEADER)
    options = ["--accel", accel]
    all_names = names(target.compiler)
    programs = all_names if "programs" in wanted else [n for n in all_names if n in wanted]
    if programs:
        show(bare.report(target, programs, rounds, options, translated=accel != "interp"))
    for part in PARTS:
        if part in wanted:
            show(PARTS[part](target, rounds, options))
    if "native" in wanted:
        show(bare.beside_native(target, common_names(), rounds, options))
    if "memory" in wanted:
        show(memory.beside(target, options))


def show(lines: Iterator[str]) -> None:
    """Print lines as they come."""
    for line in lines:
        click.echo(line)


if __name__ == "__main__":
    main()
