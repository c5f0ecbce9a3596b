"""``bimetal edit``: a person changes the definition of a machine in an editor."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from bimetal import BimetalError, ExitCode
from bimetal.cli.options import OnceEach
from bimetal.control.machines import Machines

__all__ = ["command"]


@click.command("edit", cls=OnceEach)
@click.argument("domain", metavar="DOMAIN")
def command(domain: str) -> None:
    """Change the definition of a machine in $VISUAL or $EDITOR.

    DOMAIN is the machine: its name, UUID, or the id of its run. A definition that cannot be is
    refused, and can be corrected; what was written is never lost.
    """
    machines = Machines()
    known = machines.defined(domain)
    before = machines.xml(known.name, inactive=True)
    fd, name = tempfile.mkstemp(prefix=f"bimetal-{known.name}-", suffix=".xml")
    with open(fd, "w", encoding="utf-8") as file:
        file.write(before)
    draft = Path(name)
    while True:
        click.edit(filename=name, editor=os.environ.get("VISUAL") or os.environ.get("EDITOR"))
        text = draft.read_text(encoding="utf-8", errors="surrogateescape")
        if text == before:
            draft.unlink()
            click.echo(f"Domain {known.name!r} XML configuration not changed.")
            return
        try:
            machines.define_in_place(known.name, before, text)
        except BimetalError as error:
            click.echo(f"error: {error}", err=True)
            if not _again():
                raise BimetalError(
                    f"{known.name} is as it was: {error.cause}",
                    f"what was written is in {name}",
                    ExitCode.DATA,
                ) from error
        else:
            draft.unlink()
            click.echo(f"Domain {known.name!r} XML configuration edited.")
            return


def _again() -> bool:
    """Whether the person at the terminal, if there is one, wants to correct it."""
    if not os.isatty(0):
        return False
    return click.confirm("Failed. Try again?", default=True, err=True)
