"""Verbs for the disks of a machine: their size, what they lie on, and copies of them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated, Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.sizes import KIB, parse_size
from bimetal.control.definition import DiskPart
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, Domain
from bimetal.control.verbs.seats import LiveDisk, end_of, is_unused, live_disk, speed_of

__all__ = [
    "Path",
    "blockcommit",
    "blockcopy",
    "blockjob",
    "blockpull",
    "blockresize",
    "disk_at_rest",
]

Path = Annotated[str, "the disk: its target, such as vda, or its path"]
Bandwidth = Annotated[int, "MiB that it may do in a second, 0 without a limit"]
Wait = Annotated[bool, "return when it is done"]
Verbose = Annotated[bool, "accepted"]


@HOST.command("blockresize")
def blockresize(
    machines: Machines,
    domain: Domain,
    path: Path,
    size: Annotated[str, "how large it is to be: KiB, or a size like 20G"],
) -> str:
    """Make a disk of a machine larger, which a guest that runs is told; its target."""
    known, length = machines.find(domain), parse_size(size, unit=KIB)
    if known.runs:
        live = live_disk(machines, known, path)
        machines.ask(known.name, "block_resize", device=live.device, size=length)
        return live.target
    disk = disk_at_rest(machines, known, path)
    late("bimetal.images:resize")(disk.path, length, format=disk.format)
    return disk.target


@HOST.command("blockcommit")
def blockcommit(
    machines: Machines,
    domain: Domain,
    path: Path,
    bandwidth: Bandwidth = 0,
    base: Annotated[str, "the image to write to: its path, or vda[1]; otherwise the lowest"] = "",
    top: Annotated[str, "the highest image to write; otherwise that which the guest has"] = "",
    shallow: Annotated[bool, "write to the image right below"] = False,
    active: Annotated[bool, "it is the image that the guest has"] = False,
    pivot: Annotated[bool, "have the machine use the image below from then on"] = False,
    keep_overlay: Annotated[bool, "have it use the same image once that is the same"] = False,
    wait: Wait = False,
    verbose: Verbose = False,
) -> str:
    """Write images of a disk of a machine into one that they lie on; what became of it."""
    known = machines.find(domain)
    if not known.runs:
        return _commit_at_rest(machines, known, path, base or top or shallow, pivot)
    disk = live_disk(machines, known, path)
    above = disk.place(top) if top else 0
    below = disk.place(base) if base else above + 1 if shallow else len(disk.images) - 1
    if not above and not (active or pivot or keep_overlay):
        raise BimetalError(
            f"invalid argument: commit of {disk.target!r} active layer requires active flag",
            "add --active, and --pivot to go on with the image below",
            ExitCode.USAGE,
        )
    if below >= len(disk.images) or below <= above:
        raise BimetalError(
            f"invalid argument: {disk.target} lies on no other image", "", ExitCode.USAGE
        )
    written = [disk.images[below], *([disk.images[above - 1]] if above > 1 else [])]
    for image in written:
        machines.hand_in(known.name, image.path, readonly=False, alone=True)
    job = {"device": disk.device, "job_id": f"commit-{disk.target}", "speed": speed_of(bandwidth)}
    job["base"] = disk.images[below].path
    if above:
        job["top"] = disk.images[above].path
    waits = wait or pivot or keep_overlay
    followed = _carried_out(machines, known, "block-commit", job, waits, pivot, keep_overlay)
    return {
        None: "Block commit started",
        True: "Now in synchronized phase",
        False: "Successfully pivoted" if pivot and not above else "Commit complete",
    }[followed]


@HOST.command("blockpull")
def blockpull(
    machines: Machines,
    domain: Domain,
    path: Path,
    bandwidth: Bandwidth = 0,
    base: Annotated[str, "the image that stays below: its path, or vda[1]"] = "",
    wait: Wait = False,
    verbose: Verbose = False,
) -> str:
    """Have a disk of a machine that runs hold what it shows of the images that it lies on; what
    became of it."""
    known = machines.running(domain)
    disk = live_disk(machines, known, path)
    job = {"device": disk.device, "job_id": f"pull-{disk.target}", "speed": speed_of(bandwidth)}
    if base:
        job["base"] = disk.images[disk.place(base)].path
    followed = _carried_out(machines, known, "block-stream", job, wait, False, False)
    return "Block Pull started" if followed is None else "Pull complete"


@HOST.command("blockcopy")
def blockcopy(
    machines: Machines,
    domain: Domain,
    path: Path,
    dest: Annotated[str, "the path of the copy"],
    format: Annotated[str, "its format; otherwise that of the disk"] = "",
    bandwidth: Bandwidth = 0,
    shallow: Annotated[bool, "copy only what the disk's own image has"] = False,
    reuse_external: Annotated[bool, "the copy is there already, as large as the disk"] = False,
    pivot: Annotated[bool, "have the machine use the copy from then on"] = False,
    finish: Annotated[bool, "end when the copy is the same"] = False,
    transient_job: Annotated[bool, "accepted: jobs end with the machine's run"] = False,
    wait: Wait = False,
    verbose: Verbose = False,
) -> str:
    """Copy a disk of a machine that runs, and follow what the guest writes; what became of it."""
    known = machines.running(domain)
    disk = live_disk(machines, known, path)
    target, kind = os.path.abspath(dest), format or disk.top.format
    name = f"copy-{disk.target}"
    if not reuse_external:
        _make_copy(disk, target, kind, shallow)
    try:
        machines.hand_in(known.name, target, readonly=False, format=kind)
        job: dict[str, Any] = {
            "device": disk.device,
            "target": target,
            "format": kind,
            "mode": "existing",
            "sync": "top" if shallow else "full",
            "job_id": name,
            "speed": speed_of(bandwidth),
        }
        waits = wait or pivot or finish
        followed = _carried_out(machines, known, "drive-mirror", job, waits, pivot, finish)
    except BaseException:
        if not reuse_external and is_unused(machines, known, target, name):
            with suppress(OSError):
                os.unlink(target)
        raise
    return {
        None: "Block Copy started",
        True: "Now in mirroring phase",
        False: "Successfully pivoted" if pivot else "Successfully copied",
    }[followed]


@HOST.command("blockjob")
def blockjob(
    machines: Machines,
    domain: Domain,
    path: Path,
    info: Annotated[bool, "tell how far it is, as is done without other words"] = False,
    abort: Annotated[bool, "give it up; a copy that is ready stays as it is"] = False,
    pivot: Annotated[bool, "have the machine use the copy from now on"] = False,
    bandwidth: Annotated[int, "MiB that it may do in a second from now on, 0 without a limit"] = -1,
) -> str:
    """Tell of the job on a disk of a machine that runs, or end it; what there is to tell."""
    known = machines.running(domain)
    disk = live_disk(machines, known, path)
    with machines.conversation(known.name) as talk:
        jobs = [job for job in talk.ask("query-block-jobs") if job["device"].endswith(
            f"-{disk.target}") or job["device"] == disk.device]  # fmt: skip
        if not jobs:
            if abort or pivot or bandwidth >= 0:
                raise BimetalError(
                    f"invalid argument: disk {disk.target} does not have an active block job",
                    "look: bimetal blockjob --info",
                    ExitCode.USAGE,
                )
            return f"No current block job for {disk.target}"
        job = jobs[0]
        if bandwidth >= 0:
            talk.ask("block-job-set-speed", device=job["device"], speed=speed_of(bandwidth))
        elif pivot:
            talk.ask("block-job-complete", device=job["device"])
            end_of(talk, job["device"])
        elif abort:
            talk.ask("block-job-cancel", device=job["device"])
            with suppress(BimetalError):  # that it was given up
                end_of(talk, job["device"])
        else:
            return _progress(job)
    return ""


KINDS = {
    "commit": "Block Commit",
    "stream": "Block Pull",
    "mirror": "Block Copy",
    "backup": "Backup",
}


def _progress(job: dict[str, Any]) -> str:
    """A job in virsh's words."""
    share = 100 * job["offset"] // job["len"] if job["len"] else 100 * job["ready"]
    line = f"{KINDS.get(job['type'], job['type'])}: [{share:3d} %]"
    if job["speed"]:
        line += f"    Bandwidth limit: {job['speed']} bytes/s"
    return line


