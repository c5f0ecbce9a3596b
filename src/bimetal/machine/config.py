"""The configuration of a machine, checked as far as possible before anything is built."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from bimetal.backends.block.formats import check_format
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.base.sizes import MIB, format_size, parse_size
from bimetal.devices.virtio.limits import QUEUES_LIMIT
from bimetal.machine.nics import Nic
from bimetal.machine.wanted import (
    SCSI,
    USB,
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
from bimetal.memory.ram import PAGE_SIZE

__all__ = ["BUSES", "ENOSPC", "KERNEL_FORMATS", "NO_BIOS", "POLICIES", "RAW", "Config", "Disk"]
__all__ += ["memory_size"]

NO_BIOS = "none"
"""The value of ``bios`` for starting the kernel without any firmware, not even ours."""

RAW = "raw"
KERNEL_FORMATS = ("auto", RAW)
"""Formats of kernels: what the content says, or a raw binary."""

BUSES = (VIRTIO, SCSI, USB)
"""Buses of disks."""

MEMORY_MINIMUM = 1 * MIB

BEYOND_MEMORY = 1 << 44
"""More bytes than any host has. A number that means so much in MiB means 16 MiB in bytes, which
is a small machine."""

SERIAL_LIMIT = 20
"""Bytes of a disk's serial number, which is ASCII (virtio 1.2, 5.2.6)."""


POLICIES = ("report", "ignore", "stop")
"""What may be done about an error of the host: tell the guest, go on as if there were none, or
pause the machine, and try again when it goes on."""

ENOSPC = "enospc"
"""The last if there is no room, and else the first."""


class Disk(Struct, frozen=True):
    """An image that becomes a disk, on the ``bus`` that is one of `BUSES`; a virtio disk has
    ``queues`` and carries out ``iops`` requests and ``bps`` bytes in a second at most, or as many
    as it can for 0. One on USB is in the ``socket`` of that number, or, for 0, in any that is free,
    and may be ``removable``: software is told that it could be another one soon. With
    ``stop_when_full`` the machine is paused when the host has no room for what the guest writes,
    and tries again when it goes on; otherwise that is an I/O error. ``write_errors``, in place of
    that, and ``read_errors`` say what is done about errors of the host: see `POLICIES`."""

    path: str
    readonly: bool = False
    snapshot: bool = False
    serial: str = ""
    format: str | None = None
    backing_folders: tuple[str, ...] = ()
    bus: str = VIRTIO
    queues: int = 1
    iops: int = 0
    bps: int = 0
    removable: bool = False
    socket: int = 0
    stop_when_full: bool = False
    write_errors: str = ""
    read_errors: str = "report"

    @property
    def write_policy(self) -> str:
        """What is done about errors of the host while something is written."""
        return self.write_errors or (ENOSPC if self.stop_when_full else "report")

    def __post_init__(self) -> None:
        if not self.path:
            raise BimetalError("a disk needs the path of an image", "give one", ExitCode.USAGE)
        if self.bus not in BUSES:
            raise BimetalError(
                f"there is no bus {self.bus!r} for disks",
                choose_from(self.bus, BUSES),
                ExitCode.USAGE,
            )
        limited = self.queues > 1 or self.iops or self.bps
        if not 0 < self.queues <= QUEUES_LIMIT or min(self.iops, self.bps) < 0:
            raise BimetalError(
                f"{self.queues} queues, {self.iops} requests and {self.bps} bytes a second",
                f"choose 1 to {QUEUES_LIMIT} queues, and limits from 1 on, or 0 for none",
                ExitCode.USAGE,
            )
        if limited and self.bus != VIRTIO:
            raise BimetalError(
                "only virtio disks have several queues and limits of speed",
                "leave the bus or the limits away",
                ExitCode.USAGE,
            )
        if (self.removable or self.socket) and self.bus != USB:
            raise BimetalError(
                "only disks on USB are removable, and in sockets", "add bus=usb", ExitCode.USAGE
            )
        if self.write_policy not in (*POLICIES, ENOSPC) or self.read_errors not in POLICIES:
            raise BimetalError(
                f"errors are not answered by {self.write_policy!r} and {self.read_errors!r}",
                f"choose from {', '.join(POLICIES)}, and of writes also {ENOSPC}",
                ExitCode.USAGE,
            )
        if self.format is not None:
            check_format(self.format)
        plain = self.serial.isascii() and self.serial.isprintable()
        if not plain or len(self.serial) > SERIAL_LIMIT:
            raise BimetalError(
                f"the serial number {self.serial!r} is "
                + ("too long" if plain else "not of printable ASCII characters"),
                f"use at most {SERIAL_LIMIT} letters, digits and signs",
                ExitCode.USAGE,
            )


