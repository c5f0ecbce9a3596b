"""Devices that a user wants a machine to have besides its disks, checked as far as possible."""

from __future__ import annotations

from msgspec import Struct

from bimetal.backends.share.owners import MAPPED, NONE, SECURITY_MODELS
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.devices.display.edid import EDID_SIDE_LIMIT

__all__ = [
    "GPU",
    "INPUTS",
    "KEYBOARD",
    "MOUSE",
    "RAMFB",
    "TABLET",
    "USB",
    "USB_MODELS",
    "VIDEOS",
    "VIRTIO",
    "CdDrive",
    "Input",
    "PciPlace",
    "RootPortAt",
    "SerialPort",
    "Share",
    "UsbController",
    "UsbHubAt",
    "Video",
    "Vsock",
]

TAG_LIMIT = 31
"""Bytes of a tag: what drivers of Linux before 6.10 have room for."""

NAME_LIMIT = 127
PLACES = ("unix", "tcp", "file", "fd")
"""Kinds of places to which a port may lead: a terminal is the console's."""
SLOT_MOST, FUNCTION_MOST = 31, 7

GPU, RAMFB = VIDEOS = ("virtio", "ramfb")
"""Kinds of display devices."""

KEYBOARD, TABLET, MOUSE = INPUTS = ("keyboard", "tablet", "mouse")
"""Kinds of input devices."""

VIRTIO, SCSI, USB = "virtio", "scsi", "usb"
"""What carries a device."""

USB_MODELS = ("qemu-xhci", "nec-usb-xhci")
"""USB host controllers, the usual one first."""
PORTS_MOST, PORTS_USUAL = 15, 4
"""Ports of a USB host controller, of each kind."""

USUAL_WIDTH, USUAL_HEIGHT = 1024, 768
SIDE_MINIMUM = 64


class Share(Struct, frozen=True):
    """A folder of the host that the guest mounts by the name ``tag``.

    ``security`` says how owners and modes of the guest's files are kept; "" chooses
    ``mapped-xattr``, or ``none`` for a folder that is only read.
    """

    path: str
    tag: str
    readonly: bool = False
    security: str = ""

    def __post_init__(self) -> None:
        if not self.path:
            raise BimetalError("a share needs the path of a folder", "give one", ExitCode.USAGE)
        plain = self.tag.isascii() and self.tag.isprintable() and "," not in self.tag
        if not self.tag or not plain or len(self.tag) > TAG_LIMIT:
            raise BimetalError(
                f"{self.tag!r} is no tag by which a guest could mount a folder",
                f"use 1 to {TAG_LIMIT} letters, digits and signs, and no comma",
                ExitCode.USAGE,
            )
        if self.security and self.security not in SECURITY_MODELS:
            raise BimetalError(
                f"there is no security model {self.security!r}",
                choose_from(self.security, SECURITY_MODELS),
                ExitCode.USAGE,
            )

    @property
    def model(self) -> str:
        """The security model in force."""
        return self.security or (NONE if self.readonly else MAPPED)


class Vsock(Struct, frozen=True):
    """Sockets between guest and host: the guest has the context ``cid``, and its ports are reached
    by the Unix socket at ``path``."""

    path: str
    cid: int = 3

    def __post_init__(self) -> None:
        if not self.path:
            raise BimetalError("a vsock needs the path of a socket", "give one", ExitCode.USAGE)
        if not 3 <= self.cid < 0xFFFF_FFFF:
            raise BimetalError(
                f"a guest cannot have the context {self.cid}",
                f"choose a number from 3 to {0xFFFF_FFFE}",
                ExitCode.USAGE,
            )


class SerialPort(Struct, frozen=True):
    """A line between a program in the guest, which knows it by ``name``, and ``where``, a place as
    `bimetal.backends.chars.choose` knows it."""

    name: str
    where: str

    def __post_init__(self) -> None:
        plain = self.name.isascii() and self.name.isprintable() and "/" not in self.name
        if not self.name or not plain or len(self.name) > NAME_LIMIT:
            raise BimetalError(
                f"{self.name!r} is no name of a port",
                f"use 1 to {NAME_LIMIT} letters, digits and signs, and no '/'",
                ExitCode.USAGE,
            )
        if self.where.partition(":")[0] not in PLACES:
            raise BimetalError(
                f"a port cannot lead to {self.where!r}",
                "write unix:PATH, tcp:HOST:PORT, file:PATH or fd:NUMBER",
                ExitCode.USAGE,
            )


class RootPortAt(Struct, frozen=True):
    """A root port, which is ``function`` of a ``slot`` of the root bus."""

    slot: int
    function: int = 0

    def __post_init__(self) -> None:
        _check_place(self.slot, self.function)


