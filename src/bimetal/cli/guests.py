"""``bimetal guests``: what the catalogue has, and what of it is on this host."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table

from bimetal import GUESTS, Guest, cached_guest
from bimetal.cli.options import OnceEach

__all__ = ["command"]

HEADINGS = ("guest", "what it is", "board", "here")


@click.command("guests", cls=OnceEach)
def command() -> None:
    """List the guests of the catalogue.

    They are made of Debian packages when they are first used, through the mirror that this host's
    apt is set to, and kept in the cache.
    """
    rows = [(guest.name, guest.summary, guest.board, here(guest)) for guest in GUESTS.values()]
    if sys.stdout.isatty():
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in HEADINGS:
            table.add_column(heading, no_wrap=heading != "what it is")
        for row in rows:
            table.add_row(*row)
        Console(highlight=False).print(table)
        return
    # For programs: a line a guest, whatever the width.
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    for row in (HEADINGS, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def here(guest: Guest) -> str:
    """The version that is on this host, or how much there is to fetch."""
    payload = cached_guest(guest)
    return next(iter(payload.versions.values())) if payload else f"fetch {guest.download}"
