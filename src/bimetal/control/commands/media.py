"""Commands about what is in CD-ROM drives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from bimetal.base.errors import ExitCode
from bimetal.control.commands.nodes import refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed
from bimetal.control.qdev import name_in

if TYPE_CHECKING:
    from bimetal.machine.cdrom import Cdrom

__all__ = ["change_medium", "eject"]


@MACHINE.command("blockdev-change-medium")
def change_medium(
    vm: Managed,
    filename: Annotated[str, "the path of the image"],
    device: Annotated[str, "the drive, such as cd0"] = "",
    id: Annotated[str, "the drive, in the words of newer clients"] = "",
    force: Annotated[bool, "accepted: a guest cannot keep a medium"] = False,
) -> None:
    """Put an image into a CD-ROM drive, in place of what is there."""
    drive_of(vm, device or id).insert(filename)


@MACHINE.command("eject")
def eject(
    vm: Managed,
    device: Annotated[str, "the drive, such as cd0"] = "",
    id: Annotated[str, "the drive, in the words of newer clients"] = "",
    force: Annotated[bool, "accepted: a guest cannot keep a medium"] = False,
) -> None:
    """Take out what is in a CD-ROM drive."""
    drive_of(vm, device or id).eject()


@MACHINE.command("blockdev-open-tray")
def open_tray(
    vm: Managed,
    id: Annotated[str, "the drive"],
    force: Annotated[bool, "accepted: a guest cannot keep a medium"] = False,
) -> None:
    """Accepted for a CD-ROM drive: its tray is open when nothing is in it."""
    drive_of(vm, id)


@MACHINE.command("blockdev-close-tray")
def close_tray(vm: Managed, id: Annotated[str, "the drive"]) -> None:
    """Accepted for a CD-ROM drive: its tray is closed when something is in it."""
    drive_of(vm, id)


@MACHINE.command("blockdev-remove-medium")
def remove_medium(vm: Managed, id: Annotated[str, "the drive"]) -> None:
    """Take out what is in a CD-ROM drive."""
    eject(vm, id=id)


@MACHINE.command("blockdev-insert-medium")
def insert_medium(
    vm: Managed,
    id: Annotated[str, "the drive"],
    node_name: Annotated[str, "the node of the image"],
) -> None:
    """Put an image that was told of into a CD-ROM drive."""
    node = vm.nodes.get(node_name)
    if node is None:
        raise refused(f"there is no node {node_name[:80]!r}")
    change_medium(vm, node.path, id=id)


def drive_of(vm: Managed, name: str) -> Cdrom:
    """The CD-ROM drive of that name. Raises `CommandFailed`."""
    called = name_in(name)
    name = vm.devices.get(called, called)
    drives = {f"cd{number}": drive for number, drive in enumerate(vm.machine.cdroms)}
    if name in drives:
        return drives[name]
    if any(drive.name == name for drive in vm.machine.drives()):
        raise refused(f"{name} has no medium that could be changed")
    raise CommandFailed(
        ErrorClass.DEVICE_NOT_FOUND,
        f"there is no drive {name!r}",
        f"choose from {', '.join(drives)}" if drives else "the machine has no CD-ROM drive",
        ExitCode.USAGE,
    )
