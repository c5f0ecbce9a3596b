"""External snapshots of the disks of a machine: what its guest writes goes to new images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.paths import remove_file
from bimetal.control.conversation import Refusal
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.control.verbs.seats import live_disks

__all__ = ["lay_over_disks"]

NONE, EXTERNAL = "no", "external"


class Below(Struct, frozen=True):
    """A disk over whose image, at ``path`` and of a ``format``, another is to lie."""

    target: str
    device: str
    path: str
    format: str
    size: int


def lay_over_disks(machines: Machines, known: Known, name: str, specs: Sequence[str]) -> None:
    """Lay new images over the disks that the guest writes, all at one moment or none. They are
    called as the disks' images are, with the ``name`` in the place of the suffix, unless a spec,
    ``vda,snapshot=external,file=PATH``, says otherwise. Raises `BimetalError`, and then they are
    gone, unless it is not known whether the machine uses them."""
    wanted = _wanted(_disks(machines, known), name, specs)
    if not wanted:
        raise BimetalError(
            "unsupported configuration: no disk is selected for snapshot", "", ExitCode.USAGE
        )
    with ExitStack() as undo:
        for disk, path in wanted:
            if os.path.lexists(path):
                raise BimetalError(
                    f"external snapshot file for disk {disk.target} already exists: {path}",
                    "choose another name, or remove it",
                    ExitCode.USAGE,
                )
            options: dict[str, Any] = {"backing": disk.path, "backing_format": disk.format}
            create = late("bimetal.images:create")
            create(path, disk.size, format="qcow2", unsafe=True, **options)
            undo.callback(remove_file, path)
        if known.runs:
            _lay_over_live(machines, known, wanted, undo)
        else:
            _change(machines, known, wanted)
        undo.pop_all()


def _lay_over_live(
    machines: Machines, known: Known, wanted: Sequence[tuple[Below, str]], undo: ExitStack
) -> None:
    """Have a machine that runs use the new images. Nothing is to be undone unless it says that it
    does not."""
    actions = []
    for disk, path in wanted:
        machines.hand_in(known.name, path, readonly=False, alone=True)
        data = {"device": disk.device, "snapshot-file": path, "mode": "existing"}
        actions.append({"type": "blockdev-snapshot-sync", "data": data})
    with machines.conversation(known.name) as talk:
        try:
            talk.ask("transaction", actions=actions)
        except Refusal:
            raise
        except BaseException:
            undo.pop_all()
            raise


def _change(machines: Machines, known: Known, wanted: Sequence[tuple[Below, str]]) -> None:
    """Of a machine that is off, the definition names the new images."""
    with_image, move = late("bimetal.control.moves:with_image"), late("bimetal.control.moves:Move")

    def change(text: str) -> str:
        for disk, path in wanted:
            below = [each.path for each in late("bimetal.images:chain")(path, format="qcow2")[1:]]
            text = str(with_image(text, disk.target, move(path, "qcow2", below)))
        return text

    machines.change(known.name, change)


def _disks(machines: Machines, known: Known) -> list[Below]:
    """The disks that the guest writes."""
    if known.runs:
        return [
            Below(each.target, each.device, each.top.path, each.top.format, each.top.size)
            for each in live_disks(machines, known)
            if not each.readonly
        ]
    found = list[Below]()
    for disk in machines.definition(known.name).disks:
        if not (disk.cdrom or disk.readonly or disk.snapshot):
            told = late("bimetal.images:information")(disk.path, format=disk.format)
            found.append(Below(disk.target, "", disk.path, told.format, told.size))
    return found


def _wanted(disks: Sequence[Below], name: str, specs: Sequence[str]) -> list[tuple[Below, str]]:
    """The disks to lay something over, and the paths of what that is."""
    chosen = {disk.target: _beside(disk.path, name) for disk in disks}
    for spec in specs:
        target, *words = spec.split(",")
        known = {disk.target: disk.target for disk in disks}
        known |= {disk.path: disk.target for disk in disks}
        if target not in known:
            raise BimetalError(
                f"invalid argument: no disk named {target[:80]!r}",
                f"choose from {', '.join(chosen)}",
                ExitCode.USAGE,
            )
        for word in words:
            key, _, value = word.partition("=")
            if (key, value) == ("snapshot", NONE):
                chosen.pop(known[target], None)
            elif key == "file" and value:
                chosen[known[target]] = os.path.abspath(value)
            elif (key, value) not in (("snapshot", EXTERNAL), ("driver", "qcow2")):
                raise BimetalError(
                    f"invalid argument: unknown word {word[:80]!r} of a disk",
                    "write vda,snapshot=external,driver=qcow2,file=PATH, or snapshot=no",
                    ExitCode.USAGE,
                )
    return [(disk, chosen[disk.target]) for disk in disks if disk.target in chosen]


def _beside(path: str, name: str) -> str:
    """The path of an image beside another, which has its name, and another suffix."""
    return f"{os.path.splitext(os.path.abspath(path))[0]}.{name}"
