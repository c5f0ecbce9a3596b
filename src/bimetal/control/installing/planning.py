"""What is to be made of what was asked for: everything is decided here, and nothing done."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from msgspec import Struct, field

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import GIB, MIB
from bimetal.base.veiling import veiled
from bimetal.control.definition import AUTO, ON_BUS, Definition, NicPart, ScreenPart
from bimetal.control.installing.disks import NewDisk, disk_from
from bimetal.control.installing.firmware import Firmware, find_firmware
from bimetal.control.installing.media import architecture_of
from bimetal.control.installing.osinfo import System, find_system
from bimetal.control.installing.seed import Seed, seed_from
from bimetal.control.installing.unattended import ARGUMENTS, answers_for
from bimetal.control.installing.words import Words, refused
from bimetal.control.known_boards import boards
from bimetal.machine.board import Board
from bimetal.machine.wanted import INPUTS, MOUSE, TABLET, USB, USB_MODELS, VIRTIO, Input

__all__ = ["Plan", "Wanted", "plan"]

USUAL_MEMORY, USUAL_STORAGE = 1 * GIB, 20 * GIB
NETWORK_WITHOUT_EFFECT = ("portgroup", "target", "link", "trustGuestRxFilters", "driver.queues")
PLACES = ("pty", "none")
VNC, NONE = "vnc", "none"
XHCI = USB_MODELS[0]


class Wanted(Struct, frozen=True):
    """The words of virt-install's options, "" for those that were not given."""

    name: str
    memory: str = ""
    cpus: str = ""
    cpu: str = ""
    arch: str = ""
    machine: str = ""
    accel: str = ""
    uuid: str = ""
    title: str = ""
    disks: tuple[str, ...] = ()
    cdrom: str = ""
    location: str = ""
    is_import: bool = False
    boot: str = ""
    extra: str = ""
    networks: tuple[str, ...] = ()
    graphics: str = ""
    video: str = ""
    inputs: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    serial: str = ""
    system: str = ""
    cloud_init: str | None = None
    unattended: str | None = None
    injected: tuple[str, ...] = ()
    balloon: bool = True

    def __repr__(self) -> str:
        return veiled(self, "graphics")  # VNC's password is among these words


class Plan(Struct, frozen=True):
    """What is to be made: the ``definition``, its ``disks``, a ``seed`` of cloud-init for the drive
    ``seed_target``, and from where the first start takes kernel and initrd, with ``extra`` words
    for its command line, and files that are ``injected`` into that initrd. ``password`` is that
    which was made for root."""

    definition: Definition
    disks: tuple[NewDisk, ...]
    installs: bool
    seed: Seed = field(default_factory=dict)
    seed_target: str = ""
    location: str = ""
    extra: str = ""
    injected: Mapping[str, bytes] = field(default_factory=dict)
    password: str = ""
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return veiled(self, "seed", "injected", "password")


def plan(
    wanted: Wanted, folder: Path, firmware: Callable[[str], Firmware | None] = lambda isa: None
) -> Plan:
    """The plan for what is ``wanted``, with new images in ``folder``. Where the host has no
    firmware for an instruction set, ``firmware`` is asked for some. Raises `BimetalError`."""
    system = _system(wanted.system)
    notes: list[str] = []
    disks = _disks(wanted, system, folder, notes)
    board = _board(wanted)
    boot = Words(
        "--boot", wanted.boot, known=(
            "kernel", "initrd", "cmdline", "kernel_args", "dtb", "loader", "nvram", "uefi",
            "firmware", "nvram.template",
        ), without_effect=("hd", "cdrom", "network", "menu", "useserial", "boot0.dev", "boot1.dev"),
    )  # fmt: skip
    notes += boot.notes
    media = wanted.cdrom or wanted.location
    location = wanted.location if wanted.unattended is None else media
    injected = _injected(wanted, system, disks, notes)
    extra = wanted.extra if wanted.unattended is None else f"{ARGUMENTS} {wanted.extra}".rstrip()
    values = _started(wanted, board, boot, folder, firmware)
    seed, password = ({}, "") if wanted.cloud_init is None else seed_from(
        wanted.cloud_init, wanted.name
    )  # fmt: skip
    target = ""
    if seed:
        drive, _ = disk_from("device=cdrom", wanted.name, folder, disks)
        disks.append(drive)
        target = drive.part.target
    definition = Definition(
        name=wanted.name,
        uuid=UUID(wanted.uuid) if wanted.uuid else uuid4(),
        board=board.name,
        memory=_memory(wanted.memory, system),
        cpus=_cpus(wanted.cpus, notes),
        cpu_model="",
        accel=wanted.accel or "auto",
        serial=_serial(wanted.serial),
        balloon=wanted.balloon,
        disks=tuple(disk.part for disk in disks),
        nics=_nics(wanted.networks, notes),
        title=wanted.title,
        screen=_screen(wanted, notes),
        inputs=tuple(_input(text, notes) for text in wanted.inputs),
        usb=True in [_is_usb(text, notes) for text in wanted.controllers],
        **values,  # type: ignore[arg-type]  # of the types just chosen
    )
    if wanted.cpu and wanted.cpu not in ("host", "host-passthrough", "host-model", "default"):
        definition = replace(definition, cpu_model=wanted.cpu)
    return Plan(
        definition, tuple(disks), bool(media), seed, target, location, extra, injected, password,
        tuple(notes),
    )  # fmt: skip


