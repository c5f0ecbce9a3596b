"""New images: a disk of nothing but zeroes, or of what a backing file shows."""

from __future__ import annotations

import os
from array import array

from msgspec import Struct

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.qcow2.header import (
    BACKING_FORMAT,
    CLUSTER_BITS,
    COMPRESSION,
    DATA_FILE,
    EXTENDED_L2,
    EXTERNAL_DATA,
    L1_LIMIT,
    LAZY_REFERENCES,
    NAME_LIMIT,
    RAW_DATA,
    SUBCLUSTERS,
    ZLIB,
    Header,
    header_parts,
    reference_table_clusters,
)
from bimetal.backends.block.qcow2.widths import new_counts, pack
from bimetal.backends.block.qcow2.words import words_to_bytes, write_all
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["NewImage", "write_new"]


class NewImage(Struct, frozen=True):
    """What a new image shall be: a disk of ``size`` bytes, in clusters of ``cluster`` bytes whose
    uses are counted with ``reference_bits`` bits; over ``backing``, which has the format
    ``backing_format``; its data in ``data_file``, which is a raw image if ``raw_data``."""

    size: int
    version: int = 3
    cluster: int = 1 << 16
    reference_bits: int = 16
    lazy: bool = False
    extended: bool = False
    compression: int = ZLIB
    backing: str | None = None
    backing_format: str | None = None
    data_file: str | None = None
    raw_data: bool = False

    def check(self) -> None:
        """Raise `BimetalError` for what cannot be."""
        bits = self.cluster.bit_length() - 1
        if self.cluster != 1 << bits or bits not in CLUSTER_BITS:
            raise _wrong("clusters have 512 bytes to 2 MiB, and a power of two of them")
        if self.reference_bits not in (1, 2, 4, 8, 16, 32, 64):
            raise _wrong("refcount_bits is a power of two, and at most 64")
        if self.size <= 0:
            raise _wrong("a disk has a sector at least")
        newer = self.lazy or self.extended or self.compression or self.data_file
        if self.version == 2 and (newer or self.reference_bits != 16):
            raise _wrong(
                "lazy_refcounts, extended_l2, compression_type, data_file, and refcount_bits "
                "other than 16 need version 3: leave compat=0.10 away"
            )
        if self.extended and self.cluster < SUBCLUSTERS * SECTOR:
            raise _wrong("extended_l2 needs clusters of 16K at least: cluster_size=16K")
        if self.raw_data and (self.data_file is None or self.backing is not None):
            raise _wrong("data_file_raw needs data_file, and no backing file")
        for name in (self.backing, self.data_file):
            if name is not None and not 0 < len(os.fsencode(name)) <= NAME_LIMIT:
                raise _wrong(f"the name of a file has 1 to {NAME_LIMIT} bytes")
        if self.header().l1_needed * 8 > L1_LIMIT:
            raise _wrong(
                f"clusters of {self.cluster} bytes are too small for a disk of {self.size} bytes: "
                "choose a larger cluster_size"
            )

    def header(self) -> Header:
        """Its header, without the places of its tables."""
        extensions = {}
        if self.backing is not None and self.backing_format is not None:
            extensions[BACKING_FORMAT] = self.backing_format.encode()
        features = EXTENDED_L2 * self.extended | COMPRESSION * (self.compression != ZLIB)
        if self.data_file is not None:
            features |= EXTERNAL_DATA
            extensions[DATA_FILE] = os.fsencode(self.data_file)
        return Header(
            self.version,
            self.cluster.bit_length() - 1,
            -(-self.size // SECTOR) * SECTOR,
            l1_entries=0,
            l1_offset=0,
            reference_offset=0,
            reference_clusters=0,
            reference_bits=self.reference_bits,
            features=features,
            compatible=LAZY_REFERENCES * self.lazy,
            autoclear=RAW_DATA * self.raw_data,
            compression=self.compression,
            backing=self.backing,
            extensions=extensions,
        )


def write_new(fd: int, new: NewImage) -> None:
    """Make the empty file, or the block device, ``fd`` such an image. The header is written last:
    before, it is none. Raises `BimetalError` for what cannot be, and OSError."""
    new.check()
    header, cluster = new.header(), new.cluster
    header.l1_entries = max(1, header.l1_needed)
    l1 = -(-8 * header.l1_entries // cluster)
    per_block = cluster * 8 // new.reference_bits
    table = reference_table_clusters(header)
    blocks = 1
    while (1 + table + blocks + l1) > blocks * per_block:
        blocks += 1
    header.reference_offset, header.reference_clusters = cluster, table
    header.l1_offset = (1 + table + blocks) * cluster
    end = 1 + table + blocks + l1
    counts = new_counts(new.reference_bits, blocks * per_block)
    counts[:end] = array(counts.typecode, [1]) * end
    offsets = array("Q", [(1 + table + number) * cluster for number in range(blocks)])
    fields, place, name = header_parts(header)
    first = fields.ljust(place, b"\0") + name
    write_all(fd, bytes(cluster), 0)
    write_all(fd, words_to_bytes(offsets).ljust(table * cluster, b"\0"), cluster)
    write_all(fd, pack(counts, new.reference_bits), offsets[0])
    write_all(fd, bytes(l1 * cluster), header.l1_offset)
    os.fdatasync(fd)
    write_all(fd, first, 0)
    os.fdatasync(fd)


def _wrong(why: str) -> BimetalError:
    return BimetalError(f"there is no such qcow2 image: {why}", "change that", ExitCode.USAGE)
