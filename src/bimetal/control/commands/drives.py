"""Commands about disks and CD-ROM drives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from bimetal.backends.handing import status_of
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.paths import same_file
from bimetal.control.commands.drive_answers import (
    BitmapInfo,
    BlockInfo,
    ImageInfo,
    InsertedInfo,
    NodeInfo,
    bitmap_infos,
    snapshot_infos,
)
from bimetal.control.commands.nodes import refused, users_of
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import BlockNode, Managed
from bimetal.control.qdev import qdev_of
from bimetal.machine.live.image_at import ImageAt

if TYPE_CHECKING:
    from bimetal.machine.drives import Drive

__all__ = ["blockdev_add", "blockdev_del", "node_told", "query_block"]

FILE = "file"
NODE_LIMIT = 1000
"""Nodes that a client may tell of; none of them is open before it becomes a disk."""


class CacheOptions(Answer, rename="kebab", forbid_unknown_fields=True):
    """How the host caches an image, which no guest notices."""

    direct: Annotated[bool, "past the host's cache"] = False
    no_flush: Annotated[bool, "not waiting for what is to be safe, which is waited for here"] = (
        False
    )


@MACHINE.command("query-block")
def query_block(vm: Managed) -> list[BlockInfo]:
    """List the disks and CD-ROM drives."""
    with vm.lock:
        given = {device: id_ for id_, device in vm.devices.items()}
        disks = dict(vm.disks)
    return [_info(vm, drive, given, disks) for drive in vm.machine.drives()]


def _info(vm: Managed, drive: Drive, given: dict[str, str], disks: dict[str, str]) -> BlockInfo:
    id_ = given.get(drive.name, "")
    inside: InsertedInfo | UnsetType = UNSET
    if drive.path:
        images = _images(vm, drive)
        image = image_info(images, 0)
        inside = InsertedInfo(
            file=drive.path,
            node_name=disks.get(id_, UNSET),
            ro=drive.readonly,
            drv=drive.format,
            image=image,
            backing_file=image.backing_filename,
            backing_file_depth=len(images) - 1,
            dirty_bitmaps=bitmap_infos(images[0]),
            write_threshold=images[0].limit,
            iops=drive.iops,
            bps=drive.bps,
        )
    return BlockInfo(
        device="" if id_ else drive.name,
        qdev=qdev_of(id_, drive.name),
        removable=drive.removable,
        inserted=inside,
        tray_open=not drive.path if drive.removable else UNSET,
    )


def _images(vm: Managed, drive: Drive) -> list[ImageAt]:
    """The images of a drive; what is said of the first is what the drive says."""
    first = ImageAt(drive.path, drive.format, drive.size, drive.readonly)
    if drive.removable or drive.snapshot:
        return [first]
    try:
        first, *below = vm.machine.images_of(drive.name)
    except BimetalError:
        return [first]  # it is on USB, or has just gone
    return [replace(first, path=drive.path, format=drive.format), *below]


def image_info(images: Sequence[ImageAt], depth: int, *, nested: bool = True) -> ImageInfo:
    """What is told of the image at that depth of a chain, and of those below it if ``nested``."""
    image, *below = images[depth:]
    lower: str | UnsetType = below[0].path if below else UNSET
    return ImageInfo(
        filename=image.path,
        format=image.format,
        virtual_size=image.size,
        actual_size=_space_of(image.path),
        cluster_size=image.cluster or UNSET,
        backing_filename=lower,
        full_backing_filename=lower,
        backing_filename_format=below[0].format if below else UNSET,
        backing_image=image_info(below, 0) if below and nested else UNSET,
        snapshots=snapshot_infos(image),
    )


@MACHINE.command("query-named-block-nodes")
def query_named_block_nodes(
    vm: Managed, flat: Annotated[bool, "without telling of each image those below it, too"] = False
) -> list[NodeInfo]:
    """List the images that were told of."""
    with vm.lock:
        nodes = dict(vm.nodes)
    seen = [_images(vm, drive) for drive in vm.machine.drives() if drive.path]
    others = [] if vm.given is None else vm.machine.other_images()
    return [_node_info(name, node, seen, others, nested=not flat) for name, node in nodes.items()]


def _node_info(
    name: str,
    node: BlockNode,
    seen: Sequence[Sequence[ImageAt]],
    others: Sequence[ImageAt],
    *,
    nested: bool,
) -> NodeInfo:
    """What is told of a node: what is known of it in the chain of a disk, or what its file says,
    with the bitmaps that it has, or has had, otherwise."""
    image, readonly, limit = None, node.readonly, 0
    bitmaps: list[BitmapInfo] | UnsetType = UNSET
    for images in seen:
        for depth, each in enumerate(images):
            if not same_file(each.path, node.path):
                continue
            limit = each.file_limit if node.format is None else each.limit
            if node.format is not None:
                image, readonly = image_info(images, depth, nested=nested), each.readonly
                bitmaps = bitmap_infos(each)
    if image is None:
        image = _of_file(node)
        for each in others if node.format is not None else ():
            if same_file(each.path, node.path):
                bitmaps = bitmap_infos(each)
    return NodeInfo(
        node_name=name,
        drv=node.format or FILE,
        ro=readonly,
        file=node.path,
        image=image,
        backing_file=image.backing_filename,
        dirty_bitmaps=bitmaps,
        write_threshold=limit,
    )


def _of_file(node: BlockNode) -> ImageInfo:
    """What the file of an image says that is no disk's, or of itself."""
    size, told = _length_of(node.path), None
    if node.format is not None and size:
        with suppress(BimetalError):
            told = late("bimetal.images:information")(node.path, format=node.format, shared=True)
    return ImageInfo(
        filename=node.path,
        format=node.format or FILE,
        virtual_size=size if told is None else told.size,
        actual_size=_space_of(node.path),
        cluster_size=(told and told.cluster) or UNSET,
        backing_filename=(told and told.backing) or UNSET,
        full_backing_filename=(told and told.backing_path) or UNSET,
        backing_filename_format=(told and told.backing_format) or UNSET,
    )