def _system(text: str) -> System:
    words = Words(
        "--osinfo", text or "generic", first="name", known=("name", "short-id", "detect", "require")
    )
    name = words.text("name") or words.text("short-id") or "generic"
    return find_system(name)


def _disks(wanted: Wanted, system: System, folder: Path, notes: list[str]) -> list[NewDisk]:
    asked = [*wanted.disks]
    if not asked:
        if wanted.is_import:
            raise refused("--import starts a disk that is there", "name it: --disk PATH")
        if (wanted.cdrom or wanted.location) and system.storage:
            asked = [f"size={system.storage // GIB or 1}"]
        elif wanted.cdrom or wanted.location:
            raise refused("--disk storage must be specified", "or say --disk none")
    disks: list[NewDisk] = []
    for text in asked:
        if text == "none":
            continue
        disk, words = disk_from(text, wanted.name, folder, disks)
        notes += words.notes
        disks.append(disk)
    media = _image(wanted)
    if media:
        if not os.path.exists(media):
            raise refused(f"there is no media {media}", "check the path of --cdrom")
        text = f"path={media.replace(',', ',,')},device=cdrom"
        disks.append(disk_from(text, wanted.name, folder, disks)[0])
    return disks


def _image(wanted: Wanted) -> str:
    """The image of a CD-ROM that it is installed from, or "": what has the kernel has the packages,
    too."""
    return wanted.cdrom or (wanted.location if os.path.isfile(wanted.location) else "")


def _injected(
    wanted: Wanted, system: System, disks: list[NewDisk], notes: list[str]
) -> dict[str, bytes]:
    """The files that the installer's initrd is to have besides."""
    found = dict[str, bytes]()
    if wanted.injected and not (wanted.location or wanted.unattended is not None):
        raise refused("--initrd-inject needs an installer's initrd", "give --location")
    if wanted.unattended is not None:
        if not (wanted.location or wanted.cdrom):
            raise refused("--unattended needs an installer", "give --location, or --cdrom")
        target = next((each.part.target for each in disks if not each.part.cdrom), "")
        if not target:
            raise refused("--unattended has no disk to install to", "give one: --disk size=20")
        found, said = answers_for(
            wanted.unattended, system, wanted.name, f"/dev/{target}", wanted.location
        )
        notes += said
    for path in wanted.injected:
        try:
            found[os.path.basename(path)] = Path(path).read_bytes()
        except OSError as error:
            raise BimetalError(
                f"{path} cannot be read: {error.strerror}",
                "check the path of --initrd-inject",
                ExitCode.NO_INPUT,
            ) from error
    return found


def _board(wanted: Wanted) -> Board:
    """The board for what is said of the processor; if nothing is, the one that the media start, or
    else the host's."""
    image = _image(wanted)
    arch = wanted.arch or (architecture_of(image) if image else "")
    arch = arch or platform.machine()
    short = wanted.machine.partition("-")[0] if wanted.machine[-1:].isdecimal() else wanted.machine
    fitting = [
        board
        for board in boards()
        if board.isa == arch and short in ("", board.name, board.name.rpartition("-")[2])
    ]
    if not fitting:
        known = ", ".join(f"{each.isa} {each.name}" for each in boards())
        raise refused(
            f"there is no machine {arch[:40]} {wanted.machine[:40]}".rstrip(), f"there are: {known}"
        )
    return fitting[0]


def _started(
    wanted: Wanted,
    board: Board,
    boot: Words,
    folder: Path,
    firmware: Callable[[str], Firmware | None],
) -> dict[str, object]:
    """What the machine starts: a kernel, or firmware."""
    values: dict[str, object] = {}
    for word, name in {"kernel": "kernel", "initrd": "initrd", "dtb": "dtb"}.items():
        if word in boot:
            values[name] = os.path.abspath(boot.text(word))
    command_line = boot.text("cmdline") or boot.text("kernel_args")
    if command_line:
        values["append"] = command_line
    if "kernel" in values and "loader" not in boot:
        return values
    if "loader" in boot:
        code = Firmware(os.path.abspath(boot.text("loader")), boot.text("nvram.template"))
    else:
        found = find_firmware(board.isa, board.name.rpartition("-")[2])
        found = found or firmware(board.isa)
        if found is None and not wanted.location:
            raise refused(
                f"there is no firmware for {board.name} here that could start from a disk",
                "install it (Debian: qemu-efi-...), name it (--boot loader=FILE), or name a kernel "
                "(--boot kernel=FILE, --location FOLDER)",
            )
        if found is None:
            return values
        code = found
    if code.template or "nvram" in boot:
        variables = boot.text("nvram") or str(folder / f"{wanted.name}.nvram")
        values["flash"] = (code.code, os.path.abspath(variables))
        values["flash_template"] = code.template
    else:
        values["bios"] = code.code
    if code.loader:
        values["kernel"] = code.loader
    return values


