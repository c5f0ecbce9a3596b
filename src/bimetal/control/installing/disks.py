"""Disks that a new machine is to have, as ``--disk`` asks for them."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.sizes import GIB
from bimetal.control.definition import DiskPart
from bimetal.control.installing.words import Words, refused

__all__ = ["NewDisk", "disk_from", "make_disks"]

KNOWN = (
    "size", "path", "format", "bus", "backing_store", "backing_format", "readonly", "device",
    "serial", "sparse", "snapshot_policy", "transient", "removable",
)  # fmt: skip
WITHOUT_EFFECT = (
    "cache", "io", "discard", "detect_zeroes", "error_policy", "boot_order", "boot.order",
    "driver.cache", "driver.io", "driver.discard", "shareable", "perms", "target",
    "target.dev", "address.type",
)  # fmt: skip
BUSES = {"virtio": "virtio", "scsi": "scsi", "sata": "scsi", "ide": "scsi", "usb": "usb"}
DEVICES = {"disk": "disk", "cdrom": "cdrom"}
FORMATS = {name: name for name in ("raw", "qcow2")}


class NewDisk(Struct, frozen=True):
    """A disk, and if it is to be made first, how many bytes it has, and what it lies on: with
    neither its image is there."""

    part: DiskPart
    size: int = 0
    backing: str = ""
    backing_format: str = ""

    @property
    def is_new(self) -> bool:
        """Whether its image is to be made."""
        return bool(self.size or self.backing)


def disk_from(text: str, name: str, folder: Path, taken: list[NewDisk]) -> tuple[NewDisk, Words]:
    """The disk that words ask for, of a machine called ``name`` that has those in ``taken``
    already. A new one without a path lies in ``folder``. Raises `BimetalError`."""
    words = Words("--disk", text, first="path", known=KNOWN, without_effect=WITHOUT_EFFECT)
    cdrom = words.choice("device", DEVICES, "disk") == "cdrom"
    bus = words.choice("bus", BUSES, "scsi" if cdrom else "virtio")
    path = os.path.abspath(words.text("path")) if words.text("path") else ""
    size = _size(words.text("size"))
    backing = words.text("backing_store")
    if not path and not (size or backing or cdrom):
        raise refused(f"--disk {text} says neither a size nor a path", "write size=20 (GiB)")
    there = bool(path) and os.path.exists(path)
    usual = _format_of(path) if there else "raw" if path.endswith((".img", ".raw")) else "qcow2"
    kind = words.choice("format", FORMATS, usual) if not cdrom else "raw"
    if not path and not cdrom:
        path = _free(folder, name, kind, taken)
    if path and not there and not (size or backing):
        raise BimetalError(
            f"there is no image {path}", "say how large it is to be: size=20", ExitCode.NO_INPUT
        )
    if there and backing:
        raise refused(f"{path} is there already", "name another one")
    part = DiskPart(
        path,
        _target(bus, taken),
        kind if not cdrom else None,
        bus=bus,
        cdrom=cdrom,
        readonly=cdrom or words.switch("readonly"),
        snapshot=words.switch("transient"),
        serial=words.text("serial"),
        removable=words.switch("removable"),
        backing=(os.path.abspath(backing),) if backing else (),
    )
    if there or cdrom:
        return NewDisk(part), words
    known = words.text("backing_format") or (_format_of(backing) if backing else "")
    return NewDisk(part, size, os.path.abspath(backing) if backing else "", known), words


def make_disks(disks: list[NewDisk]) -> None:
    """Make the images that are to be made; all of them or none. Raises `BimetalError`."""
    done: list[str] = []
    try:
        for disk in disks:
            if not disk.is_new:
                continue
            path = disk.part.path
            late("bimetal.base.folders:make_private")(Path(path).parent)
            if os.path.lexists(path):  # since it was planned
                raise refused(f"{path} is there already", "name another one")
            late("bimetal.images:create")(
                path,
                disk.size or None,
                format=disk.part.format,
                backing=disk.backing or None,
                backing_format=disk.backing_format or None,
                folders=(os.path.dirname(disk.backing),) if disk.backing else (),
            )
            done.append(path)
    except OSError as error:
        _remove(done)
        raise BimetalError(
            f"storage cannot be made: {error.strerror}", "make room", ExitCode.IO_ERROR
        ) from error
    except BaseException:
        _remove(done)
        raise


def _remove(paths: list[str]) -> None:
    for path in paths:
        os.unlink(path)


def _size(text: str) -> int:
    """Bytes of a number of GiB, as in virt-install: 20, or 0.5."""
    try:
        size = float(text or 0)
    except ValueError:
        size = -1.0
    if not 0 <= size < 1 << 20:
        raise refused(f"--disk: size={text[:40]!r} is no number of GiB", "write size=20")
    return int(size * GIB) // 512 * 512


def _format_of(path: str) -> str:
    return str(late("bimetal.images:information")(path, shared=True).format)


def _free(folder: Path, name: str, kind: str, taken: list[NewDisk]) -> str:
    """A path where nothing lies yet."""
    suffix = {"raw": "img"}.get(kind, kind)
    used = {disk.part.path for disk in taken}
    for number in range(1000):
        path = str(folder / f"{name}{f'-{number}' if number else ''}.{suffix}")
        if path not in used and not os.path.lexists(path):
            return path
    raise refused(f"there are a thousand images of {name} in {folder}", "remove some")


def _target(bus: str, taken: list[NewDisk]) -> str:
    prefix = "vd" if bus == "virtio" else "sd"
    used = {disk.part.target for disk in taken}
    return next(name for letter in "abcdefghijklmnopqrstuvwxyz" if (name := prefix + letter)
                not in used)  # fmt: skip