def _length_of(path: str) -> int:
    """Bytes of a file, 0 if it is gone."""
    try:
        return status_of(path).st_size
    except OSError:
        return 0


def _space_of(path: str) -> int:
    """Bytes that a file takes on the host's disk, 0 if it is gone."""
    try:
        return status_of(path).st_blocks * 512
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
            raise refused(f"there is a node {node_name!r} already, or there are too many")
        vm.nodes[node_name] = node_told(vm, driver, filename, file, backing, readonly=read_only)


def node_told(
    vm: Managed,
    driver: str,
    filename: str,
    file: str | dict[str, Any],
    backing: str | None,
    *,
    readonly: bool,
) -> BlockNode:
    """The node that blockdev-add tells of. Raises `BimetalError`."""
    if driver == FILE:
        if backing is not None:
            raise refused("the bytes of a file are built on no other image")
        return BlockNode(_checked(filename), readonly=readonly)
    if filename:
        raise refused(f"the path of a {driver} image belongs to its file")
    below = _file_of(vm, file)
    name = file if isinstance(file, str) else ""
    folders = _folders_of(vm, backing) if backing else ()
    return BlockNode(below.path, driver, readonly or below.readonly, name, folders, backing or "")


@MACHINE.command("blockdev-del")
def blockdev_del(vm: Managed, node_name: Annotated[str, "the node"]) -> None:
    """Forget an image that is no disk."""
    with vm.lock:
        if node_name not in vm.nodes:
            raise CommandFailed(ErrorClass.GENERIC, f"there is no node {node_name!r}")
        if users := users_of(vm, node_name):
            raise refused(f"the node {node_name!r} is in use by {', '.join(users)}")
        gone = vm.nodes.pop(node_name)
    if vm.given is not None and gone.format is not None:
        vm.machine.jobs.departed.forget(gone.path)


def _folders_of(vm: Managed, backing: str) -> tuple[str, ...]:
    """The folders in which the images lie that the node ``backing`` and those below it are."""
    folders: list[str] = []
    while backing:
        node = vm.nodes.get(backing)
        if node is None:
            raise refused(f"there is no node {backing!r} to build on")
        folders.append(os.path.dirname(os.path.abspath(node.path)))
        backing = node.backing
    return tuple(dict.fromkeys(folders))


def _file_of(vm: Managed, file: str | dict[str, Any]) -> BlockNode:
    """The node of a file: one that was told of, or one that is told of in place."""
    if isinstance(file, str):
        node = vm.nodes.get(file)
        if node is None or node.format is not None:
            raise refused(f"there is no node {file!r} of a file")
        return node
    options = {**file}
    kind, path = options.pop("driver", None), options.pop("filename", None)
    readonly = options.pop("read-only", False)
    for known in ("node-name", "auto-read-only", "discard"):
        options.pop(known, None)
    if kind != FILE or not isinstance(path, str) or not isinstance(readonly, bool) or options:
        raise refused(f"{file!s:.200} is no file: it takes driver=file and a filename")
    return BlockNode(_checked(path), readonly=readonly)


def _checked(path: str) -> str:
    """The path of a file that is there."""
    try:
        status_of(path)
    except (OSError, ValueError) as error:
        raise BimetalError(
            f"{path[:200]!r} cannot be opened: {getattr(error, 'strerror', None) or error}",
            "name an image that is there",
            ExitCode.NO_INPUT,
        ) from error
    return path
