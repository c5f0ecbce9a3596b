"""What a machine that stays is made of: the values that its definition says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any
from uuid import UUID

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.control.names import check_name

__all__ = ["AT_PORT", "AUTO", "ON_BUS", "PAGE", "UNWRITABLE", "Definition", "DiskPart", "NicPart"]
__all__ += ["PortPart", "ScreenPart", "SharePart", "furnish"]

PAGE = 4096
ACCELERATORS = ("auto", "jit", "interp", "kvm")
SANDBOXES = ("on", "off")
AUTO = "auto"
"""Where viewers connect that are to connect anywhere on this host."""

USUAL_INPUTS = ("keyboard", "tablet")
ON_BUS, AT_PORT = ",bus=", ",port="
PORTS_USUAL, PORTS_MOST = 4, 15
"""Ports of a USB controller of each kind; the most if places among them are told."""
HAS_PCI = "ports"
"""An option of boards with PCI, on which USB controllers are."""
PLACES, KINDS = ("pty", "none"), ("file:", "unix:", "tcp:")
"""Where the console of a machine without a terminal may lead."""

UNWRITABLE = re.compile(r"[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no character of XML (XML 1.0, 2.2), and the carriage return, which becomes another."""


@dataclass(frozen=True)
class DiskPart:
    """A disk, or a CD-ROM drive, which may be empty: ``path`` is "" then. ``target`` is what people
    call it, ``vda``; ``bus`` is ``virtio``, ``scsi`` or ``usb``, where it may be ``removable``."""

    path: str
    target: str
    format: str | None = None
    bus: str = "virtio"
    cdrom: bool = False
    readonly: bool = False
    snapshot: bool = False
    serial: str = ""
    backing: tuple[str, ...] = ()
    """Images that it lies on and that may lie elsewhere than in its folder."""
    removable: bool = False
    port: str = ""
    """Where it is on USB: ``1.2`` is port 2 of the hub at port 1; "" for anywhere."""


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
class ScreenPart:
    """A screen: the ``device`` that draws (``virtio``, ``ramfb``), the size in pixels that it
    prefers, and where VNC is served besides the socket for the page: ``vnc`` is a place as for
    `Machine.vnc`, `AUTO` for the first display of this host that is free, or ""."""

    device: str = "virtio"
    width: int = 1024
    height: int = 768
    vnc: str = AUTO
    password: str = field(default="", repr=False)


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
    screen: ScreenPart | None = None
    inputs: tuple[str, ...] = ()
    """What people type and point with, in the words of the command line: ``keyboard``, ``tablet``,
    and on USB ``keyboard,bus=usb``, or ``keyboard,bus=usb,port=1.2``, and so on. A screen without
    any has the first two."""
    usb: bool = False
    """Whether there is a USB controller, whatever is on it, on a board that can have one."""
    hubs: tuple[str, ...] = ()
    """Where there are USB hubs, as for a disk."""

    title: str = ""
    sandbox: str = "on"
    """``off`` if its process is not to be confined."""

    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was asked for that has no effect here."""

    def __post_init__(self) -> None:
        check_name(self.name)
        for text in _texts(self):
            if UNWRITABLE.search(text):
                raise _wrong(f"{text[:60]!r} has a character that XML cannot have", "leave it away")
        if self.memory <= 0 or self.memory % PAGE:
            raise _wrong(f"a memory of {self.memory} bytes", "give whole pages of 4 KiB")
        if self.cpus < 1:
            raise _wrong(f"{self.cpus} CPUs", "give it one")
        if self.accel not in ACCELERATORS:
            raise _wrong(f"no accelerator {self.accel!r}", choose_from(self.accel, ACCELERATORS))
        if self.serial not in PLACES and not self.serial.startswith(KINDS):
            raise _wrong(f"no console at {self.serial[:60]!r}", f"write {', '.join(PLACES)} or one "
                         f"of {', '.join(KINDS)}")  # fmt: skip
        if len(self.flash) > 2 or "" in self.flash or (self.flash_template and len(self.flash) < 2):
            raise _wrong("flash that is not there", "give it firmware, and a file for variables")
        if self.sandbox not in SANDBOXES:
            raise _wrong(f"a sandbox {self.sandbox!r}", choose_from(self.sandbox, SANDBOXES))
        self._check_parts()

    def _check_parts(self) -> None:
        targets = [disk.target for disk in self.disks]
        for target in targets:
            if targets.count(target) > 1:
                raise _wrong(f"two disks called {target!r}", "give each its own target")
        if not all(targets) or any(not (disk.path or disk.cdrom) for disk in self.disks):
            raise _wrong("a disk without an image or a target", "say both")
        whole = [nic.network for nic in self.nics] + [port.name for port in self.ports]
        whole += [text for share in self.shares for text in (share.path, share.tag)]
        if not all(whole):
            raise _wrong("a NIC, a share or a port of which nothing is said", "say what it is")

    @property
    def usb_ports(self) -> int:
        """How many ports of each kind a USB controller has."""
        return PORTS_MOST if self.hubs else PORTS_USUAL

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


def _texts(value: Any) -> Iterator[str]:
    """All texts in a definition."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from _texts(getattr(value, each.name))


def _wrong(what: str, remedy: str) -> BimetalError:
    return BimetalError(f"a machine cannot have {what}", remedy, ExitCode.DATA)


def furnish(machine: Any, definition: Definition, socket_of: Callable[[str], str]) -> None:
    """Give the devices of a definition to a `Machine` that is not built. ``socket_of`` says where
    the socket of a port lies by its name. Raises `BimetalError`."""
    for disk in definition.disks:
        if disk.cdrom:
            machine.cdrom(disk.path or None, bus=disk.bus, socket=disk.port)
        else:
            machine.disk(
                disk.path,
                format=disk.format,
                readonly=disk.readonly,
                snapshot=disk.snapshot,
                serial=disk.serial,
                backing_folders=[os.path.dirname(path) for path in disk.backing],
                bus=disk.bus,
                stop_when_full=True,
                removable=disk.removable,
                socket=disk.port,
            )
    for nic in definition.nics:
        machine.nic(nic.network, mac=nic.mac or None)
    for share in definition.shares:
        machine.share(share.path, tag=share.tag, readonly=share.readonly, security=share.security)
    for port in definition.ports:
        machine.port(port.name, f"unix:{port.path or socket_of(port.name)}")
    if definition.balloon:
        machine.balloon()
    screen = definition.screen
    if screen is not None:
        machine.video(screen.device, width=screen.width, height=screen.height)
    for each in definition.inputs or (USUAL_INPUTS if screen is not None else ()):
        kind, _, where = each.partition(ON_BUS)
        bus, _, socket = where.partition(AT_PORT)
        machine.input(kind, bus=bus or "virtio", socket=socket)
    for socket in definition.hubs:
        machine.usb_hub(socket=socket)
    if definition.usb and HAS_PCI in machine.boards()[machine.board].options:
        machine.usb(usb2=definition.usb_ports, usb3=definition.usb_ports)
