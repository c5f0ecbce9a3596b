"""``bimetal clone``: a copy of a machine that is off, in virt-clone's words."""

from __future__ import annotations

import click

from bimetal import BimetalError, ExitCode
from bimetal.cli.options import OnceEach
from bimetal.control.cloning import Cloning, clone
from bimetal.control.machines import Machines

__all__ = ["command"]


@click.command("clone", cls=OnceEach)
@click.option("-o", "--original", required=True, metavar="NAME", help="The machine to copy.")
@click.option("-n", "--name", default="", help="What to call the copy [the name and -clone].")
@click.option("-u", "--uuid", default="", help="Its identity [a new one].")
@click.option(
    "-m", "--mac", multiple=True, help="The address of a NIC [new ones]; may be repeated."
)
@click.option(
    "-f", "--file", multiple=True, metavar="PATH", help="Where to copy a disk to [beside it]."
)
@click.option("--skip-copy", multiple=True, metavar="TARGET", help="Have both use that disk.")
@click.option("--preserve-data/--no-preserve-data", default=True, help="Copy the disks, or have "
              "them be there already.")  # fmt: skip
@click.option("--linked", is_flag=True, help="Do not copy disks: new ones lie on those of the "
              "original, which must not be written to any more.")  # fmt: skip
@click.option("--auto-clone", is_flag=True, help="Choose names.")
@click.option("--reflink", is_flag=True, hidden=True)
@click.option("--print-xml", is_flag=True, help="Print the definition, and do nothing.")
def command(
    original: str,
    name: str,
    uuid: str,
    mac: tuple[str, ...],
    file: tuple[str, ...],
    skip_copy: tuple[str, ...],
    preserve_data: bool,
    linked: bool,
    auto_clone: bool,
    reflink: bool,
    print_xml: bool,
) -> None:
    """Copy a machine that is off: its definition, with a name, an identity and addresses of its
    own, and its disks."""
    if not (name or auto_clone):
        raise BimetalError(
            "nothing says what to call the copy", "--name NAME, or --auto-clone", ExitCode.USAGE
        )
    asked = Cloning(name, uuid, mac, file, skip_copy, linked, preserve_data)
    done = clone(Machines(), original, asked, do=not print_xml)
    if print_xml:
        click.echo(done.text, nl=False)
        return
    click.echo(f"Clone {done.name!r} created successfully.")
