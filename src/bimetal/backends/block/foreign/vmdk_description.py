"""The description of a VMDK image: lines of text (Virtual Disk Format 5.0, "The Descriptor")."""

from __future__ import annotations

import os
import re

from msgspec import Struct

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.fields import damaged

__all__ = ["Description", "Extent", "read_description"]

LIMIT = 256 << 10
"""Bytes of a description: enough for 8 TiB in parts of 2 GiB."""

EXTENT = re.compile(
    r'(RW|RDONLY)\s+(\d{1,15})\s+([A-Z]+)(?:\s+"([^"\n\0]+)"(?:\s+(\d{1,15}))?)?\s*'
)
"""Access, sectors, kind, name of the file, sector in it where the part begins."""

BEGINS = re.compile(r"(RW|RDONLY|NOACCESS)\s")

NO_PARENT = "ffffffff"


class Extent(Struct, frozen=True):
    """A part of the disk: ``sectors`` of it are in the file ``name``, from the sector ``offset`` of
    that on."""

    sectors: int
    kind: str
    name: str = ""
    offset: int = 0


class Description(Struct, frozen=True):
    """What a description says; parts of disks may have one that says nothing."""

    of_disk: bool
    extents: tuple[Extent, ...]
    has_parent: bool
    encrypted: bool


def read_description(file: ImageFile, offset: int, length: int) -> Description:
    """The description that is in ``file`` from ``offset`` on. Raises `BimetalError`."""
    if length > LIMIT:
        raise damaged(file, f"its description has {length} bytes")
    if offset > file.length:
        raise damaged(file, "its description is not inside the file")
    text = os.fsdecode(os.pread(file.fd, length, offset).partition(b"\0")[0])
    settings, extents = {}, []
    for line in map(str.strip, text.splitlines()):
        if BEGINS.match(line):
            extents.append(_extent(file, line))
        elif not line.startswith("#"):
            name, _, value = line.partition("=")
            settings[name.strip().lower()] = value.strip().strip('"').lower()
    parent = settings.get("parentcid", NO_PARENT)
    encrypted = any(name.startswith("encryption") for name in settings)
    return Description("createtype" in settings, tuple(extents), parent != NO_PARENT, encrypted)


def _extent(file: ImageFile, line: str) -> Extent:
    parts = EXTENT.fullmatch(line)
    if parts is None:
        raise damaged(file, f"its description has a part of the disk {line!r}")
    _, sectors, kind, name, offset = parts.groups()
    if int(sectors) == 0 or (name is None) != (kind == "ZERO"):
        raise damaged(file, f"its description has a part of the disk {line!r}")
    return Extent(int(sectors), kind, name or "", int(offset or 0))
