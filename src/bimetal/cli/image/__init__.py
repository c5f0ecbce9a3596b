"""``bimetal image``: disk images, with the words of ``qemu-img``."""

from __future__ import annotations

from typing import Any

import click

from bimetal import BimetalError
from bimetal.cli.image.changing import commit, rebase, resize, snapshot
from bimetal.cli.image.looking import check, compare, info, map_
from bimetal.cli.image.making import convert, create, measure
from bimetal.cli.image.serving import serve

__all__ = ["command"]


class _Images(click.Group):
    """Commands whose ``-f`` is what a disk of a machine calls ``format=``: advice says so."""

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`."""
        try:
            return super().invoke(ctx)
        except BimetalError as error:
            remedy = error.remedy.replace("format=", "-f ")
            raise BimetalError(error.cause, remedy, error.exit_code) from error


@click.group("image", cls=_Images)
def command() -> None:
    """Make, look at, check, convert and change disk images: raw, and qcow2 of every kind.

    Commands and options are those of qemu-img, and so is the JSON. Images of VMDK, VDI, VHD and
    VHDX are read; "serve" makes a disk of an image that other programs reach by NBD. What an image
    is, -f says; left out, the rules for disks decide, which do not guess: see docs/images.md.
    """


for _each in (create, info, check, convert, resize, snapshot, commit, rebase, compare, map_):
    command.add_command(_each)
command.add_command(measure)
command.add_command(serve)
