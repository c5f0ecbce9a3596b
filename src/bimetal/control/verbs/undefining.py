"""The verb that forgets machines, and removes what they leave if that is wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.definition import Definition, DiskPart
from bimetal.control.machines import Machines
from bimetal.control.verbs.checkpoints import of_machine
from bimetal.control.verbs.registry import HOST, Domain

__all__ = ["Undefined", "undefine"]


@dataclass(frozen=True)
class Undefined:
    """What was forgotten: the machine, and what became of its disks, in lines."""

    name: str
    volumes: tuple[str, ...] = ()


@HOST.command("undefine")
def undefine(
    machines: Machines,
    domain: Domain,
    managed_save: Annotated[bool, "also the state that was saved for its next start"] = False,
    nvram: Annotated[bool, "remove the file with the variables of its firmware too"] = False,
    keep_nvram: Annotated[bool, "accepted: that file stays anyway"] = False,
    snapshots_metadata: Annotated[
        bool, "accepted: states are kept in the disks, and stay as long as those"
    ] = False,
    checkpoints_metadata: Annotated[
        bool, "also what is known of its checkpoints, whose dirty bitmaps stay in the disks"
    ] = False,
    remove_all_storage: Annotated[bool, "remove the images of its disks too"] = False,
    storage: Annotated[str, "remove the images of these disks: their targets, by commas"] = "",
) -> Undefined:
    """Forget the definition of a machine. Its disks stay, unless they are to be removed. If it
    runs, it runs on. What only is read, CD-ROMs, block devices, backing files and images that
    another machine has are never removed."""
    known = machines.defined(domain)
    definition = machines.definition(known.name, inactive=True)
    chosen = _chosen(definition, storage) if storage else definition.disks * remove_all_storage
    if known.runs and (chosen or remove_all_storage):
        raise BimetalError(
            "Storage volume deletion is supported only on stopped domains", "", ExitCode.USAGE
        )
    if known.runs and nvram:
        raise BimetalError(
            f"{known.name} runs and uses its variables", "end it first", ExitCode.USAGE
        )
    if known.saved and not managed_save:
        raise BimetalError(
            "Requested operation is not valid: Refusing to undefine while domain managed save "
            "image exists",
            "add --managed-save",
            ExitCode.USAGE,
        )
    checkpoints = len([*of_machine(machines, known)])
    if checkpoints and not (known.runs or checkpoints_metadata):
        raise BimetalError(
            "Requested operation is not valid: cannot delete inactive domain with "
            f"{checkpoints} checkpoints",
            "add --checkpoints-metadata",
            ExitCode.USAGE,
        )
    names = [other.name for other in machines if other.name != known.name]
    others = {path for name in names for path in _paths(machines, name)} if chosen else set()
    machines.undefine(known.name)
    for path in definition.flash[1:] if nvram else ():
        with suppress(OSError):
            os.unlink(path)
    return Undefined(known.name, tuple(_remove(disk, others) for disk in chosen))


def _chosen(definition: Definition, text: str) -> tuple[DiskPart, ...]:
    """The disks whose targets, or paths, are named."""
    wanted = text.split(",")
    for word in wanted:
        if not any(word in (disk.target, disk.path) for disk in definition.disks):
            raise BimetalError(
                f"Volume {word!r} was not found in domain's definition.",
                "look: bimetal domblklist",
                ExitCode.USAGE,
            )
    return tuple(disk for disk in definition.disks if {disk.target, disk.path} & {*wanted})


def _paths(machines: Machines, name: str) -> Iterator[str]:
    """The images that a machine has, with all that they lie on."""
    chain = late("bimetal.images:chain")
    with suppress(BimetalError):
        for disk in machines.definition(name, inactive=True).disks:
            yield os.path.realpath(disk.path)
            with suppress(BimetalError, OSError):
                for image in chain(disk.path, format=disk.format, shared=True):
                    yield os.path.realpath(image.path)


def _remove(disk: DiskPart, others: set[str]) -> str:
    """Remove the image of a disk; what became of it."""
    what = f"Volume '{disk.target}'({disk.path})"
    kept = ""
    if not disk.path:
        return f"Drive '{disk.target}' is empty."
    if disk.cdrom or disk.readonly:
        kept = "it is only read"
    elif os.path.realpath(disk.path) in others:
        kept = "another machine has it"
    elif not os.path.isfile(disk.path):
        kept = "it is no file"
    if kept:
        return f"{what} stays: {kept}."
    try:
        os.unlink(disk.path)
    except OSError as error:
        return f"{what} cannot be removed: {error.strerror}."
    return f"{what} removed."
