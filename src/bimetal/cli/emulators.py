"""``bimetal emulators``: the programs by which libvirt and scripts start machines as with QEMU."""

from __future__ import annotations

from pathlib import Path

import click

from bimetal.cli.options import OnceEach
from bimetal.control.emulator.launchers import make_launchers, usual_folder

__all__ = ["command"]


@click.command("emulators", cls=OnceEach)
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path | None) -> None:
    """Make programs called like QEMU's, qemu-system-riscv64 and so on, in FOLDER, and list them.

    They take QEMU's command line. Name one as <emulator> in libvirt's XML, or put FOLDER before
    others into PATH. Call this again after an update: libvirt keeps what it has learnt of a program
    as long as its file stays the same.
    """
    for path in make_launchers((folder or usual_folder()).absolute()):
        click.echo(path)
