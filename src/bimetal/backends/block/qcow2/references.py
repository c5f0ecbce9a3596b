"""Which clusters of the file are in use: where new ones come from, where old ones go.

Whatever crashes, a cluster that some table names must never be counted as free, or it would be
given away twice. So clusters are counted as used *before* anything can name them, on the disk and
not only in the page cache. That takes time, so they are taken in batches, and only the counts are
waited for, not what else was written meanwhile. The other way round, a cluster is counted as free
only after the table that named it is safe without it. A crash may leave clusters that are counted
and not named: they waste space, nothing else, and are counted as free when the image is opened
again.
"""

from __future__ import annotations

import errno
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.holes import Holes
from bimetal.backends.block.qcow2.counts import Counts
from bimetal.backends.block.qcow2.header import Header, clusters_when_full
from bimetal.backends.block.qcow2.words import write_all

__all__ = ["References"]

BATCH_BYTES = 8 << 20
"""What is taken at once."""

FILLING_BYTES = 128 << 20
"""What is taken at once for a disk that has so much to be filled yet: what is waited for takes as
long for many clusters as for few. More costs others something: some hosts write what a file grows
by."""

FRAGMENTS = 64
"""Runs of free clusters that a batch may consist of."""

WAITING_BYTES = 8 << 20
"""Clusters that are not needed any more and wait for a flush, before we flush for their sake."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


class References:
    """The clusters of the image in ``file``, which is open for writing and has these ``counts``.
    Every method may raise OSError."""

    def __init__(self, file: ImageFile, header: Header, counts: Counts):
        self._file, self.counts, self._cluster = file, counts, header.cluster
        self._header = header
        self._holes = Holes(file.fd, block_device=file.block_device)
        self._cursor = 1  # below it, nothing is free
        self._batch: deque[tuple[range, bool]] = deque()
        self._waiting: list[int] = []
        self._most_waiting = WAITING_BYTES // header.cluster

    def allocate(self, count: int) -> tuple[range, bool]:
        """At least one and at most ``count`` free clusters in a row, now counted as used once;
        and whether they are new in the file, so that until they are written they are zero
        whatever crashes."""
        if not self._batch:
            self._take_batch(count)
        run, fresh = self._batch.popleft()
        if len(run) > count:
            self._batch.appendleft((run[count:], fresh))
        if self._file.threshold is not None:
            self._file.threshold.mark(run.start * self._cluster, len(run[:count]) * self._cluster)
        return run[:count], fresh

    def allocate_row(self, count: int) -> range:
        """So many free clusters in a row, now counted as used once."""
        cursor, runs = self.end(), list[range]()
        while (left := count - sum(map(len, runs))) > 0:
            if count > self.counts.per_block - 2:
                raise OSError(errno.EFBIG, "the clusters of the image are too small for that")
            run = self.counts.free_run(cursor, left)
            if runs and run.start != runs[-1].stop:
                runs.clear()  # a block of counts lies between
            runs.append(run)
            cursor = run.stop
        row = range(runs[0].start, runs[-1].stop)
        if self._length() < row.stop * self._cluster:
            self._extend(row.stop * self._cluster)
        self._count(runs)
        return row

    def is_shared(self, cluster: int) -> bool:
        """Whether someone else, a snapshot, uses ``cluster`` too."""
        return self.counts.count(cluster) != 1

    def free_later(self, clusters: Iterable[int]) -> None:
        """Count ``clusters`` down once, after the tables that name them no more are safe."""
        self._waiting += clusters

    @property
    def crowded(self) -> bool:
        """Whether so many clusters wait to be freed that it is time to flush."""
        return len(self._waiting) > self._most_waiting

    def flushed(self) -> None:
        """All tables are safe: count down what waited for that, and give freed space back. What
        the host does not let us count waits on."""
        waiting = Counter([*self._waiting, *self.counts.outgrown])
        self._waiting.clear()
        self.counts.outgrown.clear()
        freed = []
        try:
            self.counts.mend()
            for run, count in self._lowered(waiting):
                self.counts.set(run, count)
                for cluster in run:
                    del waiting[cluster]
                if count == 0:
                    freed.append(run)
        except OSError as error:
            self._file.log.host_error("clusters could not be freed", str(error))
            self._waiting += waiting.elements()
        for run in freed:
            self._cursor = min(self._cursor, run.start)
            self._give_back(run)

    def give_up(self) -> None:
        """Give back what was taken and not needed."""
        while self._batch:
            self.counts.set(self._batch[-1][0], 0)
            run, _ = self._batch.pop()
            self._cursor = min(self._cursor, run.start)
        self.counts.mend()

    def end(self) -> int:
        """The number behind the last cluster that is in use."""
        return self.counts.used_below(-(-self._length() // self._cluster))

    def close(self) -> None:
        """Give back what was taken and not needed, and what of the file nobody uses at its end.
        All tables are safe."""
        self.give_up()
        length, end = self._length(), self.end() * self._cluster
        if end < length and not self._file.block_device:
            os.ftruncate(self._file.fd, end)

    def _lowered(self, waiting: Counter[int]) -> Iterator[tuple[range, int]]:
        """The clusters that wait as runs, with the new count of all clusters of a run."""
        run, count = range(0), 0
        for cluster in sorted(waiting):
            lowered = self.counts.count(cluster) - waiting[cluster]
            if run and cluster == run.stop and lowered == count:
                run = range(run.start, cluster + 1)
                continue
            if run:
                yield run, count
            run, count = range(cluster, cluster + 1), lowered
        if run:
            yield run, count

    def _take_batch(self, wanted: int) -> None:
        """Take as much as is worth the wait; less where there is no room for that."""
        usual = max(1, BATCH_BYTES // self._cluster)
        for length in (max(usual, self._filling()), usual, min(usual, wanted), 1):
            try:
                return self._take(length)
            except OSError as error:
                if length == 1 or error.errno not in _NO_ROOM:
                    raise

    def _filling(self) -> int:
        """How many clusters are worth to be taken as the disk has none yet that would need them:
        the image becomes no larger by that than it may become."""
        used = -(-self._length() // self._cluster)
        lacking = clusters_when_full(self._header) - used
        return min(lacking, FILLING_BYTES // self._cluster)

    def _take(self, most: int) -> None:
        """Count free clusters as used, and make that safe."""
        before = self._length()
        runs = self._find(most)  # which may make the file longer, by blocks of counts alone
        end = max(run.stop for run in runs) * self._cluster
        if self._length() < end:
            # Or a crash could leave a table that names what lies beyond the end of the file.
            self._extend(end)
        self._count(runs)
        self._batch.extend((run, run.start * self._cluster >= before) for run in runs)
        self._cursor = runs[-1].stop

    def _count(self, runs: Sequence[range]) -> None:
        """Count free clusters as used once, safely, or none of them."""
        alone, counted = len(runs) == 1, list[range]()
        try:
            for run in runs:
                self.counts.set(run, 1, safely=alone)
                counted.append(run)
            if not alone:
                self._file.flush()
        except OSError:
            for run in counted:
                self.free_later(run)
            raise

    def _find(self, most: int) -> list[range]:
        """The first runs of free clusters from the cursor on."""
        runs: list[range] = []
        cursor = self._cursor
        while most and len(runs) < FRAGMENTS:
            try:
                run = self.counts.free_run(cursor, most)
            except OSError:
                if not runs:
                    raise
                break
            runs.append(run)
            most, cursor = most - len(run), run.stop
        return runs

    def _length(self) -> int:
        """The length of the file, or of the block device."""
        return os.lseek(self._file.fd, 0, os.SEEK_END)

    def _extend(self, end: int) -> None:
        if self._file.block_device:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        last = bytes(SECTOR)
        write_all(self._file.fd, last, end - SECTOR)
        self._file.make_safe(end - SECTOR, last)

    def _give_back(self, run: range) -> None:
        """Give the space of ``run`` back to the host, if it takes it."""
        try:
            self._holes.punch(run.start * self._cluster, len(run) * self._cluster)
        except OSError as error:
            self._file.log.host_error("space could not be given back", str(error))
