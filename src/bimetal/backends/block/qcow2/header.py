"""The header of a qcow2 image. It comes from outside, and nothing in it is trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.commands import convert_command, quoted, unused
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.formats import QCOW2
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["MAGIC", "Header", "peek_backing", "read_header"]

MAGIC = b"QFI\xfb"

_VERSION_2 = Struct(">4sIQIIQIIQQIIQ")
"""Magic, version, backing file offset and size, cluster bits, size, encryption, L1 entries, L1
offset, reference table offset and clusters, snapshots and their offset."""

_VERSION_3 = Struct(">QQQII")
"""Incompatible, compatible and autoclear features, reference order, header length."""

_WHOLE = _VERSION_2.size + _VERSION_3.size
"""Bytes of a header of version 3; behind them is the compression method, if it is long enough."""

_EXTENSION = Struct(">II")
BACKING_FORMAT, FEATURE_NAMES, BITMAPS = 0xE2792ACA, 0x6803F857, 0x23852875

_BITMAPS = Struct(">IIQQ")
"""Number of bitmaps, reserved, size and offset of their directory."""

REFERENCE_TABLE_AT = 48
FEATURES_AT = 72
AUTOCLEAR_AT = 88

DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
_FEATURES = {
    EXTERNAL_DATA: "an external data file",
    COMPRESSION: "another compression than zlib",
    EXTENDED_L2: "extended L2 entries",
}

NEWER = "have the program that made it write a plain image of version 3"
"""What helps against features and versions that came later."""

CLUSTER_BITS = range(9, 22)
L1_LIMIT = 32 << 20
REFERENCE_TABLE_LIMIT = 8 << 20
NAME_LIMIT = 1023


@dataclass
class Header:
    """What the header says, checked: L1 and the reference table lie inside the file and on a
    cluster. ``bitmaps`` is the number of bitmaps with the size and offset of their directory, if
    there are any; ``foreign`` says whether there are extensions that we do not know."""

    version: int
    cluster_bits: int
    size: int
    l1_entries: int
    l1_offset: int
    reference_offset: int
    reference_clusters: int
    reference_bits: int
    snapshots: int
    snapshots_offset: int
    features: int
    autoclear: int
    backing: str | None
    backing_format: str | None
    bitmaps: tuple[int, int, int] | None
    foreign: bool

    @property
    def cluster(self) -> int:
        """Bytes in a cluster."""
        return 1 << self.cluster_bits


def read_header(file: ImageFile) -> Header:
    """The header of ``file``. Raises `BimetalError` if it is damaged or asks for too much."""
    path = file.path
    first = os.pread(file.fd, 1 << CLUSTER_BITS[-1], 0)
    if len(first) < _VERSION_2.size or first[:4] != MAGIC:
        raise _damaged(path, "it does not begin like one")
    (
        _, version, backing_at, backing_size, cluster_bits, size, encryption,
        l1_entries, l1_offset, reference_offset, reference_clusters, snapshots, snapshots_offset,
    ) = _VERSION_2.unpack_from(first)  # fmt: skip
    if version not in (2, 3):
        raise _refused(path, f"version {version}", NEWER)
    if encryption:
        raise _encrypted(path)
    if cluster_bits not in CLUSTER_BITS:
        raise _damaged(path, f"its clusters have 2**{cluster_bits} bytes")
    features = autoclear = 0
    order, length = 4, (least := _VERSION_2.size)
    if version == 3:
        least = _WHOLE
        if len(first) < least:
            raise _damaged(path, "its header is cut off")
        features, _, autoclear, order, length = _VERSION_3.unpack_from(first, _VERSION_2.size)
    _check_features(path, features)
    first = first[: 1 << cluster_bits]
    if order > 6 or not least <= length <= len(first):
        raise _damaged(path, "its header makes no sense")
    if length > _WHOLE and first[_WHOLE]:
        raise _damaged(path, "its compression is another one than it says elsewhere")
    extensions = dict(_extensions(first, length))
    header = Header(
        version, cluster_bits, size, l1_entries, l1_offset, reference_offset, reference_clusters,
        1 << order, snapshots, snapshots_offset, features, autoclear,
        _backing_name(path, first, backing_at, backing_size), _backing_format(extensions),
        _bitmaps(extensions), not extensions.keys() <= {BACKING_FORMAT, FEATURE_NAMES, BITMAPS},
    )  # fmt: skip
    _check_tables(file, header)
    return header


def peek_backing(file: ImageFile) -> str | None:
    """The backing file that ``file`` would name if it were an image; nothing of it is checked."""
    fields = os.pread(file.fd, _VERSION_2.size, 0)
    if len(fields) < _VERSION_2.size:
        return None
    offset, size = _VERSION_2.unpack(fields)[2:4]
    if not 0 < size <= NAME_LIMIT or not 0 < offset < file.length:
        return None
    return os.fsdecode(os.pread(file.fd, size, offset))


def _check_features(path: str, features: int) -> None:
    for bit, what in _FEATURES.items():
        if features & bit:
            raise _refused(path, what)
    unknown = features & ~(DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2)
    if unknown:
        raise _refused(path, f"features {unknown:#x}", NEWER)


def _check_tables(file: ImageFile, header: Header) -> None:
    path, cluster = file.path, header.cluster
    header.size -= header.size % SECTOR  # as QEMU does
    if header.size == 0:
        raise _damaged(path, "its disk has not one sector")
    clusters = -(-header.size // cluster)
    needed = -(-clusters // (cluster // 8))
    if header.l1_entries < needed or header.l1_entries * 8 > L1_LIMIT:
        raise _damaged(path, f"its L1 table has {header.l1_entries} entries and needs {needed}")
    references = header.reference_clusters * cluster
    if not 0 < references <= REFERENCE_TABLE_LIMIT:
        raise _damaged(path, f"its reference table has {references} bytes")
    for what, offset, length in (
        ("L1", header.l1_offset, header.l1_entries * 8),
        ("reference", header.reference_offset, references),
    ):
        if offset == 0 or offset % cluster or offset + length > file.length:
            raise _damaged(path, f"its {what} table is not inside the file")


def _backing_name(path: str, first: bytes, offset: int, size: int) -> str | None:
    if offset == 0:
        return None
    if not 0 < size <= NAME_LIMIT or offset + size > len(first):
        raise _damaged(path, "the name of its backing file is not inside the header")
    name = first[offset : offset + size]
    if b"\0" in name:
        raise _damaged(path, "the name of its backing file is no name")
    return os.fsdecode(name)


def _extensions(first: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Kind and data of the header extensions, which begin at ``at``."""
    while at + _EXTENSION.size <= len(first):
        kind, length = _EXTENSION.unpack_from(first, at)
        at += _EXTENSION.size
        if kind == 0:
            break
        yield kind, first[at : at + length]
        at += length + 7 & ~7


