"""Writing a snapshot: pages of memory first, each content once, and then what they belong to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from bimetal.base.closes import Closes
from bimetal.base.threads import Beside
from bimetal.snapshot.checksum import crc32
from bimetal.snapshot.layout import BLOCK, BLOCK_PAGES, HEADER, PAGE, Header
from bimetal.snapshot.packing import pack
from bimetal.snapshot.plain import to_json
from bimetal.snapshot.runs import Pages, pack_runs

__all__ = ["Writer"]

ROW = BLOCK_PAGES
"""How often a content is stored that fills as many pages in a row, or more: kernels have thousands
of pages of equal descriptors, and a machine maps these a row at a time.
"""


class Writer(Closes):
    """Writes a snapshot to the empty file ``fd``, with blocks packed if it is to ``compress``.

    Call `add` for each area of memory, then `finish`, and in any case `close` before ``fd`` is
    closed; it is a context manager. Methods raise OSError.
    """

    def __init__(self, fd: int, *, compress: bool = False):
        self._fd, self._compress = fd, compress
        self._areas: dict[str, Any] = {}
        self._blocks: list[tuple[int, int, int]] = []
        """For each block where it lies, its length there, and the checksum of its pages."""
        self._known: dict[int | bytes, int] = {}
        """Where a content is stored: by a digest where it cannot be read back, or else by a hash,
        which takes less time and is only a hint."""
        self._rows: dict[bytes, int] = {}
        """Where a content is stored in a row."""
        self._block: list[bytes] = []
        self._under_way = b""
        """The content of the block that was given away last."""
        self._written: Beside | None = None
        self._end = HEADER
        self._stored = 0

    def add(self, name: str, size: int, pages: Iterable[tuple[int, bytes]]) -> None:
        """Store an area of ``size`` bytes: the ``pages`` that are not all zeroes, with their
        numbers, in order."""
        runs = Pages()
        add, place_of = runs.add, self._place_of
        for number, page, times in _repeated(pages):
            if times < ROW:
                stored, copies = place_of(page), 1
            else:
                stored, copies = self._row_of(page), ROW
            for again in range(times):
                add(number + again, stored + again % copies)
        self._areas[name] = {"size": size, "pages": pack_runs(runs.runs)}

    def close(self) -> None:
        """Wait for what is being written: afterwards the file may be closed. Idempotent."""
        if self._written is not None:
            self._written.wait()

    def finish(self, manifest: dict[str, Any]) -> None:
        """Store the rest, and say where everything is."""
        self._write_block()
        self._settle()
        whole = {
            **manifest,
            "areas": self._areas,
            "blocks": [list(block) for block in self._blocks],
            "stored": self._stored,
            "packed": self._compress,
        }
        text = to_json(whole)
        self._write(text, self._end)
        header = Header(self._end, len(text), hashlib.sha256(text).digest())
        self._write(header.pack(), 0)

    def _place_of(self, page: bytes) -> int:
        """Where a content is stored: it is now, if it was not before."""
        key = hashlib.blake2b(page).digest() if self._compress else hash(page)
        stored = self._known.get(key)
        if stored is not None and (self._compress or self._stored_page(stored) == page):
            return stored
        self._known[key] = self._stored
        return self._store(page)

    def _store(self, page: bytes) -> int:
        stored = self._stored
        self._block.append(page)
        self._stored += 1
        if len(self._block) == BLOCK_PAGES:
            self._write_block()
        return stored

    def _row_of(self, page: bytes) -> int:
        """Where a content is stored `ROW` times, one after the other."""
        if page not in self._rows:
            self._rows[page] = self._stored
            for _ in range(ROW):
                self._store(page)
        return self._rows[page]

    def _write_block(self) -> None:
        """Have the block written by another thread, once it has written the one before."""
        if not self._block:
            return
        content = b"".join(self._block)
        self._block.clear()
        self._settle()
        self._under_way = content
        self._written = Beside(lambda: self._put(content))

    def _put(self, content: bytes) -> None:
        data = pack(content) if self._compress else content
        self._write(data, self._end)
        self._blocks.append((self._end, len(data), crc32(content)))
        self._end += len(data)

    def _settle(self) -> None:
        """Wait for the block under way. Raises OSError if it could not be written."""
        if self._written is not None:
            self._written.result()
            self._written = None

    def _stored_page(self, stored: int) -> bytes:
        number, inside = divmod(stored, BLOCK_PAGES)
        newest = self._stored // BLOCK_PAGES
        if number == newest:
            return self._block[inside]
        if number == newest - 1:
            return self._under_way[inside * PAGE : (inside + 1) * PAGE]
        return os.pread(self._fd, PAGE, HEADER + number * BLOCK + inside * PAGE)

    def _write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count


def _repeated(pages: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, int]]:
    """Pages that follow one another and hold the same, as one: its number, its content, and how
    many there are."""
    first, content, times = 0, b"", 0
    for number, page in pages:
        if page == content and number == first + times:
            times += 1
            continue
        if times:
            yield first, content, times
        first, content, times = number, page, 1
    if times:
        yield first, content, times
