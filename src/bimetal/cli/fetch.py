"""``bimetal fetch``: guests into the cache, for later or for a host without network."""

from __future__ import annotations

import click

from bimetal import fetch_guest
from bimetal.cli.options import OnceEach
from bimetal.cli.progress import ShownProgress

__all__ = ["command"]


@click.command("fetch", cls=OnceEach)
@click.argument("names", nargs=-1, required=True, metavar="GUEST...")
@click.option("--update", is_flag=True, help="Look for newer packages even if a guest is here.")
def command(names: tuple[str, ...], update: bool) -> None:
    """Fetch guests of the catalogue without booting them."""
    for name in names:
        with ShownProgress() as progress:
            payload = fetch_guest(name, progress, update=update)
        versions = ", ".join(f"{package} {text}" for package, text in payload.versions.items())
        click.echo(f"{name}: {versions}")
        for kind in ("kernel", "initrd", "bios"):
            if path := getattr(payload, kind):
                click.echo(f"  {kind:6} {path}")
