"""How often each cluster of an image is used, by what its tables say."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.entries import (
    COMPRESSED,
    COPIED,
    OFFSET,
    packed_place,
    reserved,
)
from bimetal.backends.block.qcow2.header import SUBCLUSTERS, Header
from bimetal.backends.block.qcow2.widths import new_counts
from bimetal.backends.block.qcow2.words import DamagedImage, bad_image, is_hole, read_words

__all__ = ["COUNTED_TOO_LOW", "TooOften", "Usage"]

COUNTED_TOO_LOW = "something is used more often than it is counted"

SUBCLUSTER_BITS = (1 << SUBCLUSTERS) - 1

MEMORY_LIMIT = 1 << 30
"""Bytes of counts: enough for 32 TiB of usual clusters."""


class TooOften(DamagedImage):
    """Something is used more often than the counts can say."""


class Usage:
    """The uses of the first ``clusters`` clusters of ``file``: ``used`` has an array for each block
    of counts in which there are any, and ``structures`` how often what is not the guest's is used.

    ``is_counted`` says whether there is a block of that number. Methods raise `DamagedImage` for
    what makes no sense.
    """

    def __init__(
        self,
        file: ImageFile,
        header: Header,
        clusters: int,
        is_counted: Callable[[int], bool] = lambda _: True,
    ):
        self._file, self._header, self._clusters = file, header, clusters
        self._bits, self._cluster = header.cluster_bits, header.cluster
        self._extended = header.entry_words == 2
        self.outside = header.data_file is not None
        self._there = OFFSET | COPIED if self.outside else OFFSET
        self._is_counted = is_counted
        self.per_block = header.cluster * 8 // header.reference_bits
        self.used: dict[int, array[int]] = {}
        self.structures: dict[int, int] = {}

    def uses(self, cluster: int) -> int:
        """How often ``cluster`` is used."""
        number, at = divmod(cluster, self.per_block)
        block = self.used.get(number)
        return 0 if block is None else block[at]

    def structure(self, what: str, offset: int, length: int, times: int = 1) -> None:
        """Note a part of the file that holds something other than the guest's data."""
        if offset % self._cluster:
            raise bad_image(f"a {what} lies at {offset:#x}")
        clusters = range(offset >> self._bits, offset + length + self._cluster - 1 >> self._bits)
        self._count(clusters, times)
        for cluster in clusters:
            if cluster in self.structures:
                raise self.contradiction(cluster, "two structures lie")
            self.structures[cluster] = times

    def table(self, offset: int, times: int) -> None:
        """Note what the L2 table at ``offset`` uses, which is named by so many L1 entries."""
        if not is_hole(self._file.fd, offset, self._cluster):
            self.entries(self.first_words(offset), times)

    def first_words(self, offset: int) -> Sequence[int]:
        """The first words of the entries of the L2 table at ``offset``."""
        words = read_words(self._file.fd, offset, self._cluster // 8)
        if self._extended:
            for word, bits in zip(words[::2], words[1::2], strict=True):
                if bits & bits >> SUBCLUSTERS & SUBCLUSTER_BITS and not word & COMPRESSED:
                    raise bad_image(f"the L2 table at {offset:#x} calls what is there zero")
                if bits & SUBCLUSTER_BITS and not word & (self._there | COMPRESSED):
                    raise bad_image(f"the L2 table at {offset:#x} has parts of no cluster")
            words = words[::2]
        plain, _ = _sorted(words)
        wrong = reserved(extended=self._extended) | OFFSET & self._cluster - 1
        if reduce(or_, plain, 0) & wrong:
            raise bad_image(f"the L2 table at {offset:#x} makes no sense")
        return words

    def entries(self, words: Sequence[int], times: int) -> None:
        """Note what the entries with these first words use."""
        plain, packed = _sorted(words)
        if not self.outside:
            self._count(
                [(entry & OFFSET) >> self._bits for entry in plain if entry & OFFSET], times
            )
        for entry in packed:
            start, length = packed_place(entry, self._bits)
            last = start + length - 1 >> self._bits
            self._count(range(start >> self._bits, last + 1), times)

    def contradiction(self, cluster: int, what: str) -> DamagedImage:
        """The error for a cluster about which two things are said."""
        return bad_image(f"{what} at {cluster << self._bits:#x}")

    def _count(self, clusters: Sequence[int], times: int) -> None:
        """Note that ``clusters`` are used so many times more."""
        if not clusters:
            return
        last = clusters[-1] if isinstance(clusters, range) else max(clusters)
        if last >= self._clusters:
            raise bad_image(f"it uses {last << self._bits:#x}, which is behind its end")
        low = high = 0
        try:
            for cluster in clusters:
                if not low <= cluster < high:
                    number = cluster // self.per_block
                    low, high = number * self.per_block, (number + 1) * self.per_block
                    block = self.block(number)
                block[cluster - low] += times
                if block[cluster - low] >> self._header.reference_bits:
                    raise OverflowError
        except OverflowError:
            raise TooOften(*self.contradiction(cluster, COUNTED_TOO_LOW).args) from None

    def block(self, number: int) -> array[int]:
        """The uses of a block of clusters."""
        block = self.used.get(number)
        if block is None:
            if not self._is_counted(number):
                first = number * self.per_block << self._bits
                raise bad_image(f"it uses clusters from {first:#x} on and counts none")
            block = new_counts(self._header.reference_bits, self.per_block)
            self.used[number] = block
            if len(self.used) * len(block) * block.itemsize > MEMORY_LIMIT:
                raise bad_image("it uses too many clusters to count them")
        return block


def _sorted(words: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """The entries of plain and of compressed clusters."""
    if not reduce(or_, words, 0) & COMPRESSED:
        return words, ()
    packed = [entry for entry in words if entry & COMPRESSED]
    return [entry for entry in words if not entry & COMPRESSED], packed
