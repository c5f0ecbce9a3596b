"""``bimetal guests``: what the catalogue has, and what of it is on this host."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from bimetal import GUESTS, cached_guest
from bimetal.cli.options import OnceEach

__all__ = ["command"]


@click.command("guests", cls=OnceEach)
def command() -> None:
    """List the guests of the catalogue.

    They are made of Debian packages when they are first used, through the mirror that this host's
    apt is set to, and kept in the cache.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("guest", "what it is", "board", "here"):
        table.add_column(heading, no_wrap=heading != "what it is")
    for guest in GUESTS.values():
        payload = cached_guest(guest)
        here = next(iter(payload.versions.values())) if payload else f"fetch {guest.download}"
        table.add_row(guest.name, guest.summary, guest.board, here)
    Console(highlight=False).print(table)
