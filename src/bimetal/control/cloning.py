"""Copies of machines that are off: a definition of their own, and disks of their own."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

from msgspec import Struct

from bimetal import images
from bimetal.backends.lease import Lease
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.definition import Definition, DiskPart
from bimetal.control.domain_xml.altering import copied
from bimetal.control.known import Known
from bimetal.control.machines import Machines
from bimetal.machine.cables import new_mac

__all__ = ["Cloning", "Copy", "clone"]


class Cloning(Struct, frozen=True):
    """What is said of a copy: its ``name`` and ``uuid``, or "" for new ones, the first addresses of
    its NICs, the first paths of its disks, the targets of disks that it shares with the original,
    whether new disks lie on those of the original, and whether disks are copied at all."""

    name: str = ""
    uuid: str = ""
    macs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    linked: bool = False
    copies: bool = True


class Copy(Struct, frozen=True):
    """A copy: its name, and the document of its definition."""

    name: str
    text: str


def clone(machines: Machines, original: str, asked: Cloning, *, do: bool = True) -> Copy:
    """Copy the machine that is called ``original``, or only say what would be made if it is not to
    be ``do``\\ ne. The copy is there wholly, or nothing is. Raises `BimetalError`, also if the
    original runs."""
    known = machines.defined(original)
    definition = machines.definition(known.name, inactive=True)
    name = asked.name or _free_name(machines, known.name)
    if any(each.name == name for each in machines):
        raise _refused(f"Guest name {name!r} is already in use.", "choose another: --name")
    disks = _disks(definition, name, asked)
    macs = [*asked.macs, *(new_mac().hex(":") for _ in definition.nics)][: len(definition.nics)]
    text = copied(
        machines.xml(known.name, inactive=True),
        name,
        str(UUID(asked.uuid) if asked.uuid else uuid4()),
        macs,
        disks,
    )
    if do:
        _make(machines, known, definition, asked, disks, text)
    return Copy(name, text)


def _make(
    machines: Machines,
    known: Known,
    definition: Definition,
    asked: Cloning,
    disks: dict[str, str],
    text: str,
) -> None:
    """Copy the disks while nobody can start the original, and define the copy."""
    machines.places.prepare(machines.places.state(known.name))
    lease = Lease.take(machines.places.lease(known.name)) if not known.runs else None
    if lease is None:
        raise _refused(
            f"{known.name} runs: its disks change while they would be copied",
            "Domain to clone must be shutoff or paused: bimetal shutdown",
        )
    done: list[str] = []
    try:
        if asked.copies:
            for disk in definition.disks:
                if disk.path in disks:
                    _copy(disk, disks[disk.path], linked=asked.linked)
                    done.append(disks[disk.path])
            for path in definition.flash[1:]:
                if path in disks and os.path.exists(path):
                    images.convert([path], disks[path], format="raw")
                    done.append(disks[path])
        machines.define(text)
    except BaseException:
        for path in done:
            Path(path).unlink(missing_ok=True)
        raise
    finally:
        lease.release()


def _copy(disk: DiskPart, path: str, *, linked: bool) -> None:
    kind = disk.format or images.information(disk.path).format
    if not linked:
        images.convert([disk.path], path, format=kind, target_format=kind)
        return
    images.create(
        path,
        format="qcow2",
        backing=os.path.abspath(disk.path),
        backing_format=kind,
        folders=(os.path.dirname(os.path.abspath(disk.path)),),
    )


def _disks(definition: Definition, name: str, asked: Cloning) -> dict[str, str]:
    """The paths of the disks that are copied, and of the copies. Raises `BimetalError`."""
    given, found = list(asked.files), dict[str, str]()
    for disk in definition.disks:
        if disk.cdrom or disk.readonly or disk.target in asked.shared or not disk.path:
            continue
        if disk.path.startswith("/dev/") and not given:
            raise _refused(
                f"{disk.target} is the block device {disk.path}", "say where to copy it: --file"
            )
        found[disk.path] = os.path.abspath(given.pop(0)) if given else _beside(
            disk.path, definition.name, name
        )  # fmt: skip
    for old, new in found.items():
        if asked.linked and os.path.dirname(os.path.abspath(old)) != os.path.dirname(new):
            raise _refused(f"{new} does not lie beside {old}", "leave --file or --linked away")
    for path in definition.flash[1:]:
        found[path] = _beside(path, definition.name, name)
    for path in found.values():
        if asked.copies and os.path.lexists(path):
            raise _refused(f"{path} is there already", "name another one: --file")
        if not asked.copies and not os.path.exists(path):
            raise _refused(f"there is no {path}", "leave --no-preserve-data away to copy it")
    return found


def _beside(path: str, old: str, new: str) -> str:
    """A path for a copy: its name has that of the copy for that of the original."""
    place = Path(path)
    name = place.name.replace(old, new) if old in place.name else f"{new}-{place.name}"
    return str(place.with_name(name))


def _free_name(machines: Machines, name: str) -> str:
    taken = {each.name for each in machines}
    names = (f"{name}-clone{number or ''}" for number in range(1000))
    return next(each for each in names if each not in taken)


def _refused(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
