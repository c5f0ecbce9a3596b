"""What a machine is equipped with before it is built: a part of `Machine`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike, fsdecode
from typing import TYPE_CHECKING

from bimetal.backends.net.protocol import NetBackend
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.sizes import parse_size
from bimetal.devices.virtio.limits import PORTS_LIMIT
from bimetal.machine.assembly import Assembly
from bimetal.machine.config import Config, Disk
from bimetal.machine.nics import nic_from
from bimetal.machine.usb import socket_of
from bimetal.machine.wanted import (
    GPU,
    SCSI,
    USB_MODELS,
    VIRTIO,
    CdDrive,
    Input,
    PciPlace,
    RootPortAt,
    SerialPort,
    Share,
    UsbController,
    UsbHubAt,
    Video,
    Vsock,
)

if TYPE_CHECKING:
    from bimetal.machine.balloon import Balloon
    from bimetal.machine.cdrom import Cdrom

__all__ = ["Equipment", "Path"]

Path = str | PathLike[str]


class Equipment:
    """Methods that add devices; all are called before `Machine.start`."""

    config: Config
    _parts: Assembly

    def disk(
        self,
        path: Path,
        *,
        readonly: bool = False,
        snapshot: bool = False,
        serial: str = "",
        format: str | None = None,
        backing_folders: Iterable[Path] = (),
        bus: str = "virtio",
        queues: int = 1,
        iops: int = 0,
        bps: int | str = 0,
        removable: bool = False,
        socket: int | str = 0,
        stop_when_full: bool = False,
        write_errors: str = "",
        read_errors: str = "report",
    ) -> None:
        """Add the image at ``path``, or what an NBD server has at the address ``path``, as the next
        disk, on the ``bus`` ``virtio``, ``scsi`` or ``usb``. ``format`` is ``raw``, ``qcow2``, or
        one that is only read: ``vdi``, ``vhdx``, ``vmdk``, ``vpc``; without it the name says it,
        and what does not look like another format is raw. With ``snapshot`` the guest's writes are
        discarded at the end. ``serial`` is a serial number of at most 20 characters, by which the
        guest can identify the disk. Files that the image names lie in its folder or below it, or in
        ``backing_folders``. A virtio disk has ``queues``, and carries out at most ``iops`` requests
        and ``bps`` bytes (a number, or a size like ``20M``) in a second, if these are not 0. A disk
        on USB may be ``removable``, and is in a ``socket`` as `input` has it. If the host has no
        room for what the guest writes, that is an I/O error, or with ``stop_when_full`` the machine
        is paused, and tries again when it goes on. ``write_errors`` says so of all errors of the
        host: ``report``, ``ignore``, ``stop``, or ``enospc`` (stop if there is no room), and
        ``read_errors`` likewise, but for the last. Call before `start`, which raises
        `BimetalError` if the image is not usable."""
        self._check_not_built("disks")
        folders = tuple(map(fsdecode, backing_folders))
        own = queues, iops, parse_size(bps), removable, socket_of(socket)
        self.config.disks.append(
            Disk(
                fsdecode(path),
                readonly,
                snapshot,
                serial,
                format,
                folders,
                bus,
                *own,
                stop_when_full=stop_when_full,
                write_errors=write_errors,
                read_errors=read_errors,
            )
        )

    def share(self, path: Path, *, tag: str, readonly: bool = False, security: str = "") -> None:
        """Share the folder at ``path`` with the guest, which mounts it by its ``tag`` as a 9P file
        system. ``security`` says how the owners, modes and kinds of the guest's files are kept:
        ``mapped-xattr`` in extended attributes, ``passthrough`` as the host's own (which takes
        root), ``none`` likewise as far as that is allowed. The default is ``mapped-xattr``, or
        ``none`` if the folder is ``readonly``. Call before `start`, which raises `BimetalError` if
        the folder cannot be shared."""
        self._check_not_built("shares")
        share = Share(fsdecode(path), tag, readonly, security)
        if any(other.tag == tag for other in self.config.shares):
            raise BimetalError(
                f"two shares have the tag {tag!r}", "give each its own", ExitCode.USAGE
            )
        self.config.shares.append(share)

    def vsock(self, path: Path, *, cid: int = 3) -> None:
        """Let host and guest connect to each other's ports by sockets of the family AF_VSOCK. The
        host connects to the Unix socket at ``path`` and sends ``CONNECT PORT``; the guest, which
        has the context ``cid``, reaches who listens at the Unix socket ``path_PORT`` as port PORT
        of its host, context 2. Call before `start`, which raises `BimetalError` if the path cannot
        be listened at."""
        self._check_not_built("vsocks")
        if self.config.vsock is not None:
            raise BimetalError("a machine has one vsock", "leave one away", ExitCode.USAGE)
        self.config.vsock = Vsock(fsdecode(path), cid)

    def nic(
        self,
        network: str | NetBackend = "user",
        *,
        mac: str | None = None,
        mtu: int | None = None,
        queues: int | None = None,
        speed: int | None = None,
        capture: Path | None = None,
        **options: str | int | bool | Sequence[str],
    ) -> None:
        """Add a NIC on ``network``: its name, or that and more words as on the command line (as in
        ``vm.nic("user,hostfwd=tcp::2222-:22")``), or a back end; ``none`` adds nothing.
        ``options`` are such words too, with lists for those that may be said several times.

        ``mac`` is its address, which follows from the other options if it is not given; ``mtu``, in
        bytes, and ``speed``, in Mbit/s, are told to the guest; ``queues`` is the number of pairs of
        queues. All that goes over the cable is written to the file ``capture``, as pcapng.
        Call before `start`, which raises `BimetalError` if the network cannot be had."""
        self._check_not_built("NICs")
        own = {"mac": mac, "mtu": mtu, "queues": queues, "speed": speed}
        file = None if capture is None else fsdecode(capture)
        wanted = nic_from(network, {**own, "capture": file, **options})
        if wanted is not None:
            self.config.nics.append(wanted)

    def port(self, name: str, where: str) -> None:
        """Give the guest a serial port for a program, such as an agent, which finds it as
        ``/dev/virtio-ports/NAME`` (with udev). ``where`` is ``unix:PATH``, ``tcp:HOST:PORT`` or
        ``file:PATH``. Call before `start`, which raises `BimetalError` if that cannot be had."""
        self._check_not_built("ports")
        port = SerialPort(name, where)
        if any(other.name == name for other in self.config.ports):
            raise BimetalError(
                f"two ports have the name {name!r}", "give each its own", ExitCode.USAGE
            )
        if len(self.config.ports) >= PORTS_LIMIT:
            raise BimetalError(
                "there are too many ports", f"give it at most {PORTS_LIMIT}", ExitCode.USAGE
            )
        self.config.ports.append(port)

    def balloon(self) -> Balloon:
        """Give the machine a memory balloon: what the guest frees goes back to the host, and
        through the `Balloon` returned it can be asked for more. Call before `start`; afterwards it
        returns the balloon that was given."""
        if not self.config.balloon:
            self._check_not_built("a balloon")
            self.config.balloon = True
        made: Balloon = late("bimetal.machine.balloon:Balloon")(self._parts)
        return made

    def video(self, kind: str = GPU, *, width: int = 1024, height: int = 768) -> None:
        """Give the machine a display device: ``virtio``, a GPU whose monitor prefers ``width`` by
        ``height`` pixels, or ``ramfb``, a frame buffer for firmware, which hands it on to systems.
        `screendump` shows what is on it. Call before `start`."""
        self._check_not_built("a display device")
        if self.config.video is not None:
            raise BimetalError("a machine has one screen", "leave one away", ExitCode.USAGE)
        self.config.video = Video(kind, width, height)

    def input(self, kind: str, *, bus: str = VIRTIO, socket: int | str = 0) -> None:
        """Add an input device: a ``keyboard``, which `send_keys` types on, or a ``tablet``, which
        points, on the ``bus`` ``virtio`` or ``usb``; or a ``mouse`` on ``usb``. There it is in the
        ``socket`` of that number, from 1 on, or in any that is free; ``1.2`` is port 2 of the hub
        in socket 1. Call before `start`."""
        self._check_not_built("input devices")
        device = Input(kind, bus, socket_of(socket))
        if any(each.kind == kind for each in self.config.inputs):
            raise BimetalError(f"a machine has one {kind}", "leave one away", ExitCode.USAGE)
        self.config.inputs.append(device)

    def usb(self, model: str = USB_MODELS[0], *, usb2: int = 4, usb3: int = 4) -> None:
        """Give the machine a USB controller with so many ports of USB 2 and of USB 3, on a board
        with PCI. A socket leads to one of each. Devices on USB bring one along with four of each,
        if this is not called. Call before `start`."""
        self._check_not_built("a USB controller")
        if self.config.usb is not None:
            raise BimetalError("a machine has one USB controller", "leave one away", ExitCode.USAGE)
        self.config.usb = UsbController(model, usb2, usb3)

    def usb_hub(self, *, socket: int | str = 0) -> None:
        """Add a USB hub with eight ports, of USB 1.1, in a ``socket`` as `input` has it, which may
        be at another hub. Call before `start`."""
        self._check_not_built("USB hubs")
        self.config.hubs.append(UsbHubAt(socket_of(socket)))

    def root_port(self, slot: int, function: int = 0) -> int:
        """Put a root port of PCI Express on the root bus, as ``function`` of a ``slot``: a device
        may be behind it, from the start on or plugged in later. Its number, which counts from 1.
        Call before `start`, on a board with PCI and the option ``bus=pci``."""
        self._check_not_built("root ports")
        self.config.root_ports.append(RootPortAt(slot, function))
        return len(self.config.root_ports)

    def place(self, device: str, *, port: int = 0, slot: int = 0, function: int = 0) -> None:
        """Have a device at a certain place on PCI: ``disk0`` and so on, ``nic0``,
        ``share0``, ``scsi``, ``hvc``, ``rng``, ``vsock``, ``serial``, ``balloon``, ``gpu``,
        ``keyboard``, ``tablet`` or ``usb``, the controller. It is behind the root ``port`` of that
        number, or in a ``slot`` of the root bus. A disk or NIC behind a port is plugged in instead
        (`plug_disk`). Call before `start`, which raises `BimetalError` if the place is taken."""
        self._check_not_built("devices")
        self.config.places[device] = PciPlace(port, slot, function)

    def cdrom(self, path: Path | None = None, *, bus: str = SCSI, socket: int | str = 0) -> Cdrom:
        """Add a CD-ROM drive with the image at ``path`` in it, or none, on the ``bus`` ``scsi`` or
        ``usb``, and there in a ``socket`` as `input` has it. Call before `start`, which
        raises `BimetalError` if the image is not usable; the `Cdrom` returned changes it later."""
        self._check_not_built("CD-ROM drives")
        drive = CdDrive(None if path is None else fsdecode(path), bus, socket_of(socket))
        self.config.cdroms.append(drive)
        return self.cdroms[-1]

    @property
    def cdroms(self) -> tuple[Cdrom, ...]:
        """The CD-ROM drives that `cdrom` has added."""
        drive = late("bimetal.machine.cdrom:Cdrom")
        return tuple(drive(self._parts, number) for number in range(len(self.config.cdroms)))

    def _check_not_built(self, what: str) -> None:
        if self._parts.hardware is not None:
            raise BimetalError(
                "the machine is already built", f"add {what} before anything else", ExitCode.USAGE
            )
