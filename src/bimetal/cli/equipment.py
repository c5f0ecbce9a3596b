"""Options of ``bimetal run`` for disks and other devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
from msgspec import Struct

from bimetal import Machine
from bimetal.cli.disks import FORM, parse_disk
from bimetal.cli.words import Form

__all__ = [
    "EquipmentOptions",
    "ShareOption",
    "equipment_options",
    "parse_input",
    "parse_port",
    "parse_share",
    "parse_video",
    "parse_vsock",
]

Answer = TypeVar("Answer")

SHARE = Form(
    "--share",
    "FOLDER,tag=NAME[,readonly][,security=mapped-xattr|none|passthrough]",
    "the path of a folder",
    ("readonly",),
    ("tag", "security"),
)
PORT = Form(
    "--port",
    "unix:PATH|tcp:HOST:PORT|file:PATH,name=NAME",
    "a place for a port",
    texts=("name",),
)
VIDEO = Form(
    "--video", "virtio|ramfb[,width=N][,height=N]", "a kind of device", texts=("width", "height")
)
INPUT = Form(
    "--input",
    "keyboard|tablet|mouse[,bus=virtio|usb][,port=N.N]",
    "a kind of device",
    texts=("bus", "port"),
)
VSOCK = Form("--vsock", "PATH[,cid=N]", "the path of a Unix socket", texts=("cid",))

USUAL_NETWORK = "user"
MOST_BESIDE_A_NIC = 5
"""With more devices than this, a network card that nobody asked for takes no slot from them."""

NET = "KIND[,mac=ADDRESS][,capture=FILE][,WORDS]"


class ShareOption(Struct, frozen=True):
    """A share as asked for on the command line: a path, and the options of `Machine.share`."""

    path: str
    tag: str = ""
    readonly: bool = False
    security: str = ""


def parse_share(text: str) -> ShareOption:
    """Read a value of ``--share``. Raises `BimetalError` for what it cannot be."""
    path, options = SHARE.read(text)
    if "tag" not in options:
        raise SHARE.refused(f"--share {text} has no tag by which the guest could mount it")
    return ShareOption(path, **options)  # type: ignore[arg-type]  # of the types just chosen


def parse_vsock(text: str) -> tuple[str, int]:
    """Read the value of ``--vsock``: path and context. Raises `BimetalError`."""
    path, options = VSOCK.read(text)
    cid = str(options.get("cid", "3"))
    if not (cid.isascii() and cid.isdecimal()):
        raise VSOCK.refused(f"{cid!r} is no number of a context")
    return path, int(cid)


def parse_video(text: str) -> tuple[str, dict[str, int]]:
    """Read the value of ``--video``: kind and size. Raises `BimetalError`."""
    kind, options = VIDEO.read(text)
    size: dict[str, int] = {}
    for name, value in options.items():
        number = str(value)
        if not (number.isascii() and number.isdecimal() and len(number) <= 5):
            raise VIDEO.refused(f"{number!r} is no {name} in pixels")
        size[name] = int(number)
    return kind, size


def parse_input(text: str) -> tuple[str, str, str]:
    """Read a value of ``--input``: kind, bus and the port there. Raises `BimetalError`."""
    kind, options = INPUT.read(text)
    return kind, str(options.get("bus", "virtio")), str(options.get("port", ""))


def parse_port(text: str) -> tuple[str, str]:
    """Read a value of ``--port``: name and place. Raises `BimetalError`."""
    where, options = PORT.read(text)
    if "name" not in options:
        raise PORT.refused(f"--port {text} has no name by which the guest could know it")
    return str(options["name"]), where


class EquipmentOptions(Struct, frozen=True):
    """What the options ask for."""

    disks: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    backing_folders: tuple[str, ...] = ()
    vsock: str | None = None
    nics: tuple[str, ...] = ()
    balloon: bool = False
    cdroms: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    video: str | None = None
    inputs: tuple[str, ...] = ()
    usb: bool = False
    usb_hubs: tuple[str, ...] = ()

    def add_to(self, machine: Machine, *, seeks: bool = False) -> None:
        """Give it to ``machine``, disks in their order. With ``seeks`` that has firmware, which
        looks for something to start. Raises `BimetalError`."""
        for disk in map(parse_disk, self.disks):
            machine.disk(
                disk.path,
                format=disk.format,
                readonly=disk.readonly,
                snapshot=disk.snapshot,
                serial=disk.serial,
                bus=disk.bus,
                queues=disk.queues,
                iops=disk.iops,
                bps=disk.bps,
                removable=disk.removable,
                socket=disk.port,
                backing_folders=self.backing_folders,
            )
        for nic in self.nics or self._usual_network(seeks):
            machine.nic(nic)
        for share in map(parse_share, self.shares):
            machine.share(
                share.path, tag=share.tag, readonly=share.readonly, security=share.security
            )
        if self.vsock is not None:
            path, cid = parse_vsock(self.vsock)
            machine.vsock(path, cid=cid)
        if self.balloon:
            machine.balloon()
        for port in self.ports:
            machine.port(*parse_port(port))
        for path in self.cdroms:
            machine.cdrom(path)
        if self.video is not None:
            kind, size = parse_video(self.video)
            machine.video(kind, **size)
        if self.usb:
            machine.usb()
        for port in self.usb_hubs:
            machine.usb_hub(socket=port)
        for kind, bus, port in map(parse_input, self.inputs):
            machine.input(kind, bus=bus, socket=port)

    def _usual_network(self, seeks: bool) -> tuple[str, ...]:
        """The network of a machine for which nobody has named one. Firmware that has no disk to
        start from would ask it for minutes before it gave up."""
        single = (self.vsock is not None, self.balloon, bool(self.cdroms), bool(self.ports))
        others = len(self.disks) + len(self.shares) + len(self.inputs) + sum(single)
        others += self.video is not None
        finds = bool(self.disks or self.cdroms) or not seeks
        has_one = others <= MOST_BESIDE_A_NIC and finds
        return (USUAL_NETWORK,) if has_one else ()


def disk_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options for disks, of which ``command`` has the values."""

    @click.option(
        "--disk",
        "disks",
        multiple=True,
        metavar=FORM,
        help="The image as a virtio disk; may be repeated. Without a format, *.qcow2 is qcow2, "
        "*.vmdk vmdk and so on, and all else raw. 'readonly': the guest cannot write; 'snapshot': "
        "what it writes is forgotten at the end; 'serial': a number that it may know the disk by; "
        "'removable': on USB, a stick; 'port': there, at a hub's port 2 as 1.2.",
    )
    @click.option(
        "--cdrom",
        "cdroms",
        multiple=True,
        metavar="PATH",
        help="The image in a CD-ROM drive, on a SCSI bus; may be repeated.",
    )
    @click.option(
        "--backing-folder",
        "backing_folders",
        multiple=True,
        metavar="FOLDER",
        help="Where backing files of disks may lie, besides the folders of the images.",
    )
    @wraps(command)
    def given(**values: Any) -> Answer:
        return command(**values)

    return given


