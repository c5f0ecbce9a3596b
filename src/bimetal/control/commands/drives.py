"""Commands about disks and CD-ROM drives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import BlockNode, Managed
from bimetal.control.qdev import name_in, qdev_of

if TYPE_CHECKING:
    from bimetal.machine.cdrom import Cdrom
    from bimetal.machine.drives import Drive

__all__ = ["BlockInfo", "change_medium", "eject", "query_block"]

FILE = "file"
NODE_LIMIT = 1000
"""Nodes that a client may tell of; none of them is open before it becomes a disk."""


class ImageInfo(Answer):
    """The image in a drive."""

    filename: Annotated[str, "its path"]
    format: Annotated[str, "raw, qcow2, ..."]
    virtual_size: Annotated[int, "bytes that the guest sees"]


class InsertedInfo(Answer, rename=None):
    """What is in a drive."""

    file: Annotated[str, "the path of the image"]
    ro: Annotated[bool, "whether it is only read"]
    drv: Annotated[str, "the format of the image"]
    image: Annotated[ImageInfo, "the image"]
    node_name: Annotated[str | UnsetType, "what a client called it"] = msgspec.field(
        default=UNSET, name="node-name"
    )
    encrypted: Annotated[bool, "always false"] = False
    detect_zeroes: Annotated[str, "always off"] = "off"


class CacheOptions(Answer, rename="kebab", forbid_unknown_fields=True):
    """How the host caches an image, which no guest notices."""

    direct: Annotated[bool, "past the host's cache"] = False
    no_flush: Annotated[bool, "not waiting for what is to be safe, which is waited for here"] = (
        False
    )


class NodeInfo(Answer, rename=None):
    """An image that was told of."""

    node_name: Annotated[str, "what a client called it"] = msgspec.field(name="node-name")
    drv: Annotated[str, "the format of the image, or file"]
    ro: Annotated[bool, "whether it is only read"]
    file: Annotated[str, "the path of the image"]
    image: Annotated[ImageInfo, "the image"]
    encrypted: Annotated[bool, "always false"] = False
    detect_zeroes: Annotated[str, "always off"] = "off"


class BlockInfo(Answer, rename=None):
    """A drive."""

    device: Annotated[str, "its name"]
    qdev: Annotated[str, "where it is in the tree of objects"]
    removable: Annotated[bool, "whether the medium can be changed"]
    type: Annotated[str, "always unknown, as with QEMU"] = "unknown"
    locked: Annotated[bool, "always false: a guest cannot keep a medium"] = False
    inserted: Annotated[InsertedInfo | UnsetType, "missing if it is empty"] = UNSET
    tray_open: Annotated[bool | UnsetType, "of a CD-ROM drive: whether it is empty"] = UNSET


@MACHINE.command("query-block")
def query_block(vm: Managed) -> list[BlockInfo]:
    """List the disks and CD-ROM drives."""
    with vm.lock:
        given = {device: id_ for id_, device in vm.devices.items()}
        disks = dict(vm.disks)
    return [_info(drive, given, disks) for drive in vm.machine.drives()]


def _info(drive: Drive, given: dict[str, str], disks: dict[str, str]) -> BlockInfo:
    id_ = given.get(drive.name, "")
    inside: InsertedInfo | UnsetType = UNSET
    if drive.path:
        image = ImageInfo(filename=drive.path, format=drive.format, virtual_size=drive.size)
        inside = InsertedInfo(
            file=drive.path,
            node_name=disks.get(id_, UNSET),
            ro=drive.readonly,
            drv=drive.format,
            image=image,
        )
    return BlockInfo(
        device="" if id_ else drive.name,
        qdev=qdev_of(id_, drive.name),
        removable=drive.removable,
        inserted=inside,
        tray_open=not drive.path if drive.removable else UNSET,
    )


@MACHINE.command("query-named-block-nodes")
def query_named_block_nodes(
    vm: Managed, flat: Annotated[bool, "accepted: images are listed without those below"] = False
) -> list[NodeInfo]:
    """List the images that were told of."""
    with vm.lock:
        nodes = dict(vm.nodes)
        disks = {node: vm.devices.get(id_, "") for id_, node in vm.disks.items()}
    sizes = {drive.name: drive.size for drive in vm.machine.drives()}
    return [
        NodeInfo(
            node_name=name,
            drv=node.format or FILE,
            ro=node.readonly,
            file=node.path,
            image=ImageInfo(
                filename=node.path,
                format=node.format or FILE,
                virtual_size=sizes.get(disks.get(name, ""), _length_of(node.path)),
            ),
        )
        for name, node in nodes.items()
    ]


def _length_of(path: str) -> int:
    """Bytes of a file, 0 if it is gone."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


