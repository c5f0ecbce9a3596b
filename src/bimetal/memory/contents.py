"""What a stretch of memory holds, page by page, without those that are all zeroes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol, runtime_checkable

__all__ = ["CHUNK", "PAGE", "Area", "Lent", "Stored", "Stretch", "contents", "joined", "page_map"]
__all__ += ["touched", "without"]

PAGE = 4096
CHUNK = 64 << 10
"""Bytes that are compared with zeroes at once: most of a guest's memory holds nothing."""

PAGE_MAP = "/proc/self/pagemap"
"""Where the host tells what it has for each page (Linux, Documentation/admin-guide/mm/pagemap)."""

ENTRY = 8
"""Bytes that it has for a page there."""

_THERE = bytes(int(byte >= 0x40) for byte in range(256))
"""Whether a page is in memory or swapped out, by the last byte of its entry: bits 63 and 62."""


class Area(Protocol):
    """``size`` bytes of memory of a device's own, as a snapshot keeps them."""

    size: int

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """The number and the content of each page of 4096 bytes that counts, in order. May raise
        OSError."""

    def clear(self) -> None:
        """Hold nothing: what is not put afterwards is zeroes."""

    def put(self, number: int, page: bytes) -> None:
        """Let page ``number`` hold this. May raise OSError."""


@runtime_checkable
class Stored(Protocol):
    """What lies in files of the host, such as a disk."""

    def rest(self) -> None:
        """Write all that `close` would, so that the files stay as they are if nothing else is
        written. May raise OSError."""

    def files(self) -> Iterable[str]:
        """The paths of all these files."""


@runtime_checkable
class Lent(Stored, Protocol):
    """What is stored in files that another machine may go on with, when this one has come there."""

    @property
    def writes(self) -> bool:
        """Whether what the guest writes goes to these files."""

    @property
    def exclusive(self) -> bool:
        """Whether one machine at a time can write to them, since the host has locks for them."""

    def let_go(self) -> None:
        """Let the files be another machine's. Raises OSError."""

    def take_again(self) -> None:
        """Go on with them. Raises OSError if another machine has them, or has changed them."""


class Stretch:
    """The area of ordinary memory, whole pages of it."""

    def __init__(self, memory: memoryview):
        self.memory, self.size = memory, len(memory)

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """See `Area.contents`."""
        return contents(self.memory, iter([(0, self.size)]))

    def clear(self) -> None:
        """See `Area.clear`."""
        for at in range(0, self.size, CHUNK):
            self.memory[at : at + CHUNK] = bytes(min(CHUNK, self.size - at))

    def put(self, number: int, page: bytes) -> None:
        """See `Area.put`."""
        self.memory[number * PAGE : (number + 1) * PAGE] = page


def contents(memory: memoryview, ranges: Iterator[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """The number and a copy of each page in ``ranges`` of ``memory`` that is not all zeroes.

    ``ranges`` are offsets of the first byte and of the one behind the last, in order.
    """
    nothing, no_page = bytes(CHUNK), bytes(PAGE)
    for start, end in ranges:
        for at in range(start, end, CHUNK):
            chunk = memory[at : min(at + CHUNK, end)].tobytes()
            if chunk == nothing:
                continue
            for inside in range(0, len(chunk), PAGE):
                page = chunk[inside : inside + PAGE]
                if page != no_page:
                    yield (at + inside) // PAGE, page


def joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same offsets in order, each once, in ranges that do not touch."""
    start = end = -1
    for first, last in sorted(ranges):
        if first > end:
            if end >= 0:
                yield start, end
            start, end = first, last
        else:
            end = max(end, last)
    if end >= 0:
        yield start, end


def without(ranges: Iterable[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The same offsets, but for those from ``start`` to ``end``."""
    for first, last in ranges:
        for low, high in ((first, min(last, start)), (max(first, end), last)):
            if low < high:
                yield low, high


def page_map(address: int, size: int) -> bytes | None:
    """The last byte of the entry that the host's page map has for each page of memory of this
    process; None if the host does not tell."""
    entries = b""
    with suppress(OSError):
        fd = os.open(PAGE_MAP, os.O_RDONLY | os.O_CLOEXEC)
        try:
            entries = os.pread(fd, size // PAGE * ENTRY, address // PAGE * ENTRY)
        finally:
            os.close(fd)
    return entries[ENTRY - 1 :: ENTRY] if len(entries) == size // PAGE * ENTRY else None


def touched(address: int, size: int) -> Iterator[tuple[int, int]]:
    """Where anonymous memory of this process may hold something: the ranges whose pages the host
    has ever given. Everything, if the host does not tell."""
    entries = page_map(address, size)
    if entries is None:
        yield 0, size
        return
    given, step = entries.translate(_THERE), CHUNK // PAGE
    end = 0
    while (first := given.find(1, end)) >= 0:
        last = given.find(bytes(step), first)
        start, end = first // step * step, len(given) if last < 0 else last
        yield start * PAGE, min((end + step - 1) // step * step * PAGE, size)
        end = (end + step - 1) // step * step