def screen_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options for what people look at, type and point with."""

    @click.option(
        "--video",
        metavar=VIDEO.shown,
        help="A display device: a GPU, or ramfb, a frame buffer for firmware.",
    )
    @click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar=INPUT.shown,
        help="What people type, or point, with; may be repeated. A mouse is on USB.",
    )
    @click.option(
        "--usb",
        is_flag=True,
        help="A USB controller (xHCI), for what is plugged in later; without this option there is "
        "one if anything is on USB. For boards with PCI.",
    )
    @click.option(
        "--usb-hub",
        "usb_hubs",
        multiple=True,
        metavar="PORT",
        help="A USB hub at that port of the controller, or, as 1.2, of another hub; what is at its "
        "port 3 says port=1.3, or port=1.2.3. May be repeated.",
    )
    @wraps(command)
    def given(**values: Any) -> Answer:
        return command(**values)

    return given


def equipment_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Options for devices, disks too: ``command`` has them as ``equipment``."""

    @disk_options
    @screen_options
    @click.option(
        "--share",
        "shares",
        multiple=True,
        metavar=SHARE.shown,
        help="Share a folder, which the guest mounts by its tag (mount -t 9p -o trans=virtio NAME "
        "/mnt); may be repeated. 'security': owners and modes of the guest's files are kept in "
        "extended attributes, or are the host's own.",
    )
    @click.option(
        "--net",
        "--nic",
        "nics",
        multiple=True,
        metavar=NET,
        help="A network card and what its cable leads to: user (as without this option), stream, "
        "dgram, socket, or none for no card; may be repeated. Also 'mac', 'mtu', 'queues', "
        "'speed', 'model=virtio'; 'capture' writes what goes over it to a pcapng file.",
    )
    @click.option(
        "--vsock",
        metavar=VSOCK.shown,
        help="Sockets of the family AF_VSOCK: 'CONNECT PORT' at the Unix socket PATH leads to the "
        "guest's PORT; its connections to PORT of the host lead to PATH_PORT.",
    )
    @click.option(
        "--port",
        "ports",
        multiple=True,
        metavar=PORT.shown,
        help="A serial port of that name for a program in the guest, such as an agent; may be "
        "repeated.",
    )
    @click.option(
        "--balloon", is_flag=True, help="Memory that the guest has freed goes back to the host."
    )
    @wraps(command)
    def gathered(**given: Any) -> Answer:
        own = {name: given.pop(name) for name in EquipmentOptions.__struct_fields__}
        return command(equipment=EquipmentOptions(**own), **given)

    return gathered
