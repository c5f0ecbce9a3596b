"""What is told of drives, and of the images in them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from bimetal.control.contract import Answer
from bimetal.machine.live.image_at import ImageAt

__all__ = ["BitmapInfo", "BlockInfo", "ImageInfo", "InsertedInfo", "NodeInfo", "SnapshotInfo"]
__all__ += ["bitmap_infos", "snapshot_infos"]

SECOND = 1_000_000_000
"""Nanoseconds."""


class SnapshotInfo(Answer):
    """A snapshot in an image."""

    id: Annotated[str, "its number, which the image has given it"]
    name: Annotated[str, "what it is called"]
    vm_state_size: Annotated[int, "bytes of the machine's state that the image keeps with it"]
    date_sec: Annotated[int, "when it was made, in seconds since 1970"]
    date_nsec: Annotated[int, "and nanoseconds"]
    vm_clock_sec: Annotated[int, "how long the machine had run by then"]
    vm_clock_nsec: Annotated[int, "and nanoseconds"]


class ImageInfo(Answer):
    """The image in a drive."""

    filename: Annotated[str, "its path"]
    format: Annotated[str, "raw, qcow2, ..."]
    virtual_size: Annotated[int, "bytes that the guest sees"]
    actual_size: Annotated[int, "bytes that it takes on the host's disk"]
    dirty_flag: Annotated[bool, "always false: counts are always right"] = False
    cluster_size: Annotated[int | UnsetType, "bytes of its clusters"] = UNSET
    backing_filename: Annotated[str | UnsetType, "what it lies on"] = UNSET
    full_backing_filename: Annotated[str | UnsetType, "the same, from the root on"] = UNSET
    backing_filename_format: Annotated[str | UnsetType, "the format of that"] = UNSET
    backing_image: Annotated[ImageInfo | UnsetType, "the image that it lies on"] = UNSET
    snapshots: Annotated[list[SnapshotInfo] | UnsetType, "those in the image, if it has any"] = (
        UNSET
    )


class BitmapInfo(Answer):
    """A dirty bitmap of an image."""

    name: Annotated[str, "what it is called"]
    count: Annotated[int, "bytes that it marks"]
    granularity: Annotated[int, "bytes that it tells apart"]
    recording: Annotated[bool, "whether it marks what changes"]
    busy: Annotated[bool, "whether a job works with it"]
    persistent: Annotated[bool, "whether the image keeps it"]
    inconsistent: Annotated[
        bool | UnsetType, "that it tells nothing: it was not stored when it was last in use"
    ] = UNSET


class InsertedInfo(Answer, rename=None):
    """What is in a drive."""

    file: Annotated[str, "the path of the image"]
    ro: Annotated[bool, "whether it is only read"]
    drv: Annotated[str, "the format of the image"]
    image: Annotated[ImageInfo, "the image"]
    node_name: Annotated[str | UnsetType, "what a client called it"] = msgspec.field(
        default=UNSET, name="node-name"
    )
    backing_file: Annotated[str | UnsetType, "what it lies on"] = UNSET
    backing_file_depth: Annotated[int, "how many images lie below it"] = 0
    dirty_bitmaps: Annotated[list[BitmapInfo] | UnsetType, "those of the image, if it has any"] = (
        msgspec.field(default=UNSET, name="dirty-bitmaps")
    )
    iops: Annotated[int, "requests of a second that it may have, 0 without a limit"] = 0
    bps: Annotated[int, "bytes of a second, likewise"] = 0
    iops_rd: Annotated[int, "always 0"] = 0
    iops_wr: Annotated[int, "always 0"] = 0
    bps_rd: Annotated[int, "always 0"] = 0
    bps_wr: Annotated[int, "always 0"] = 0
    encrypted: Annotated[bool, "always false"] = False
    detect_zeroes: Annotated[str, "always off"] = "off"
    write_threshold: Annotated[int, "bytes beyond which a write is told of, 0 for none"] = 0


class NodeInfo(Answer, rename=None):
    """An image that was told of."""

    node_name: Annotated[str, "what a client called it"] = msgspec.field(name="node-name")
    drv: Annotated[str, "the format of the image, or file"]
    ro: Annotated[bool, "whether it is only read"]
    file: Annotated[str, "the path of the image"]
    image: Annotated[ImageInfo, "the image"]
    backing_file: Annotated[str | UnsetType, "what it lies on"] = UNSET
    dirty_bitmaps: Annotated[list[BitmapInfo] | UnsetType, "those of the image, if it has any"] = (
        msgspec.field(default=UNSET, name="dirty-bitmaps")
    )
    encrypted: Annotated[bool, "always false"] = False
    detect_zeroes: Annotated[str, "always off"] = "off"
    write_threshold: Annotated[int, "bytes beyond which a write is told of, 0 for none"] = 0


class BlockInfo(Answer, rename=None):
    """A drive."""

    device: Annotated[str, "its name"]
    qdev: Annotated[str, "where it is in the tree of objects"]
    removable: Annotated[bool, "whether the medium can be changed"]
    type: Annotated[str, "always unknown, as with QEMU"] = "unknown"
    locked: Annotated[bool, "always false: a guest cannot keep a medium"] = False
    inserted: Annotated[InsertedInfo | UnsetType, "missing if it is empty"] = UNSET
    tray_open: Annotated[bool | UnsetType, "of a CD-ROM drive: whether it is empty"] = UNSET


def bitmap_infos(image: ImageAt) -> list[BitmapInfo] | UnsetType:
    """What is told of the dirty bitmaps of an image, unset if it has none."""
    infos = [
        BitmapInfo(
            name=each.name,
            count=each.count,
            granularity=each.granularity,
            recording=each.recording,
            busy=each.busy,
            persistent=each.persistent,
            inconsistent=each.inconsistent or UNSET,
        )
        for each in image.bitmaps
    ]
    return infos or UNSET


def snapshot_infos(image: ImageAt) -> list[SnapshotInfo] | UnsetType:
    """What is told of the snapshots in an image, unset if it has none."""
    infos = [
        SnapshotInfo(
            id=each.identity,
            name=each.name,
            vm_state_size=each.state_size,
            date_sec=each.seconds,
            date_nsec=each.nanoseconds,
            vm_clock_sec=each.clock // SECOND,
            vm_clock_nsec=each.clock % SECOND,
        )
        for each in image.snapshots
    ]
    return infos or UNSET
