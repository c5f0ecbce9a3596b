"""Writes that go on where others ended, and hide other bytes all the way.

Each cluster that hides something costs a flush. Whoever writes one after the other, and waits for
each, is spared most of them if some clusters more are copied with the one that is written: they
are then the image's own, and are written where they are. Never more is copied than the row of
writes has hidden before, so that an image grows at most twice as fast as it is written.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Streams"]

STREAMS = 8
"""Rows of writes that may take turns."""


class Streams:
    """The rows of writes to one disk; for none of them more than ``most`` clusters are copied."""

    def __init__(self, most: int):
        self._most = most
        self._rows: OrderedDict[int, int] = OrderedDict()
        """Where each row goes on, and how many clusters it has."""

    def ahead(self, first: int) -> int:
        """How many clusters to copy with a write to the clusters from ``first`` on."""
        return min(self._rows.get(first, 0), self._most)

    def hidden(self, clusters: range) -> None:
        """These clusters of the disk have become the image's own."""
        self._rows[clusters.stop] = self._rows.pop(clusters.start, 0) + len(clusters)
        self._rows.move_to_end(clusters.stop)
        if len(self._rows) > STREAMS:
            self._rows.popitem(last=False)