def _carried_out(
    machines: Machines,
    known: Known,
    command: str,
    job: dict[str, Any],
    wait: bool,
    pivot: bool,
    end: bool,
) -> bool | None:
    """Have a job begin, and wait for it as far as is wanted: None if it is only begun, True if it
    follows the guest, False if it is over."""
    with machines.conversation(known.name) as talk:
        talk.ask(command, **job)
        if not wait:
            return None
        return end_of(talk, job["job_id"], complete=True if pivot else False if end else None)


def _make_copy(disk: LiveDisk, path: str, kind: str, shallow: bool) -> None:
    if os.path.lexists(path) and os.path.getsize(path):
        raise BimetalError(
            f"{path} is there already", "remove it, or add --reuse-external", ExitCode.USAGE
        )
    options: dict[str, Any] = {}
    if shallow and len(disk.images) > 1:
        below = disk.images[1]
        options = {"backing": below.path, "backing_format": below.format, "unsafe": True}
    late("bimetal.images:create")(path, disk.top.size, format=kind, **options)


def _commit_at_rest(
    machines: Machines, known: Known, path: str, other: str | bool, pivot: bool
) -> str:
    disk = disk_at_rest(machines, known, path)
    if other:
        raise BimetalError(
            "images of a machine that is off are committed into the one right below",
            "leave the base and the top away, or name them: bimetal image commit -b",
            ExitCode.USAGE,
        )
    below = late("bimetal.images:chain")(disk.path, format=disk.format)[1:]
    if not below:
        raise BimetalError(
            f"invalid argument: {disk.target} lies on no other image", "", ExitCode.USAGE
        )
    late("bimetal.images:commit")(disk.path, format=disk.format)
    if pivot:
        based = late("bimetal.control.domain_xml.altering:with_source")
        machines.change(
            known.name, lambda text: str(based(text, disk.target, below[0].path, below[0].format))
        )
    return "Commit complete"


def disk_at_rest(machines: Machines, known: Known, path: str) -> DiskPart:
    """A disk of a machine that is off. Raises `BimetalError`."""
    for disk in machines.definition(known.name).disks:
        if path in (disk.target, disk.path) and disk.path and not disk.cdrom:
            return disk
    raise BimetalError(
        f"invalid argument: invalid path {path[:80]!r} not assigned to domain",
        "look: bimetal domblklist",
        ExitCode.USAGE,
    )
