"""What a machine that stays is made of: the values that its definition says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.names import check_name

__all__ = ["Definition", "DiskPart", "NicPart", "PortPart", "SharePart", "furnish"]


@dataclass(frozen=True)
class DiskPart:
    """A disk, or a CD-ROM drive, which may be empty: ``path`` is "" then. ``target`` is what people
    call it, ``vda``; ``bus`` is ``virtio`` or ``scsi``."""

    path: str
    target: str
    format: str | None = None
    bus: str = "virtio"
    cdrom: bool = False
    readonly: bool = False
    snapshot: bool = False
    serial: str = ""


@dataclass(frozen=True)
class NicPart:
    """A NIC: its ``network`` in the words of the command line, and its address, or ""."""

    network: str = "user"
    mac: str = ""


@dataclass(frozen=True)
class SharePart:
    """A folder that the guest mounts by its ``tag``."""

    path: str
    tag: str
    readonly: bool = False
    security: str = ""


@dataclass(frozen=True)
class PortPart:
    """A serial port for a program in the guest, which knows it by its ``name``. ``path`` is that of
    a Unix socket, or "" for one beside the machine's own."""

    name: str
    path: str = ""


@dataclass(frozen=True)
class Definition:
    """A machine by ``name``. Sizes are bytes, other values as for `Machine`.

    ``where`` says where the console leads. Raises `BimetalError` for a name that cannot be.
    """

    name: str
    uuid: UUID
    board: str
    memory: int
    cpus: int = 1
    cpu_model: str = ""
    accel: str = "auto"
    kernel: str | None = None
    initrd: str | None = None
    append: str = ""
    bios: str | None = None
    flash: tuple[str, ...] = ()
    flash_template: str = ""
    """What the last flash image is a copy of when the machine starts for the first time."""

    dtb: str | None = None
    serial: str = "pty"
    balloon: bool = False
    reboot: bool = True
    disks: tuple[DiskPart, ...] = ()
    nics: tuple[NicPart, ...] = ()
    shares: tuple[SharePart, ...] = ()
    ports: tuple[PortPart, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was asked for that has no effect here."""

    def __post_init__(self) -> None:
        check_name(self.name)
        targets = [disk.target for disk in self.disks]
        for target in targets:
            if targets.count(target) > 1:
                raise BimetalError(
                    f"two disks of {self.name} are called {target}",
                    "give each its own target",
                    ExitCode.DATA,
                )

    def machine_options(self) -> dict[str, Any]:
        """What it says of the arguments of `Machine`."""
        return {
            "board": self.board,
            "memory": self.memory,
            "cpus": self.cpus,
            "cpu_model": self.cpu_model,
            "accel": self.accel,
            "kernel": self.kernel,
            "initrd": self.initrd,
            "append": self.append,
            "bios": self.bios,
            "flash": self.flash,
            "dtb": self.dtb,
            "serial": self.serial,
            "reboot": self.reboot,
        }


def furnish(machine: Any, definition: Definition, socket_of: Callable[[str], str]) -> None:
    """Give the devices of a definition to a `Machine` that is not built. ``socket_of`` says where
    the socket of a port lies by its name. Raises `BimetalError`."""
    for disk in definition.disks:
        if disk.cdrom:
            machine.cdrom(disk.path or None)
        else:
            machine.disk(
                disk.path,
                format=disk.format,
                readonly=disk.readonly,
                snapshot=disk.snapshot,
                serial=disk.serial,
                bus=disk.bus,
            )
    for nic in definition.nics:
        machine.nic(nic.network, mac=nic.mac or None)
    for share in definition.shares:
        machine.share(share.path, tag=share.tag, readonly=share.readonly, security=share.security)
    for port in definition.ports:
        machine.port(port.name, f"unix:{port.path or socket_of(port.name)}")
    if definition.balloon:
        machine.balloon()
