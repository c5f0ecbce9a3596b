"""Writing compressed clusters, one behind the other whatever their length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bimetal.backends.block.qcow2.compressed import pack
from bimetal.backends.block.qcow2.entries import COMPRESSED
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.words import write_all
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Packer"]


class Packer:
    """Writes whole clusters of the disk in ``image`` compressed, those that become smaller by it.
    Nobody else writes meanwhile."""

    def __init__(self, image: Qcow2Image):
        if not image.is_inside:
            raise BimetalError(
                f"the data of {image.name!r} is in a file of its own, and cannot be compressed",
                "leave -c or data_file away",
                ExitCode.USAGE,
            )
        self._image, self._header = image, image.header
        self._most = (1 << image.header.reference_bits) - 1
        self._at = self._end = 0  # where there is room in clusters that were begun
        self._uses: Counter[int] = Counter()

    def write(self, offset: int, data: memoryview) -> None:
        """Store ``data``, which is as many whole clusters from ``offset`` on, the last of which may
        end with the disk. All of them are flushed at once. Raises OSError."""
        bits, cluster = self._header.cluster_bits, self._header.cluster
        packed: list[tuple[int, int]] = []
        for start in range(0, len(data), cluster):
            piece = data[start : start + cluster]
            whole = piece if len(piece) == cluster else bytes(piece).ljust(cluster, b"\0")
            smaller = pack(whole, self._header.compression)
            if smaller is None:
                self._image.writev(offset + start, [piece])
            else:
                packed.append((offset + start >> bits, self._store(smaller)))
        self._count()
        self._image.file.flush()
        writer = self._image.writer()
        for first, entry in packed:
            old: Sequence[int] = list(self._image.tables.entries(first, 1))
            self._image.tables.store(first, [entry], writer.references)
            writer.release(old)

    def _store(self, packed: bytes) -> int:
        """Write the bytes of a compressed cluster; its entry."""
        place = self._room(len(packed))
        bits = self._header.cluster_bits
        write_all(self._image.file.fd, packed, place)
        last = place + len(packed) - 1
        self._uses.update(range(place >> bits, (last >> bits) + 1))
        self._at = last + 1
        sectors = (last >> 9) - (place >> 9)
        return COMPRESSED | sectors << 62 - (bits - 8) | place

    def _room(self, length: int) -> int:
        """Where so many bytes fit: behind what was written last, if that can be."""
        bits, cluster = self._header.cluster_bits, self._header.cluster
        begun = self._at >> bits
        if self._at % cluster and self._uses[begun] >= self._most:
            self._at = self._end  # the count of that cluster is at its limit
        if self._at + length > self._end:
            clusters, _ = self._image.writer().references.allocate(1)
            start = clusters.start << bits
            if start != self._end:
                self._at = start
            self._end = start + cluster
        return self._at

    def _count(self) -> None:
        """Count the clusters that hold more than one compressed one as used that often."""
        counts = self._image.writer().references.counts
        for cluster, uses in self._uses.items():
            if uses > 1 and counts.count(cluster) != uses:
                counts.set(range(cluster, cluster + 1), uses)
        begun = self._at >> self._header.cluster_bits
        self._uses = Counter({begun: self._uses[begun]})
