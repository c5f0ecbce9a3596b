"""Speed beside QEMU's TCG: the same guests, turn and turn about, on one machine in one run.

A ratio is QEMU's time divided by ours: above 1 we are faster. Each round runs both, so that what
else the machine does falls on both; the figure is the median over the rounds, and the spread is
the smallest and the largest. A first run of each, which fills caches, is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

from bench import bare, boot, memory, report, scripts
from bench.programs import names

PARTS: dict[str, Callable[[int, Sequence[str]], Iterator[str]]] = {
    "boot": boot.report,
    "shell": scripts.shell,
    "debian": scripts.debian,
    "harts": scripts.harts,
}
"""What is timed in Linux guests."""

EPILOG = (
    "\b\nPARTS are\n"
    "  programs  every C program without an operating system, or name some of them:\n"
    f"            {', '.join(names()[:6])},\n"
    f"            {', '.join(names()[6:])}\n"
    "  boot      Linux to a shell: cold, for the second time, and warm\n"
    "  shell     a script in the guest: forks, pipes, files\n"
    "  debian    gzip, sha256sum, openssl and python3 in a Debian on a disk\n"
    "  harts     threads that share work on four harts\n"
    "  memory    what is resident while Linux waits; see also python -m bench.memory"
)


@click.command(epilog=EPILOG)
@click.argument("parts", nargs=-1)
@click.option("--rounds", "-n", default=5, show_default=True, help="Counted runs of each.")
@click.option("--accel", default="auto", show_default=True, help="Our accelerator.")
def main(parts: tuple[str, ...], rounds: int, accel: str) -> None:
    """Compare Bimetal with QEMU in PARTS (all of them)."""
    known = ["programs", *PARTS, "memory"]
    if unknown := sorted(set(parts) - {*known, *names()}):
        raise click.UsageError(f"no part {unknown[0]!r}; there are {', '.join(known + names())}")
    wanted = parts or known
    options = ["--accel", accel]
    programs = names() if "programs" in wanted else [part for part in wanted if part in names()]
    timed = [part for part in PARTS if part in wanted]
    if programs or timed:
        click.echo(report.HEADER)
    if programs:
        show(bare.report(programs, rounds, options, translated=accel != "interp"))
    for part in timed:
        show(PARTS[part](rounds, options))
    if "memory" in wanted:
        show(memory.beside(options))


def show(lines: Iterator[str]) -> None:
    """Print lines as they come."""
    for line in lines:
        click.echo(line)


if __name__ == "__main__":
    main()