def _memory(text: str, system: System) -> int:
    words = Words("--memory", text or "0", first="memory", known=("memory", "currentMemory"),
                  without_effect=("maxmemory", "hugepages", "hotplugmemorymax"))  # fmt: skip
    size = words.number("memory") * MIB
    return size or system.memory or USUAL_MEMORY


def _cpus(text: str, notes: list[str]) -> int:
    words = Words("--vcpus", text or "1", first="vcpus", known=("vcpus", "maxvcpus"),
                  without_effect=("sockets", "cores", "threads", "dies", "cpuset", "placement",
                                  "vcpu.cpuset", "topology.sockets"))  # fmt: skip
    notes += words.notes
    return words.number("vcpus") or words.number("maxvcpus", 1)


def _nics(texts: tuple[str, ...], notes: list[str]) -> tuple[NicPart, ...]:
    """NICs: one on a user network if nothing is said."""
    nics = []
    for text in texts or ("user",):
        words = Words(
            "--network", text, first="type",
            known=("type", "network", "bridge", "source", "mac", "mac.address", "model",
                   "model.type"),
            without_effect=NETWORK_WITHOUT_EFFECT,
        )  # fmt: skip
        notes += words.notes
        model = words.text("model") or words.text("model.type", "virtio")
        if not model.startswith("virtio"):
            notes.append(f"--network model={model}: NICs are virtio's")
        mac = words.text("mac") or words.text("mac.address")
        kind = words.text("type", "bridge" if "bridge" in words else "user")
        if kind == "none":
            continue
        if kind == "bridge":
            bridge = words.text("bridge") or words.text("source")
            network = f"tap,bridge={bridge}"
        elif kind in ("network", "default") or "network" in words:
            network = "user"
        else:
            network = kind
        nics.append(NicPart(network, "" if mac == "RANDOM" else mac))
    return tuple(nics)


def _screen(wanted: Wanted, notes: list[str]) -> ScreenPart | None:
    """The screen, if one is wanted, which comes with a keyboard and a tablet."""
    words = Words("--graphics", wanted.graphics or "none", first="type",
                  known=("type", "port", "listen", "password"),
                  without_effect=("keymap", "tlsport", "websocket"))  # fmt: skip
    notes += words.notes
    if words.choice("type", {"vnc": VNC, "spice": VNC, "none": ""}, "none") != VNC:
        return None
    if words.text("type") != VNC:
        notes.append(f"--graphics {words.text('type')}: viewers come by VNC")
    video = Words("--video", wanted.video or "virtio", first="model", known=("model",),
                  without_effect=("heads", "ram", "vram", "vgamem", "accel3d"))  # fmt: skip
    device = video.choice("model", {"virtio": "virtio", "ramfb": "ramfb"}, "virtio")
    vnc, port = AUTO, words.text("port", "-1")
    if port != "-1":
        vnc = f"{words.text('listen', '127.0.0.1')}::{words.number('port')}"
    return ScreenPart(device, vnc=vnc, password=words.text("password"))


def _input(text: str, notes: list[str]) -> str:
    """What people type or point with, as a definition has it."""
    words = Words("--input", text, first="type", known=("type", "bus"),
                  without_effect=("model", "address.type"))  # fmt: skip
    notes += words.notes
    kind = words.choice("type", {name: name for name in INPUTS}, TABLET)
    usual = USB if kind == MOUSE else VIRTIO
    bus = words.choice("bus", {VIRTIO: VIRTIO, USB: USB}, usual)
    return kind if Input(kind, bus).bus == VIRTIO else f"{kind}{ON_BUS}{bus}"


def _is_usb(text: str, notes: list[str]) -> bool:
    """Whether a controller is a USB controller. Others come with what is on them."""
    words = Words("--controller", text, first="type", known=("type", "model"),
                  without_effect=("index", "master", "address.type", "ports"))  # fmt: skip
    notes += words.notes
    model = words.text("model", XHCI)
    if words.text("type") != USB:
        notes.append(f"--controller {text[:60]}: controllers come with what is on them")
        return False
    if model not in (XHCI, NONE):
        notes.append(f"--controller usb,model={model[:40]}: {XHCI} is in its place")
    return model != NONE


def _serial(text: str) -> str:
    words = Words("--serial", text or "pty", first="type", known=("type", "path", "source.path",
                  "host", "mode"), without_effect=("target", "target.type"))  # fmt: skip
    kind = words.text("type")
    path = words.text("path") or words.text("source.path")
    if kind in PLACES:
        return kind
    if kind in ("file", "unix") and path:
        return f"{kind}:{os.path.abspath(path)}"
    if kind == "tcp" and "host" in words:
        return f"tcp:{words.text('host')}"
    raise refused(f"--serial {text[:60]} leads nowhere", "write pty, file,path=..., unix,path=...")
