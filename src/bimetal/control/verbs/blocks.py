"""Verbs for the disks of a machine: their size, and what they lie on."""

from __future__ import annotations

from typing import Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.sizes import KIB, parse_size
from bimetal.control.definition import DiskPart
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

__all__ = ["blockcommit", "blockresize"]

Path = Annotated[str, "the disk: its target, such as vda, or its path"]


@HOST.command("blockresize")
def blockresize(
    machines: Machines,
    domain: Domain,
    path: Path,
    size: Annotated[str, "how large it is to be: KiB, or a size like 20G"],
) -> str:
    """Make a disk of a machine larger that is off; its target."""
    disk = _disk(machines, domain, path, "a disk gets no other size while the guest uses it")
    late("bimetal.images:resize")(disk.path, parse_size(size, unit=KIB), format=disk.format)
    return disk.target


@HOST.command("blockcommit")
def blockcommit(
    machines: Machines,
    domain: Domain,
    path: Path,
    active: Annotated[bool, "accepted: it is the image that the machine has"] = False,
    pivot: Annotated[bool, "have the machine use the image below from then on"] = False,
    wait: Annotated[bool, "accepted: it is done when this returns"] = False,
    verbose: Annotated[bool, "accepted"] = False,
) -> str:
    """Write a disk of a machine that is off into the image that it lies on; its target."""
    disk = _disk(machines, domain, path, "disks are not committed while the guest uses them")
    below = late("bimetal.images:chain")(disk.path, format=disk.format)[1:]
    if not below:
        raise BimetalError(
            f"invalid argument: {disk.target} lies on no other image", "", ExitCode.USAGE
        )
    late("bimetal.images:commit")(disk.path, format=disk.format)
    if pivot:
        based = late("bimetal.control.domain_xml.altering:with_source")
        machines.change(
            domain, lambda text: str(based(text, disk.target, below[0].path, below[0].format))
        )
    return disk.target


def _disk(machines: Machines, domain: str, path: str, why: str) -> DiskPart:
    """A disk of a machine that is off. Raises `BimetalError`, which says ``why`` it is to be
    off."""
    known = machines.find(domain)
    if known.runs:
        raise BimetalError(why, f"end it first: bimetal shutdown {known.name}", ExitCode.USAGE)
    for disk in machines.definition(known.name).disks:
        if path in (disk.target, disk.path) and disk.path and not disk.cdrom:
            return disk
    raise BimetalError(
        f"invalid argument: invalid path {path[:80]!r} not assigned to domain",
        "look: bimetal domblklist",
        ExitCode.USAGE,
    )
