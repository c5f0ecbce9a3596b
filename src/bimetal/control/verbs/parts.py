"""Verbs for parts of machines that run: media, disks, memory, and states that disks keep."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal

from bimetal.base.clock import local_text
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import KIB, parse_size
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain

__all__ = [
    "KeptLine",
    "attach_disk",
    "change_media",
    "detach_disk",
    "setmem",
    "snapshot_create_as",
    "snapshot_delete",
    "snapshot_list",
    "snapshot_revert",
]

LET_GO_SECONDS = 30.0
"""Seconds for a guest to let go of a device: Linux waits five before it begins."""


@dataclass(frozen=True)
class KeptLine:
    """A state that disks keep: its name, and when it was made, by the clock of this place."""

    name: str
    made: str


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
    machines.ask(
        known.name, "blockdev-change-medium", device=drive, filename=os.path.abspath(source)
    )
    return "inserted"


@HOST.command("attach-disk")
def attach_disk(
    machines: Machines,
    domain: Domain,
    source: Annotated[str, "the path of the image"],
    target: Annotated[str, "what to call the disk, such as vdb"],
    subdriver: Annotated[str, "the format of the image"] = "raw",
    mode: Annotated[Literal["", "readonly"], "whether the guest is not to write"] = "",
    serial: Annotated[str, "a serial number, by which the guest may know it"] = "",
) -> str:
    """Plug a disk into a machine that runs, until its end; its target."""
    known, path = machines.running(domain), os.path.abspath(source)
    if any(disk.target == target for disk in machines.definition(known.name).disks):
        raise BimetalError(f"target {target} already exists", "choose another", ExitCode.USAGE)
    file = {"driver": "file", "filename": path}
    readonly = mode == "readonly"
    with machines.conversation(known.name) as talk:
        node = {"node_name": target, "file": file, "read_only": readonly}
        talk.ask("blockdev-add", driver=subdriver, **node)
        try:
            talk.ask("device_add", driver="virtio-blk-pci", id=target, drive=target, serial=serial)
        except BimetalError:
            talk.ask("blockdev-del", node_name=target)
            raise
    return target


@HOST.command("detach-disk")
def detach_disk(
    machines: Machines,
    domain: Domain,
    target: Annotated[str, "what the disk is called, such as vdb"],
) -> str:
    """Ask the guest to let go of a disk that was plugged in, and unplug it; its target."""
    with machines.conversation(domain) as talk:
        talk.ask("device_del", id=target)
        if not talk.wait_for("DEVICE_DELETED", LET_GO_SECONDS, device=target):
            raise BimetalError(
                f"the guest has not let go of {target} in {LET_GO_SECONDS:g} seconds",
                "see whether it has a driver for hot plug (pciehp), and runs",
                ExitCode.UNAVAILABLE,
            )
        talk.ask("blockdev-del", node_name=target)
    return target


@HOST.command("snapshot-create-as")
def snapshot_create_as(
    machines: Machines, domain: Domain, name: Annotated[str, "what to call it"]
) -> str:
    """Keep the state of a machine that runs, and of its disks, in its qcow2 disks; its name."""
    machines.ask(domain, "bimetal-snapshot-save", name=name)
    return name


@HOST.command("snapshot-list", safe=True)
def snapshot_list(machines: Machines, domain: Domain) -> list[KeptLine]:
    """List the states that the disks of a machine keep that runs."""
    kept = machines.ask(domain, "bimetal-snapshots")
    return [KeptLine(each["name"], local_text(each["seconds"])) for each in kept]


@HOST.command("snapshot-revert")
def snapshot_revert(
    machines: Machines, domain: Domain, snapshotname: Annotated[str, "what the state is called"]
) -> str:
    """Bring a machine that runs, and its disks, to a state that was kept; its name."""
    machines.ask(domain, "bimetal-snapshot-load", name=snapshotname)
    return snapshotname


@HOST.command("snapshot-delete")
def snapshot_delete(
    machines: Machines, domain: Domain, snapshotname: Annotated[str, "what the state is called"]
) -> str:
    """Forget a state that the disks of a machine keep that runs; its name."""
    machines.ask(domain, "bimetal-snapshot-delete", name=snapshotname)
    return snapshotname


@HOST.command("setmem")
def setmem(
    machines: Machines,
    domain: Domain,
    size: Annotated[str, "the memory to leave to the guest: KiB, or a size like 512M"],
) -> None:
    """Ask the guest of a machine with a balloon to get along with less memory, or more again."""
    machines.ask(domain, "balloon", value=parse_size(size, unit=KIB))