def _backing_format(extensions: dict[int, bytes]) -> str | None:
    name = extensions.get(BACKING_FORMAT)
    return None if name is None else name.decode("ascii", "replace")


def _bitmaps(extensions: dict[int, bytes]) -> tuple[int, int, int] | None:
    data = extensions.get(BITMAPS)
    if data is None or len(data) != _BITMAPS.size:
        return None
    count, _, size, offset = _BITMAPS.unpack(data)
    return count, size, offset


def _damaged(path: str, why: str) -> BimetalError:
    return BimetalError(
        f"{path!r} is no sound qcow2 image: {why}",
        f"copy it again, if there is another; more tells: qemu-img check -f qcow2 {quoted(path)}",
        ExitCode.DATA,
    )


def _refused(path: str, what: str, remedy: str = "") -> BimetalError:
    order = convert_command(path, QCOW2, unused(path))
    return BimetalError(
        f"the qcow2 image {path!r} has {what}, which is not supported",
        remedy or f"make another one of it: {order}",
        ExitCode.DATA,
    )


def _encrypted(path: str) -> BimetalError:
    """The error for an image of which only QEMU has the key."""
    options = "driver=qcow2,encrypt.key-secret=key,file.filename=" + path.replace(",", ",,")
    return _refused(
        path,
        "encryption",
        "make another one of it, which is not encrypted: qemu-img convert --object "
        f"secret,id=key,file=PASSWORD_FILE --image-opts {quoted(options)} "
        f"-O qcow2 {quoted(unused(path))}",
    )
