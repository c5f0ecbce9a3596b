"""``bimetal migrate``: a machine goes on elsewhere, while it runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from bimetal.cli.options import OnceEach
from bimetal.control.machines import Machines

__all__ = ["command"]

MIB = 1 << 20
WIDTH = 60


@click.command("migrate", cls=OnceEach)
@click.argument("domain", metavar="DOMAIN")
@click.argument("desturi", metavar="PLACE")
@click.option("--live", is_flag=True, help="Accepted: its guest runs as long as that can be.")
@click.option(
    "--bandwidth", type=click.IntRange(0), default=0, metavar="MIB", help="MiB a second at most."
)
@click.option(
    "--downtime",
    type=click.IntRange(0, 2_000_000),
    default=300,
    metavar="MS",
    show_default=True,
    help="Milliseconds for which the guest may stand still.",
)
def command(domain: str, desturi: str, live: bool, bandwidth: int, downtime: int) -> None:
    """Have a machine go on elsewhere, while it runs, on the same disks.

    DOMAIN is the machine: its name, UUID, or the id of its run. PLACE is where somebody waits for
    it, by 'bimetal start DOMAIN --incoming PLACE': tcp:HOST:PORT or unix:PATH.
    """
    terminal = sys.stderr.isatty()

    def tell(told: Mapping[str, Any]) -> None:
        ram = told.get("ram")
        if ram is not None and terminal:
            click.echo(f"\r{_line(ram).ljust(WIDTH)}", err=True, nl=False)

    known = Machines().migrate(
        domain, desturi, tell=tell, bandwidth=bandwidth * MIB, downtime=downtime
    )
    if terminal:
        click.echo("", err=True)
    click.echo(f"Domain '{known.name}' migrated to {desturi}")


def _line(ram: Mapping[str, Any]) -> str:
    total, left = ram["total"], ram["remaining"]
    done = 100 * (total - left) // total if total else 100
    return f"Migration: [{done:3} %] {left // MIB} MiB left, pass {ram['dirty-sync-count']}"