class Config(Struct):
    """The options of `Machine`; ``memory`` is in bytes, paths are as the user wrote them."""

    memory: int
    cpus: int
    kernel: str | None = None
    kernel_format: str = "auto"
    initrd: str | None = None
    append: str = ""
    bios: str | None = None
    flash: tuple[str, ...] = ()
    dtb: str | None = None
    dtb_overlays: tuple[str, ...] = ()
    reboot: bool = True
    semihosting: bool = False
    options: dict[str, str] = field(default_factory=dict)
    """The options given for the board."""
    disks: list[Disk] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)
    vsock: Vsock | None = None
    nics: list[Nic] = field(default_factory=list)
    ports: list[SerialPort] = field(default_factory=list)
    balloon: bool = False
    cdroms: list[CdDrive] = field(default_factory=list)
    video: Video | None = None
    inputs: list[Input] = field(default_factory=list)
    usb: UsbController | None = None
    hubs: list[UsbHubAt] = field(default_factory=list)
    root_ports: list[RootPortAt] = field(default_factory=list)
    places: dict[str, PciPlace] = field(default_factory=dict)
    """Where devices are on PCI, by what they are: disk0, nic0, rng, scsi, serial, gpu, ..."""
    arriving: bool = False
    """Whether the machine is still to come from another process, and its disks with it."""

    @property
    def usb_controller(self) -> UsbController | None:
        """The USB controller: the one that was asked for, or one for what is on USB."""
        return self.usb or (UsbController() if self.on(USB) else None)

    def on(self, bus: str) -> list[Disk | CdDrive | Input | UsbHubAt]:
        """What is on a ``bus``: hubs, disks, CD-ROM drives and input devices."""
        parts: list[Disk | CdDrive | Input | UsbHubAt]
        parts = [*self.hubs, *self.disks, *self.cdroms, *self.inputs]
        return [each for each in parts if each.bus == bus]

    @property
    def command_line(self) -> bytes:
        """``append`` as the kernel gets it; bytes that are not UTF-8 are passed on unchanged."""
        return self.append.encode(errors="surrogateescape")

    @property
    def runs(self) -> bool:
        """Whether there is something that the machine could run."""
        return bool(self.kernel or self.flash or self.bios not in (None, NO_BIOS))

    def check(self, max_cpus: int, *, files: bool = True) -> None:
        """Raise `BimetalError` for impossible values and, if ``files`` matter, for those that do
        not exist."""
        if not 1 <= self.cpus <= max_cpus:
            raise _usage(f"{self.cpus} CPUs", f"this board takes 1 to {max_cpus}")
        if self.memory < MEMORY_MINIMUM or self.memory % PAGE_SIZE:
            raise _usage(
                f"a memory of {format_size(self.memory)}",
                f"give at least {format_size(MEMORY_MINIMUM)}, in whole pages of 4 KiB",
            )
        if self.kernel_format not in KERNEL_FORMATS:
            remedy = choose_from(self.kernel_format, KERNEL_FORMATS)
            raise _usage(f"a kernel of the format {self.kernel_format!r}", remedy)
        usable = False
        with suppress(UnicodeEncodeError):
            usable = b"\0" not in self.command_line
        if not usable:
            raise _usage("a NUL, or half a character, in its command line", "leave it away")
        if self.initrd and not self.kernel:
            raise _usage("an initrd without a kernel", "give a kernel too")
        for what, path in (
            ("kernel", self.kernel),
            ("initrd", self.initrd),
            ("bios", self.bios),
            ("device tree", self.dtb),
            *(("overlay", overlay) for overlay in self.dtb_overlays),
        ):
            if files and path and path != NO_BIOS:
                _check_file(what, path)

    def check_runs(self) -> None:
        """Raise `BimetalError` if there is nothing that the machine could run."""
        if not self.runs:
            raise _usage("nothing to run", "give a kernel, a bios or a flash image")


def memory_size(memory: str | int) -> int:
    """Bytes of memory: an int counts bytes, a number alone in a text MiB, as everywhere.

    Raises `BimetalError` for what is no size, and for a number that was meant in the other unit.
    """
    size = parse_size(memory, unit=MIB)
    if isinstance(memory, int) and 0 < memory < MEMORY_MINIMUM:
        raise _usage(
            f"a memory of {format_size(memory)}",
            f"an int counts bytes: did you mean '{memory}{'M' if memory < MIB >> 4 else 'K'}'?",
        )
    if isinstance(memory, str) and size >= BEYOND_MEMORY and memory.strip().isdigit():
        count = int(memory)
        raise _usage(
            f"a memory of {format_size(size)}",
            f"a number alone counts MiB; {count} bytes are {format_size(count)}",
        )
    return size


def _check_file(what: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise BimetalError(
            f"the {what} {path} cannot be read: {error.strerror}",
            "check the path and its permissions",
            ExitCode.NO_INPUT,
        ) from error


def _usage(what: str, remedy: str) -> BimetalError:
    return BimetalError(f"a machine cannot have {what}", remedy, ExitCode.USAGE)