@MACHINE.command("blockdev-add")
def blockdev_add(
    vm: Managed,
    driver: Annotated[
        Literal["file", "raw", "qcow2", "vdi", "vhdx", "vmdk", "vpc"],
        "file for the bytes of a file, or the format of the image in such",
    ],
    node_name: Annotated[str, "what to call it"],
    filename: Annotated[str, "of a file: its path"] = "",
    file: Annotated[str | dict[str, Any], "of a format: the node of the file, or its options"] = "",
    read_only: Annotated[bool, "whether the guest is not to write"] = False,
    auto_read_only: Annotated[bool, "of a file: accepted, since the format decides"] = False,
    discard: Annotated[Literal["ignore", "unmap"], "accepted: discarded blocks are given back"] = (
        "unmap"
    ),
    detect_zeroes: Annotated[Literal["off"], "whether zeros that are written are discarded"] = (
        "off"
    ),
    cache: Annotated[CacheOptions | None, "accepted: the host's cache is used"] = None,
    aio: Annotated[Literal["threads", "native", "io_uring"], "accepted: we decide that"] = (
        "threads"
    ),
    backing: Annotated[
        str | None, "of a format: the node of the image that its header names, or none"
    ] = None,
) -> None:
    """Tell of an image, from which device_add makes a disk. It is opened then. An image that it is
    built on is the one that its header names."""
    with vm.lock:
        if node_name in vm.nodes or len(vm.nodes) >= NODE_LIMIT:
            raise _refused(f"there is a node {node_name!r} already, or there are too many")
        if driver == FILE:
            if backing is not None:
                raise _refused("the bytes of a file are built on no other image")
            vm.nodes[node_name] = BlockNode(_checked(filename), readonly=read_only)
            return
        if filename:
            raise _refused(f"the path of a {driver} image belongs to its file")
        below = _file_of(vm, file)
        name = file if isinstance(file, str) else ""
        readonly = read_only or below.readonly
        folders = _folders_of(vm, backing) if backing else ()
        vm.nodes[node_name] = BlockNode(below.path, driver, readonly, name, folders, backing or "")


@MACHINE.command("blockdev-del")
def blockdev_del(vm: Managed, node_name: Annotated[str, "the node"]) -> None:
    """Forget an image that is no disk."""
    with vm.lock:
        if node_name not in vm.nodes:
            raise CommandFailed(ErrorClass.GENERIC, f"there is no node {node_name!r}")
        users = [id_ for id_, node in vm.disks.items() if node == node_name]
        users += [name for name, node in vm.nodes.items() if node_name in (node.file, node.backing)]
        if users:
            raise _refused(f"the node {node_name!r} is in use by {', '.join(users)}")
        del vm.nodes[node_name]


@MACHINE.command("blockdev-change-medium")
def change_medium(
    vm: Managed,
    filename: Annotated[str, "the path of the image"],
    device: Annotated[str, "the drive, such as cd0"] = "",
    id: Annotated[str, "the drive, in the words of newer clients"] = "",
    force: Annotated[bool, "accepted: a guest cannot keep a medium"] = False,
) -> None:
    """Put an image into a CD-ROM drive, in place of what is there."""
    _drive(vm, device or id).insert(filename)


@MACHINE.command("eject")
def eject(
    vm: Managed,
    device: Annotated[str, "the drive, such as cd0"] = "",
    id: Annotated[str, "the drive, in the words of newer clients"] = "",
    force: Annotated[bool, "accepted: a guest cannot keep a medium"] = False,
) -> None:
    """Take out what is in a CD-ROM drive."""
    _drive(vm, device or id).eject()


@MACHINE.command("blockdev-open-tray")
def open_tray(
    vm: Managed,
    id: Annotated[str, "the drive"],
    force: Annotated[bool, "accepted: a guest cannot keep a medium"] = False,
) -> None:
    """Accepted for a CD-ROM drive: its tray is open when nothing is in it."""
    _drive(vm, id)


@MACHINE.command("blockdev-close-tray")
def close_tray(vm: Managed, id: Annotated[str, "the drive"]) -> None:
    """Accepted for a CD-ROM drive: its tray is closed when something is in it."""
    _drive(vm, id)


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
        raise _refused(f"there is no node {node_name[:80]!r}")
    change_medium(vm, node.path, id=id)


def _folders_of(vm: Managed, backing: str) -> tuple[str, ...]:
    """The folders in which the images lie that the node ``backing`` and those below it are."""
    folders: list[str] = []
    while backing:
        node = vm.nodes.get(backing)
        if node is None:
            raise _refused(f"there is no node {backing!r} to build on")
        folders.append(os.path.dirname(os.path.abspath(node.path)))
        backing = node.backing
    return tuple(dict.fromkeys(folders))


def _drive(vm: Managed, name: str) -> Cdrom:
    """The CD-ROM drive of that name. Raises `CommandFailed`."""
    called = name_in(name)
    name = vm.devices.get(called, called)
    drives = {f"cd{number}": drive for number, drive in enumerate(vm.machine.cdroms)}
    if name in drives:
        return drives[name]
    if any(drive.name == name for drive in vm.machine.drives()):
        raise _refused(f"{name} has no medium that could be changed")
    raise CommandFailed(
        ErrorClass.DEVICE_NOT_FOUND,
        f"there is no drive {name!r}",
        f"choose from {', '.join(drives)}" if drives else "the machine has no CD-ROM drive",
        ExitCode.USAGE,
    )


def _file_of(vm: Managed, file: str | dict[str, Any]) -> BlockNode:
    """The node of a file: one that was told of, or one that is told of in place."""
    if isinstance(file, str):
        node = vm.nodes.get(file)
        if node is None or node.format is not None:
            raise _refused(f"there is no node {file!r} of a file")
        return node
    options = {**file}
    kind, path = options.pop("driver", None), options.pop("filename", None)
    readonly = options.pop("read-only", False)
    for known in ("node-name", "auto-read-only", "discard"):
        options.pop(known, None)
    if kind != FILE or not isinstance(path, str) or not isinstance(readonly, bool) or options:
        raise _refused(f"{file!s:.200} is no file: it takes driver=file and a filename")
    return BlockNode(_checked(path), readonly=readonly)


def _checked(path: str) -> str:
    """The path of a file that is there."""
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        raise BimetalError(
            f"{path[:200]!r} cannot be opened: {getattr(error, 'strerror', None) or error}",
            "name an image that is there",
            ExitCode.NO_INPUT,
        ) from error
    return path


def _refused(why: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, why, exit_code=ExitCode.USAGE)
