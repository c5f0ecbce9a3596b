"""What a command line asks for: what `Machine` is given, and what its process does besides.

Options fill it in, each by itself; what refers to something else (a device to its drive) does so by
name, and is resolved when all of the line has been read (`furnishing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct, field

from bimetal.backends.chars.held import HeldOutput
from bimetal.control.emulator.drivers import Driver
from bimetal.control.emulator.grammar import Words
from bimetal.control.emulator.targets import MachineKind, Target

if TYPE_CHECKING:
    from bimetal.control.sandboxing import Sandbox

__all__ = ["DriveAt", "FolderAt", "MonitorAt", "NicAt", "Order", "ViewersAt"]


class MonitorAt(Struct, frozen=True):
    """A monitor for programs, or for ``people``: its ``place`` in the words of
    `bimetal.backends.clients`, or the line ``chardev``."""

    place: str = ""
    chardev: str = ""
    people: bool = False


class DriveAt(Struct, frozen=True):
    """An image at ``path``, and the ``interface`` by which the guest reaches it: ``none`` if a
    device says so, which refers to it by ``id``. ``unit`` is its number there, or -1. See
    `Machine.disk` for what is done about errors."""

    path: str
    id: str = ""
    interface: str = "virtio"
    format: str | None = None
    cdrom: bool = False
    readonly: bool = False
    snapshot: bool = False
    unit: int = -1
    serial: str = ""
    write_errors: str = "enospc"
    read_errors: str = "report"


class NicAt(Struct, frozen=True):
    """A NIC on a ``network``, as `Machine.nic` takes it, with an address, or ""."""

    network: str
    mac: str = ""


class FolderAt(Struct, frozen=True):
    """A folder to share."""

    path: str
    security: str
    readonly: bool


class ViewersAt(Struct, frozen=True):
    """Where viewers find the screen, whether they need a password, which is told later, and where
    pages connect, or ""."""

    place: str
    password: bool = False
    web_socket: str = ""


class Order(Struct):
    """What was asked of the emulator ``target``."""

    target: Target
    kind: MachineKind | None = None
    nothing: bool = False
    """Whether it is to have no machine at all, and only be asked what there is."""

    machine: dict[str, Any] = field(default_factory=dict)
    """Arguments of `Machine`, but for its board."""
    board_options: dict[str, str] = field(default_factory=dict)
    acpi: bool = True
    memory_backend: str = ""
    flash_nodes: tuple[str, ...] = ()

    name: str = ""
    uuid: UUID | None = None
    defaults: bool = True
    """Whether devices are there that nobody has asked for."""
    graphic: bool = True
    paused: bool = False
    stays: bool = False
    """Whether the process goes on when the guest has switched off, until it is told to end."""
    daemon: bool = False
    pid_file: str = ""
    loadvm: str = ""
    incoming: str = ""
    snapshot: bool = False
    sandbox: Sandbox | None = None

    monitors: list[MonitorAt] = field(default_factory=list)
    serials: list[str] = field(default_factory=list)
    chardevs: dict[str, Words] = field(default_factory=dict)
    held: dict[str, HeldOutput] = field(default_factory=dict)
    """Lines whose output is held in memory, by id."""
    objects: dict[str, str] = field(default_factory=dict)
    """Types of objects, by id."""
    memories: dict[str, int] = field(default_factory=dict)
    """Sizes of those that are memory."""
    netdevs: dict[str, str] = field(default_factory=dict)
    """Networks by id, as `Machine.nic` takes them."""
    nics: list[NicAt] = field(default_factory=list)
    usual_nic: bool = True
    """Whether there is a NIC if nobody asks for one."""
    old_nics: list[str] = field(default_factory=list)
    old_networks: list[str] = field(default_factory=list)
    """Addresses of NICs, and networks, which belong together in this order."""
    nodes: list[dict[str, Any]] = field(default_factory=list)
    """Images, as ``blockdev-add`` is told of them."""
    drives: list[DriveAt] = field(default_factory=list)
    folders: dict[str, FolderAt] = field(default_factory=dict)
    shares: list[tuple[str, FolderAt]] = field(default_factory=list)
    devices: list[tuple[Driver, Words]] = field(default_factory=list)
    viewers: list[ViewersAt] = field(default_factory=list)
    usb: bool = False
    """Whether there is to be a USB controller, whatever is on it."""
    usb_inputs: list[str] = field(default_factory=list)
    """Input devices on USB that are asked for in the old way."""
