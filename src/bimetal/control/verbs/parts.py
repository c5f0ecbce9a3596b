"""Verbs for parts of machines that run: media and memory."""

from __future__ import annotations

import os
from typing import Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import KIB, parse_size
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

__all__ = ["change_media", "setmem"]


@HOST.command("change-media")
def change_media(
    machines: Machines,
    domain: Domain,
    path: Annotated[str, "the CD-ROM drive, by its target, such as sda"],
    source: Annotated[str, "the path of the image to put in"] = "",
    eject: Annotated[bool, "take out what is in it"] = False,
) -> str:
    """Change what is in a CD-ROM drive of a machine that runs; what was done."""
    known = machines.running(domain)
    if eject == bool(source):
        raise BimetalError("say either --source or --eject", "", ExitCode.USAGE)
    drives = [disk.target for disk in machines.definition(known.name).disks if disk.cdrom]
    if path not in drives:
        there = f"choose from {', '.join(drives)}" if drives else "it has none"
        raise BimetalError(f"No disk found whose target is {path!r}", there, ExitCode.USAGE)
    drive = f"cd{drives.index(path)}"
    if eject:
        machines.ask(known.name, "eject", device=drive)
        return "ejected"
    machines.hand_in(known.name, os.path.abspath(source), readonly=True)
    machines.ask(
        known.name, "blockdev-change-medium", device=drive, filename=os.path.abspath(source)
    )
    return "inserted"


@HOST.command("setmem")
def setmem(
    machines: Machines,
    domain: Domain,
    size: Annotated[str, "the memory to leave to the guest: KiB, or a size like 512M"],
) -> None:
    """Ask the guest of a machine with a balloon to get along with less memory, or more again."""
    machines.ask(domain, "balloon", value=parse_size(size, unit=KIB))
