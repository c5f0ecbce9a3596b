"""Verbs that tell how large the disks of a machine are, and what they have moved."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bimetal.base.late import late
from bimetal.control.machines import Machines
from bimetal.control.verbs.blocks import Path, disk_at_rest
from bimetal.control.verbs.registry import HOST, Domain
from bimetal.control.verbs.seats import live_disk

__all__ = ["BlockFigures", "BlockRoom", "domblkinfo", "domblkstat"]


@dataclass(frozen=True)
class BlockRoom:
    """Bytes that the guest sees of a disk, that the image takes on the host's disk, and that its
    file is long."""

    capacity: int
    allocation: int
    physical: int


@dataclass(frozen=True)
class BlockFigures:
    """What a disk that is called ``target`` has moved since its machine was started."""

    target: str
    values: dict[str, int]


@HOST.command("domblkinfo", safe=True)
def domblkinfo(machines: Machines, domain: Domain, device: Path) -> BlockRoom:
    """Tell how large a disk of a machine is, and how much room its image takes."""
    known = machines.find(domain)
    if known.runs:
        top = live_disk(machines, known, device).top
        path, size = top.path, top.size
    else:
        disk = disk_at_rest(machines, known, device)
        path = disk.path
        size = late("bimetal.images:information")(path, format=disk.format).size
    status = os.stat(path)
    return BlockRoom(size, status.st_blocks * 512, status.st_size)


@HOST.command("domblkstat", safe=True)
def domblkstat(machines: Machines, domain: Domain, device: Path) -> BlockFigures:
    """Tell what a disk of a machine that runs has moved."""
    known = machines.running(domain)
    disk = live_disk(machines, known, device)
    for each in machines.ask(known.name, "query-blockstats"):
        if disk.device in (each["device"], each["qdev"].split("/")[3]):
            found = each["stats"]
            break
    names = {
        "rd_req": "rd_operations", "rd_bytes": "rd_bytes", "wr_req": "wr_operations",
        "wr_bytes": "wr_bytes",
    }  # fmt: skip
    return BlockFigures(disk.target, {name: found[key] for name, key in names.items()})
