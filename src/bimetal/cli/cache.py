"""``bimetal cache``: the compiled code that is kept between runs."""

from __future__ import annotations

from contextlib import closing

import click

from bimetal import BimetalError, CodeStore, ExitCode, format_size, parse_size
from bimetal.cli.options import OnceEach

__all__ = ["command"]

MIB = 1 << 20


@click.command("cache", cls=OnceEach)
@click.option("--prune", is_flag=True, help="Remove what was used longest ago.")
@click.option(
    "--to",
    "limit",
    metavar="SIZE",
    help="How much --prune leaves, like 500M; a number alone is MiB. Nothing if left out.",
)
def command(prune: bool, limit: str | None) -> None:
    """Show the compiled code that is kept between runs, or make it smaller.

    It holds the interpreter and the translated regions of every guest that ran here. Whatever is
    removed is compiled again when it is needed. After a run, what was hot and not compiled in time
    is compiled in the background; that takes half a minute at most.
    """
    if limit is not None and not prune:
        raise click.UsageError("--to says how much --prune leaves: add --prune")
    size = parse_size(limit or "0", unit=MIB)
    with closing(CodeStore()) as store:
        if prune:
            make_smaller(store, size)
        usage = store.usage()
        click.echo(f"{usage.path}: {usage.objects} objects, {format_size(usage.size)}")
        if store.is_claimed():
            click.echo("what an earlier run found hot is being compiled in the background")


def make_smaller(store: CodeStore, size: int) -> None:
    """Prune the store. Raises `BimetalError` if that cannot be done, say on a full disk."""
    click.echo(f"removed {store.prune(size)} objects")
    if store.usage().size > size:
        raise BimetalError(
            f"{store.path} could not be made smaller",
            "leave --to away, or remove the file",
            ExitCode.UNAVAILABLE,
        )
