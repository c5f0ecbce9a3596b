"""``bimetal console``: a person talks with the console of a machine that stays."""

from __future__ import annotations

import click

from bimetal import BimetalError, ExitCode
from bimetal.cli.options import OnceEach
from bimetal.control.machines import Machines

__all__ = ["command"]


@click.command("console", cls=OnceEach)
@click.argument("domain", metavar="DOMAIN")
def command(domain: str) -> None:
    """Talk with the console of a machine that stays; Ctrl-] leaves, and the machine runs on.

    DOMAIN is the machine: its name, UUID, or the id of its run. One person at a time may do so.
    """
    machines = Machines()
    known = machines.running(domain)
    if not machines.console_of(known.name).startswith("/"):
        raise BimetalError(
            f"the console of {known.name} is no terminal of this host: it leads to "
            f"{machines.console_of(known.name) or 'nowhere'}",
            "define it with <console type='pty'/>",
            ExitCode.UNAVAILABLE,
        )
    click.echo(f"Connected to domain {known.name!r}", err=True)
    click.echo("Escape character is ^] (Ctrl + ])", err=True)
    machines.talk(known.name)
    click.echo("", err=True)
