"""The header of a qcow2 image. It comes from outside, and nothing in it is trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import Struct

import msgspec

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.commands import convert_command, quoted, unused
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.formats import QCOW2
from bimetal.base.errors import BimetalError, ExitCode

__all__ = [
    "MAGIC",
    "Header",
    "clusters_when_full",
    "header_end",
    "header_parts",
    "peek_backing",
    "read_header",
    "reference_table_clusters",
]

MAGIC = b"QFI\xfb"

_VERSION_2 = Struct(">4sIQIIQIIQQIIQ")
"""Magic, version, backing file offset and size, cluster bits, size, encryption, L1 entries, L1
offset, reference table offset and clusters, snapshots and their offset."""

_VERSION_3 = Struct(">QQQII")
"""Incompatible, compatible and autoclear features, reference order, header length."""

_WHOLE = _VERSION_2.size + _VERSION_3.size
"""Bytes of a header of version 3; behind them is the compression method, if it is long enough."""

_WITH_COMPRESSION = _WHOLE + 8

_LENGTH = Struct(">I")
_EXTENSION = Struct(">II")
BACKING_FORMAT, FEATURE_NAMES, BITMAPS = 0xE2792ACA, 0x6803F857, 0x23852875
DATA_FILE = 0x44415441

_BITMAPS = Struct(">IIQQ")
"""Number of bitmaps, reserved, size and offset of their directory."""

REFERENCE_TABLE_AT = 48
FEATURES_AT = 72
AUTOCLEAR_AT = 88

DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
"""Incompatible features."""

LAZY_REFERENCES = 1
"""A compatible feature: who writes may leave the reference counts for later."""

BITMAPS_VALID, RAW_DATA = 1, 2
"""Autoclear features: all bitmaps are as the disk is; the external data file is the disk."""

ZLIB, ZSTD = 0, 1
"""Methods of compression."""

SUBCLUSTERS = 32
"""Parts of a cluster that an extended L2 entry tells apart."""

NEWER = "have the program that made it write a plain image of version 3"
"""What helps against features and versions that came later."""

CLUSTER_BITS = range(9, 22)
L1_LIMIT = 32 << 20
REFERENCE_TABLE_LIMIT = 8 << 20
NAME_LIMIT = 1023


class Header(msgspec.Struct):
    """What the header says, checked: L1 and the reference table lie inside the file and on a
    cluster. ``extensions`` are those of the file by kind, in their order; ``backing_at`` is where
    the name of the backing file lies."""

    version: int
    cluster_bits: int
    size: int
    l1_entries: int
    l1_offset: int
    reference_offset: int
    reference_clusters: int
    reference_bits: int = 16
    snapshots: int = 0
    snapshots_offset: int = 0
    features: int = 0
    compatible: int = 0
    autoclear: int = 0
    compression: int = ZLIB
    backing: str | None = None
    extensions: dict[int, bytes] = msgspec.field(default_factory=dict)
    backing_at: int = 0

    @property
    def cluster(self) -> int:
        """Bytes in a cluster."""
        return 1 << self.cluster_bits

    @property
    def entry_words(self) -> int:
        """Words of 64 bits in an L2 entry."""
        return 2 if self.features & EXTENDED_L2 else 1

    @property
    def per_table(self) -> int:
        """Clusters of the disk that an L2 table has entries for."""
        return self.cluster // (8 * self.entry_words)

    @property
    def l1_needed(self) -> int:
        """Entries that L1 must have for a disk of this size."""
        return -(-self.size // (self.cluster * self.per_table))

    @property
    def backing_format(self) -> str | None:
        """The format of the backing file, if it is said."""
        name = self.extensions.get(BACKING_FORMAT)
        return None if name is None else name.decode("ascii", "replace")

    @property
    def data_file(self) -> str | None:
        """The name of the external data file, if there is one."""
        if not self.features & EXTERNAL_DATA:
            return None
        return os.fsdecode(self.extensions.get(DATA_FILE, b""))

    @property
    def bitmaps(self) -> tuple[int, int, int] | None:
        """The number of bitmaps with size and offset of their directory, if there are any."""
        data = self.extensions.get(BITMAPS)
        if data is None or len(data) != _BITMAPS.size:
            return None
        count, _, size, offset = _BITMAPS.unpack(data)
        return count, size, offset

    def name_bitmaps(self, count: int, size: int, offset: int) -> None:
        """Have as many bitmaps, whose directory of ``size`` bytes is at ``offset``."""
        others = {kind: data for kind, data in self.extensions.items() if kind != BITMAPS}
        own = {BITMAPS: _BITMAPS.pack(count, 0, size, offset)} if count else {}
        self.extensions = others | own
        self.autoclear = self.autoclear & ~BITMAPS_VALID | BITMAPS_VALID * bool(count)

    @property
    def foreign(self) -> bool:
        """Whether there are extensions that we do not know."""
        known = {BACKING_FORMAT, FEATURE_NAMES, BITMAPS, DATA_FILE}
        return not self.extensions.keys() <= known


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
    features = compatible = autoclear = 0
    order, length = 4, (least := _VERSION_2.size)
    if version == 3:
        least = _WHOLE
        if len(first) < least:
            raise _damaged(path, "its header is cut off")
        features, compatible, autoclear, order, length = _VERSION_3.unpack_from(
            first, _VERSION_2.size
        )
    first = first[: 1 << cluster_bits]
    if order > 6 or not least <= length <= len(first):
        raise _damaged(path, "its header makes no sense")
    compression = first[_WHOLE] if length > _WHOLE else ZLIB
    header = Header(
        version, cluster_bits, size, l1_entries, l1_offset, reference_offset, reference_clusters,
        1 << order, snapshots, snapshots_offset, features, compatible, autoclear, compression,
        _backing_name(path, first, backing_at, backing_size), dict(_extensions(first, length)),
        backing_at,
    )  # fmt: skip
    _check_features(path, header)
    _check_tables(file, header)
    return header


def header_parts(header: Header, backing_at: int = 0) -> tuple[bytes, int, bytes]:
    """The header as an image begins with it: its fields and extensions, and where the name of the
    backing file lies, which is the third: right behind those, or at ``backing_at``.

    Raises `BimetalError` if that is more than a cluster.
    """
    extensions = b"".join(
        _EXTENSION.pack(kind, len(data)) + data + bytes(-len(data) % 8)
        for kind, data in header.extensions.items()
    ) + _EXTENSION.pack(0, 0)
    length = _VERSION_2.size if header.version == 2 else _WITH_COMPRESSION
    name = b"" if header.backing is None else os.fsencode(header.backing)
    place = backing_at or length + len(extensions)
    if len(name) > NAME_LIMIT or place + len(name) > header.cluster:
        raise BimetalError(
            "the names in the header of the image are longer than it has room for",
            "give the files shorter names, or the image larger clusters",
            ExitCode.USAGE,
        )
    fields = _VERSION_2.pack(
        MAGIC, header.version, place if name else 0, len(name), header.cluster_bits, header.size,
        0, header.l1_entries, header.l1_offset, header.reference_offset, header.reference_clusters,
        header.snapshots, header.snapshots_offset,
    )  # fmt: skip
    if header.version >= 3:
        order = header.reference_bits.bit_length() - 1
        fields += _VERSION_3.pack(
            header.features, header.compatible, header.autoclear, order, length
        )
        fields += bytes((header.compression,)).ljust(8, b"\0")
    return fields + extensions, place, name


def reference_table_clusters(header: Header) -> int:
    """How many clusters a reference table has that is long enough for all of the disk, its tables
    and once more as many tables."""
    cluster = header.cluster
    per_block = cluster * 8 // header.reference_bits
    tables = header.l1_needed + -(-8 * header.l1_needed // cluster)
    clusters = -(-header.size // cluster) + 2 * tables + 1
    blocks = -(-clusters // per_block)
    blocks += -(-2 * blocks // per_block) + 1
    return max(1, min(-(-8 * blocks // cluster), REFERENCE_TABLE_LIMIT // cluster))


def clusters_when_full(header: Header) -> int:
    """How many clusters an image has, if all of its disk has some and there are no snapshots."""
    cluster = header.cluster
    clusters = 1 + -(-8 * header.l1_needed // cluster) + header.l1_needed
    if header.data_file is None:
        clusters += -(-header.size // cluster)
    counted = cluster * 8 // header.reference_bits - 1
    return clusters + header.reference_clusters + -(-clusters // counted)


def header_end(first: bytes) -> int:
    """Where in the first cluster of an image the last byte is of which its header has need."""
    _, version, backing_at, backing_size = _VERSION_2.unpack_from(first)[:4]
    end = _VERSION_2.size
    if version >= 3:
        (end,) = _LENGTH.unpack_from(first, _WHOLE - _LENGTH.size)
    end += sum(_EXTENSION.size + len(data) + 7 & ~7 for _, data in _extensions(first, end))
    return max(end + _EXTENSION.size, backing_at + backing_size if backing_at else 0)


def peek_backing(file: ImageFile) -> str | None:
    """The backing file that ``file`` would name if it were an image; nothing of it is checked."""
    fields = os.pread(file.fd, _VERSION_2.size, 0)
    if len(fields) < _VERSION_2.size:
        return None
    offset, size = _VERSION_2.unpack(fields)[2:4]
    if not 0 < size <= NAME_LIMIT or not 0 < offset < file.length:
        return None
    return os.fsdecode(os.pread(file.fd, size, offset))


def _check_features(path: str, header: Header) -> None:
    features = header.features
    unknown = features & ~(DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2)
    if unknown:
        raise _refused(path, f"features {unknown:#x}", NEWER)
    if bool(features & COMPRESSION) != (header.compression != ZLIB):
        raise _damaged(path, "its compression is another one than it says elsewhere")
    if header.compression not in (ZLIB, ZSTD):
        raise _refused(path, f"the compression {header.compression}", NEWER)
    if features & EXTENDED_L2 and header.cluster < SUBCLUSTERS * SECTOR:
        raise _damaged(path, f"its clusters of {header.cluster} bytes are too small to be divided")
    if header.data_file is not None and not 0 < len(header.data_file) <= NAME_LIMIT:
        raise _damaged(path, "it does not name its external data file")


def _check_tables(file: ImageFile, header: Header) -> None:
    path, cluster = file.path, header.cluster
    header.size -= header.size % SECTOR  # as QEMU does
    if header.size == 0:
        raise _damaged(path, "its disk has not one sector")
    needed = header.l1_needed
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
