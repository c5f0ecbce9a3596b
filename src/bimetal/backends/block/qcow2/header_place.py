"""Writing the header over the one that is there, so that no crash leaves half of each."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec.structs import replace

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import FEATURE_NAMES, Header, header_end, header_parts
from bimetal.backends.block.qcow2.words import write_all
from bimetal.base.bits import align_up

__all__ = ["store_header"]


def store_header(file: ImageFile, header: Header) -> None:
    """Make ``header`` that of the image in ``file``, safely: what lies behind its first sector is
    written first, where the old one has nothing. Raises OSError, and `BimetalError` if the names in
    it are too long.

    Only where the names of files leave no room for that can a crash leave half of each.
    """
    old = os.pread(file.fd, header.cluster, 0).ljust(header.cluster, b"\0")
    forms = list(_forms(header, old))
    new = next((form for form in forms if _is_safe(old, form)), forms[0])
    if new[SECTOR:] != old[SECTOR:]:
        write_all(file.fd, new[SECTOR:], SECTOR)
        file.flush()
    write_all(file.fd, new[:SECTOR], 0)
    file.flush()


def _forms(header: Header, old: bytes) -> Iterator[bytes]:
    """The ways to write a header over the old one."""
    yield _over(old, *header_parts(header))
    # The names of features are for people, and take most of what is there.
    extensions = {k: data for k, data in header.extensions.items() if k != FEATURE_NAMES}
    plain = replace(header, extensions=extensions)
    yield _over(old, *header_parts(plain))
    name = len(os.fsencode(header.backing or ""))
    behind = max(align_up(header_end(old), 8), SECTOR)
    if behind + name <= header.cluster:
        yield _over(old, *header_parts(plain, behind))


def _over(old: bytes, fields: bytes, place: int, name: bytes) -> bytes:
    new = bytearray(old)
    new[: len(fields)] = fields
    new[place : place + len(name)] = name
    return bytes(new)


def _is_safe(old: bytes, new: bytes) -> bool:
    """Whether all that is new behind the first sector is where the old header has nothing."""
    end = header_end(old)
    return new[SECTOR:end] == old[SECTOR:end]
