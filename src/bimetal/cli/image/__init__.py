"""``bimetal image``: disk images, with the words of ``qemu-img``."""

from __future__ import annotations

import click

from bimetal.cli.image.changing import commit, rebase, resize, snapshot
from bimetal.cli.image.looking import check, compare, info, map_
from bimetal.cli.image.making import convert, create, measure

__all__ = ["command"]


@click.group("image")
def command() -> None:
    """Make, look at, check, convert and change disk images: raw, and qcow2 of every kind.

    Commands and options are those of qemu-img, and so is the JSON. Images of VMDK, VDI, VHD and
    VHDX are read. What an image is, -f says; left out, the rules for disks decide, which do not
    guess: see docs/images.md.
    """


for _each in (create, info, check, convert, resize, snapshot, commit, rebase, compare, map_):
    command.add_command(_each)
command.add_command(measure)
