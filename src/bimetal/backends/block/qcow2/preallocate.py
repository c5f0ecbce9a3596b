"""Room for clusters of the disk before anything is written to them."""

from __future__ import annotations

from bimetal.backends.block.qcow2.entries import ALL_ALLOCATED, COPIED, OFFSET, ZERO
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.vector import write_vector

__all__ = ["preallocate"]

ZEROES = bytes(1 << 20)


def preallocate(image: Qcow2Image, start: int, stop: int, *, full: bool) -> None:
    """Give the clusters of the disk from ``start`` to ``stop`` that have none a place in the file,
    which is zero; with ``full`` the host gives them space too. Raises OSError."""
    bits, cluster = image.header.cluster_bits, image.header.cluster
    extended = image.header.entry_words == 2
    first, last = start >> bits, -(-stop // cluster)
    while first < last:
        writer = image.writer()
        entries = image.tables.entries(first, last - first)
        count = 0
        while count < len(entries) and not entries[count] & (OFFSET | COPIED | ZERO):
            count += 1
        if not count:
            first += 1
            continue
        clusters, fresh = image.places.allocate(first, count, writer.references)
        if full or (image.is_inside and not fresh):
            _fill(image.places.fd, clusters.start << bits, len(clusters) << bits)
            image.places.flush()
        # Over a backing file, only subclusters can have a place and yet show what lies below.
        parts = 0 if not extended or image.backing is not None else ALL_ALLOCATED
        new = [number << bits | COPIED | parts for number in clusters]
        image.tables.store(first, new, writer.references)
        first += len(clusters)


def _fill(fd: int, offset: int, length: int) -> None:
    zeroes = memoryview(ZEROES)
    for start in range(offset, offset + length, len(ZEROES)):
        write_vector(fd, start, [zeroes[: offset + length - start]])
