"""Disks of machines that run, and jobs on them, as verbs speak of them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import MIB
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.qdev import name_in

if TYPE_CHECKING:
    from bimetal.control.conversation import Conversation

__all__ = ["ImageLine", "LiveDisk", "end_of", "is_unused", "live_disk", "live_disks", "speed_of"]

LONG = 1e6
"""Seconds between two events of a job, at most."""

_INDEXED = re.compile(r"(?P<target>[a-z]+)\[(?P<depth>\d+)\]")
"""How virsh calls an image of a disk: ``vda[1]``."""


@dataclass(frozen=True)
class ImageLine:
    """An image of a disk: its path, its format, and the bytes of the disk in it."""

    path: str
    format: str
    size: int


@dataclass(frozen=True)
class LiveDisk:
    """A disk of a machine that runs: its ``target``, what its monitor calls it, and its images,
    from the one that the guest writes to downwards, with the dirty ``bitmaps`` of that one."""

    target: str
    device: str
    images: Sequence[ImageLine]
    readonly: bool = False
    bitmaps: Sequence[str] = ()

    @property
    def top(self) -> ImageLine:
        """What the guest writes to."""
        return self.images[0]

    def place(self, called: str) -> int:
        """How deep the image lies that is called by its path, or ``vda[1]``. Raises
        `BimetalError`."""
        found = _INDEXED.fullmatch(called)
        if found is not None and found["target"] == self.target:
            depth = int(found["depth"])
            if depth < len(self.images):
                return depth
        for depth, image in enumerate(self.images):
            if os.path.abspath(called) == os.path.abspath(image.path):
                return depth
        raise BimetalError(
            f"invalid argument: could not find image {called[:200]!r} in chain for "
            f"{self.top.path!r}",
            f"it has {', '.join(image.path for image in self.images)}",
            ExitCode.USAGE,
        )


def live_disks(machines: Machines, known: Known) -> list[LiveDisk]:
    """The disks of a machine that runs."""
    definition = machines.definition(known.name)
    targets = [disk.target for disk in definition.disks if not disk.cdrom]
    found = list[LiveDisk]()
    for drive in machines.ask(known.name, "query-block"):
        if drive["removable"] or "inserted" not in drive:
            continue
        device = drive["device"] or name_in(drive["qdev"])
        number = device.removeprefix("disk")
        target = targets[int(number)] if number.isdecimal() else device
        inside = drive["inserted"]
        bitmaps = [each["name"] for each in inside.get("dirty-bitmaps", ())]
        found.append(LiveDisk(target, device, _images(inside["image"]), inside["ro"], bitmaps))
    return found


def live_disk(machines: Machines, known: Known, called: str) -> LiveDisk:
    """The disk of a machine that runs that is called by its target, or the path of its image.
    Raises `BimetalError`."""
    for disk in live_disks(machines, known):
        if called in (disk.target, disk.top.path):
            return disk
    raise BimetalError(
        f"invalid argument: invalid path {called[:80]!r} not assigned to domain",
        "look: bimetal domblklist",
        ExitCode.USAGE,
    )


def _images(image: dict[str, Any]) -> list[ImageLine]:
    images = list[ImageLine]()
    at: dict[str, Any] | None = image
    while at is not None:
        images.append(ImageLine(at["filename"], at["format"], at["virtual-size"]))
        at = at.get("backing-image")
    return images


def is_unused(machines: Machines, known: Known, path: str, job: str) -> bool:
    """Whether it is certain that a machine has no use for the image at ``path``, to which a ``job``
    was perhaps to copy."""
    with suppress(BimetalError):
        # The job first: the image may become a disk's when it ends, and not after that.
        if any(each["device"] == job for each in machines.ask(known.name, "query-block-jobs")):
            return False
        used = list[str]()
        for disk in live_disks(machines, known):
            used += [image.path for image in disk.images]
        return path not in used
    return False


def speed_of(mib: int) -> int:
    """Bytes a second, for so many MiB."""
    if mib < 0:
        raise BimetalError(f"a bandwidth of {mib}", "give MiB a second", ExitCode.USAGE)
    return mib * MIB


def end_of(talk: Conversation, job: str, *, complete: bool | None = None) -> bool:
    """Wait until a job is over, or, for None, until it only follows the guest: True then. Once it
    does, it is completed or, for False, ended as it is. Raises `BimetalError` if it fails."""
    for event in talk.events(LONG):
        told, data = event.get("event"), event.get("data", {})
        if data.get("device") != job:
            continue
        if told == "BLOCK_JOB_READY":
            if complete is None:
                return True
            talk.ask("block-job-complete" if complete else "block-job-cancel", device=job)
        elif told == "BLOCK_JOB_COMPLETED" and "error" not in data:
            return False
        elif told in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"):
            raise BimetalError(
                f"the job has not come to its end: {data.get('error', 'it was given up')}",
                "the disk is what it was",
                ExitCode.UNAVAILABLE,
            )
    raise BimetalError(
        "the machine has ended", "look: bimetal domstate --reason", ExitCode.UNAVAILABLE
    )