class PciPlace(Struct, frozen=True):
    """Where a virtio device is: behind the root ``port`` of that number, which count from 1, or, if
    that is 0, ``function`` of a ``slot`` of the root bus."""

    port: int = 0
    slot: int = 0
    function: int = 0

    def __post_init__(self) -> None:
        if not self.port:
            _check_place(self.slot, self.function)


def _check_place(slot: int, function: int) -> None:
    if not 0 < slot <= SLOT_MOST or not 0 <= function <= FUNCTION_MOST:
        raise BimetalError(
            f"the root bus has no place {slot:#x}.{function}",
            f"choose a slot from 1 to {SLOT_MOST} and a function from 0 to {FUNCTION_MOST}",
            ExitCode.USAGE,
        )


class Video(Struct, frozen=True):
    """A display device, of a ``kind`` in `VIDEOS`, whose monitor prefers ``width`` by ``height``
    pixels, if it has one that the guest can ask."""

    kind: str
    width: int = USUAL_WIDTH
    height: int = USUAL_HEIGHT

    def __post_init__(self) -> None:
        if self.kind not in VIDEOS:
            raise BimetalError(
                f"there is no display device {self.kind!r}",
                choose_from(self.kind, VIDEOS),
                ExitCode.USAGE,
            )
        if not all(SIDE_MINIMUM <= each <= EDID_SIDE_LIMIT for each in (self.width, self.height)):
            raise BimetalError(
                f"a monitor cannot have {self.width} x {self.height} pixels",
                f"choose {SIDE_MINIMUM} to {EDID_SIDE_LIMIT} for each",
                ExitCode.USAGE,
            )


class Input(Struct, frozen=True):
    """An input device, of a ``kind`` in `INPUTS`, on a ``bus``, and of USB in the ``socket`` of
    that number (`bimetal.devices.usb.route`), or, for 0, in any that is free."""

    kind: str
    bus: str = VIRTIO
    socket: int = 0

    def __post_init__(self) -> None:
        if self.kind not in INPUTS:
            raise BimetalError(
                f"there is no input device {self.kind!r}",
                choose_from(self.kind, INPUTS),
                ExitCode.USAGE,
            )
        if self.bus not in (VIRTIO, USB) or (self.kind == MOUSE and self.bus != USB):
            raise BimetalError(
                f"there is no {self.kind} on the bus {self.bus!r}",
                "choose virtio or usb; a mouse is on usb",
                ExitCode.USAGE,
            )
        _check_socket(f"this {self.kind}", self.bus, self.socket)


class CdDrive(Struct, frozen=True):
    """A CD-ROM drive with the image at ``path`` in it, or none, on a ``bus``, and of USB in a
    ``socket``, as `Input` has it."""

    path: str | None = None
    bus: str = SCSI
    socket: int = 0

    def __post_init__(self) -> None:
        if self.bus not in (SCSI, USB):
            raise BimetalError(
                f"there is no CD-ROM drive on the bus {self.bus!r}",
                "choose scsi or usb",
                ExitCode.USAGE,
            )
        _check_socket("this CD-ROM drive", self.bus, self.socket)


def _check_socket(what: str, bus: str, socket: int) -> None:
    if socket and bus != USB:
        raise BimetalError(
            f"{what} is on the bus {bus!r}, which has no sockets",
            "add bus=usb, or leave the socket away",
            ExitCode.USAGE,
        )


class UsbHubAt(Struct, frozen=True):
    """A hub on USB, in a ``socket`` as `Input` has it."""

    socket: int = 0

    @property
    def bus(self) -> str:
        """What carries it."""
        return USB


class UsbController(Struct, frozen=True):
    """A USB host controller of a ``model`` in `USB_MODELS`, with ``slow`` ports of USB 2 and
    ``fast`` ones of USB 3. A socket leads to one of each, as far as there are any."""

    model: str = USB_MODELS[0]
    slow: int = PORTS_USUAL
    fast: int = PORTS_USUAL

    def __post_init__(self) -> None:
        if self.model not in USB_MODELS:
            raise BimetalError(
                f"there is no USB controller {self.model!r}",
                choose_from(self.model, USB_MODELS),
                ExitCode.USAGE,
            )
        if not 1 <= self.slow <= PORTS_MOST or not 0 <= self.fast <= PORTS_MOST:
            raise BimetalError(
                f"a USB controller cannot have {self.slow} and {self.fast} ports",
                f"choose 1 to {PORTS_MOST} of USB 2, and 0 to {PORTS_MOST} of USB 3",
                ExitCode.USAGE,
            )
