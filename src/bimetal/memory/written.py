"""Which pages of a machine's memory were written to since somebody looked, as the host tells.

The memory is moved, piece by piece, into a file of the host's that has no name, and mapped from it
privately: a page that was written to is then no longer one of the file's, which the host's page map
shows (Linux, Documentation/admin-guide/mm/pagemap). Such pages are put into the file in turn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from bimetal.base.closes import Closes
from bimetal.memory.contents import CHUNK, PAGE, contents, page_map
from bimetal.memory.ram import Ram

__all__ = ["Range", "Written", "host_tells"]

Range = tuple[int, int]
"""Offsets of the first byte, and of the one behind the last."""

_CHANGED = bytes(int(byte & 0xC0 != 0 and not byte & 0x20) for byte in range(256))
"""Whether a page is there, in memory or swapped out, and not the file's, by the last byte of its
entry: bits 63, 62 and 61."""


def host_tells(ram: Ram) -> bool:
    """Whether the host shows its page map; if not, all of ``ram`` may always have been written
    to."""
    return page_map(ram.host, PAGE) is not None


class Written(Closes):
    """Follows what is written to ``ram``. Call `take_over`, `keep` and `give_back` while nothing
    runs that could write to it; all other methods at any time, in one thread. Methods raise
    OSError.

    `close` forgets the file; memory that was not given back stays mapped from it.
    """

    def __init__(self, ram: Ram):
        self.ram = ram
        self._fd = os.memfd_create(f"bimetal-{ram.name}", os.MFD_CLOEXEC)
        try:
            os.truncate(self._fd, ram.size)
        except OSError:
            os.close(self._fd)
            raise
        ram.followed = True

    def take_over(self, piece: Range) -> list[Range]:
        """Move a piece of the memory into the file; where in it there is anything but zeroes."""
        found = self._filled(piece)
        for start, end in found:
            self._store(start, end)
        self.ram.map_from(self._fd, *piece)
        return found

    def changed(self) -> list[Range]:
        """What was written to since it was taken over or kept, in order. All of it, if the host
        does not tell (`host_tells`)."""
        entries = page_map(self.ram.host, self.ram.size)
        if entries is None:
            return [(0, self.ram.size)]
        marks, found, end = entries.translate(_CHANGED), list[Range](), 0
        while (first := marks.find(1, end)) >= 0:
            end = marks.find(0, first)
            end = len(marks) if end < 0 else end
            found.append((first * PAGE, end * PAGE))
        return found

    def keep(self, ranges: list[Range]) -> None:
        """Put what is there now into the file, of which these pages are again."""
        for start, end in ranges:
            self._store(start, end)
            self.ram.drop(start, end)

    def kept(self, start: int, end: int) -> bytes:
        """What the file has."""
        return os.pread(self._fd, end - start, start)

    def give_back(self, piece: Range) -> None:
        """Make a piece of the memory what it was before: memory of nobody else's."""
        start, end = piece
        held = [(at, bytes(self.ram.bytes[at:to])) for at, to in self._filled(piece)]
        self.ram.map_from(-1, start, end)
        for at, data in held:
            self.ram.bytes[at : at + len(data)] = data

    def close(self) -> None:
        """See `Written`. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            self.ram.followed = False

    def _filled(self, piece: Range) -> list[Range]:
        """Where there is anything but zeroes, in pages that follow each other."""
        found = list[Range]()
        for number, _ in contents(self.ram.bytes, self._looked_at(piece)):
            at = number * PAGE
            if found and found[-1][1] == at and at - found[-1][0] < CHUNK * 4:
                found[-1] = (found[-1][0], at + PAGE)
            else:
                found.append((at, at + PAGE))
        return found

    def _looked_at(self, piece: Range) -> Iterator[Range]:
        for start, end in self.ram.used(*piece):
            yield max(start, piece[0]), min(end, piece[1])

    def _store(self, start: int, end: int) -> None:
        view = self.ram.bytes[start:end]
        while view:
            count = os.pwrite(self._fd, view, start)
            view, start = view[count:], start + count
